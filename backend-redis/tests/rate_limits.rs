//! What rate limits leave in Redis, and what they share with other programs.
#![allow(clippy::unwrap_used)] // A helper of a test may panic as the test may.

mod support;

use std::sync::Arc;
use std::time::Duration;

use larder_core::rate_limit::{Check, Decision, Reason};
use larder_core::{
    Quota, RateLimitStore, RateLimiter, Store, StoreErrorKind, days, hours, millis, minutes,
    seconds,
};
use larder_redis::{RateLimitLayout, RedisRateLimits, RedisStore};
use larder_tests::eventually;
use larder_tests::redis_server::RedisServer;

use support::{Answer, FakeServer, cluster, handshake};
use tokio::task::JoinSet;

const WHOLE_NUMBERS: [RateLimitLayout; 2] = [RateLimitLayout::Plain, RateLimitLayout::Express];

async fn limits(server: &RedisServer, layout: RateLimitLayout) -> RedisRateLimits {
    let store = RedisStore::builder().url(server.url()).command_timeout(seconds(30));
    store.connect().await.unwrap().rate_limits().layout(layout)
}

async fn take(limits: &RedisRateLimits, quota: &Quota, cost: u64) -> Decision {
    let quotas = std::slice::from_ref(quota);
    limits.check(&Check::new("a", quotas).cost(cost)).await.unwrap()
}

/// Milliseconds until a key expires.
fn life(server: &RedisServer, key: &str) -> i64 {
    server.command(&["PTTL", key]).trim_start_matches(':').parse().unwrap()
}

/// A quota of every rule.
fn every_rule(limit: u64) -> [Quota; 4] {
    let quota = Quota::new(limit, minutes(10));
    [
        quota.clone().named("fixed"),
        quota.clone().sliding_window().named("sliding"),
        quota.gcra().named("gcra"),
        Quota::concurrent(limit, minutes(10)),
    ]
}

#[tokio::test]
async fn a_count_lives_as_long_as_it_counts() {
    let server = RedisServer::start();
    let limits = limits(&server, RateLimitLayout::Exact).await;
    for quota in every_rule(3) {
        let reset = take(&limits, &quota, 1).await.reset().unwrap();
        let life = life(&server, &format!("{{limit:a}}:{}", quota.name()));
        let reset = i64::try_from(reset.as_millis()).unwrap();
        assert!((reset - 5_000..=reset + 101).contains(&life), "{quota:?}: {life} of {reset}");
    }
    limits.block("a", minutes(1)).await.unwrap();
    assert!((50_000..=60_101).contains(&life(&server, "{limit:a}")));
    assert_eq!(server.command(&["DBSIZE"]), ":5");
    limits.block("a", Duration::ZERO).await.unwrap();
    limits.reset("a", &every_rule(3)).await.unwrap();
    assert_eq!(server.command(&["DBSIZE"]), ":0");
    // What would say nothing is not written.
    take(&limits, &every_rule(3)[0], 4).await;
    limits.refund("a", &every_rule(3), 1).await.unwrap();
    assert_eq!(server.command(&["DBSIZE"]), ":0");
}

#[tokio::test]
async fn the_states_are_those_of_version_1() {
    let server = RedisServer::start();
    let limits = limits(&server, RateLimitLayout::Exact).await;
    let until = (1_u64 << 51) as f64;
    let number = |number: f64| {
        let bytes = number.to_le_bytes().map(|byte| format!("\\{byte}"));
        bytes.concat()
    };
    let quotas = every_rule(3);
    for (quota, state, left) in [
        (&quotas[0], format!("f{}{}", number(2.0), number(until)), 1),
        (&quotas[2], format!("g{}{}", number(until), number(1.0)), 0),
        (&quotas[3], format!("c\\1\\2\\3\\4\\5\\6\\7\\8{}{}", number(2.0), number(until)), 1),
    ] {
        let key = format!("{{limit:a}}:{}", quota.name());
        let set = format!("return redis.call('SET', KEYS[1], '{state}', 'PX', 60000)");
        assert_eq!(server.command(&["EVAL", &set, "1", &key]), "+OK");
        assert_eq!(take(&limits, quota, 0).await.remaining(), Some(left), "{quota:?}");
    }
    let sliding = "local time = redis.call('TIME') redis.call('SET', KEYS[1], struct.pack('<Bddd', \
                   115, time[1] * 1000000 + time[2], 1, 2), 'PX', 60000)";
    server.command(&["EVAL", sliding, "1", "{limit:a}:sliding"]);
    assert_eq!(take(&limits, &quotas[1], 0).await.remaining(), Some(0));
}

