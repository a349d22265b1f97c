//! The port through which core sees time and starts work.
//!
//! A [`Runtime`] is a clock, a timer and a place for background tasks. Everything else in core is
//! free of both, so that the same code runs on Tokio, in a browser, in a Worker's request and in a
//! simulation.
//!
//! | runtime | where | feature |
//! | --- | --- | --- |
//! | [`SystemRuntime`] on native targets | Tokio | `tokio` |
//! | [`SystemRuntime`] on wasm32 | a browser or Node.js | `browser` |
//! | [`VirtualRuntime`] | tests: time moves only when every task waits | `testing` |
//!
//! This is the only module of the crate in which the targets differ.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::time::Timestamp;

#[cfg(all(feature = "browser", target_arch = "wasm32"))]
mod browser;
#[cfg(test)]
mod harness;
#[cfg(all(feature = "tokio", not(target_arch = "wasm32")))]
mod native;
#[cfg(any(
    all(feature = "browser", target_arch = "wasm32"),
    all(feature = "tokio", not(target_arch = "wasm32"))
))]
mod system;
#[cfg(feature = "testing")]
mod virtual_time;

#[cfg(all(feature = "browser", target_arch = "wasm32"))]
pub use browser::SystemRuntime;
#[cfg(test)]
pub(crate) use harness::{natively, test};
#[cfg(all(feature = "tokio", not(target_arch = "wasm32")))]
pub use native::SystemRuntime;
#[cfg(feature = "testing")]
pub use virtual_time::VirtualRuntime;

/// A clock, timers and background tasks.
///
/// Object-safe and `Send` on every target.
pub trait Runtime: fmt::Debug + Send + Sync + 'static {
    /// The time, as exact as the platform tells it.
    fn now(&self) -> Timestamp;

    /// A time that costs almost nothing to read: never after [`now`](Self::now), and at most
    /// [`recent_lag`](Self::recent_lag) before it.
    ///
    /// A reader compares it with a deadline and asks the exact clock only within the lag of the
    /// deadline, see [`has_passed`](Self::has_passed).
    fn recent(&self) -> Timestamp {
        self.now()
    }

    /// How far [`recent`](Self::recent) may be behind.
    fn recent_lag(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether `deadline` has been reached, exactly, and mostly without asking the exact clock.
    fn has_passed(&self, deadline: Timestamp) -> bool {
        let recent = self.recent();
        if recent >= deadline {
            true
        } else if recent + self.recent_lag() < deadline {
            false
        } else {
            self.now() >= deadline
        }
    }

    /// How long it has been since some moment, by a clock that nobody sets: for how much time passed
    /// between two readings. It may stand still while the machine sleeps.
    ///
    /// By default that is [`now`](Self::now), for platforms that have no such clock.
    fn steady(&self) -> Duration {
        self.now().since(Timestamp::EPOCH)
    }

    /// Whether a task must not be woken by another.
    ///
    /// On Workers a request's I/O belongs to it: a future that another request drives is killed.
    /// Where this is `true`, those who wait for another's load look for it by timers of their own.
    fn isolates_tasks(&self) -> bool {
        false
    }

    /// Takes `calls` from the number of calls to other services that may still be made here;
    /// `false`, and none taken, where fewer are left.
    ///
    /// On Workers a request may make a limited number of calls; a store asks for each of its own,
    /// and answers [`Exhausted`](crate::StoreErrorKind::Exhausted) where it is refused. Elsewhere
    /// there is no limit.
    fn take_calls(&self, calls: u32) -> bool {
        let _ = calls;
        true
    }

    /// Completes after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// Starts `task` and lets it run to its end, whether or not its starter is still there.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

impl<R: Runtime + ?Sized> Runtime for Arc<R> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn recent(&self) -> Timestamp {
        (**self).recent()
    }

    fn recent_lag(&self) -> Duration {
        (**self).recent_lag()
    }

    fn has_passed(&self, deadline: Timestamp) -> bool {
        (**self).has_passed(deadline)
    }

    fn steady(&self) -> Duration {
        (**self).steady()
    }

    fn isolates_tasks(&self) -> bool {
        (**self).isolates_tasks()
    }

    fn take_calls(&self, calls: u32) -> bool {
        (**self).take_calls(calls)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        (**self).sleep(duration)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        (**self).spawn(task);
    }
}
