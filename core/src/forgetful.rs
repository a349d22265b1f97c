//! A bounded map whose values end by themselves.
//!
//! When it is full, what would be forgotten next goes first: it has the least to lose. Finding that
//! is not to cost every change of a value. So a value stands in the queue by a moment at which it
//! was not yet forgotten, and is put further back only when it comes up.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread::available_parallelism;

use compact_str::CompactString;
use hashbrown::{DefaultHashBuilder, HashTable};
use metrics::Counter;

use crate::key::Split;
use crate::meter::Tally;
use crate::sync::{Apart, lock};
use crate::time::Timestamp;

/// A value that is as good as none from some moment on.
pub(crate) trait Forget: Default {
    fn forgotten_at(&self) -> Timestamp;
}

pub(crate) struct Forgetful<V> {
    shards: Box<[Apart<Mutex<Shard<V>>>]>,
    hasher: DefaultHashBuilder,
    evicted: Tally,
}

struct Shard<V> {
    /// What was noted last, see [`Forgetful::change_and_note`].
    latest: Timestamp,
    entries: HashTable<Entry<V>>,
    /// The hash of every entry, by its `queued`.
    queue: BTreeMap<Place, u64>,
    capacity: usize,
    next_number: u64,
}

/// A moment at which the entry was not yet forgotten, or at which it is; and a number of its own.
type Place = (Timestamp, u64);

struct Entry<V> {
    /// Short ones stand in the table itself: no way to them that has to be waited for.
    key: CompactString,
    value: V,
    queued: Place,
}

/// A part with a lock of its own has no fewer keys, as each is bounded by itself.
const SMALLEST_SHARD: usize = 1_024;

/// How many values whose time is over make way for a new one.
const SWEPT_AT_ONCE: usize = 2;

impl<V: Forget> Forgetful<V> {
    /// With room for `capacity` keys, at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        Self::counting(capacity, Counter::noop())
    }

    /// As [`new`](Self::new), with a counter of the keys that had to go before their time.
    pub(crate) fn counting(capacity: usize, evicted: Counter) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        let shards = (16 * cores).min(capacity / SMALLEST_SHARD).max(1);
        let shard = || {
            let capacity = (capacity / shards).max(1);
            Apart(Mutex::new(Shard {
                latest: Timestamp::EPOCH,
                entries: HashTable::new(),
                queue: BTreeMap::new(),
                capacity,
                next_number: 0,
            }))
        };
        Self {
            shards: (0..shards).map(|_| shard()).collect(),
            hasher: DefaultHashBuilder::default(),
            evicted: Tally::new(evicted),
        }
    }

    fn shard(&self, hash: u64) -> &Mutex<Shard<V>> {
        // The table uses the hash's other bits.
        let index = (u128::from(hash) * self.shards.len() as u128) >> 64;
        &self.shards[usize::try_from(index).unwrap_or(0)]
    }

    /// Changes the value of `key`, or a new one; it is kept where it is not forgotten at `now`.
    pub(crate) fn change<R>(
        &self,
        key: &str,
        now: Timestamp,
        change: impl FnOnce(&mut V) -> R,
    ) -> R {
        self.change_and_note(key, now, |value, _| change(value))
    }

    /// As [`change`](Self::change), which besides notes the latest moment at which something was
    /// done to this key or to those that share its lock.
    pub(crate) fn change_and_note<R>(
        &self,
        key: &str,
        now: Timestamp,
        change: impl FnOnce(&mut V, &mut Timestamp) -> R,
    ) -> R {
        let key = Split::from(key);
        let hash = self.hash(key);
        let mut shard = lock(self.shard(hash));
        let Shard { entries, latest, .. } = &mut *shard;
        let Some(entry) = find(entries, hash, key) else {
            let mut value = V::default();
            let result = change(&mut value, latest);
            if now < value.forgotten_at() {
                let evicted = shard.make_room(now);
                if evicted > 0 {
                    self.evicted.add(evicted);
                }
                shard.insert(CompactString::from(key.key), value, (hash, &self.hasher));
            }
            return result;
        };
        let result = change(&mut entry.value, latest);
        let (place, forgotten) = (entry.queued, entry.value.forgotten_at());
        shard.settle(hash, place, forgotten, now);
        result
    }

    /// What `read` makes of the value of `key`, where there is one, forgotten or not.
    pub(crate) fn read<R>(&self, key: &str, read: impl FnOnce(&V) -> Option<R>) -> Option<R> {
        let hash = self.hash(key.into());
        let mut shard = lock(self.shard(hash));
        read(&find(&mut shard.entries, hash, key.into())?.value)
    }

    /// As [`change`](Self::change), where there is a value and `change` makes something of it; else
    /// `None`, and it is left as it is, also if it is forgotten. `change` says besides when the value
    /// is not yet forgotten, as it knows that sooner than the value; it may name an earlier moment.
    pub(crate) fn change_known<R>(
        &self,
        key: &str,
        now: Timestamp,
        change: impl FnOnce(&mut V) -> Option<(R, Timestamp)>,
    ) -> Option<R> {
        self.change_known_since(key.into(), now, |value, _| change(value))
    }

    /// As [`change_known`](Self::change_known), with what was noted at last by
    /// [`change_and_note`](Self::change_and_note).
    #[inline(always)]
    pub(crate) fn change_known_since<R>(
        &self,
        key: Split<'_>,
        now: Timestamp,
        change: impl FnOnce(&mut V, Timestamp) -> Option<(R, Timestamp)>,
    ) -> Option<R> {
        let hash = self.hash(key);
        let mut shard = lock(self.shard(hash));
        let Shard { entries, latest, .. } = &mut *shard;
        let entry = find(entries, hash, key)?;
        let (result, not_before) = change(&mut entry.value, *latest)?;
        let place = entry.queued;
        if not_before <= now || not_before < place.0 {
            let forgotten = entry.value.forgotten_at();
            shard.settle(hash, place, forgotten, now);
        }
        Some(result)
    }

    #[inline(always)]
    fn hash(&self, key: Split<'_>) -> u64 {
        key.hash_by(&self.hasher)
    }

    /// How many keys there are, those among them whose time is over but which still take room
    /// included.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).entries.len()).sum()
    }

    /// How many keys had to go before their time.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.get()
    }
}

