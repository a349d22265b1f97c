//! The keys that an isolate knows: those used last, up to a number.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex};

use super::local::Local;

type Known = Arc<Mutex<Local>>;

/// Two generations: when the younger one is full it becomes the older, and what was not used since
/// goes.
#[derive(Debug)]
pub(super) struct Keys {
    young: HashMap<String, Known>,
    old: HashMap<String, Known>,
    most: usize,
}

impl Keys {
    /// Of at most so many keys, and of no fewer than half as many.
    pub(super) fn new(most: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), most }
    }

    pub(super) fn get(&mut self, key: &str) -> Option<Known> {
        if let Some(known) = self.young.get(key) {
            return Some(Arc::clone(known));
        }
        let (key, known) = self.old.remove_entry(key)?;
        self.put(key, Arc::clone(&known));
        Some(known)
    }

    /// The one that is known by now, else `met`.
    pub(super) fn get_or_insert(&mut self, key: &str, met: Known) -> Known {
        if let Some(known) = self.get(key) {
            return known;
        }
        self.put(key.to_owned(), Arc::clone(&met));
        met
    }

    fn put(&mut self, key: String, known: Known) {
        if self.young.len() >= (self.most / 2).max(1) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, known);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use larder_core::Timestamp;

    use super::*;

    #[test]
    fn what_was_used_last_stays() {
        let mut keys = Keys::new(10);
        let met = || Arc::new(Mutex::new(Local::met(None, Timestamp::EPOCH)));
        let used = keys.get_or_insert("used", met());
        for n in 0..100 {
            keys.get_or_insert(&n.to_string(), met());
            let known = keys.get("used").unwrap();
            assert!(Arc::ptr_eq(&known, &used), "it was met anew after {n}");
            assert!(keys.len() <= 10);
        }
        assert!(keys.get("99").is_some());
        assert!(keys.get("1").is_none());
    }
}