#[tokio::test]
async fn what_is_no_state_counts_nothing_and_is_written_over() {
    let server = RedisServer::start();
    let limits = limits(&server, RateLimitLayout::Exact).await;
    for quota in every_rule(3) {
        let key = format!("{{limit:a}}:{}", quota.name());
        for value in ["", "f", "g123", "17", "cshort", "x23456789012345678"] {
            server.command(&["SET", &key, value]);
            assert_eq!(take(&limits, &quota, 1).await.remaining(), Some(2), "{quota:?}, {value:?}");
            assert!(life(&server, &key) > 0);
        }
        server.command(&["DEL", &key]);
        server.command(&["LPUSH", &key, "a list"]);
        server.command(&["SET", "{limit:a}", "nothing"]);
        assert_eq!(take(&limits, &quota, 1).await.remaining(), Some(2), "{quota:?}, a list");
    }
}

#[tokio::test]
async fn checks_are_not_gathered_on_a_cluster() {
    let server = cluster().await;
    let limits = limits(&server, RateLimitLayout::Exact).await;
    for round in 1..=3 {
        let checks: JoinSet<bool> = (0..100)
            .map(|i| {
                let limits = limits.clone();
                async move {
                    let quotas = [Quota::per_day(3)];
                    let key = format!("{i}");
                    let decision = limits.check(&Check::new(&key, &quotas)).await.unwrap();
                    decision.remaining() == Some(3 - round)
                }
            })
            .collect();
        assert!(checks.join_all().await.into_iter().all(|is_right| is_right), "round {round}");
    }
    // What was refused together was refused before anything was counted, and only at first.
    let stats = server.command(&["INFO", "errorstats"]);
    let refused = stats.lines().find_map(|it| it.strip_prefix("errorstat_CROSSSLOT:count="));
    assert!((1..=4).contains(&refused.unwrap().trim().parse().unwrap()), "{stats}");
}

#[tokio::test]
async fn checks_at_the_same_time_are_gathered_and_exact() {
    let server = RedisServer::start();
    let store = RedisStore::builder().url(server.url()).command_timeout(seconds(30));
    let limits = store.connect().await.unwrap().rate_limits();
    take(&limits, &Quota::per_day(100), 0).await;
    let before = server.calls_of("evalsha");
    // A window that brings nothing back meanwhile.
    let quotas: Arc<[Quota]> = Arc::new(every_rule(100));
    let checks: JoinSet<bool> = (0..1_000)
        .map(|i| {
            let (limits, quotas) = (limits.clone(), Arc::clone(&quotas));
            async move {
                let key = ["a", "b", "c"][i % 3];
                let check = Check::new(key, &quotas).lease(i as u64);
                limits.check(&check).await.unwrap().is_allowed()
            }
        })
        .collect();
    let allowed = checks.join_all().await.into_iter().filter(|it| *it).count();
    assert_eq!(allowed, 300);
    let calls = server.calls_of("evalsha") - before;
    assert!(calls < 200, "{calls} calls for 1,000 checks");
}