#[inline(always)]
fn find<'e, V>(
    entries: &'e mut HashTable<Entry<V>>,
    hash: u64,
    key: Split<'_>,
) -> Option<&'e mut Entry<V>> {
    entries.find_mut(hash, |entry| key.is(&entry.key))
}

impl<V: Forget> Shard<V> {
    fn insert(&mut self, key: CompactString, value: V, (hash, by): (u64, &DefaultHashBuilder)) {
        let place = (value.forgotten_at(), self.next_number);
        self.next_number += 1;
        self.queue.insert(place, hash);
        let entry = Entry { key, value, queued: place };
        self.entries.insert_unique(hash, entry, |entry| Split::from(&*entry.key).hash_by(by));
    }

    /// After a change: lets go of the entry where it is over, and puts it further to the front where
    /// it ends before its place in the queue.
    #[inline]
    fn settle(&mut self, hash: u64, place: Place, forgotten: Timestamp, now: Timestamp) {
        if forgotten <= now || forgotten < place.0 {
            self.put_forward(hash, place, forgotten, now);
        }
    }

    fn put_forward(&mut self, hash: u64, place: Place, forgotten: Timestamp, now: Timestamp) {
        self.queue.remove(&place);
        if forgotten <= now {
            self.remove(hash, place);
        } else if let Some(entry) = self.entries.find_mut(hash, |entry| entry.queued == place) {
            entry.queued = (forgotten, place.1);
            self.queue.insert(entry.queued, hash);
        }
    }

    fn remove(&mut self, hash: u64, place: Place) {
        if let Ok(entry) = self.entries.find_entry(hash, |entry| entry.queued == place) {
            entry.remove();
        }
    }

    /// Makes room for one, and lets go of some whose time is over. How many went before theirs.
    fn make_room(&mut self, now: Timestamp) -> u64 {
        for _ in 0..SWEPT_AT_ONCE {
            if self.queue.first_key_value().is_some_and(|((at, _), _)| *at <= now) {
                self.take_next(now);
            }
        }
        let mut evicted = 0;
        while self.entries.len() >= self.capacity {
            match self.take_next(Timestamp::MAX) {
                Some(forgotten) => evicted += u64::from(now < forgotten),
                None if self.queue.is_empty() => break,
                None => {}
            }
        }
        evicted
    }

    /// Takes the first in the queue out if it is in its right place, and is forgotten by `now`;
    /// else puts it there.
    fn take_next(&mut self, now: Timestamp) -> Option<Timestamp> {
        let (place, hash) = self.queue.pop_first()?;
        let entry = self.entries.find_mut(hash, |entry| entry.queued == place)?;
        let forgotten = entry.value.forgotten_at();
        if forgotten > place.0 || forgotten > now {
            entry.queued = (forgotten, place.1);
            self.queue.insert(entry.queued, hash);
            return None;
        }
        self.remove(hash, place);
        Some(forgotten)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::runtime::test;

    #[derive(Default)]
    struct Until(u64);

    impl Forget for Until {
        fn forgotten_at(&self) -> Timestamp {
            Timestamp::from_micros(self.0)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// A map whose entries end, and of which the one goes that ends first.
        #[test]
        fn what_would_be_forgotten_next_goes_first(
            steps in prop::collection::vec((0..12_u8, 0..40_u64, 0..6_u64), 1..200),
        ) {
            const CAPACITY: usize = 5;
            let map = Forgetful::<Until>::new(CAPACITY);
            let mut model: HashMap<String, u64> = HashMap::new();
            let (mut now, mut evicted) = (100, 0);
            for (key, life, pause) in steps {
                now += pause;
                // No two end together: which of them goes first is not said.
                let until = (now + life) * 1_000 + u64::from(key);
                let (key, time) = (key.to_string(), Timestamp::from_micros(now * 1_000 + 999));
                let is_over = |until: u64| Timestamp::from_micros(until) <= time;
                let before = map.change(&key, time, |value| std::mem::replace(&mut value.0, until));
                let known = model.get(&key).copied();
                match known {
                    Some(until) => prop_assert!(before == until || (before == 0 && is_over(until))),
                    None => prop_assert!(is_over(before)),
                }
                model.retain(|_, until| !is_over(*until));
                if !model.contains_key(&key) && model.len() == CAPACITY && !is_over(until) {
                    let next = model.iter().min_by_key(|(_, until)| **until).unwrap().0.clone();
                    model.remove(&next);
                    evicted += 1;
                }
                if is_over(until) { model.remove(&key); } else { model.insert(key, until); }
                prop_assert!(map.len() <= CAPACITY);
                prop_assert_eq!(map.evicted(), evicted);
                let shard = lock(&map.shards[0]);
                prop_assert_eq!(shard.queue.len(), shard.entries.len());
                for key in model.keys() {
                    prop_assert!(shard.entries.iter().any(|it| *it.key == **key), "{} is lost", key);
                }
            }
        }
    }
}
