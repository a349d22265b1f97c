//! The patterns that were removed last.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::glob::Glob;
use crate::sync::lock;

/// Whoever is further behind than this is taken to be concerned.
const REMEMBERED: usize = 64;

/// The last patterns, each with a number that goes up by one.
#[derive(Default)]
pub(super) struct Removals {
    last: AtomicU64,
    patterns: Mutex<VecDeque<Removed>>,
}

struct Removed {
    number: u64,
    pattern: Glob,
    /// What every key begins with that it matches.
    prefix: String,
}

impl Removals {
    /// The number of the last one.
    pub(super) fn last(&self) -> u64 {
        self.last.load(Ordering::SeqCst)
    }

    pub(super) fn add(&self, pattern: Glob) {
        let mut patterns = lock(&self.patterns);
        let number = self.last.load(Ordering::SeqCst) + 1;
        if patterns.len() == REMEMBERED {
            patterns.pop_front();
        }
        patterns.push_back(Removed { number, prefix: pattern.literal_prefix(), pattern });
        // Under the lock, so that who sees the number finds the pattern.
        self.last.store(number, Ordering::SeqCst);
    }

    /// Whether one that came after the one of this number matches `key`, or may have.
    pub(super) fn concern(&self, key: &str, after: u64) -> bool {
        let patterns = lock(&self.patterns);
        let is_forgotten = patterns.front().is_some_and(|oldest| after + 1 < oldest.number);
        is_forgotten
            || patterns
                .iter()
                .rev()
                .take_while(|removed| removed.number > after)
                .any(|removed| removed.matches(key))
    }
}

impl Removed {
    /// A store may match bytes where [`Glob`] matches characters.
    fn matches(&self, key: &str) -> bool {
        self.pattern.matches(key) || (!key.is_ascii() && key.starts_with(&self.prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::test;

    #[test]
    fn only_later_patterns_concern_a_key() {
        let removals = Removals::default();
        removals.add(Glob::new("users:*"));
        let seen = removals.last();
        assert!(removals.concern("users:1", 0) && !removals.concern("users:1", seen));
        removals.add(Glob::new("orders:*"));
        assert!(!removals.concern("users:1", seen) && removals.concern("orders:1", seen));
    }

    #[test]
    fn whoever_is_too_far_behind_is_concerned() {
        let removals = Removals::default();
        let others = |n| (0..n).for_each(|_| removals.add(Glob::new("orders:*")));
        others(REMEMBERED);
        assert!(!removals.concern("users:1", 0), "all of them are remembered");
        others(1);
        assert!(removals.concern("users:1", 0), "the first of them is forgotten");
        assert!(!removals.concern("users:1", 1));
        others(10 * REMEMBERED);
        assert_eq!(lock(&removals.patterns).len(), REMEMBERED);
    }

    /// Redis matches bytes: `?` is half of an `é` there.
    #[test]
    fn what_a_store_may_match_is_concerned() {
        let removals = Removals::default();
        removals.add(Glob::new("caf??"));
        assert!(removals.concern("café", 0) && !removals.concern("tofé", 0));
    }
}
