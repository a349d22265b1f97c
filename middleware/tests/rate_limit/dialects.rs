//! What the headers say, dialect by dialect.

use larder_core::{Quota, Runtime, Timestamp, millis, minutes, seconds};
use larder_http::rate_limit::Dialect;

use super::world::{Seen, World};
use crate::runtime::test;

/// The headers of a limit, by name.
fn told(seen: &Seen) -> Vec<String> {
    let mut lines: Vec<String> = seen
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().contains("ratelimit") || *name == "retry-after")
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    lines
}

/// The first of two requests a minute, and one that is refused 20.5 seconds later; from 0.25
/// seconds past a whole second.
fn exchange(dialects: impl IntoIterator<Item = Dialect>) -> [Vec<String>; 2] {
    let quota = Quota::per_minute(2);
    World::layered([quota], |layer| layer.headers(dialects)).run(async |world| {
        settle_at(&world, Timestamp::from_millis(1_795_406_100_250));
        let first = world.ask_as("a").await;
        world.ask_as("a").await;
        world.runtime.advance(millis(20_500));
        let refused = world.ask_as("a").await;
        assert_eq!((first.status.as_u16(), refused.status.as_u16()), (200, 429));
        [told(&first), told(&refused)]
    })
}

fn settle_at(world: &World, time: Timestamp) {
    let now = world.runtime.now();
    assert!(now <= time, "the clock is at {now:?} already");
    world.runtime.advance(time.since(now));
}

#[test]
fn x_rate_limit_is_the_default() {
    let [first, refused] = exchange([Dialect::X_RATE_LIMIT]);
    assert_eq!(
        first,
        ["x-ratelimit-limit: 2", "x-ratelimit-remaining: 1", "x-ratelimit-reset: 1795406161",]
    );
    assert_eq!(
        refused,
        [
            "retry-after: 40",
            "x-ratelimit-limit: 2",
            "x-ratelimit-remaining: 0",
            "x-ratelimit-reset: 1795406161",
        ]
    );
    World::new([Quota::per_minute(2)]).run(async |world| {
        assert_eq!(world.ask_as("a").await.number("x-ratelimit-limit"), Some(2));
    });
}

#[test]
fn draft_6() {
    let [first, refused] = exchange([Dialect::DRAFT_6]);
    assert_eq!(
        first,
        [
            "ratelimit-limit: 2",
            "ratelimit-policy: 2;w=60",
            "ratelimit-remaining: 1",
            "ratelimit-reset: 60",
        ]
    );
    assert_eq!(
        refused,
        [
            "ratelimit-limit: 2",
            "ratelimit-policy: 2;w=60",
            "ratelimit-remaining: 0",
            "ratelimit-reset: 40",
            "retry-after: 40",
        ]
    );
}

#[test]
fn draft_7() {
    let [first, refused] = exchange([Dialect::DRAFT_7]);
    assert_eq!(first, ["ratelimit-policy: 2;w=60", "ratelimit: limit=2, remaining=1, reset=60"]);
    assert_eq!(
        refused,
        [
            "ratelimit-policy: 2;w=60",
            "ratelimit: limit=2, remaining=0, reset=40",
            "retry-after: 40",
        ]
    );
}

#[test]
fn ietf() {
    let [first, refused] = exchange([Dialect::IETF]);
    assert_eq!(first, ["ratelimit-policy: \"minute\";q=2;w=60", "ratelimit: \"minute\";r=1;t=60"]);
    assert_eq!(
        refused,
        [
            "ratelimit-policy: \"minute\";q=2;w=60",
            "ratelimit: \"minute\";r=0;t=40",
            "retry-after: 40",
        ]
    );
}

#[test]
fn none_and_several() {
    let [first, refused] = exchange([]);
    assert_eq!((first, refused), (vec![], vec!["retry-after: 40".into()]));
    let [first, _] = exchange([Dialect::IETF, Dialect::X_RATE_LIMIT]);
    assert_eq!(first.len(), 5);
}

#[test]
fn several_quotas_are_all_told_where_the_dialect_can() {
    let quotas = [Quota::per_day(1_000), Quota::new(3, millis(1_500)).named("burst")];
    let dialects = [Dialect::X_RATE_LIMIT, Dialect::IETF];
    World::layered(quotas.clone(), |layer| layer.headers(dialects)).run(async |world| {
        let seen = world.ask_as("a").await;
        assert_eq!(
            seen.header("ratelimit-policy"),
            Some("\"burst\";q=3;w=2, \"day\";q=1000;w=86400")
        );
        assert_eq!(seen.header("ratelimit"), Some("\"burst\";r=2;t=2, \"day\";r=999;t=86400"));
        assert_eq!(seen.number("x-ratelimit-limit"), Some(3));
    });
    World::layered(quotas, |layer| layer.headers([Dialect::DRAFT_6])).run(async |world| {
        let seen = world.ask_as("a").await;
        assert_eq!(seen.header("ratelimit-policy"), Some("3;w=2, 1000;w=86400"));
        assert_eq!(seen.header("ratelimit-reset"), Some("2"));
    });
}

#[test]
fn the_time_of_a_refusal_is_that_after_which_the_request_will_pass() {
    let quota = Quota::new(10, seconds(60)).burst(2).named("smooth");
    World::layered([quota], |layer| layer.headers([Dialect::IETF])).run(async |world| {
        world.ask_as("a").await;
        world.ask_as("a").await;
        let refused = world.ask_as("a").await;
        assert_eq!(refused.header("ratelimit"), Some("\"smooth\";r=0;t=6"));
        assert_eq!(refused.header("retry-after"), Some("6"));
        world.runtime.advance(seconds(6));
        assert_eq!(world.ask_as("a").await.status, 200);
    });
}

