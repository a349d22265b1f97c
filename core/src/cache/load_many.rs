//! Cache-aside for many keys, with one call of the loader for all that are missing.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use super::form::Coded;
use super::load::{Absence, BoxError};
use super::{Cache, Cacheable};
use crate::error::Error;
use crate::flight::{Claimed, Follow, Lead, Mark};
use crate::layout::Life;
use crate::meter::Operation;
use crate::store::PutEntry;

/// An item of the caller's, its complete key, and the mark taken before the store was read.
struct Wanted<I> {
    item: I,
    key: String,
    mark: Mark,
}

impl Cache {
    /// The values of all `items`; `loader` is called once with those that the cache does not hold.
    ///
    /// `key_of` tells each item's key. Items that the loader leaves out do not exist; that is kept
    /// too, as by [`get_or_find`](Self::get_or_find). Keys that other callers are loading right now
    /// are waited for and not asked of this loader. Only where such a caller goes away is the
    /// loader called again, with what that caller leaves.
    ///
    /// # Errors
    ///
    /// As [`get_or_load`](Self::get_or_load), and [`Error::Config`] for a time to live of zero.
    /// The first error of any load ends the call.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// # use larder_core::{Cache, MemoryStore};
    /// # async fn find_users(ids: Vec<u64>) -> std::io::Result<HashMap<u64, String>> {
    /// #     Ok(ids.into_iter().filter(|id| *id < 3).map(|id| (id, format!("user {id}"))).collect())
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// let users = cache
    ///     .get_or_load_many([1, 2, 3], |id| format!("user:{id}"), |missing| find_users(missing))
    ///     .await?;
    /// assert_eq!(users.len(), 2); // there is no user 3
    /// # Ok(()) }
    /// ```
    pub async fn get_or_load_many<I, T, S, L, F, Fut, E>(
        &self,
        items: impl IntoIterator<Item = I>,
        key_of: impl Fn(&I) -> S,
        mut loader: F,
    ) -> Result<HashMap<I, Arc<T>>, Error>
    where
        I: Clone + Eq + Hash,
        T: Cacheable,
        S: AsRef<str>,
        L: IntoIterator<Item = (I, T)>,
        F: FnMut(Vec<I>) -> Fut,
        Fut: Future<Output = Result<L, E>>,
        E: Into<BoxError>,
    {
        self.policy.check()?;
        let mut wanted = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for item in items {
            if seen.insert(item.clone()) {
                let key = self.full_key(key_of(&item).as_ref())?;
                let mark = self.shared.flights.mark(&key);
                wanted.push(Wanted { item, key, mark });
            }
        }
        let mut found = HashMap::with_capacity(wanted.len());
        let mut missing = self.take_stored::<I, T>(wanted, &mut found).await;
        while !missing.is_empty() {
            let (leads, follows) = self.claim_many::<I, T>(missing, &mut found).await;
            if !leads.is_empty() {
                self.load_all(leads, &mut loader, &mut found).await?;
            }
            missing = self.follow_all::<I, T>(follows, &mut found).await?;
        }
        Ok(found)
    }

    /// Moves what the store holds into `found`, and returns the rest.
    async fn take_stored<I: Eq + Hash, T: Cacheable>(
        &self,
        wanted: Vec<Wanted<I>>,
        found: &mut HashMap<I, Arc<T>>,
    ) -> Vec<Wanted<I>> {
        let keys: Vec<String> = wanted.iter().map(|wanted| wanted.key.clone()).collect();
        let stored = self.read_many::<Coded<T>>(&keys).await;
        let mut missing = Vec::new();
        for (wanted, stored) in wanted.into_iter().zip(stored) {
            match stored {
                Some(Some(value)) => drop(found.insert(wanted.item, value)),
                Some(None) => {}
                None => missing.push(wanted),
            }
        }
        missing
    }

