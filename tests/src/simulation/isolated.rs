use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use larder_core::{Runtime, Timestamp};

/// A runtime whose tasks must not be woken by one another, as on Workers.
#[derive(Debug, Clone)]
pub struct Isolated(pub Arc<dyn Runtime>);

impl Runtime for Isolated {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn isolates_tasks(&self) -> bool {
        true
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(duration)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.spawn(task);
    }
}
