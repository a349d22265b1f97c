//! Write-through: the source first, then the store.

use std::any::TypeId;
use std::future::Future;
use std::sync::Arc;

use super::form::{Coded, Form};
use super::load::BoxError;
use super::{Cache, Cacheable, Entry};
use crate::error::{Error, StoreError};
use crate::flight::{Flight, discredit, overtake, supersede, written};
use crate::layout::Life;
use crate::meter::Operation;

/// What a write-through flies as: nobody follows it.
struct Saving;

impl Cache {
    /// Saves a value to its source by `save`, and then puts what it returns under `key`.
    ///
    /// Whatever happens in between, no older value is left: where saving fails, or the caller goes
    /// away, or the key or a tag is invalidated or written meanwhile, the key is removed, and the next
    /// reader loads it. Two saves of a key that overlap in this process leave the later one's value or
    /// none. Those of different processes have no order: there, save and then
    /// [`remove`](Self::remove), or give the key a writer of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] for a key that breaks the rules, before anything is saved. [`Error::Save`] with
    /// the error of `save`; if the store fails then too, which is counted and logged, an older value
    /// may still stand. [`Error::Store`] or [`Error::Encode`] where the value was saved, but an
    /// older one may still stand under the key.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// # struct Users;
    /// # impl Users {
    /// #     async fn rename(&self, _: u64, name: &str) -> std::io::Result<String> { Ok(name.into()) }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// # let (cache, users) = (Cache::builder(MemoryStore::new()).build()?, Users);
    /// let user = cache.write_through("user:42", || users.rename(42, "Zoë")).await?;
    /// assert_eq!(cache.get::<String>("user:42").await?, Some(user));
    /// # Ok(()) }
    /// ```
    pub async fn write_through<T, F, Fut, E>(
        &self,
        key: impl AsRef<str>,
        save: F,
    ) -> Result<Arc<T>, Error>
    where
        T: Cacheable,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Into<BoxError>,
    {
        self.entry(key).write_through(save).await
    }

    /// Removes what stands under `key`, after the end of `writes`.
    async fn remove_unsaved(&self, key: &str, writes: Vec<Arc<Flight>>) -> Result<(), StoreError> {
        written(writes, &*self.runtime).await;
        let result = self.metered(Operation::Remove, self.store().remove(key)).await;
        self.invalidate_local(&[key]);
        discredit(self.shared.flights.of(&[key]));
        if result.is_ok() {
            self.tell_keys(&[key]).await;
        }
        result.map(drop)
    }
}

impl<K: AsRef<str>> Entry<'_, K> {
    /// [`Cache::write_through`] with these settings.
    ///
    /// # Errors
    ///
    /// As there, and [`Error::Config`] for a setting that cannot work.
    pub async fn write_through<T, F, Fut, E>(self, save: F) -> Result<Arc<T>, Error>
    where
        T: Cacheable,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Into<BoxError>,
    {
        let (cache, policy) = (self.cache, &self.policy);
        policy.check()?;
        let tags = cache.tags(&self.tags)?;
        let key = cache.full_key(self.key.as_ref())?;
        let flights = &cache.shared.flights;
        let (now, forget_after) = (cache.runtime.now(), cache.forget_after(policy));
        let kind = TypeId::of::<Saving>();
        let lead = flights.lead(&key, kind, tags.clone(), now, forget_after);
        let (key_of_undo, flight) = (Arc::clone(lead.key()), Arc::clone(lead.flight()));
        let undo = Undo { cache: cache.clone(), key: key_of_undo, flight, is_due: true };
        let stamps = cache.stamps(&tags, policy.ttl).await;
        lead.begin_load(cache.runtime.now());
        let value = match save().await {
            Ok(value) => Arc::new(value),
            Err(error) => {
                let source = error.into().into();
                // The source may have taken it all the same. That it was not removed is counted and
                // logged; the caller has to hear that it was not saved.
                let _ = undo.now().await;
                return Err(Error::Save { key: Arc::clone(lead.key()), source });
            }
        };
        // Those that began before have read what is over now. Saves among them give up their own.
        supersede(flights.of_others(&key, lead.flight()), &*cache.runtime).await;
        let ttl = policy.life(false, fastrand::f64());
        let life = Life::starting(lead.load_started(), ttl);
        let kept = match stamps {
            Ok(stamps) => {
                let encoded = Coded::<T>::encode(cache.layout(), Some(&value), life, &stamps);
                cache.fitting(&key, encoded).map(|bytes| (bytes, stamps))
            }
            Err(error) => Err(error.into()),
        };
        let left = life.fresh_until.since(cache.runtime.now());
        let (bytes, stamps) = match kept {
            Ok(kept) if !left.is_zero() && lead.begin_write() => kept,
            other => {
                undo.now().await?;
                return other.map(|_| value);
            }
        };
        let moment = cache.moment();
        let put = cache.store().put(&key, bytes.clone(), cache.layout().store_ttl(left));
        let result = cache.metered(Operation::Write, put).await;
        if let Err(error) = result {
            // It may stand in the store nevertheless, or what stood before.
            return match undo.now().await {
                Ok(()) => Ok(value),
                Err(_) => Err(error.into()),
            };
        }
        undo.spare();
        let (found, tags) = (Some(Arc::clone(&value)), stamps.iter().map(|stamp| &*stamp.key));
        cache.replace_local::<Coded<T>>(&key, moment, &found, life, &bytes, tags);
        discredit(flights.of(&[&key]));
        cache.tell_keys(&[&key]).await;
        Ok(value)
    }
}

/// Removes the key unless what is saved was put: also where the caller goes away.
struct Undo {
    cache: Cache,
    key: Arc<str>,
    flight: Arc<Flight>,
    is_due: bool,
}

impl Undo {
    /// Takes the loads that began before out of the reach of the store; those that write already.
    fn overtake(&self) -> Vec<Arc<Flight>> {
        overtake(self.cache.shared.flights.of_others(&self.key, &self.flight))
    }

    async fn now(mut self) -> Result<(), StoreError> {
        let removed = self.cache.remove_unsaved(&self.key, self.overtake()).await;
        self.is_due = false;
        removed
    }

    fn spare(mut self) {
        self.is_due = false;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if self.is_due {
            let (cache, key, writes) = (self.cache.clone(), Arc::clone(&self.key), self.overtake());
            self.cache.runtime.spawn(Box::pin(async move {
                // Counted and logged there; nobody waits for it.
                let _ = cache.remove_unsaved(&key, writes).await;
            }));
        }
    }
}