#[tokio::test]
async fn the_keys_of_a_check_are_in_one_slot_and_meet_no_others() {
    let server = cluster().await;
    let keys = [
        "a",
        "}a",
        "a}b",
        "{a}b",
        "x{a}b",
        "{}",
        "}{",
        "{{a}}",
        "2001:db8::/64",
        "}:fixed",
        "{}{a}",
        "ä}",
    ];
    for layout in [RateLimitLayout::Exact, RateLimitLayout::Plain, RateLimitLayout::Express] {
        let limits = limits(&server, layout).await;
        let quotas = match layout {
            RateLimitLayout::Exact => {
                [&every_rule(3)[..], &[Quota::per_day(2).named("}%:")]].concat()
            }
            _ => vec![Quota::per_day(2)],
        };
        for key in keys {
            let check = Check::new(key, &quotas).lease(1);
            // The server refuses keys of more than one slot.
            assert!(limits.check(&check).await.unwrap().is_allowed(), "{layout:?}, {key}");
            assert!(limits.check(&check).await.unwrap().is_allowed(), "{layout:?}, {key}");
            assert!(!limits.check(&check).await.unwrap().is_allowed(), "{layout:?}, {key}");
            limits.refund(key, &quotas, 1).await.unwrap();
            limits.release(key, &quotas, 1).await.unwrap();
            limits.block(key, hours(1)).await.unwrap();
            assert_eq!(limits.check(&check).await.unwrap().reason(), Reason::Blocked);
        }
        for key in keys.iter().take(1) {
            limits.reset(key, &quotas).await.unwrap();
            assert!(limits.check(&Check::new(key, &quotas)).await.unwrap().is_allowed());
        }
        server.command(&["FLUSHALL"]);
    }
}

#[tokio::test]
async fn a_script_that_redis_forgot_is_sent_again() {
    let mut server = RedisServer::start();
    let quota = Quota::per_hour(100);
    for layout in [RateLimitLayout::Exact, RateLimitLayout::Plain] {
        let limits = limits(&server, layout).await;
        assert_eq!(take(&limits, &quota, 1).await.remaining(), Some(99));
        let texts = server.calls_of("eval");
        assert_eq!(take(&limits, &quota, 1).await.remaining(), Some(98));
        assert_eq!(server.calls_of("eval"), texts);
        server.command(&["SCRIPT", "FLUSH"]);
        assert_eq!(take(&limits, &quota, 1).await.remaining(), Some(97));
        assert_eq!(server.calls_of("eval"), texts + 1);
        server.restart();
        eventually("Redis is back", async || limits.ready().await.is_ok()).await;
        assert_eq!(take(&limits, &quota, 1).await.remaining(), Some(99));
    }
}

#[tokio::test]
async fn a_check_whose_answer_was_lost_is_not_sent_again() {
    let server = FakeServer::start(|command| {
        handshake(command).unwrap_or_else(|| match command[0].as_str() {
            "EVALSHA" => Answer::HangUp,
            _ => Answer::Say(":1\r\n".into()),
        })
    })
    .await;
    let store = RedisStore::builder().url(server.url()).backoff(millis(1), millis(1));
    let limits = store.without_circuit_breaker().connect().await.unwrap().rate_limits();
    let quotas = [Quota::per_hour(1)];
    let error = limits.check(&Check::new("a", &quotas)).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (StoreErrorKind::Unavailable, "check"));
    assert_eq!(server.count("EVALSHA"), 1);
    limits.refund("a", &quotas, 1).await.unwrap_err();
    assert_eq!(server.count("EVALSHA"), 2);
    // To be told twice is no harm to these.
    limits.check(&Check::new("a", &quotas).peek()).await.unwrap_err();
    assert_eq!(server.count("EVALSHA"), 6);
    limits.block("a", seconds(1)).await.unwrap_err();
    assert_eq!(server.count("EVALSHA"), 10);
}

