//! How long to wait before the next attempt. Pure: chance is handed in.

use std::time::Duration;

/// The wait before attempt n: `min(n × step, cap)`, and with jitter between half of that and all
/// of it.
///
/// Jitter keeps a fleet that lost its Redis at one moment from coming back at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) step: Duration,
    pub(crate) cap: Duration,
    pub(crate) jitter: bool,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { step: Duration::from_millis(50), cap: Duration::from_secs(2), jitter: true }
    }
}

impl Backoff {
    /// The wait before `attempt`, which counts from 1; `chance` is from 0 up to 1.
    pub(crate) fn delay(&self, attempt: u32, chance: f64) -> Duration {
        let full = self.step.saturating_mul(attempt).min(self.cap);
        if self.jitter { full.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0)) } else { full }
    }

    /// The wait before `attempt`, by the chance of this moment.
    pub(crate) fn draw(&self, attempt: u32) -> Duration {
        self.delay(attempt, fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_jitter_it_is_the_law_of_the_reference() {
        let backoff = Backoff { jitter: false, ..Backoff::default() };
        for (attempt, millis) in [(1, 50), (2, 100), (3, 150), (39, 1_950), (40, 2_000)] {
            assert_eq!(backoff.delay(attempt, 0.3), Duration::from_millis(millis));
        }
        assert_eq!(backoff.delay(u32::MAX, 0.0), Duration::from_secs(2));
    }

    proptest! {
        #[test]
        fn jitter_stays_between_half_and_all(attempt in 1_u32.., chance in 0.0..1.0_f64) {
            let jittered = Backoff::default();
            let full = Backoff { jitter: false, ..jittered }.delay(attempt, 0.0);
            let delay = jittered.delay(attempt, chance);
            prop_assert!(delay <= full);
            prop_assert!(delay >= full.mul_f64(0.499));
        }
    }
}
