//! The arithmetic of headers, on random quotas and times.

use std::time::Duration;

use larder_core::{Quota, Runtime};
use larder_http::rate_limit::Dialect;
use proptest::prelude::*;

use super::world::{Seen, World, request};
use crate::runtime::test;

fn quota() -> impl Strategy<Value = Quota> {
    (0_u64..6, 1_u64..5_000_000, 0..3, 0_u64..9).prop_map(|(limit, micros, rule, burst)| {
        let quota = Quota::new(limit, Duration::from_micros(micros));
        match rule {
            0 => quota,
            1 => quota.sliding_window(),
            _ => quota.burst(burst),
        }
        .named(format!("{rule}-{limit}-{burst}-{micros}"))
    })
}

/// The members of `RateLimit`: what remains, and the time, if it is told.
fn members(seen: &Seen) -> Vec<(u64, Option<u64>)> {
    let members = seen.header("ratelimit").unwrap().split(", ").map(|member| {
        let (_, parameters) = member.split_once(";r=").unwrap();
        match parameters.split_once(";t=") {
            Some((left, time)) => (left.parse().unwrap(), Some(time.parse().unwrap())),
            None => (parameters.parse().unwrap(), None),
        }
    });
    members.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn headers_fit_together_and_come_true(
        quotas in proptest::collection::vec(quota(), 1..3),
        steps in proptest::collection::vec((0_u64..3_000_000, 0_u64..4, 0_u64..2_000_000), 1..20),
        offset in 0_u64..1_000_000,
    ) {
        prop_assume!(quotas.len() < 2 || quotas[0].name() != quotas[1].name());
        let dialects = [Dialect::X_RATE_LIMIT, Dialect::DRAFT_6, Dialect::IETF];
        let cost = |head: &http::request::Parts| head.headers["cost"].to_str().unwrap().parse().unwrap();
        let world = World::layered(quotas, |layer| layer.headers(dialects).cost(cost));
        world.runtime.advance(Duration::from_micros(offset));
        world.run(async |world| {
            for (pass, cost, takes) in steps {
                world.takes(Duration::from_micros(takes));
                let cost = cost.to_string();
                let ask = || world.ask(request(&[("who", "a"), ("cost", &cost)]));
                let seen = ask().await;
                let now = world.runtime.now();
                let (limit, left) = (seen.number("x-ratelimit-limit"), seen.number("x-ratelimit-remaining"));
                prop_assert!(left <= limit);
                prop_assert_eq!((limit, left), (seen.number("ratelimit-limit"), seen.number("ratelimit-remaining")));
                let reset = seen.number("x-ratelimit-reset").unwrap();
                prop_assert!(reset * 1_000_000 >= now.as_micros());
                let after = seen.number("ratelimit-reset").unwrap();
                // Both are rounded up, from the same moment.
                let earliest = now.as_micros() / 1_000_000 + after;
                prop_assert!((earliest.saturating_sub(1)..=earliest + 1).contains(&reset));
                let members = members(&seen);
                prop_assert_eq!(Some(members[0].0), left);

                if let Some(wait) = seen.number("retry-after") {
                    prop_assert_eq!((seen.status.as_u16(), wait > 0), (429, true));
                    prop_assert!(members[0].1.is_some());
                    prop_assert!(members.iter().all(|(_, time)| Some(wait) >= *time));
                    world.runtime.advance(Duration::from_secs(wait));
                    prop_assert_eq!(ask().await.status.as_u16(), 200);
                }
                world.runtime.advance(Duration::from_micros(pass));
            }
            Ok(())
        })?;
    }
}
