//! What a limiter does while its store does not answer.

use crate::forgetful::{Forget, Forgetful};
use crate::rate_limit::KeyState;
use crate::rate_limit::{Check, Decision, Quota, Reason};
use crate::time::Timestamp;

/// What decides while the store fails or is slower than the limiter's time-out.
///
/// Such decisions say of themselves that they are degraded, and are counted. The first in a row is
/// in the log at `warn`, with what the store said, and its return at `info`.
///
/// What the store will never do is for no policy: an error of
/// [`StoreErrorKind::Config`](crate::StoreErrorKind::Config) or
/// [`StoreErrorKind::Unsupported`](crate::StoreErrorKind::Unsupported) is the caller's to hear, by
/// [`RateLimiterBuilder::build`](super::RateLimiterBuilder::build) where the quotas say it already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FailurePolicy {
    /// Everything is allowed: a limit that is down costs protection, not service.
    #[default]
    Allow,
    /// Everything is refused.
    Deny,
    /// This process counts by itself, in memory, for up to 10,000 keys. Each quota is a share of
    /// itself. All begin at nothing: in the window in which the store fails, `n` processes allow up
    /// to `limit + n * max(1, limit / n)`. Refunds do nothing meanwhile.
    Local {
        /// Among how many processes a quota is shared: its limit and burst are divided by this,
        /// rounded down, and at least 1.
        among: u32,
    },
}

impl FailurePolicy {
    /// [`FailurePolicy::Local`], with quotas shared among so many processes.
    ///
    /// ```
    /// use larder_core::rate_limit::FailurePolicy;
    ///
    /// assert_eq!(FailurePolicy::local(4), FailurePolicy::Local { among: 4 });
    /// ```
    #[must_use]
    pub const fn local(among: u32) -> Self {
        Self::Local { among }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Local { .. } => "local",
        }
    }
}

impl Forget for KeyState {
    fn forgotten_at(&self) -> Timestamp {
        KeyState::forgotten_at(self)
    }
}

const LOCAL_KEYS: usize = 10_000;

/// Decides without the store.
pub(super) struct Fallback {
    pub(super) policy: FailurePolicy,
    keys: Forgetful<KeyState>,
}

impl Fallback {
    pub(super) fn new(policy: FailurePolicy) -> Self {
        Self { policy, keys: Forgetful::new(LOCAL_KEYS) }
    }

    pub(super) fn decide(&self, now: Timestamp, check: &Check<'_>) -> Decision {
        let decision = match self.policy {
            FailurePolicy::Allow => Decision::because(Reason::StoreFailed, true),
            FailurePolicy::Deny => Decision::because(Reason::StoreFailed, false),
            FailurePolicy::Local { among } => {
                let quotas: Vec<Quota> = check.quotas.iter().map(|it| it.share(among)).collect();
                let check = Check { quotas: &quotas, ..*check };
                self.keys.change(check.key, now, |state| state.check(now, &check))
            }
        };
        decision.degraded()
    }

    /// What is done to a key is done here too: the lease may have been given here.
    pub(super) fn change(&self, key: &str, now: Timestamp, change: impl FnOnce(&mut KeyState)) {
        if matches!(self.policy, FailurePolicy::Local { .. }) {
            self.keys.change(key, now, change);
        }
    }
}
