//! Coalescing for callers that load in steps of their own, such as a response whose body streams.

use std::any::TypeId;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::form::Raw;
use super::leased::Leased;
use super::load::{Absence, Loaded};
use super::local::Moment;
use super::policy::Policy;
use super::{Cache, Entry, RawValue, Tags};
use crate::epoch::Stamp;
use crate::error::Error;
use crate::flight::{Claimed, Follow, Lead, Lost, Mark};
use crate::lease::Held;
use crate::time::Timestamp;

/// Where a caller of [`Entry::claim_raw`] stands.
#[derive(Debug)]
pub enum Claim<V> {
    /// The value is there.
    Hit(Arc<V>),
    /// The caller is to load it.
    Lead(Leader<V>),
    /// Someone else loads it.
    Follow(Follower<V>),
}

impl<K: AsRef<str>> Entry<'_, K> {
    /// Reads the raw value; on a miss the first caller is made its [`Leader`], and the others
    /// [`Follower`]s, with the guarantees of [`Cache::get_or_load`].
    ///
    /// # Errors
    ///
    /// [`Error::Key`] for a key that breaks the rules, [`Error::Config`] for a setting that cannot
    /// work.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use bytes::Bytes;
    /// use larder_core::{Cache, Claim, MemoryStore, minutes};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// let Claim::Lead(leader) = cache.entry("page").claim_raw::<Bytes>().await? else { panic!() };
    /// let Claim::Follow(follower) = cache.entry("page").claim_raw::<Bytes>().await? else { panic!() };
    ///
    /// leader.complete(Arc::new(Bytes::from_static(b"<h1>")), minutes(1));
    /// assert_eq!(&**follower.followed().await.value().unwrap(), b"<h1>");
    /// # Ok(()) }
    /// ```
    pub async fn claim_raw<V: RawValue>(self) -> Result<Claim<V>, Error> {
        self.policy.check()?;
        let cache = self.cache;
        if let Some(Some(value)) = cache.hit_local::<Raw<V>>(self.key.as_ref())? {
            return Ok(Claim::Hit(value));
        }
        let tags = cache.tags(&self.tags)?;
        let key = cache.full_key(self.key.as_ref())?;
        let mark = cache.shared.flights.mark(&key);
        let found = cache.read_accepting::<Raw<V>>(&key, &tags, Absence::IsAMiss).await;
        if let Some(Some(value)) = found {
            return Ok(Claim::Hit(value));
        }
        // Boxed, so that a hit does not carry the room that a miss needs.
        Ok(Box::pin(cache.claim_missed(&key, self.policy, &tags, mark)).await)
    }

    /// Leads a load of the key whatever the cache holds and whoever else loads it: for a caller
    /// that wants a new value, or that must not wait. Takes no lease, and asks the store for nothing
    /// but the epochs of tags.
    ///
    /// # Errors
    ///
    /// As [`claim_raw`](Self::claim_raw).
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use bytes::Bytes;
    /// # use larder_core::{Cache, MemoryStore, minutes};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// let leader = cache.entry("page").lead_raw::<Bytes>().await?;
    /// leader.complete(Arc::new(Bytes::from_static(b"<h1>")), minutes(1));
    /// # Ok(()) }
    /// ```
    pub async fn lead_raw<V: RawValue>(self) -> Result<Leader<V>, Error> {
        self.policy.check()?;
        let tags = self.cache.tags(&self.tags)?;
        let lead = self.cache.lead::<V>(self.key.as_ref(), &self.policy, tags)?;
        let stamps = self.cache.stamps_of_load(&lead, &self.policy, false).await;
        let moment = self.cache.moment();
        self.cache.begin_load(&lead);
        let (cache, policy) = (self.cache.clone(), self.policy);
        Ok(Leader { cache, policy, lead, lease: None, stamps, moment, value: PhantomData })
    }
}

impl Cache {
    fn lead<V: RawValue>(&self, key: &str, policy: &Policy, tags: Tags) -> Result<Lead, Error> {
        let key = self.full_key(key)?;
        let (now, forget_after) = (self.runtime.now(), self.forget_after(policy));
        Ok(self.shared.flights.lead(&key, TypeId::of::<Raw<V>>(), tags, now, forget_after))
    }

    /// Claims a key that was read and missed after `mark`.
    async fn claim_missed<V: RawValue>(
        &self,
        key: &str,
        policy: Policy,
        tags: &Tags,
        mark: Mark,
    ) -> Claim<V> {
        let absence = Absence::IsAMiss;
        match self.claim::<Raw<V>>(key, &policy, tags, mark, absence) {
            Claimed::Lead { lead, recheck } => {
                if recheck
                    && let Some(Some(value)) = self.look_again::<Raw<V>>(&lead, absence).await
                {
                    return Claim::Hit(value);
                }
                let lease = match self.lease_or_value::<Raw<V>>(&lead, &policy, absence).await {
                    Leased::Found(Some(value)) => return Claim::Hit(value),
                    Leased::Found(None) => None,
                    Leased::Granted(lease) => lease,
                };
                let stamps = self.stamps_of_load(&lead, &policy, false).await;
                let moment = self.moment();
                self.begin_load(&lead);
                let (cache, value) = (self.clone(), PhantomData);
                Claim::Lead(Leader { cache, policy, lead, lease, stamps, moment, value })
            }
            Claimed::Follow(follow) => {
                self.meter().coalesced();
                Claim::Follow(Follower { cache: self.clone(), follow, value: PhantomData })
            }
        }
    }
}

