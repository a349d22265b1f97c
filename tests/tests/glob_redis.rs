//! `Glob` against the matcher of a real Redis, on random patterns and texts.
//!
//! Known to differ, and kept out of the random ones: Redis matches bytes and `Glob` characters, so
//! that `?` and classes see a character beyond ASCII in pieces there and whole here.
#![allow(clippy::expect_used)] // A helper of a test may panic as the test may.

use larder_core::Glob;
use larder_tests::redis_server::RedisServer;

const PATTERNS: usize = 4_000;
const TEXTS: usize = 400;

/// A few characters that matter, and few others, so that patterns and texts often meet.
const ASCII: &[char] = &['a', 'b', 'c', 'd', ':', '-', '^', '[', ']', '*', '?', '\\', '!', ' '];

fn pick<T: Copy>(random: &mut fastrand::Rng, among: &[T]) -> T {
    among[random.usize(..among.len())]
}

fn text(random: &mut fastrand::Rng, alphabet: &[char]) -> String {
    (0..random.usize(1..9)).map(|_| pick(random, alphabet)).collect()
}

/// Pieces that mean something, between random characters that may turn out to.
fn pattern(random: &mut fastrand::Rng) -> String {
    let pieces = [
        "*", "*", "?", "[ab]", "[^a]", "[a-c]", "[c-a]", "[^-]", "[]", "[^]", "[a-]", "[a", "\\*",
        "\\[", "[\\]a]", "[\\a-c]", "[a-\\]", "[-a]", "[a-b-d]", "[[a]", "[^^]", "\\", "**", "a",
        "b", "ab", "c:",
    ];
    let mut pattern = String::new();
    for _ in 0..random.usize(1..6) {
        if random.u8(..4) == 0 {
            pattern.push(pick(random, ASCII));
        } else {
            pattern.push_str(pick(random, &pieces));
        }
    }
    pattern
}

/// Without `?` and classes, where bytes and characters come to the same.
fn pattern_beyond_ascii(random: &mut fastrand::Rng) -> String {
    let pieces = ["*", "é", "ß", "日", "🦀", "a", "\\é", "\\*", "é*"];
    (0..random.usize(1..6)).map(|_| pick(random, &pieces)).collect()
}

/// Holds `Glob` against Redis for every pattern over all texts; returns how many pairs match.
fn compare(
    connection: &mut redis::Connection,
    key: &str,
    texts: &[String],
    patterns: impl Iterator<Item = String>,
) -> usize {
    let added: usize = redis::cmd("SADD").arg(key).arg(texts).query(connection).expect("SADD");
    assert!(added > 0);
    let mut matching = 0;
    for pattern in patterns {
        let (_, mut redis): (u64, Vec<String>) = redis::cmd("SSCAN")
            .arg(key)
            .arg(0)
            .arg("MATCH")
            .arg(&pattern)
            .arg("COUNT")
            .arg(100_000)
            .query(connection)
            .expect("SSCAN");
        let glob = Glob::new(&*pattern);
        let mut larder: Vec<String> =
            texts.iter().filter(|text| glob.matches(text)).cloned().collect();
        larder.sort();
        larder.dedup();
        redis.sort();
        assert_eq!(larder, redis, "Larder's matches and Redis' of the pattern {pattern:?}");
        for text in &larder {
            assert!(text.starts_with(&glob.literal_prefix()), "the prefix of {pattern:?}");
        }
        matching += larder.len();
    }
    matching
}

#[test]
fn patterns_mean_the_same_here_and_in_redis() {
    let server = RedisServer::start();
    let client = redis::Client::open(server.url()).expect("a URL of Redis");
    let mut connection = client.get_connection().expect("a connection");
    let random = &mut fastrand::Rng::with_seed(fastrand::u64(..));
    let seed = random.get_seed();
    println!("seed {seed}");

    let texts: Vec<String> = (0..TEXTS).map(|_| text(random, ASCII)).collect();
    let patterns: Vec<String> = (0..PATTERNS).map(|_| pattern(random)).collect();
    let matching = compare(&mut connection, "ascii", &texts, patterns.into_iter());
    assert!(matching > PATTERNS, "only {matching} pairs match: nothing is compared");

    let alphabet = ['é', 'ß', '日', '🦀', 'a', '*'];
    let texts: Vec<String> = (0..TEXTS).map(|_| text(random, &alphabet)).collect();
    let patterns: Vec<String> = (0..PATTERNS / 4).map(|_| pattern_beyond_ascii(random)).collect();
    let matching = compare(&mut connection, "beyond", &texts, patterns.into_iter());
    assert!(matching > PATTERNS / 4, "only {matching} pairs match: nothing is compared");
}
