//! The tier in front of a store: values as they are, decoded already, for a short life.
//!
//! What stands here was read or loaded at some moment, its *mark*. Every invalidation has a number,
//! and leaves it where those whom it concerns will find it: in the stripe of a key or a tag, or in the
//! list of the last patterns. A value is good as long as nothing that concerns it is younger than its
//! mark. So an invalidation costs a number, and not a search; a hit costs two of them to compare, and
//! takes no lock; and what was read before an invalidation, but is put in after it, is never found.

mod removals;

use std::any::{Any, TypeId};
use std::sync::Arc;
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

    /// Makes everything worthless that was read of this key, or under this tag, before now.
    fn invalidate(&self, key: &str);

    /// Makes everything worthless that was read of keys which match, before now.
    fn invalidate_matching(&self, pattern: &Glob);
}

/// Makes a tier: see [`Local::tier`].
pub(crate) type MakeTier = fn(u64, Duration) -> Box<dyn Tier>;

/// The tier of one cache and its clones.
pub(crate) struct Local {
    entries: QuickCache<Box<str>, Held, Weight>,
    /// The longest life of a value here.
    longest: Duration,
    /// Of keys and tags.
    stripes: Stripes<STRIPES>,
    patterns: Removals,
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
    pub(crate) fn tier(capacity: u64, longest: Duration) -> Box<dyn Tier> {
        Box::new(Self::new(capacity, longest))
    }

    /// With room for `capacity` values of up to 4 KiB each, or fewer larger ones.
    fn new(capacity: u64, longest: Duration) -> Self {
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
        Self { entries, longest, stripes: Stripes::default(), patterns: Removals::default() }
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
            && !runtime.has_passed(held.until)
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
        let Found { value, kind, until, bytes, tags } = found;
        let until = until.min(now + self.longest);
        let stripe = self.stripe(key);
        // Whatever was there may be the younger one; it is only ever given up for one that is good.
        if now >= until || !self.stands(stripe, mark) {
            return;
        }
        let tags: SmallVec<[u32; 4]> = tags.map(|tag| self.stripe(tag)).collect();
        let tags = (!tags.is_empty()).then(|| tags.as_slice().into());
        let weight = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).max(1);
        self.entries.insert(key.into(), Held { value, kind, until, mark, stripe, weight, tags });
    }

    fn invalidate(&self, key: &str) {
        self.stripes.invalidate(key);
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
    /// How large it is in its stored form.
    pub(crate) bytes: usize,
    pub(crate) tags: &'a mut (dyn Iterator<Item = &'t str> + 'a),
}