    /// Leads or follows each of the missing keys. What other callers have stored since the first
    /// read goes into `found`.
    async fn claim_many<I: Eq + Hash, T: Cacheable>(
        &self,
        missing: Vec<Wanted<I>>,
        found: &mut HashMap<I, Arc<T>>,
    ) -> (Vec<(I, Lead)>, Vec<(Wanted<I>, Follow)>) {
        let (mut claimed, mut follows) = (Vec::new(), Vec::new());
        for wanted in missing {
            match self.claim::<Coded<T>>(
                &wanted.key,
                &self.policy,
                &self.scopes,
                wanted.mark,
                Absence::IsAnAnswer,
            ) {
                Claimed::Lead { lead, recheck } => claimed.push((wanted, lead, recheck)),
                Claimed::Follow(follow) => {
                    self.meter().coalesced();
                    follows.push((wanted, follow));
                }
            }
        }
        let again = claimed.iter().filter(|(.., recheck)| *recheck);
        let again: Vec<String> = again.map(|(wanted, ..)| wanted.key.clone()).collect();
        let mut again = self.read_many_uncounted::<Coded<T>>(&again).await.into_iter();
        let mut leads = Vec::with_capacity(claimed.len());
        for (wanted, lead, recheck) in claimed {
            let stored = if recheck { again.next().flatten() } else { None };
            match stored {
                Some(value) => {
                    lead.publish(Ok(value.clone()));
                    found.extend(value.map(|value| (wanted.item, value)));
                }
                None => leads.push((wanted.item, lead)),
            }
        }
        (leads, follows)
    }

    async fn load_all<I, T, L, Fut, E>(
        &self,
        leads: Vec<(I, Lead)>,
        loader: &mut impl FnMut(Vec<I>) -> Fut,
        found: &mut HashMap<I, Arc<T>>,
    ) -> Result<(), Error>
    where
        I: Clone + Eq + Hash,
        T: Cacheable,
        L: IntoIterator<Item = (I, T)>,
        Fut: Future<Output = Result<L, E>>,
        E: Into<BoxError>,
    {
        self.meter().load();
        let stamps = self.stamps(&self.scopes, self.policy.ttl).await.ok();
        let moment = self.moment();
        let now = self.runtime.now();
        leads.iter().for_each(|(_, lead)| lead.begin_load(now));
        let items = leads.iter().map(|(item, _)| item.clone()).collect();
        let Some((_, first)) = leads.first() else { return Ok(()) };
        let load = async { loader(items).await.map_err(Into::into) };
        let loaded = match self.guarded(first.key(), &self.policy, load).await {
            Ok(loaded) => loaded,
            Err(error) => {
                for (_, lead) in &leads {
                    lead.publish::<T>(Err(error.clone()));
                }
                return Err(error);
            }
        };
        let mut loaded: HashMap<I, Arc<T>> =
            loaded.into_iter().map(|(item, value)| (item, Arc::new(value))).collect();
        let mut writes = Vec::with_capacity(leads.len());
        for (item, lead) in leads {
            let value = loaded.remove(&item);
            lead.publish(Ok(value.clone()));
            let ttl = self.policy.life(value.is_none(), fastrand::f64());
            let life = Life::starting(lead.load_started(), ttl);
            let kept = stamps.as_ref().and_then(|stamps| {
                self.keepable::<Coded<T>>(lead.key(), value.as_deref(), life, stamps)
            });
            let kept = kept.map(|(bytes, ttl)| (lead, bytes, ttl, value.clone(), life));
            writes.extend(kept);
            found.extend(value.map(|value| (item, value)));
        }
        let cache = self.clone();
        self.run_to_end(async move {
            writes.retain(|(lead, ..)| {
                let may_write = lead.begin_write();
                if !may_write {
                    cache.meter().superseded();
                }
                may_write
            });
            for (lead, bytes, _, value, life) in &writes {
                let tags = cache.scopes.keys();
                cache.keep_local::<Coded<T>>(lead.key(), moment, value, *life, bytes, tags);
                cache.note_written(lead, bytes);
            }
            let entries: Vec<PutEntry<'_>> = writes
                .iter()
                .map(|(lead, bytes, ttl, ..)| PutEntry {
                    key: lead.key(),
                    value: bytes.clone(),
                    ttl: *ttl,
                })
                .collect();
            if !entries.is_empty() {
                // Counted and logged there; the answer does not depend on it.
                let _ = cache.metered(Operation::Write, cache.store().put_many(&entries)).await;
            }
        })
        .await;
        Ok(())
    }

    /// Waits for the loads of others; returns what those who went away have left.
    async fn follow_all<I: Eq + Hash, T: Cacheable>(
        &self,
        follows: Vec<(Wanted<I>, Follow)>,
        found: &mut HashMap<I, Arc<T>>,
    ) -> Result<Vec<Wanted<I>>, Error> {
        let mut left = Vec::new();
        for (wanted, follow) in follows {
            match follow.outcome::<T>(&*self.runtime).await {
                Ok(outcome) => found.extend(outcome?.map(|value| (wanted.item, value))),
                Err(_) => left.push(wanted),
            }
        }
        Ok(left)
    }
}
