//! What the last loads of this process have stored.

use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::DefaultHashBuilder;

use crate::cache::Cache;
use crate::flight::{Flight, Lead};
use crate::sync::lock;
use crate::time::Timestamp;

/// So much is remembered at most.
const MOST_WRITTEN: usize = 4_096;

/// After which time a notice does not arrive any more of what was invalidated before, where all of
/// them do.
const REMEMBERED: Duration = Duration::from_secs(60);

/// What the last loads have stored, so that it can be taken back when it turns out that it had been
/// invalidated before it was stored.
#[derive(Default)]
pub(super) struct Written {
    by_key: BTreeMap<Arc<str>, Left>,
    /// The oldest first. Some of them are not there any more, or were written again.
    order: VecDeque<(Arc<str>, u64)>,
    last: u64,
    hasher: DefaultHashBuilder,
}

/// What a load has stored, or stores now.
pub(super) struct Left {
    /// The hash of the bytes.
    version: u64,
    at: Timestamp,
    number: u64,
    pub(super) flight: Arc<Flight>,
    hasher: DefaultHashBuilder,
}

pub(super) type Leavings = BTreeMap<Arc<str>, Left>;

impl Left {
    /// Whether these are the bytes.
    pub(super) fn is(&self, stored: &[u8]) -> bool {
        self.version == self.hasher.hash_one(stored)
    }
}

impl Written {
    fn note(&mut self, lead: &Lead, stored: &[u8], at: Timestamp, forget_before: Timestamp) {
        self.last += 1;
        let (version, number) = (self.hasher.hash_one(stored), self.last);
        let flight = Arc::clone(lead.flight());
        let left = Left { version, at, number, flight, hasher: self.hasher.clone() };
        self.by_key.insert(Arc::clone(lead.key()), left);
        self.order.push_back((Arc::clone(lead.key()), number));
        while let Some((key, number)) = self.order.front() {
            let left = self.by_key.get(key).filter(|left| left.number == *number);
            let is_old = left.is_none_or(|left| left.at < forget_before);
            if !is_old && self.order.len() <= MOST_WRITTEN {
                break;
            }
            if left.is_some() {
                self.by_key.remove(key);
            }
            self.order.pop_front();
        }
    }

    pub(super) fn take(&mut self, keys: &[String]) -> Leavings {
        keys.iter().filter_map(|key| self.by_key.remove_entry(key.as_str())).collect()
    }

    pub(super) fn take_matching(&mut self, matches: impl Fn(&str) -> bool) -> Leavings {
        self.by_key.extract_if(.., |key, _| matches(key)).collect()
    }

    pub(super) fn take_all(&mut self) -> Leavings {
        self.order.clear();
        std::mem::take(&mut self.by_key)
    }
}

impl Cache {
    /// Remembers what a load is about to store.
    pub(in crate::cache) fn note_written(&self, lead: &Lead, stored: &[u8]) {
        let Some(fleet) = &self.shared.fleet else { return };
        let now = self.runtime.now();
        let forget_before = match now < fleet.trusted_until() {
            true => now - REMEMBERED,
            false => Timestamp::EPOCH,
        };
        lock(&fleet.written).note(lead, stored, now, forget_before);
    }
}
