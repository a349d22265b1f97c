//! The scripts against the rules that they equal: random histories on a clock that does what it
//! wants, on a real Redis and on a [`KeyState`].

mod counts;

use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use larder_core::rate_limit::{Check, Decision, KeyState};
use larder_core::{Quota, RateLimitStore, Store, Timestamp, days, hours, millis, minutes, seconds};
use larder_tests::redis_server::RedisServer;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;

use super::decide::said;
use super::gathered::{CHECK, Question};
use super::packed::{Ask, Found, MOST};
use super::script::timed_by;
use super::{RedisRateLimits, Scripts};
use crate::store::RedisStore;

const CLOCK: &str = "clock";

/// Long enough that Redis forgets nothing during a history, whose clock is not its own.
const SPARE: u32 = 3_600_000;

struct World {
    limits: RedisRateLimits,
    connection: MultiplexedConnection,
}

impl World {
    async fn new(url: String) -> Self {
        let store = RedisStore::builder().url(&url).command_timeout(seconds(30)).connect().await;
        let client = redis::Client::open(url).unwrap();
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        let clock = format!("local now = tonumber(redis.call('GET', '{CLOCK}'))\n");
        let scripts = Scripts::new(|body| timed_by(&clock, SPARE, body));
        let limits = RedisRateLimits::new(store.unwrap(), true, scripts);
        Self { limits, connection }
    }

    async fn set_clock(&self, now: Timestamp) {
        let now = Bytes::from(now.as_micros().to_string());
        self.limits.shared.store.put(CLOCK, now, hours(1)).await.unwrap();
    }

