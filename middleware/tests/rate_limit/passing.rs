//! Requests that pass, and the service that they pass to.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http::{Request, Response};
use larder_core::{
    MemoryRateLimits, Quota, RateLimiter, Runtime, Timestamp, VirtualRuntime, millis,
};
use larder_http::rate_limit::By;
use larder_http::{RateLimit, RequestRuntime};
use tower::{Layer, Service, ServiceExt};

use super::world::{Body, World, full, read, request};
use crate::runtime::test;

#[test]
fn what_is_left_falls_and_comes_back() {
    World::new([Quota::per_minute(3)]).run(async |world| {
        for left in [2, 1, 0] {
            let seen = world.ask_as("a").await;
            assert_eq!(
                (seen.status.as_u16(), seen.number("x-ratelimit-remaining")),
                (200, Some(left))
            );
            assert_eq!(&seen.body[..], b"hello");
        }
        assert_eq!(world.ask_as("a").await.status, 429);
        world.runtime.advance(millis(59_999));
        assert_eq!(world.ask_as("a").await.status, 429);
        world.runtime.advance(millis(1));
        assert_eq!(world.ask_as("a").await.number("x-ratelimit-remaining"), Some(2));
    });
}

#[test]
fn a_cost_may_depend_on_the_request() {
    let cost = |request: &http::request::Parts| {
        request.headers.get("cost").map_or(1, |cost| cost.to_str().unwrap().parse().unwrap())
    };
    World::layered([Quota::per_minute(10)], |layer| layer.cost(cost)).run(async |world| {
        for (cost, status, left) in [("7", 200, 3), ("4", 429, 3), ("3", 200, 0), ("0", 200, 0)] {
            let seen = world.ask(request(&[("who", "a"), ("cost", cost)])).await;
            assert_eq!(
                (seen.status.as_u16(), seen.number("x-ratelimit-remaining")),
                (status, Some(left))
            );
        }
    });
}

#[test]
fn what_failed_may_be_given_back() {
    let refund = |response: &http::response::Parts, taken: u64| match response.status.as_u16() {
        500.. => taken,
        404 => 1,
        304 => u64::MAX,
        _ => 0,
    };
    let world = World::layered([Quota::per_minute(10)], |layer| layer.cost(|_| 2).refund(refund));
    world.run(async |world| {
        for (status, left) in [("200", 8), ("500", 8), ("404", 7), ("304", 7), ("201", 5)] {
            let seen = world.ask(request(&[("who", "a"), ("status", status)])).await;
            assert_eq!(seen.status.as_str(), status);
            assert_eq!(world.limiter.peek("a").await.unwrap().remaining(), Some(left), "{status}");
        }
    });
}

#[test]
fn some_requests_are_not_limited() {
    let skip = |request: &http::request::Parts| request.headers.contains_key("free");
    World::layered([Quota::per_minute(1)], |layer| layer.skip(skip)).run(async |world| {
        for _ in 0..3 {
            let seen = world.ask(request(&[("free", "yes")])).await;
            assert_eq!((seen.status.as_u16(), seen.header("x-ratelimit-limit")), (200, None));
        }
        assert_eq!(world.limiter.stats().allowed, 0);
    });
}

#[test]
fn of_layers_one_in_another_the_inner_one_speaks() {
    let world = World::new([Quota::per_minute(2)]);
    let outer = RateLimiter::builder(MemoryRateLimits::builder().on(world.runtime.clone()))
        .quota(Quota::per_hour(100))
        .build()
        .unwrap();
    let layer = RateLimit::new(outer).by(By::path());
    world.run(async |world| {
        let service = layer.layer(world.service.clone());
        for (status, left) in [(200, 1), (200, 0), (429, 0)] {
            let response = service.clone().oneshot(request(&[("who", "a")])).await.unwrap();
            let seen = read(response).await;
            assert_eq!((seen.status.as_u16(), seen.number("x-ratelimit-limit")), (status, Some(2)));
            assert_eq!(seen.number("x-ratelimit-remaining"), Some(left));
            assert_eq!(seen.headers.get_all("x-ratelimit-reset").iter().count(), 1);
        }
    });
}

/// A service with a place for one request, which it reserves when it is polled.
#[derive(Debug)]
struct OneAtATime {
    reserved: bool,
    places: Arc<AtomicUsize>,
}

impl Clone for OneAtATime {
    fn clone(&self) -> Self {
        Self { reserved: false, places: Arc::clone(&self.places) }
    }
}

impl Drop for OneAtATime {
    fn drop(&mut self) {
        if self.reserved {
            self.places.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Service<Request<()>> for OneAtATime {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        let take = |places: usize| places.checked_sub(1);
        if !self.reserved
            && self.places.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err()
        {
            return Poll::Pending;
        }
        self.reserved = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        assert!(std::mem::take(&mut self.reserved), "it was called without being ready");
        self.places.fetch_add(1, Ordering::SeqCst);
        ready(Ok(Response::new(full("done"))))
    }
}

#[test]
fn the_service_that_is_ready_is_called_and_a_refusal_frees_its_place() {
    let later = By::future(|_| async { Some("a".into()) });
    for by in [By::function(|_| Some("a".into())), later] {
        let world = World::new([Quota::per_minute(1)]);
        let layer = RateLimit::new(world.limiter.clone()).by(by);
        let places = Arc::new(AtomicUsize::new(1));
        let mut service = layer.layer(OneAtATime { reserved: false, places: Arc::clone(&places) });
        world.run(async |_| {
            for status in [200, 429, 429] {
                let response = service.ready().await.unwrap().call(request(&[])).await.unwrap();
                assert_eq!(response.status(), status);
                drop(response);
                assert_eq!(places.load(Ordering::SeqCst), 1);
            }
        });
    }
}

#[derive(Debug)]
struct Failed;

#[test]
fn an_error_of_the_service_is_passed_on_and_may_be_given_back() {
    let world = World::new([Quota::per_minute(2)]);
    let fails = tower::service_fn(async |_: Request<()>| Err::<Response<Body>, Failed>(Failed));
    let layer = RateLimit::new(world.limiter.clone()).by(By::path());
    world.run(async |world| {
        for (layer, left) in [(layer.clone(), 1), (layer.refund(|_, _| 0), 1)] {
            let service = layer.layer(fails);
            service.oneshot(request(&[])).await.map(drop).unwrap_err();
            assert_eq!(world.limiter.peek("/").await.unwrap().remaining(), Some(left));
        }
    });
}

/// The clock of a request that brings its own.
#[test]
fn a_request_is_decided_on_the_runtime_that_it_brings() {
    let world = World::new([Quota::per_minute(2)]);
    let ahead = VirtualRuntime::seeded(2);
    let here = world.runtime.now();
    ahead.advance(here.since(ahead.now()) + millis(5_000_000));
    world.run(async |world| {
        let request = RequestRuntime::new(ahead.clone()).attach(request(&[("who", "a")]));
        let reset = world.ask(request).await.number("x-ratelimit-reset").unwrap();
        assert!(Timestamp::from_millis(reset * 1_000) > ahead.now());
    });
}
