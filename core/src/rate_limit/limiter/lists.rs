//! Keys that are decided by themselves.

use std::collections::HashSet;

use crate::rate_limit::{Decision, Reason};

type IsOnIt = Box<dyn Fn(&str) -> bool + Send + Sync>;

#[derive(Default)]
pub(super) struct Lists {
    pub(super) allowed: List,
    pub(super) denied: List,
}

#[derive(Default)]
pub(super) struct List {
    pub(super) keys: HashSet<String>,
    pub(super) by: Option<IsOnIt>,
}

impl List {
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.by.is_none()
    }

    #[inline]
    fn has(&self, key: &str) -> bool {
        (!self.keys.is_empty() && self.keys.contains(key))
            || self.by.as_ref().is_some_and(|by| by(key))
    }
}

impl Lists {
    pub(super) fn are_empty(&self) -> bool {
        self.allowed.is_empty() && self.denied.is_empty()
    }

    #[inline]
    pub(super) fn decide(&self, key: &str) -> Option<Decision> {
        if self.denied.has(key) {
            Some(Decision::because(Reason::Denied, false))
        } else if self.allowed.has(key) {
            Some(Decision::because(Reason::Exempt, true))
        } else {
            None
        }
    }
}
