//! Requests at the same time.

use std::convert::Infallible;

use bytes::Bytes;
use futures::future::{join_all, pending};
use futures::stream;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use larder_core::{MemoryRateLimits, Quota, RateLimiter, VirtualRuntime, minutes, seconds};
use larder_http::RateLimit;
use larder_http::rate_limit::By;
use tower::{Layer, ServiceExt, service_fn};

use super::world::{World, request};
use crate::runtime::test;

fn limiter(runtime: &VirtualRuntime, at_once: u64) -> RateLimiter {
    RateLimiter::builder(MemoryRateLimits::builder().on(runtime.clone()))
        .quota(Quota::concurrent(at_once, minutes(1)))
        .build()
        .unwrap()
}

async fn left(limiter: &RateLimiter) -> Option<u64> {
    limiter.peek("/").await.unwrap().remaining()
}

#[test]
fn a_lease_is_held_until_the_body_has_ended_or_is_dropped() {
    let runtime = VirtualRuntime::seeded(1);
    let limiter = limiter(&runtime, 1);
    let two_parts = service_fn(async |_: Request<()>| {
        let parts = ["a", "b"].map(|part| Ok::<_, Infallible>(Frame::data(Bytes::from(part))));
        Ok::<_, Infallible>(Response::new(StreamBody::new(stream::iter(parts))))
    });
    let service = RateLimit::new(limiter.clone()).by(By::path()).layer(two_parts);
    runtime.block_on(async {
        let ask = || service.clone().oneshot(request(&[]));

        let mut response = ask().await.unwrap();
        assert_eq!(ask().await.unwrap().status(), 429);
        for _ in 0..2 {
            response.frame().await.unwrap().unwrap();
            assert_eq!(left(&limiter).await, Some(0));
        }
        assert!(response.frame().await.is_none());
        assert_eq!(left(&limiter).await, Some(1));

        let dropped = ask().await.unwrap();
        assert_eq!(left(&limiter).await, Some(0));
        drop(dropped);
        assert_eq!(left(&limiter).await, Some(1));
        drop(response);
        assert_eq!(left(&limiter).await, Some(1));
    });
}

#[test]
fn a_body_that_says_when_it_ends_is_not_asked_again() {
    World::new([Quota::concurrent(1, minutes(1))]).run(async |world| {
        let response = world.service.clone().oneshot(request(&[("who", "a")])).await.unwrap();
        let mut body = response.into_body();
        assert_eq!(body.size_hint().exact(), Some(5));
        body.frame().await.unwrap().unwrap();
        assert!(body.is_end_stream());
        assert_eq!(world.limiter.peek("a").await.unwrap().remaining(), Some(1));
    });
}

#[test]
fn a_client_that_leaves_frees_its_lease() {
    let runtime = VirtualRuntime::seeded(1);
    let limiter = limiter(&runtime, 1);
    let never = service_fn(async |_: Request<()>| {
        pending::<()>().await;
        Ok::<_, Infallible>(Response::new(String::new()))
    });
    let service = RateLimit::new(limiter.clone()).by(By::path()).layer(never);
    runtime.block_on(async {
        let mut asked = Box::pin(service.oneshot(request(&[])));
        assert!(futures::poll!(&mut asked).is_pending());
        assert_eq!(left(&limiter).await, Some(0));
        drop(asked);
        assert_eq!(left(&limiter).await, Some(1));
    });
}

#[test]
fn so_many_are_served_at_once_and_no_more() {
    let world = World::new([Quota::concurrent(3, minutes(1))]);
    world.takes(seconds(1));
    world.run(async |world| {
        for _ in 0..3 {
            let seen = join_all((0..10).map(|_| world.ask_as("a"))).await;
            let served = seen.iter().filter(|seen| seen.status == 200).count();
            let refused = seen.iter().filter(|seen| seen.status == 429).count();
            assert_eq!((served, refused), (3, 7));
        }
    });
}

#[test]
fn a_lease_that_is_forgotten_ends_by_itself() {
    World::new([Quota::concurrent(1, minutes(1))]).run(async |world| {
        let response = world.service.clone().oneshot(request(&[("who", "a")])).await.unwrap();
        assert_eq!(world.ask_as("a").await.number("retry-after"), Some(60));
        world.runtime.advance(minutes(1));
        assert_eq!(world.ask_as("a").await.status, 200);
        drop(response);
        assert_eq!(world.ask_as("a").await.status, 200);
    });
}
