//! Requests that bring their runtime along.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::Method;
use http::header::COOKIE;
use larder_core::{Runtime, Timestamp, VirtualRuntime, millis};
use larder_http::{RequestRuntime, SessionLayer};

use super::world::{SECRET, World, request, send};
use crate::runtime::test;

/// The runtime of a request that is over, on Workers: no timer of it ends.
#[derive(Debug)]
struct Over(VirtualRuntime);

impl Runtime for Over {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        futures::future::pending().boxed()
    }

    fn spawn(&self, _: BoxFuture<'static, ()>) {}
}

#[test]
fn a_request_is_served_on_the_runtime_that_it_brings() {
    let world = World::set_up(|sessions| sessions.timeout(millis(300)), |layer| layer);
    world.run(async |world| {
        let cookies = world.signed_in("zoe").await.cookies();
        let over = world.sessions.on(std::sync::Arc::new(Over(world.runtime.clone())));
        let world = world.with(SessionLayer::builder(over, SECRET));
        // The store answers after the time-out, which only the request's own timer can tell.
        world.store.takes_millis(1_000);
        for (brings_runtime, status) in [(false, 200), (true, 503)] {
            let mut request = request(Method::GET, "/me");
            request.headers_mut().insert(COOKIE, cookies.parse().unwrap());
            if brings_runtime {
                request = RequestRuntime::new(world.runtime.clone()).attach(request);
            }
            assert_eq!(send(&world.app, request).await.status, status);
        }
    });
}
