use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, select};
use larder_core::{Cache, MemoryStore, Runtime, Timestamp, VirtualRuntime, minutes, seconds};
use larder_tests::stores::{Call, Faults, Tapped, When};

use super::{Invalidation, Invalidations, LONGEST_PAUSE, user_key};

const TTL: Duration = minutes(5);

/// A runtime whose tasks live as long as those of a Worker, after the response.
#[derive(Debug)]
struct CutOff(VirtualRuntime);

impl Runtime for CutOff {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(duration)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.spawn(select(task, self.0.sleep(seconds(30))).map(drop).boxed());
    }
}

/// A cache whose store refuses to remove anything, with a user in it.
struct World {
    time: VirtualRuntime,
    cache: Cache,
    faults: Arc<Faults>,
    invalidations: Invalidations,
}

impl World {
    fn run<T>(
        runtime: impl FnOnce(VirtualRuntime) -> Arc<dyn Runtime>,
        test: impl AsyncFnOnce(Self) -> T,
    ) -> T {
        let time = VirtualRuntime::seeded(1);
        let faults = Arc::new(Faults::of(When::Before, Call::is_removal));
        let store = MemoryStore::builder().on(time.clone());
        let store = Tapped::new(Arc::new(store), Arc::clone(&faults) as _);
        let cache = Cache::builder(store).runtime(runtime(time.clone())).build().unwrap();
        let invalidations = Invalidations::new(cache.clone(), TTL);
        let world = Self { time: time.clone(), cache, faults, invalidations };
        time.block_on(async {
            world.cache.put(user_key(2), "Ada").await.unwrap();
            test(world).await
        })
    }

    async fn is_cached(&self) -> bool {
        self.cache.contains(user_key(2)).await.unwrap()
    }
}

#[test]
fn what_is_deferred_is_made_up_for_without_anybody_asking() {
    World::run(
        |time| Arc::new(time),
        async |world| {
            let written = world.invalidations.user_written(2).await;
            assert_eq!(written, Invalidation::Deferred);
            world.time.sleep(minutes(2)).await;
            assert!(world.is_cached().await);

            world.faults.turn(false);
            world.time.sleep(LONGEST_PAUSE).await;
            assert!(!world.is_cached().await);
            assert_eq!(world.invalidations.deferred(), 0);
        },
    );
}

#[test]
fn the_next_request_goes_on_where_a_task_was_cut_off() {
    World::run(
        |time| Arc::new(CutOff(time)),
        async |world| {
            let written = world.invalidations.user_written(2).await;
            assert_eq!(written, Invalidation::Deferred);
            world.time.sleep(minutes(2)).await;
            world.faults.turn(false);
            world.time.sleep(LONGEST_PAUSE).await;
            assert!(world.is_cached().await, "no task lives as long");

            assert!(world.invalidations.is_deferred(2));
            world.time.sleep(seconds(1)).await;
            assert!(!world.is_cached().await);
            assert!(!world.invalidations.is_deferred(2));
        },
    );
}

#[test]
fn one_task_at_a_time_tries_again() {
    World::run(
        |time| Arc::new(time),
        async |world| {
            for _ in 0..60 {
                world.invalidations.user_written(2).await;
                assert!(world.invalidations.any_deferred());
                world.time.sleep(seconds(1)).await;
            }
            assert_eq!(world.invalidations.lock().attendants, 1);
        },
    );
}

#[test]
fn what_has_expired_is_no_longer_deferred() {
    World::run(
        |time| Arc::new(time),
        async |world| {
            world.invalidations.user_written(2).await;
            world.time.sleep(TTL + LONGEST_PAUSE).await;
            assert!(!world.invalidations.any_deferred());
        },
    );
}