#[test]
fn the_window_of_a_token_bucket_is_the_time_that_fills_it() {
    for (quota, policy) in [
        (Quota::per_second(10).burst(50), "q=50;w=5"),
        (Quota::per_minute(7).burst(3), "q=3;w=26"),
        (Quota::per_minute(100).gcra(), "q=100;w=60"),
        (Quota::new(1_000, millis(100)).burst(5), "q=5;w=1"),
    ] {
        let draft = policy.trim_start_matches("q=").to_owned();
        let quota = [quota.named("smooth")];
        World::layered(quota.clone(), |layer| layer.headers([Dialect::IETF])).run(async |world| {
            let seen = world.ask_as("a").await;
            assert_eq!(seen.header("ratelimit-policy"), Some(&*format!("\"smooth\";{policy}")));
        });
        for dialect in [Dialect::DRAFT_6, Dialect::DRAFT_7] {
            World::layered(quota.clone(), |layer| layer.headers([dialect])).run(async |world| {
                assert_eq!(world.ask_as("a").await.header("ratelimit-policy"), Some(&*draft));
            });
        }
    }
}

#[test]
fn leases_are_told_in_their_unit_and_without_a_window() {
    let quotas = [Quota::concurrent(4, seconds(30)), Quota::per_minute(9)];
    World::layered(quotas.clone(), |layer| layer.headers([Dialect::IETF])).run(async |world| {
        let seen = world.ask_as("a").await;
        let policies = "\"concurrent\";q=4;qu=\"concurrent-requests\", \"minute\";q=9;w=60";
        assert_eq!(seen.header("ratelimit-policy"), Some(policies));
    });
    World::layered(quotas, |layer| layer.headers([Dialect::DRAFT_6])).run(async |world| {
        assert_eq!(world.ask_as("a").await.header("ratelimit-policy"), Some("9;w=60"));
    });
    let quota = [Quota::concurrent(4, seconds(30))];
    World::layered(quota, |layer| layer.headers([Dialect::DRAFT_7])).run(async |world| {
        let seen = world.ask_as("a").await;
        assert_eq!(seen.header("ratelimit-policy"), None);
        assert!(seen.header("ratelimit").unwrap().starts_with("limit=4, remaining=3"));
    });
}

#[test]
fn of_several_quotas_those_that_did_not_refuse_tell_no_later_time() {
    let quotas = [
        Quota::per_day(1_000),
        Quota::new(2, seconds(10)).named("burst"),
        Quota::new(2, minutes(1)).named("minute"),
    ];
    World::layered(quotas, |layer| layer.headers([Dialect::IETF])).run(async |world| {
        world.ask_as("a").await;
        world.ask_as("a").await;
        let refused = world.ask_as("a").await;
        let limits = "\"minute\";r=0;t=60, \"burst\";r=0;t=10, \"day\";r=998";
        let mut told: Vec<_> = refused.header("ratelimit").unwrap().split(", ").collect();
        told[1..].sort_unstable();
        assert_eq!(told.join(", "), limits);
        assert_eq!(refused.header("retry-after"), Some("60"));
    });
}

#[test]
fn names_are_strings_of_structured_fields() {
    for (name, string) in [
        ("a\"b\\c", r#""a\"b\\c""#),
        ("per minute; w=1, x", r#""per minute; w=1, x""#),
        ("täglich", r#""t%C3%A4glich""#),
    ] {
        let quota = Quota::per_minute(2).named(name);
        World::layered([quota], |layer| layer.headers([Dialect::IETF])).run(async |world| {
            let seen = world.ask_as("a").await;
            assert_eq!(seen.header("ratelimit"), Some(&*format!("{string};r=1;t=60")));
        });
    }
}

#[test]
fn integers_are_those_of_structured_fields() {
    let quota = Quota::per_minute(u64::MAX);
    let dialects = [Dialect::IETF, Dialect::X_RATE_LIMIT];
    World::layered([quota], |layer| layer.headers(dialects)).run(async |world| {
        let seen = world.ask_as("a").await;
        assert_eq!(seen.header("ratelimit"), Some("\"minute\";r=999999999999999;t=60"));
        assert_eq!(seen.number("x-ratelimit-limit"), Some(u64::MAX));
    });
}

#[test]
fn a_service_that_takes_its_time_tells_times_from_when_it_answers() {
    let own = Dialect::new(|decision, decided, headers| {
        headers.insert("x-left", decision.remaining().unwrap().into());
        headers.insert("x-decided", decided.as_millis().into());
    });
    let dialects = [Dialect::X_RATE_LIMIT, Dialect::DRAFT_6, Dialect::IETF, own];
    let world = World::layered([Quota::per_minute(2)], |layer| layer.headers(dialects));
    for (takes, left) in [(seconds(20), 40), (millis(59_001), 1), (minutes(3), 0)] {
        world.takes(takes);
        world.run(async |world| {
            world.limiter.reset("a").await.unwrap();
            let start = world.runtime.now();
            let seen = world.ask_as("a").await;
            let now = world.runtime.now();
            assert_eq!(now.since(start), takes);
            assert_eq!(seen.number("x-left"), Some(1));
            assert_eq!(seen.number("x-decided"), Some(start.as_millis()));
            assert_eq!(seen.number("ratelimit-reset"), Some(left));
            assert_eq!(seen.header("ratelimit"), Some(&*format!("\"minute\";r=1;t={left}")));
            let reset = (start + minutes(1)).max(now).as_micros().div_ceil(1_000_000);
            assert_eq!(seen.number("x-ratelimit-reset"), Some(reset));
        });
    }
}
