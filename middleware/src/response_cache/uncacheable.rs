//! A memory of keys whose responses turned out not to be for all.
//!
//! Requests for them would queue: the first is passed on, the others wait for it in vain, and with
//! the next arrival it begins again. While a key is remembered, nobody waits for it. (Varnish calls
//! this hit-for-miss.)

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder_core::{Timestamp, seconds};

const SLOTS: usize = 1 << 10;
const LIFE: Duration = seconds(10);

/// Every key has one slot, which it shares with others: the last to be remembered has it. A slot
/// holds 32 bits of the key's hash, and the second in which it is forgotten.
pub(super) struct Uncacheable {
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
    /// The second in which the last key is forgotten, so that mostly no key has to be hashed.
    empty_from: AtomicU64,
}

impl Default for Uncacheable {
    fn default() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
            empty_from: AtomicU64::new(0),
        }
    }
}

impl Uncacheable {
    pub(super) fn remember(&self, key: &str, now: Timestamp) {
        let until = (now + LIFE).as_millis() / 1_000;
        let (slot, tag) = self.place(key);
        slot.store(tag | (until & u64::from(u32::MAX)), Ordering::Relaxed);
        self.empty_from.fetch_max(until, Ordering::Relaxed);
    }

    pub(super) fn remembers(&self, key: &str, now: Timestamp) -> bool {
        let now = now.as_millis() / 1_000;
        if now >= self.empty_from.load(Ordering::Relaxed) {
            return false;
        }
        let (slot, tag) = self.place(key);
        let held = slot.load(Ordering::Relaxed);
        let (held_tag, until) = (held & !u64::from(u32::MAX), held & u64::from(u32::MAX));
        held_tag == tag && now < until
    }

    fn place(&self, key: &str) -> (&AtomicU64, u64) {
        let hash = self.hasher.hash_one(key);
        let slot = usize::try_from(hash % SLOTS as u64).unwrap_or(0);
        (&self.slots[slot], hash & !u64::from(u32::MAX))
    }
}

impl fmt::Debug for Uncacheable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uncacheable").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::test;

    #[test]
    fn a_key_is_remembered_for_a_while() {
        let now = Timestamp::from_millis(1_767_225_600_000);
        let memory = Uncacheable::default();
        assert!(!memory.remembers("a", now));
        memory.remember("a", now);
        assert!(memory.remembers("a", now + seconds(9)));
        assert!(!memory.remembers("b", now));
        assert!(!memory.remembers("a", now + LIFE));
    }

    #[test]
    fn it_is_bounded_and_holds_about_as_many_keys_as_it_has_slots() {
        let now = Timestamp::from_millis(1_767_225_600_000);
        let memory = Uncacheable::default();
        let keys: Vec<String> = (0..100_000).map(|n| format!("key {n}")).collect();
        keys.iter().for_each(|key| memory.remember(key, now));
        let held = keys.iter().filter(|key| memory.remembers(key, now)).count();
        assert!(held > SLOTS / 2 && held <= SLOTS, "{held}");
    }
}
