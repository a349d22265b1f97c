//! What is asked of an object that counts, and what it says. A part of `super::super::protocol`,
//! whose rules hold here: what is added comes last.

use std::time::Duration;

use larder_core::Quota;
use larder_core::rate_limit::Rule;
use larder_core::rate_limit::rule::Verdict;
use serde::{Deserialize, Serialize};

use crate::error::Failure;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Ask<'a> {
    /// `Reply::Verdicts` or `Reply::Blocked`.
    Check {
        key: &'a str,
        #[serde(borrow)]
        quotas: Vec<Limit<'a>>,
        cost: u64,
        lease: u64,
        takes: bool,
    },
    /// `Reply::Done`, as for all that follow.
    Refund {
        key: &'a str,
        #[serde(borrow)]
        quotas: Vec<Limit<'a>>,
        cost: u64,
    },
    Release {
        key: &'a str,
        #[serde(borrow)]
        quotas: Vec<Limit<'a>>,
        lease: u64,
    },
    Reset {
        key: &'a str,
        #[serde(borrow)]
        quotas: Vec<Limit<'a>>,
    },
    Block {
        key: &'a str,
        micros: u64,
    },
}

impl Ask<'_> {
    pub(in crate::durable) fn can_be_repeated(&self) -> bool {
        !matches!(self, Self::Check { takes: true, .. } | Self::Refund { .. })
    }
}

/// A quota.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Limit<'a> {
    name: &'a str,
    rule: RuleForm,
    limit: u64,
    capacity: u64,
    window_micros: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum RuleForm {
    FixedWindow,
    SlidingWindow,
    Gcra,
    Concurrency,
}

impl<'a> Limit<'a> {
    pub(crate) fn of(quota: &'a Quota) -> Result<Self, Failure> {
        let rule = match quota.rule() {
            Rule::FixedWindow => RuleForm::FixedWindow,
            Rule::SlidingWindow => RuleForm::SlidingWindow,
            Rule::Gcra => RuleForm::Gcra,
            Rule::Concurrency => RuleForm::Concurrency,
            other => return Err(Failure::new(format!("larder-kv cannot count by {other:?} yet"))),
        };
        Ok(Self {
            name: quota.name(),
            rule,
            limit: quota.limit(),
            capacity: quota.capacity(),
            window_micros: micros(quota.window()),
        })
    }

    pub(crate) fn quota(&self) -> Quota {
        let quota = Quota::new(self.limit, Duration::from_micros(self.window_micros));
        let quota = match self.rule {
            RuleForm::FixedWindow => quota,
            RuleForm::SlidingWindow => quota.sliding_window(),
            RuleForm::Gcra => quota.burst(self.capacity),
            RuleForm::Concurrency => Quota::concurrent(self.limit, quota.window()),
        };
        quota.named(self.name.to_owned())
    }
}

/// What one quota says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Said {
    allowed: bool,
    remaining: u64,
    reset_micros: u64,
    retry_micros: Option<u64>,
}

impl Said {
    pub(crate) fn of(verdict: &Verdict) -> Self {
        Self {
            allowed: verdict.allowed,
            remaining: verdict.remaining,
            reset_micros: micros(verdict.reset),
            retry_micros: verdict.retry_after.map(micros),
        }
    }

    pub(crate) fn verdict(&self, quota: &Quota) -> Verdict {
        let reset = Duration::from_micros(self.reset_micros);
        if self.allowed {
            return Verdict::allowed(quota.capacity(), self.remaining, reset);
        }
        let retry = self.retry_micros.map(Duration::from_micros);
        Verdict::refused(quota.capacity(), self.remaining, reset, retry)
    }
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use larder_core::{millis, minutes};

    use super::*;

    #[test]
    fn a_quota_arrives_as_it_was() {
        let quota = Quota::new(7, millis(1_500)).named("é");
        for quota in [
            quota.clone().sliding_window(),
            quota.clone().burst(20),
            Quota::new(0, minutes(1)).gcra(),
            Quota::concurrent(4, minutes(1)),
            Quota::per_day(u64::MAX).burst(u64::MAX),
            quota,
        ] {
            assert_eq!(Limit::of(&quota).unwrap().quota(), quota);
        }
        let endless = Limit::of(&Quota::new(1, Duration::MAX)).unwrap().quota();
        assert_eq!(endless.window(), Duration::from_micros(u64::MAX));
    }
}