#[tokio::test]
async fn what_redis_cannot_count_is_named() {
    let limits = RedisRateLimits::lazy("redis://127.0.0.1:1/").unwrap();
    let huge = u64::from(u32::MAX) << 21;
    let many: Vec<Quota> = (0..256).map(|i| Quota::per_day(1).named(format!("{i}"))).collect();
    for (quotas, said) in [
        (vec![Quota::per_day(huge)], "counts exactly below 4503599627370496 only"),
        (vec![Quota::per_day(1).burst(huge)], "counts exactly below 4503599627370496 only"),
        (vec![Quota::new(1, days(40_000))], "a century is the longest"),
        (vec![Quota::per_day(1).burst(40_000)], "more than a century to bring 40000 back"),
        (many, "256 quotas at once"),
    ] {
        let error = limits.check(&Check::new("a", &quotas)).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Config, "{error}");
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(limits.check_quotas(&quotas).unwrap_err().kind(), StoreErrorKind::Config);
    }
    limits.check_quotas(&[Quota::per_day(1), Quota::concurrent(1, days(1))]).unwrap();
    let error = limits.clone().prefix("").check_quotas(&[Quota::per_day(1)]).unwrap_err();
    assert!(error.to_string().contains("closing brace"), "{error}");
    let error = limits.prefix("").reset("a", &[]).await.unwrap_err();
    assert!(error.to_string().contains("closing brace"), "{error}");
    let limits = RedisRateLimits::lazy("redis://127.0.0.1:1/").unwrap();
    let limits = limits.layout(RateLimitLayout::Express).prefix("rl:");
    let error = limits.check_quotas(&[Quota::per_day(1)]).unwrap_err();
    assert!(error.to_string().contains("namespace"), "{error}");
    let error = limits.check(&Check::new("a", &[])).await.unwrap_err();
    assert!(error.to_string().contains("RateLimiterBuilder::namespace"), "{error}");
    for layout in WHOLE_NUMBERS {
        let limits = RedisRateLimits::lazy("redis://127.0.0.1:1/").unwrap().layout(layout);
        let quota = Quota::per_day(1);
        limits.check_quotas(std::slice::from_ref(&quota)).unwrap();
        let error = limits.check_quotas(&[Quota::per_day(huge)]).unwrap_err();
        assert!(error.to_string().contains("counts exactly below"), "{error}");
        let limiter = RateLimiter::builder(limits.clone()).quota(quota.clone());
        let limiter = limiter.build().unwrap();
        for quotas in [
            vec![quota.clone().gcra()],
            vec![quota.clone().sliding_window()],
            vec![Quota::concurrent(1, seconds(1))],
            vec![quota, Quota::per_second(1)],
        ] {
            let error = limiter.with_quotas(quotas.clone()).unwrap_err();
            assert!(error.to_string().contains("RateLimitLayout::Exact"), "{error}");
            for error in [
                limits.check(&Check::new("a", &quotas)).await.unwrap_err(),
                limits.refund("a", &quotas, 1).await.unwrap_err(),
                limits.release("a", &quotas, 1).await.unwrap_err(),
                limits.reset("a", &quotas).await.unwrap_err(),
            ] {
                assert_eq!(error.kind(), StoreErrorKind::Config, "{error}");
                assert!(error.to_string().contains("RateLimitLayout::Exact"), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_limiter_counts_where_others_do_unless_told_otherwise() {
    let server = RedisServer::start();
    for (layout, key) in [
        (RateLimitLayout::Exact, "{limit:ratelimit:a}:minute"),
        (RateLimitLayout::Plain, "ratelimit:a"),
        (RateLimitLayout::Express, "rl:a"),
    ] {
        let limits = limits(&server, layout).await;
        // As a limiter has it, and one over a store of which only the port is known.
        let port: Arc<dyn RateLimitStore> = Arc::new(limits.clone());
        for builder in [RateLimiter::builder(limits.clone()), RateLimiter::approximate(port)] {
            let limiter = builder.quota(Quota::per_minute(3)).build().unwrap();
            assert!(limiter.check("a").await.unwrap().is_allowed());
            assert_eq!(server.command(&["DBSIZE"]), ":1");
            assert!(life(&server, key) > 0, "{layout:?}");
            limiter.reset("a").await.unwrap();
        }
        let limiter = RateLimiter::builder(limits).namespace("shop").quota(Quota::per_minute(3));
        limiter.build().unwrap().check("a").await.unwrap();
        let key = key.replace("ratelimit", "shop").replace("rl", "shop");
        assert!(life(&server, &key) > 0, "{layout:?}");
        server.command(&["FLUSHDB"]);
    }
}

#[tokio::test]
async fn whole_numbers_are_those_of_other_programs() {
    let (quota, key) = (Quota::per_minute(3), "a");
    for layout in WHOLE_NUMBERS {
        let server = RedisServer::start();
        let limits = limits(&server, layout).await;
        let first = take(&limits, &quota, 1).await;
        assert_eq!((first.remaining(), first.reset()), (Some(2), Some(minutes(1))), "{layout:?}");
        assert_eq!(server.command(&["GET", key]), "1");
        assert!((50_000..=60_000).contains(&life(&server, key)), "{layout:?}");
        // Another program counts, in the same window.
        server.command(&["PEXPIRE", key, "30000"]);
        server.command(&["INCR", key]);
        let third = take(&limits, &quota, 1).await;
        assert_eq!((third.is_allowed(), third.remaining()), (true, Some(0)), "{layout:?}");
        assert!(third.reset() <= Some(seconds(30)), "{third:?}");
        assert_eq!(server.command(&["GET", key]), "3");
        // What is refused here is not counted; elsewhere it is.
        let refused = take(&limits, &quota, 1).await;
        assert!(!refused.is_allowed() && refused.retry_after() == refused.reset(), "{refused:?}");
        assert_eq!(server.command(&["GET", key]), "3");
        server.command(&["INCRBY", key, "5"]);
        assert_eq!(take(&limits, &quota, 1).await.remaining(), Some(0));
        limits.refund("a", std::slice::from_ref(&quota), 6).await.unwrap();
        assert_eq!(server.command(&["GET", key]), "2");
        assert!((1..=30_000).contains(&life(&server, key)), "{layout:?}");
        let check = Check::new("a", std::slice::from_ref(&quota)).peek();
        assert_eq!(limits.check(&check).await.unwrap().remaining(), Some(1));
        limits.refund("a", std::slice::from_ref(&quota), 100).await.unwrap();
        assert_eq!(server.command(&["EXISTS", key]), ":0");
        limits.refund("a", std::slice::from_ref(&quota), 1).await.unwrap();
        assert_eq!(server.command(&["EXISTS", key]), ":0");
    }
}

#[tokio::test]
async fn a_whole_number_never_stays_without_an_expiry() {
    let (quota, key) = (Quota::per_minute(3), "a");
    for layout in WHOLE_NUMBERS {
        let server = RedisServer::start();
        let limits = limits(&server, layout).await;
        let peek = || Check::new("a", std::slice::from_ref(&quota)).peek();
        // rate-limit-redis begins a new window; a service that lost its EXPIRE counted on.
        for (cost, left_by_hand) in [(1, 0), (0, 1), (2, 1), (4, 1)] {
            server.command(&["SET", key, "2"]);
            let left = match (layout, cost) {
                (RateLimitLayout::Plain, _) => left_by_hand,
                (_, 4) => 3,
                (_, cost) => 3 - cost,
            };
            assert_eq!(take(&limits, &quota, cost).await.remaining(), Some(left), "{layout:?}");
            let life = life(&server, key);
            assert!(life == -2 || (50_000..=60_000).contains(&life), "{layout:?} {cost}: {life}");
        }
        server.command(&["SET", key, "3"]);
        limits.check(&peek()).await.unwrap();
        assert_ne!(life(&server, key), -1, "after a peek, {layout:?}");
        server.command(&["SET", key, "3"]);
        limits.refund("a", std::slice::from_ref(&quota), 1).await.unwrap();
        assert_ne!(life(&server, key), -1, "after a refund, {layout:?}");
        // A window of another length, and what Express leaves that gave back what had expired.
        server.command(&["SET", key, "3", "PX", "7200000"]);
        assert!(!take(&limits, &quota, 1).await.is_allowed());
        assert!((50_000..=60_000).contains(&life(&server, key)), "{layout:?}");
        server.command(&["SET", key, "-1"]);
        assert_eq!(take(&limits, &quota, 1).await.remaining(), Some(2), "{layout:?}");
        assert!((50_000..=60_000).contains(&life(&server, key)), "{layout:?}");
        server.command(&["SET", key, "no number"]);
        let error = limits.check(&peek()).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::WrongType, "{error}");
        server.command(&["SET", key, "99999999999999999999999999", "PX", "5000"]);
        assert_eq!(take(&limits, &quota, 1).await.remaining(), Some(0), "{layout:?}");
        server.command(&["DEL", key]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_handles_share_one_number_exactly() {
    let server = RedisServer::start();
    for key in ["ratelimit:a", "rl:a"] {
        let layout = WHOLE_NUMBERS[usize::from(key.starts_with("rl:"))];
        let handles = [limits(&server, layout).await, limits(&server, layout).await];
        let limiters = handles.map(|it| {
            let limiter = RateLimiter::builder(it).quota(Quota::per_hour(100));
            // Each asks Redis, also after a refusal.
            limiter.remember_refusals(0, Duration::ZERO).timeout(seconds(30)).build().unwrap()
        });
        for window in 0..3 {
            let tasks: JoinSet<usize> = (0..16)
                .map(|task| {
                    let limiter = limiters[task % 2].clone();
                    async move {
                        let mut allowed = 0;
                        for _ in 0..25 {
                            let decision = limiter.check("a").await.unwrap();
                            assert!(!decision.is_degraded(), "{decision:?}");
                            allowed += usize::from(decision.is_allowed());
                        }
                        allowed
                    }
                })
                .collect();
            let allowed: usize = tasks.join_all().await.into_iter().sum();
            assert_eq!(allowed, 100, "{layout:?}, window {window}");
            assert_eq!(server.command(&["GET", key]), "100");
            server.command(&["PEXPIRE", key, "1"]);
            eventually("the window is over", async || server.command(&["EXISTS", key]) == ":0")
                .await;
        }
    }
}

#[tokio::test]
async fn a_block_stands_beside_a_whole_number() {
    let (quota, key) = (Quota::per_minute(3), "a");
    for layout in WHOLE_NUMBERS {
        let server = RedisServer::start();
        let limits = limits(&server, layout).await;
        take(&limits, &quota, 1).await;
        limits.block("a", hours(1)).await.unwrap();
        let refused = take(&limits, &quota, 1).await;
        assert_eq!(refused.reason(), Reason::Blocked);
        let wait = refused.retry_after().unwrap();
        assert!(wait <= hours(1) && wait > minutes(59), "{wait:?}");
        assert_eq!(server.command(&["GET", key]), "1");
        assert!(life(&server, &format!("{{{key}}}:blocked")) > 0);
        assert!(!limits.check(&Check::new("a", &[])).await.unwrap().is_allowed());
        limits.block("a", Duration::ZERO).await.unwrap();
        assert!(limits.check(&Check::new("a", &[])).await.unwrap().is_allowed());
        assert!(life(&server, key) > 50_000);
        assert_eq!(take(&limits, &quota, 1).await.remaining(), Some(1));
        limits.block("a", millis(20)).await.unwrap();
        eventually("the block is over", async || take(&limits, &quota, 0).await.is_allowed()).await;
        limits.block("a", hours(1)).await.unwrap();
        limits.reset("a", std::slice::from_ref(&quota)).await.unwrap();
        assert_eq!(take(&limits, &quota, 1).await.remaining(), Some(2));
    }
}

#[tokio::test]
async fn limits_share_a_stores_connection_and_leave_it_open() {
    let server = RedisServer::start();
    let store = RedisStore::connect(server.url()).await.unwrap();
    let limits = store.rate_limits();
    limits.ready().await.unwrap();
    let clients = server.command(&["CLIENT", "LIST"]);
    assert_eq!(
        clients
            .lines()
            .filter(|it| it.contains("lib-name=larder") || it.contains("resp=3"))
            .count(),
        1,
        "{clients}"
    );
    limits.close().await.unwrap();
    let error = limits.check(&Check::new("a", &[])).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Closed);
    assert_eq!(store.get("a").await.unwrap(), None);

    let own = RedisRateLimits::connect(server.url()).await.unwrap();
    own.close().await.unwrap();
    own.close().await.unwrap();
    assert_eq!(own.ready().await.unwrap_err().kind(), StoreErrorKind::Closed);
}
