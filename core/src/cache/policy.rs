//! How long an entry lives, and how long a load may take: what differs per cache and per call.

use std::time::Duration;

use crate::error::Error;

#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    pub(super) ttl: Duration,
    /// The life of an absence; never longer than that of a value.
    pub(super) absent_ttl: Duration,
    /// The share of a life that chance may take from it, 0 to 1.
    pub(super) jitter: f64,
    pub(super) load_timeout: Duration,
    pub(super) read_timeout: Option<Duration>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(3_600),
            absent_ttl: Duration::from_secs(30),
            jitter: 0.0,
            load_timeout: Duration::from_secs(30),
            read_timeout: None,
        }
    }
}

impl Policy {
    pub(super) fn check(&self) -> Result<(), Error> {
        let zero = |setting, value: Duration| {
            (value.is_zero()).then(|| Error::Config {
                setting,
                problem: "it is zero; give it at least a millisecond".into(),
            })
        };
        let jitter = (!(0.0..=1.0).contains(&self.jitter)).then(|| Error::Config {
            setting: "jitter",
            problem: format!("it is {}; give it a share between 0 and 1", self.jitter),
        });
        zero("ttl", self.ttl)
            .or_else(|| zero("absent_ttl", self.absent_ttl))
            .or_else(|| zero("load_timeout", self.load_timeout))
            .or(jitter)
            .map_or(Ok(()), Err)
    }

    /// The life of an entry. `chance` is from 0 up to 1.
    pub(super) fn life(&self, absent: bool, chance: f64) -> Duration {
        let whole = if absent { self.absent_ttl.min(self.ttl) } else { self.ttl };
        if self.jitter == 0.0 {
            return whole.max(SHORTEST);
        }
        whole.mul_f64(1.0 - self.jitter * chance).max(SHORTEST)
    }
}

/// Frames and stores count whole milliseconds.
const SHORTEST: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::test;

    #[test]
    fn jitter_only_shortens() {
        let policy = Policy { ttl: Duration::from_secs(100), jitter: 0.1, ..Policy::default() };
        assert_eq!(policy.life(false, 0.0), Duration::from_secs(100));
        assert_eq!(policy.life(false, 1.0), Duration::from_secs(90));
    }

    #[test]
    fn an_absence_never_lives_longer_than_a_value() {
        let policy = Policy { ttl: Duration::from_secs(5), ..Policy::default() };
        assert_eq!(policy.life(true, 0.0), Duration::from_secs(5));
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let policy = Policy { jitter: 1.5, ..Policy::default() };
        let error = policy.check().unwrap_err().to_string();
        assert_eq!(error, "jitter: it is 1.5; give it a share between 0 and 1");
        let policy = Policy { ttl: Duration::ZERO, ..Policy::default() };
        assert!(policy.check().unwrap_err().to_string().starts_with("ttl: it is zero"));
        let policy = Policy { jitter: f64::NAN, ..Policy::default() };
        assert!(policy.check().is_err());
    }
}
