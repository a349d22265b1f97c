//! Requests that bring their runtime along.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use larder_core::{Cache, MemoryStore, Runtime, Timestamp, VirtualRuntime};
use larder_http::RequestRuntime;

use super::origin::{Origin, World, get, text};
use crate::runtime::test;

/// The runtime of a request that is over, on Workers: nothing that is started there goes on.
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
    let runtime = VirtualRuntime::seeded(1);
    let store = MemoryStore::builder().on(runtime.clone());
    let cache = Cache::builder(store).runtime(Over(runtime.clone()));
    let origin = Origin::new(|_| text("a"));
    World::on(&runtime, cache, origin, |layer| layer).run(async |world| {
        // Without one, nothing is stored: that is started on the runtime of a request long over.
        assert_eq!(world.get("/").await.cache(), "MISS");
        assert_eq!(world.get("/").await.cache(), "MISS");

        for expected in ["MISS", "HIT"] {
            let request = RequestRuntime::new(world.runtime.clone()).attach(get("/", &[]));
            assert_eq!(world.ask(request).await.cache(), expected);
        }
    });
}
