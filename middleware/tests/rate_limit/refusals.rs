//! What those are told that are refused.

use http::{HeaderValue, Response};
use larder_core::rate_limit::{Decision, Reason};
use larder_core::{MemoryRateLimits, Quota, RateLimiter, VirtualRuntime, hours, millis, minutes};
use serde_json::json;
use tower::ServiceExt;

use super::world::{World, request};
use crate::runtime::test;

#[test]
fn a_refusal_is_a_problem_that_names_what_was_exceeded() {
    let quotas = [Quota::per_minute(2), Quota::per_hour(1), Quota::per_day(1)];
    World::new(quotas).run(async |world| {
        assert_eq!(world.ask_as("a").await.status, 200);
        world.runtime.advance(millis(500));
        let refused = world.ask_as("a").await;
        assert_eq!(refused.status, 429);
        assert_eq!(refused.number("retry-after"), Some(86_400));
        let mut problem = refused.problem();
        problem["violated-policies"].as_array_mut().unwrap().sort_by_key(|it| it.to_string());
        assert_eq!(
            problem,
            json!({
                "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
                "title": "Request cannot be satisfied as assigned quota has been exceeded",
                "status": 429,
                "detail": "the limit of 1 (day) is reached; try again in 86400 seconds",
                "violated-policies": ["day", "hour"],
            })
        );
        assert_eq!(world.origin.calls(), 1);
        // Others are not concerned.
        assert_eq!(world.ask_as("b").await.status, 200);
    });
}

#[test]
fn whoever_waits_as_told_is_let_through() {
    for quota in [
        Quota::new(3, millis(2_345)),
        Quota::new(3, millis(2_345)).sliding_window(),
        Quota::new(3, millis(2_345)).burst(2),
        Quota::new(1, millis(1)),
    ] {
        World::new([quota]).run(async |world| {
            for _ in 0..20 {
                let seen = world.ask_as("a").await;
                if let Some(wait) = seen.number("retry-after") {
                    assert!(wait > 0);
                    world.runtime.advance(std::time::Duration::from_secs(wait));
                    assert_eq!(world.ask_as("a").await.status, 200);
                }
            }
        });
    }
}

#[test]
fn what_costs_more_than_there_is_need_not_be_tried_again() {
    World::layered([Quota::per_minute(10)], |layer| layer.cost(|_| 11)).run(async |world| {
        let refused = world.ask_as("a").await;
        assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, None));
        let problem = refused.problem();
        assert_eq!(problem["violated-policies"], json!(["minute"]));
        assert!(problem["detail"].as_str().unwrap().contains("costs more"), "{problem}");
    });
}

#[test]
fn blocked_and_denied_keys_have_their_own_answers() {
    let runtime = VirtualRuntime::seeded(0);
    let limiter = RateLimiter::builder(MemoryRateLimits::builder().on(runtime.clone()))
        .quota(Quota::per_minute(10))
        .deny(["foe"])
        .allow(["friend"]);
    World::on(&runtime, limiter, |layer| layer).run(async |world| {
        world.limiter.block("a", minutes(2)).await.unwrap();
        let blocked = world.ask_as("a").await;
        assert_eq!((blocked.status.as_u16(), blocked.number("retry-after")), (429, Some(120)));
        assert_eq!(blocked.problem()["type"], "about:blank");
        let denied = world.ask_as("foe").await;
        assert_eq!((denied.status.as_u16(), denied.header("retry-after")), (403, None));
        assert_eq!(denied.problem()["title"], "Forbidden");
        let exempt = world.ask_as("friend").await;
        assert_eq!((exempt.status.as_u16(), exempt.header("x-ratelimit-limit")), (200, None));
    });
}

#[test]
fn a_handler_answers_in_its_place() {
    let quota = Quota::per_minute(1);
    let world = World::layered([quota], |layer| {
        layer.on_refusal(|refusal| {
            let left = refusal.decision().and_then(Decision::remaining);
            let text = format!("{} at {}: {left:?}", refusal.status(), refusal.request().uri);
            let mut response = Response::new(text.into());
            *response.status_mut() = http::StatusCode::IM_A_TEAPOT;
            if refusal.request().headers.contains_key("own") {
                response.headers_mut().insert("retry-after", HeaderValue::from_static("never"));
            }
            response
        })
    });
    world.run(async |world| {
        world.ask_as("a").await;
        let refused = world.ask_as("a").await;
        assert_eq!(refused.status, 418);
        assert_eq!(&refused.body[..], b"429 Too Many Requests at /: Some(0)");
        assert_eq!(refused.header("retry-after"), Some("60"));
        assert_eq!(refused.header("x-ratelimit-remaining"), Some("0"));
        let refused = world.ask(request(&[("who", "a"), ("own", "1")])).await;
        assert_eq!(refused.header("retry-after"), Some("never"));
        let keyless = world.ask(request(&[])).await;
        assert_eq!(&keyless.body[..], b"400 Bad Request at /: None");
    });
}

#[test]
fn quotas_that_cannot_be_are_a_fault_of_the_server() {
    let runtime = VirtualRuntime::seeded(0);
    let limiter = RateLimiter::builder(MemoryRateLimits::builder().on(runtime.clone()))
        .quotas_by(|_| [Quota::per_hour(1), Quota::per_hour(2)].into());
    World::on(&runtime, limiter, |layer| layer).run(async |world| {
        let failed = world.ask_as("a").await;
        assert_eq!((failed.status.as_u16(), world.origin.calls()), (500, 0));
        assert_eq!(failed.problem()["detail"], "the request cannot be counted");
    });
}

#[test]
fn the_decision_is_at_hand_inside_and_outside_where_it_is_out_of_the_ordinary() {
    let runtime = VirtualRuntime::seeded(0);
    for shadow in [true, false] {
        let limiter = RateLimiter::builder(MemoryRateLimits::builder().on(runtime.clone()))
            .quota(Quota::per_minute(1))
            .quota(Quota::concurrent(9, hours(1)))
            .shadow(shadow);
        World::on(&runtime, limiter, |layer| layer).run(async |world| {
            let ask = || world.service.clone().oneshot(request(&[("who", "a")]));
            let first = ask().await.unwrap();
            assert_eq!(first.headers()["x-left-inside"], "Some(0)");
            assert_eq!(first.extensions().get::<Decision>(), None);
            let second = ask().await.unwrap();
            let decision = second.extensions().get::<Decision>().unwrap();
            assert_eq!((decision.is_shadowed(), decision.is_allowed()), (shadow, shadow));
            assert_eq!(decision.reason(), Reason::OverQuota);
            assert_eq!(second.headers().contains_key("x-left-inside"), shadow);
        });
    }
}