    async fn together(&self, checks: &[(usize, Check<'_>)]) -> Vec<Found> {
        let limits = &self.limits;
        let questions = checks.iter().map(|(_, check)| {
            let subject = (check.key, check.quotas);
            limits.question(CHECK, Ask::Take, subject, check.cost, check.lease).unwrap()
        });
        let (questions, client): (Vec<Question>, _) = (questions.collect(), limits.client());
        let questions: Vec<&Question> = questions.iter().collect();
        let checks = limits.shared.checks.gathers();
        checks.run(CHECK, client, &questions, client.deadline()).await.unwrap()
    }

    /// How many keys there are for how many milliseconds; none may be there forever.
    async fn lives(&mut self) -> Vec<i64> {
        let script = "local lives = {} for i, key in ipairs(redis.call('KEYS', '{*')) do \
                      lives[i] = redis.call('PTTL', key) end return lives";
        redis::cmd("EVAL").arg(script).arg(0).query_async(&mut self.connection).await.unwrap()
    }

    async fn clear(&mut self) {
        redis::cmd("FLUSHDB").exec_async(&mut self.connection).await.unwrap();
    }
}

/// One of these, or a number near to it.
fn near(rng: &mut Rng, numbers: &[u64]) -> u64 {
    let number = *rng.choice(numbers).unwrap();
    match rng.u8(..6) {
        0 => number.saturating_add(1),
        1 => number.saturating_sub(1),
        2 => rng.u64(..=number),
        _ => number,
    }
}

fn quota(rng: &mut Rng, name: String) -> Quota {
    let windows = [
        millis(1),
        Duration::from_micros(1_001),
        millis(70),
        seconds(1),
        minutes(1),
        hours(7),
        days(1),
        days(400),
    ];
    let window = *rng.choice(windows).as_ref().unwrap();
    let limit = match rng.u8(..4) {
        0 => near(rng, &[3, 1_000, 100_000, 10_000_000, 1 << 40, MOST / 2]).min(MOST - 1),
        _ => rng.u64(..12),
    };
    let quota = Quota::new(limit, window).named(name);
    match rng.u8(..5) {
        0 => quota,
        1 => quota.sliding_window(),
        2 => quota.gcra(),
        3 => {
            let burst = near(rng, &[1, 5, 40, limit.saturating_mul(3)]);
            // What takes too long to come back is an error.
            let longest =
                limit.saturating_mul((days(30_000).as_micros() / window.as_micros()) as u64);
            quota.burst(burst.min(longest).min(MOST - 1))
        }
        _ => Quota::concurrent(limit, window).named(quota.name().to_owned()),
    }
}

/// What is done at one moment.
#[derive(Debug)]
enum Act {
    /// Checks that are gathered, each of one of the keys.
    Several(Vec<(usize, u64, u64)>),
    Check {
        cost: u64,
        lease: u64,
        takes: bool,
    },
    Refund(u64),
    Release(u64),
    Reset(usize),
    Block(Duration),
}

fn act(rng: &mut Rng, quotas: &[Quota], leases: &[u64]) -> Act {
    let sizes: Vec<u64> =
        quotas.iter().flat_map(|it| [it.capacity(), it.capacity() / 3, 1, 2]).chain([1]).collect();
    let cost = match rng.u8(..20) {
        0 => u64::MAX,
        1 => 0,
        2..=9 => 1,
        _ => near(rng, &sizes),
    };
    match rng.u8(..40) {
        0..=4 => Act::Refund(cost),
        5..=8 => Act::Release(rng.choice(leases).copied().unwrap_or(7)),
        9 => Act::Reset(rng.usize(..=quotas.len())),
        11..=16 => {
            let one =
                |_| (rng.usize(..2), *rng.choice([cost, 1, 2]).as_ref().unwrap(), rng.u64(..));
            Act::Several((0..6).map(one).collect())
        }
        10 => Act::Block(
            *rng.choice([millis(3), seconds(2), days(3), Duration::ZERO]).as_ref().unwrap(),
        ),
        _ => Act::Check { cost, lease: rng.u64(..), takes: rng.u8(..6) > 0 },
    }
}

fn later(rng: &mut Rng, now: Timestamp, quotas: &[Quota], hints: &[Duration]) -> Timestamp {
    let windows = quotas.iter().map(Quota::window);
    let spans: Vec<Duration> =
        windows.flat_map(|it| [it, it / 7, it * 2]).chain(hints.iter().copied()).collect();
    let span = rng.choice(&spans).copied().unwrap_or(seconds(1));
    let tick = Duration::from_micros(rng.u64(..2));
    let next = match rng.u8(..20) {
        0..=5 => now,
        6..=8 => now + Duration::from_micros(rng.u64(..5)),
        9..=11 => now + span.mul_f64(rng.f64()),
        12..=14 => now + span,
        15 => now + (span.saturating_sub(tick)),
        16 => now - span.mul_f64(rng.f64()),
        17 => now - span,
        18 if rng.bool() => now - days(2_000),
        18 => now + days(1_000),
        _ => now + tick,
    };
    // From the epoch to the end of this century.
    next.min(Timestamp::from_micros(4_100_000_000_000_000))
}

async fn history(world: &mut World, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let mut quotas: Vec<Quota> = match rng.u8(..4) {
        0 => (0..rng.usize(2..5)).map(|i| quota(&mut rng, format!("{i}}}%ß"))).collect(),
        1 if rng.u8(..5) == 0 => Vec::new(),
        _ => vec![quota(&mut rng, "0".into())],
    };
    let mut now = match rng.u8(..9) {
        0 => Timestamp::EPOCH,
        _ => Timestamp::from_micros(1_790_000_000_000_000 + rng.u64(..1_000_000)),
    };
    let keys = ["a}{b", "b"];
    let (mut models, mut leases, mut hints) = <([KeyState; 2], Vec<u64>, Vec<_>)>::default();
    let mut story = Vec::new();
    for _ in 0..rng.usize(5..45) {
        if !quotas.is_empty() && rng.u8(..12) == 0 {
            let changed = rng.usize(..quotas.len());
            quotas[changed] = quota(&mut rng, quotas[changed].name().to_owned());
        }
        now = later(&mut rng, now, &quotas, &hints);
        world.set_clock(now).await;
        let act = act(&mut rng, &quotas, &leases);
        let which = rng.usize(..2);
        let (key, model) = (keys[which], &mut models[which]);
        story.push(format!("{now:?} {key:?} {act:?}"));
        let told = || format!("seed {seed}, {quotas:#?}\n{}", story.join("\n"));
        let limits = &world.limits;
        let mut written = None;
        match act {
            Act::Check { cost, lease, takes } => {
                let mut check = Check::new(key, &quotas).cost(cost).lease(lease);
                check.takes = takes;
                let said = limits.check(&check).await.unwrap();
                assert_eq!(said, model.check(now, &check), "{}", told());
                hints = [said.retry_after(), said.reset()].into_iter().flatten().collect();
                leases.extend(said.lease());
                written = Some(said);
            }
            Act::Several(checks) => {
                let checks: Vec<(usize, Check<'_>)> = checks
                    .into_iter()
                    .map(|(n, cost, lease)| {
                        (n, Check::new(keys[n], &quotas).cost(cost).lease(lease))
                    })
                    .collect();
                let found = world.together(&checks).await;
                for ((n, check), found) in checks.iter().zip(found) {
                    let said = said(&found, check);
                    assert_eq!(said, models[*n].check(now, check), "{n} {check:?} {}", told());
                    leases.extend(said.lease());
                }
            }
            Act::Refund(cost) => {
                limits.refund(key, &quotas, cost).await.unwrap();
                model.refund(now, &quotas, cost);
            }
            Act::Release(lease) => {
                limits.release(key, &quotas, lease).await.unwrap();
                model.release(now, &quotas, lease);
            }
            Act::Reset(few) => {
                limits.reset(key, &quotas[..few]).await.unwrap();
                model.reset(&quotas[..few]);
            }
            Act::Block(time) => {
                limits.block(key, time).await.unwrap();
                model.block(now, time);
            }
        }
        let lives = world.lives().await;
        assert!(lives.iter().all(|life| *life >= 0), "no expiry: {}", told());
        if let Some(said) = written {
            expires_in_time(&said, &quotas, &lives, &told);
        }
    }
    world.clear().await;
}

/// The one key that a check just wrote lives as long as it counts.
fn expires_in_time(said: &Decision, quotas: &[Quota], lives: &[i64], told: &impl Fn() -> String) {
    if let ([_], [life], Some(reset)) = (quotas, lives, said.reset())
        && said.taken() > 0
    {
        let most = (reset.as_micros().div_ceil(1_000)) as i64 + i64::from(SPARE);
        // The machine may have been slow to ask.
        assert!((most - 60_000..=most + 1).contains(life), "{life} of {most}: {}", told());
    }
}

#[tokio::test]
async fn the_scripts_equal_the_rules() {
    let server = RedisServer::start();
    let seeds = match std::env::var("LARDER_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..2_000).collect(),
    };
    let mut worlds = JoinSet::new();
    // Each in a database of its own.
    for (number, seeds) in seeds.chunks(seeds.len().div_ceil(8)).enumerate() {
        let (url, seeds) = (format!("{}{number}", server.url()), seeds.to_vec());
        worlds.spawn(async move {
            let mut world = World::new(url).await;
            for seed in seeds {
                history(&mut world, seed).await;
            }
        });
    }
    worlds.join_all().await;
}

#[tokio::test]
async fn products_beyond_what_a_double_holds_are_compared_exactly() {
    let server = RedisServer::start();
    let (functions, _) = include_str!("check.lua").split_once("-- A rule settles").unwrap();
    let text = format!(
        "local now, spare = 0, 0 {functions} local n = cjson.decode(ARGV[2]) \
         return at_least(n[1], n[2], n[3], n[4]) and 1 or 0"
    );
    let script = redis::Script::new(&text);
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut rng = Rng::with_seed(0);
    for _ in 0..5_000 {
        let bits = rng.u32(2..52);
        let n = rng.u64(1 << (bits - 1)..1 << bits);
        let by = rng.u64(0..4);
        let [a, b, c, d] = match rng.u8(..4) {
            0 => [n, rng.u64(..MOST), rng.u64(..MOST), n],
            // n² ± by²
            1 => [n + by, n.saturating_sub(by), n, n],
            2 => [n, n, n + by, n.saturating_sub(by)],
            _ => [n, n + by, n + by, n + rng.u64(..2)],
        };
        let least = u128::from(a) * u128::from(b) >= u128::from(c) * u128::from(d);
        let numbers = format!("[{a},{b},{c},{d}]");
        let said: u8 = script.arg("").arg(&numbers).invoke_async(&mut connection).await.unwrap();
        assert_eq!(said == 1, least, "{numbers}");
    }
}
