//! The tier in front of a store: values as they are, decoded already, for a short life.
//!
//! What stands here was read or loaded at some moment, its *mark*. Every invalidation has a number,
//! and leaves it where those whom it concerns will find it: in the stripe of a key or a tag, or in the
//! list of the last patterns. A value is good as long as nothing that concerns it is younger than its
//! mark. So an invalidation costs a number, and not a search; a hit costs two of them to compare, beside
//! the look into its part of the map; and what was read before an invalidation, but is put in after it, is never found.
//!
//! Where other processes tell of their invalidations, some of them may be missed. What was read before
//! such a moment is *suspect*: it is not used until it was held against the store, by its version. And
//! while nobody knows whether any are missed, nothing is used unchecked.

mod removals;

use std::any::{Any, TypeId};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use quick_cache::sync::{Cache as QuickCache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use smallvec::SmallVec;

use crate::glob::Glob;
use crate::layout::Presence;
use crate::runtime::Runtime;
use crate::stripes::Stripes;
use crate::time::Timestamp;

use removals::Removals;

/// A value of any form.
type AnyValue = Arc<dyn Any + Send + Sync>;

/// A tier, as a cache has it: behind a pointer, so that only a program that asks for one is linked with
/// all that it stands on. To a Worker's download that is a matter of kilobytes.
pub(crate) trait Tier: Send + Sync {
    /// To be taken before the store is read, or a load begins, for what it finds to be put in.
    fn mark(&self) -> Mark;

    /// What stands under `key` in this form; `None` where nothing that is good does.
    fn get(&self, key: &str, kind: TypeId, runtime: &dyn Runtime) -> Option<Presence<AnyValue>>;

    /// Puts in what was read or loaded after `mark`, and is good until `until` at most.
    fn put(&self, key: &str, mark: Mark, found: Found<'_, '_>, now: Timestamp);

    /// Puts in what was written since `mark`, in place of anything that was read before; unless it was
    /// invalidated by another since.
    fn replace(&self, key: &str, mark: Mark, found: Found<'_, '_>, now: Timestamp);

    /// What stands under `key` in this form, if it is what the store held after `mark`: it is not
    /// suspect any more.
    fn recheck(
        &self,
        key: &str,
        kind: TypeId,
        stored: &[u8],
        mark: Mark,
        runtime: &dyn Runtime,
    ) -> Option<Presence<AnyValue>>;

    /// Makes everything suspect that was read before now.
    fn suspect(&self);

    /// Nothing is used unchecked from `until` on.
    fn trust_until(&self, until: Timestamp);

    /// Makes everything worthless that was read of this key, or under this tag, before now.
    fn invalidate(&self, key: &str);

    /// Makes everything worthless that was read of keys which match, before now.
    fn invalidate_matching(&self, pattern: &Glob);
}

/// Makes a tier: see [`Local::tier`].
pub(crate) type MakeTier = fn(u64, Duration, bool) -> Box<dyn Tier>;

/// The tier of one cache and its clones.
pub(crate) struct Local {
    entries: QuickCache<Box<str>, Held, Weight>,
    /// The longest life of a value here.
    longest: Duration,
    /// Of keys and tags.
    stripes: Stripes<STRIPES>,
    patterns: Removals,
    /// What was read before this number is suspect.
    suspect_before: AtomicU64,
    /// Until when it is known that no invalidation was missed, in microseconds since the UNIX epoch.
    trusted_until: AtomicU64,
    /// Whether values can be suspect.
    has_versions: bool,
}

/// A moment: what was read after it has seen everything that was invalidated before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    keys: u64,
    patterns: u64,
}

#[derive(Clone)]
struct Held {
    value: Presence<AnyValue>,
    kind: TypeId,
    until: Timestamp,
    mark: Mark,
    stripe: u32,
    weight: u32,
    /// What tells its stored form from others of its key.
    version: u64,
    /// The stripes of its tags.
    tags: Option<Arc<[u32]>>,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Box<str>, Held> for Weight {
    fn weight(&self, _: &Box<str>, held: &Held) -> u64 {
        u64::from(held.weight)
    }
}

/// So many, that few keys share one. A power of two.
const STRIPES: usize = 1 << 14;

/// What an entry of weight one has at most, in bytes of its stored form.
const UNIT_BYTES: usize = 4 << 10;

/// A part with a lock of its own has room for so many at least.
const SMALLEST_SHARD: u64 = 256;

impl Local {
    /// As a cache has it.
    pub(crate) fn tier(capacity: u64, longest: Duration, hears_others: bool) -> Box<dyn Tier> {
        Box::new(Self::new(capacity, longest, hears_others))
    }

    /// With room for `capacity` values of up to 4 KiB each, or fewer larger ones. Where invalidations
    /// are to be heard of others, nothing is trusted before [`trust_until`](Tier::trust_until).
    fn new(capacity: u64, longest: Duration, hears_others: bool) -> Self {
        let capacity = capacity.max(1);
        let cores = available_parallelism().map_or(1, usize::from) as u64;
        let shards = (16 * cores).min(capacity / SMALLEST_SHARD).max(1);
        let options = OptionsBuilder::new()
            .shards(1 << shards.ilog2())
            .estimated_items_capacity(usize::try_from(capacity).unwrap_or(usize::MAX))
            .weight_capacity(capacity)
            .build();
        let entries = match options {
            Ok(options) => QuickCache::with_options(
                options,
                Weight,
                DefaultHashBuilder::default(),
                DefaultLifecycle::default(),
            ),
            // Only missing fields are an error, and none is missing.
            Err(_) => QuickCache::with_weighter(32, capacity, Weight),
        };
        Self {
            entries,
            longest,
            stripes: Stripes::default(),
            patterns: Removals::default(),
            suspect_before: AtomicU64::new(0),
            trusted_until: AtomicU64::new(if hears_others { 0 } else { u64::MAX }),
            has_versions: hears_others,
        }
    }

