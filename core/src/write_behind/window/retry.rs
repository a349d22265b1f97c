//! How long to wait after a failure.

use std::time::Duration;

/// Waits that double from the first to the cap.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Backoff {
    pub(in super::super) first: Duration,
    pub(in super::super) cap: Duration,
}

impl Backoff {
    /// The wait after so many failures: between half of what they come to and all of it. `spread` is
    /// between 0 and 1.
    pub(in super::super) fn after(self, failures: u32, spread: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let whole = self.first.saturating_mul(1 << doublings).min(self.cap);
        whole / 2 + (whole / 2).mul_f64(spread.clamp(0.0, 1.0))
    }
}
