//! The clock, the timers and the tasks that the platform brings.

use std::io;
use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{Either, join_all, select};
use larder_core::{Cache, MemoryStore, Runtime, SystemRuntime, Timestamp, days, millis, minutes};

use crate::harness::{async_test, test};

/// A platform may round its timers and its clock to the millisecond, each its own way.
const ROUNDING: Duration = millis(2);

#[test]
fn the_clock_tells_the_time_since_1970() {
    let runtime = SystemRuntime::default();
    let released = Timestamp::from_millis(1_767_225_600_000);
    let now = runtime.now();
    assert!(now > released && now < released + days(36_500), "{now:?}");
    assert!(runtime.recent() <= runtime.now());
}

#[async_test]
async fn a_sleep_takes_its_time() {
    let runtime = SystemRuntime::default();
    let start = runtime.now();
    runtime.sleep(millis(50)).await;
    let took = runtime.now().since(start);
    assert!(took >= millis(50) - ROUNDING && took < minutes(1), "{took:?}");
}

#[async_test]
async fn sleeps_end_in_the_order_of_their_times() {
    let runtime = SystemRuntime::default();
    let (ended, order) = std::sync::mpsc::channel();
    join_all([90, 10, 50].map(|time| {
        let (sleep, ended) = (runtime.sleep(millis(time)), ended.clone());
        async move {
            sleep.await;
            ended.send(time).unwrap();
        }
    }))
    .await;
    assert_eq!(order.try_iter().collect::<Vec<_>>(), [10, 50, 90]);
}

/// The timers of a browser count milliseconds in 31 bits, which is 25 days.
#[async_test]
async fn a_sleep_of_months_is_not_over_at_once() {
    let runtime = SystemRuntime::default();
    for time in [days(24), days(25), days(50), days(3_650)] {
        let first = select(runtime.sleep(time), runtime.sleep(millis(20))).await;
        assert!(matches!(first, Either::Right(_)), "{time:?} are over");
    }
}

#[async_test]
async fn a_task_runs_to_its_end_whether_or_not_its_starter_waits() {
    let runtime = SystemRuntime::default();
    let (done, wait) = oneshot::channel();
    let task = async move {
        SystemRuntime::default().sleep(millis(10)).await;
        done.send("done").unwrap();
    };
    runtime.spawn(task.boxed());
    assert_eq!(wait.await, Ok("done"));
}

#[async_test]
async fn a_cache_needs_nothing_but_a_store() {
    let cache = Cache::builder(MemoryStore::new()).ttl(millis(50)).build().unwrap();
    let load = async || Ok::<_, io::Error>(7_u32);
    assert_eq!(*cache.get_or_load("seven", load).await.unwrap(), 7);
    assert_eq!(cache.get::<u32>("seven").await.unwrap().as_deref(), Some(&7));
    SystemRuntime::default().sleep(millis(60)).await;
    assert_eq!(cache.get::<u32>("seven").await.unwrap(), None);
}

#[async_test]
async fn a_loader_that_hangs_is_given_up_at_its_deadline() {
    let cache = Cache::builder(MemoryStore::new()).load_timeout(millis(30)).build().unwrap();
    let hang = async || {
        std::future::pending::<()>().await;
        Ok::<_, io::Error>(0_u32)
    };
    cache.get_or_load("key", hang).await.unwrap_err();
    let load = async || Ok::<_, io::Error>(1_u32);
    assert_eq!(*cache.get_or_load("key", load).await.unwrap(), 1);
}