/// The one who loads a key. Dropping it frees the key, and a follower takes over.
#[must_use = "dropping the leader frees the key"]
pub struct Leader<V> {
    cache: Cache,
    policy: Policy,
    lead: Lead,
    lease: Option<Held>,
    /// `None` where what the load finds cannot be kept.
    stamps: Option<Vec<Stamp>>,
    moment: Option<Moment>,
    value: PhantomData<fn(V)>,
}

impl<V: RawValue> Leader<V> {
    /// The moment of the claim, from which the value's life counts.
    #[must_use]
    pub fn started(&self) -> Timestamp {
        self.lead.load_started()
    }

    /// Gives the value to the followers at once, and writes it to the store in the background, to
    /// live for `ttl` from the moment of the claim; unless the key was written or invalidated
    /// since.
    pub fn complete(self, value: Arc<V>, ttl: Duration) {
        let Self { cache, policy, lead, lease, stamps, moment, .. } = self;
        let took = cache.runtime.now().since(lead.load_started());
        cache.meter().load_ended(took, None);
        lead.publish(Ok(Some(Arc::clone(&value))));
        let Some(stamps) = stamps else { return };
        let ttl = Policy { ttl, ..policy }.life(false, fastrand::f64());
        // Encoding copies the value: that, too, is not for the caller to wait for.
        let runtime = Arc::clone(&cache.runtime);
        runtime.spawn(Box::pin(async move {
            let found = Loaded { lead, lease, stamps, moment, value: Some(value) };
            if let Some(write) = cache.write_back::<Raw<V>>(found, ttl) {
                write.await;
            }
        }));
    }

    /// Leads another key whose value comes of this load: it stands under the same tags, as they were
    /// when this load began, and is not kept if it was invalidated since then.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] for a key that breaks the rules.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use bytes::Bytes;
    /// # use larder_core::{Cache, MemoryStore, minutes};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// let leader = cache.entry("page").lead_raw::<Bytes>().await?;
    /// let german = leader.lead_beside("page:de")?;
    /// leader.complete(Arc::new(Bytes::from_static(b"en, de")), minutes(1));
    /// german.complete(Arc::new(Bytes::from_static(b"<h1>Hallo")), minutes(1));
    /// # Ok(()) }
    /// ```
    pub fn lead_beside(&self, key: impl AsRef<str>) -> Result<Self, Error> {
        let (cache, policy) = (self.cache.clone(), self.policy);
        let lead = cache.lead::<V>(key.as_ref(), &policy, self.lead.tags().clone())?;
        cache.begin_load(&lead);
        lead.come_of(&self.lead);
        let (stamps, moment) = (self.stamps.clone(), self.moment);
        Ok(Self { cache, policy, lead, lease: None, stamps, moment, value: PhantomData })
    }

    /// Tells the followers that there will be no value to share: each is on its own, at once.
    pub fn decline(self) {
        self.lead.publish::<V>(Ok(None));
    }
}

/// One who waits for a [`Leader`].
#[must_use = "a follower waits only when it is asked to"]
pub struct Follower<V> {
    cache: Cache,
    follow: Follow,
    value: PhantomData<fn() -> V>,
}

/// What became of a [`Leader`].
#[derive(Debug)]
pub enum Followed<V> {
    /// It completed.
    Value(Arc<V>),
    /// It declined: nothing is shared, and others need not be waited for.
    Declined,
    /// It went away: the key is to be claimed again.
    Gone,
    /// It took longer than the load timeout. The next to claim the key leads it.
    Overdue,
}

impl<V> Followed<V> {
    /// The value, if there is one.
    #[must_use]
    pub fn value(self) -> Option<Arc<V>> {
        match self {
            Self::Value(value) => Some(value),
            Self::Declined | Self::Gone | Self::Overdue => None,
        }
    }
}

impl<V: RawValue> Follower<V> {
    /// Waits for the leader.
    pub async fn followed(self) -> Followed<V> {
        match self.follow.outcome::<V>(&*self.cache.runtime).await {
            Ok(Ok(Some(value))) => Followed::Value(value),
            Ok(Ok(None) | Err(_)) => Followed::Declined,
            Err(Lost::Gone) => Followed::Gone,
            Err(Lost::Overdue) => Followed::Overdue,
        }
    }
}

impl<V> std::fmt::Debug for Leader<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leader").field("key", self.lead.key()).finish_non_exhaustive()
    }
}

impl<V> std::fmt::Debug for Follower<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").finish_non_exhaustive()
    }
}
