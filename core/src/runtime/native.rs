//! Tokio, with the operating system's clocks.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;

use super::Runtime;
use crate::time::Timestamp;

/// The runtime of the platform: Tokio on native targets.
///
/// Timers and tasks need a running Tokio runtime with its time driver. A task that is started
/// outside of one is dropped with a warning.
///
/// ```
/// use larder_core::{Runtime, SystemRuntime};
///
/// let runtime = SystemRuntime::default();
/// assert!(runtime.recent() <= runtime.now());
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct SystemRuntime;

impl Runtime for SystemRuntime {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = since_epoch.as_secs().saturating_mul(1_000_000);
        Timestamp::from_micros(micros.saturating_add(since_epoch.subsec_micros().into()))
    }

    fn recent(&self) -> Timestamp {
        coarse_clock().unwrap_or_else(|| self.now())
    }

    fn recent_lag(&self) -> Duration {
        *COARSE_LAG
    }

    fn steady(&self) -> Duration {
        STARTED.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        // The timer is registered on the first poll, inside the runtime, not here.
        Box::pin(async move { tokio::time::sleep(duration).await })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        match tokio::runtime::Handle::try_current() {
            Ok(handle) => drop(handle.spawn(task)),
            Err(_) => tracing::warn!("a background task was dropped: no Tokio runtime is running"),
        }
    }
}

/// When the steady clock was read first.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The coarse clock advances with the kernel's tick. Twice its resolution leaves room for a tick
/// that is handled late.
static COARSE_LAG: LazyLock<Duration> = LazyLock::new(|| 2 * coarse_resolution());

#[cfg(any(target_os = "linux", target_os = "android"))]
fn coarse_clock() -> Option<Timestamp> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanos = u64::try_from(time.tv_nsec).ok()?;
    Some(Timestamp::from_micros(seconds.saturating_mul(1_000_000) + nanos / 1_000))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn coarse_resolution() -> Duration {
    let resolution = rustix::time::clock_getres(rustix::time::ClockId::RealtimeCoarse);
    Duration::new(
        u64::try_from(resolution.tv_sec).unwrap_or(1),
        u32::try_from(resolution.tv_nsec).unwrap_or(0),
    )
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn coarse_clock() -> Option<Timestamp> {
    None
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn coarse_resolution() -> Duration {
    Duration::ZERO
}