    fn stands(&self, stripe: u32, mark: Mark) -> bool {
        self.stripes.stands(stripe, mark.keys)
    }

    /// Whether no pattern that was removed since concerns the key. If none does, that needs not be
    /// asked again.
    #[cold]
    fn outlives(&self, key: &str, held: &Held) -> bool {
        let now = self.patterns.last();
        let outlives = !self.patterns.concern(key, held.mark.patterns);
        if outlives {
            let mark = Mark { patterns: now, ..held.mark };
            self.entries.insert(key.into(), Held { mark, ..held.clone() });
        } else {
            self.entries.remove_if(key, |other| other.mark == held.mark);
        }
        outlives
    }

    fn with_stripes<'a>(&self, found: Found<'a, '_>) -> Striped<'a> {
        let Found { value, kind, until, stored, tags } = found;
        Striped { value, kind, until, stored, tags: tags.map(|tag| self.stripe(tag)).collect() }
    }

    fn insert(&self, key: &str, mark: Mark, found: Striped<'_>, now: Timestamp) {
        let Striped { value, kind, until, stored, tags } = found;
        let until = until.min(now + self.longest);
        let stripe = self.stripe(key);
        // Whatever was there may be the younger one; it is only ever given up for one that is good.
        if now >= until || !self.stands(stripe, mark) {
            return;
        }
        let tags = (!tags.is_empty()).then(|| tags.as_slice().into());
        let weight = stored.len().div_ceil(UNIT_BYTES);
        let weight = u32::try_from(weight).unwrap_or(u32::MAX).max(1);
        let version = if self.has_versions { self.version(stored) } else { 0 };
        let held = Held { value, kind, until, mark, stripe, weight, version, tags };
        self.entries.insert(key.into(), held);
    }

    fn version(&self, stored: &[u8]) -> u64 {
        self.stripes.hash(stored)
    }

    fn trusted_until(&self) -> Timestamp {
        Timestamp::from_micros(self.trusted_until.load(Ordering::Acquire))
    }

    fn stripe(&self, key: &str) -> u32 {
        self.stripes.of(key)
    }
}

impl Tier for Local {
    fn mark(&self) -> Mark {
        Mark { keys: self.stripes.last(), patterns: self.patterns.last() }
    }

    fn get(&self, key: &str, kind: TypeId, runtime: &dyn Runtime) -> Option<Presence<AnyValue>> {
        let held = self.entries.get(key)?;
        let is_good = held.kind == kind
            && !runtime.has_passed(held.until.min(self.trusted_until()))
            && held.mark.keys >= self.suspect_before.load(Ordering::Acquire)
            && self.stands(held.stripe, held.mark)
            && held
                .tags
                .as_deref()
                .is_none_or(|tags| tags.iter().all(|stripe| self.stands(*stripe, held.mark)));
        if !is_good {
            return None;
        }
        if held.mark.patterns != self.patterns.last() && !self.outlives(key, &held) {
            return None;
        }
        Some(held.value)
    }

    fn put(&self, key: &str, mark: Mark, found: Found<'_, '_>, now: Timestamp) {
        let found = self.with_stripes(found);
        self.insert(key, mark, found, now);
    }

    fn replace(&self, key: &str, mark: Mark, found: Found<'_, '_>, now: Timestamp) {
        let found = self.with_stripes(found);
        let (number, before) = self.stripes.invalidate(key);
        let is_the_last = before <= mark.keys
            && self.suspect_before.load(Ordering::SeqCst) <= mark.keys
            && found.tags.iter().all(|stripe| self.stands(*stripe, mark));
        if is_the_last {
            self.insert(key, Mark { keys: number, ..mark }, found, now);
        }
    }

    fn recheck(
        &self,
        key: &str,
        kind: TypeId,
        stored: &[u8],
        mark: Mark,
        runtime: &dyn Runtime,
    ) -> Option<Presence<AnyValue>> {
        let held = self.has_versions.then(|| self.entries.get(key)).flatten()?;
        let is_the_same = held.kind == kind
            && held.version == self.version(stored)
            && !runtime.has_passed(held.until);
        if !is_the_same {
            return None;
        }
        let value = held.value.clone();
        if self.stands(held.stripe, mark) {
            self.entries.insert(key.into(), Held { mark, ..held });
        }
        Some(value)
    }

    fn suspect(&self) {
        self.suspect_before.fetch_max(self.stripes.next(), Ordering::SeqCst);
    }

    fn trust_until(&self, until: Timestamp) {
        self.trusted_until.store(until.as_micros(), Ordering::SeqCst);
    }

    fn invalidate(&self, key: &str) {
        let _ = self.stripes.invalidate(key);
    }

    fn invalidate_matching(&self, pattern: &Glob) {
        self.patterns.add(pattern.clone());
    }
}

/// What was read or loaded.
pub(crate) struct Found<'a, 't> {
    pub(crate) value: Presence<AnyValue>,
    pub(crate) kind: TypeId,
    /// When its own life is over.
    pub(crate) until: Timestamp,
    /// Its stored form.
    pub(crate) stored: &'a [u8],
    pub(crate) tags: &'a mut (dyn Iterator<Item = &'t str> + 'a),
}

/// [`Found`], with the stripes of its tags.
struct Striped<'a> {
    value: Presence<AnyValue>,
    kind: TypeId,
    until: Timestamp,
    stored: &'a [u8],
    tags: SmallVec<[u32; 4]>,
}
