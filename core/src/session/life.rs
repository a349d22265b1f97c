//! How long a session lives: pure.

use std::time::Duration;

use super::SessionRecord;
use crate::error::Error;
use crate::time::{Timestamp, days, minutes};

/// How long sessions live.
///
/// A session ends when nobody used it for the idle time, and in any case at its absolute age,
/// whichever comes first (OWASP, Session Management Cheat Sheet, «Session Expiration»).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifetimes {
    pub(crate) idle: Duration,
    pub(crate) absolute: Duration,
    /// How old the note of the last use may become before it is written again.
    pub(crate) touch_every: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { idle: days(7), absolute: days(30), touch_every: minutes(1) }
    }
}

impl Lifetimes {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let config =
            |setting, problem: &str| Err(Error::Config { setting, problem: problem.into() });
        if self.idle.is_zero() {
            return config("idle", "it is zero, so that every session would be over at once");
        }
        if self.absolute < self.idle {
            return config("absolute", "it is shorter than the idle time, which would never count");
        }
        if self.touch_every > self.idle / 2 {
            let problem = "it is more than half of the idle time: a session in use could end";
            return config("touch_every", problem);
        }
        Ok(())
    }

    /// When a session ends that was last used at `seen_at`.
    pub(crate) fn expires_at(&self, created_at: Timestamp, seen_at: Timestamp) -> Timestamp {
        (seen_at + self.idle).min(created_at + self.absolute)
    }

    /// When the session's time is over, whatever a store says of its end that others moved, or that
    /// was set when sessions could grow older.
    pub(crate) fn end_of(&self, session: &SessionRecord) -> Timestamp {
        session.expires_at.min(session.created_at + self.absolute)
    }

    /// Whether a use is to be noted.
    pub(crate) fn wants_touch(&self, now: Timestamp, seen_at: Timestamp) -> bool {
        now.since(seen_at) >= self.touch_every
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::test;
    use crate::time::{hours, seconds};

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// However it is used, a session in use lives at least until the idle time after its last
        /// use less the throttle, never beyond its idle time, and never beyond its absolute age.
        #[test]
        fn both_expiries_hold_however_a_session_is_used(
            idle in 2..1_000_u64,
            more in 0..5_000_u64,
            throttle in 0..1_000_u64,
            pauses in prop::collection::vec(0..2_000_u64, 1..50),
        ) {
            let lives = Lifetimes {
                idle: seconds(idle),
                absolute: seconds(idle + more),
                touch_every: seconds(throttle.min(idle / 2)),
            };
            prop_assert!(lives.check().is_ok());
            let created = Timestamp::from_millis(1_000_000);
            let (mut now, mut seen, mut used) = (created, created, created);
            for pause in pauses {
                now = now + seconds(pause);
                let end = lives.expires_at(created, seen);
                prop_assert!(end <= created + lives.absolute);
                prop_assert!(end <= used + lives.idle);
                prop_assert!(end + lives.touch_every >= (used + lives.idle).min(created + lives.absolute));
                if end <= now {
                    break;
                }
                used = now;
                if lives.wants_touch(now, seen) {
                    seen = now;
                }
            }
        }
    }

    #[test]
    fn lives_that_cannot_work_are_named() {
        let setting = |lives: Lifetimes| match lives.check() {
            Err(Error::Config { setting, .. }) => setting,
            _ => "none",
        };
        let lives = Lifetimes::default();
        assert_eq!(setting(lives), "none");
        assert_eq!(setting(Lifetimes { idle: Duration::ZERO, ..lives }), "idle");
        assert_eq!(setting(Lifetimes { absolute: hours(1), ..lives }), "absolute");
        assert_eq!(setting(Lifetimes { touch_every: days(4), ..lives }), "touch_every");
    }
}
