//! Cache-aside: read, and load what is missing, once.

use std::any::{Any, TypeId};
use std::error::Error as StdError;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{Either, ready, select};

use super::form::{Coded, Form};
use super::leased::Leased;
use super::local::Moment;
use super::policy::Policy;
use super::{Cache, Tags};
use crate::epoch::Stamp;
use crate::error::Error;
use crate::flight::{Claimed, Claimer, Lead, Mark};
use crate::layout::{Life, Presence};
use crate::lease::Held;
use crate::meter::Operation;

/// How long another request's load is waited for on Workers, where a request may be ended without
/// a trace when its client leaves.
const ISOLATED_PATIENCE: Duration = Duration::from_secs(5);

/// How long the write of a value may take at most, where a leader may be ended without a trace.
const ISOLATED_WRITE: Duration = Duration::from_secs(60);

/// Whatever a loader's error can be turned into.
pub(super) type BoxError = Box<dyn StdError + Send + Sync>;

impl Cache {
    /// The value under `key`; where there is none, what `loader` finds, which is then kept.
    ///
    /// However many callers ask for the key at once, one of them runs its loader, and all are
    /// given its value or its error. If that caller goes away, the next takes over with its own
    /// loader. The loader runs in the caller's task and may borrow from it.
    ///
    /// The value's life counts from the start of the load. It is not kept if the key was written
    /// or invalidated through this cache meanwhile, nor if the store fails. It is stored before it
    /// is answered; where the store did not answer the read, in the background.
    ///
    /// # Errors
    ///
    /// [`Error::Key`] for a key that breaks the rules; [`Error::Load`] with the loader's error,
    /// [`Error::LoadTimeout`] or [`Error::LoadPanicked`] where the load failed.
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// # async fn count_users() -> std::io::Result<u64> { Ok(10_000) }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// let users = cache.get_or_load("users:count", || count_users()).await?;
    /// assert_eq!(*users, 10_000);
    /// # Ok(()) }
    /// ```
    pub async fn get_or_load<T, F, Fut, E>(
        &self,
        key: impl AsRef<str>,
        loader: F,
    ) -> Result<Arc<T>, Error>
    where
        T: super::Cacheable,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Into<BoxError>,
    {
        self.entry(key).get_or_load(loader).await
    }

    /// Like [`get_or_load`](Self::get_or_load) for what may not exist: that there is no value is
    /// kept too, for the cache's [`absent_ttl`](super::CacheBuilder::absent_ttl).
    ///
    /// # Errors
    ///
    /// As [`get_or_load`](Self::get_or_load).
    ///
    /// ```
    /// # use larder_core::{Cache, MemoryStore};
    /// # async fn find_user(id: u64) -> std::io::Result<Option<String>> { Ok(None) }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
    /// let cache = Cache::builder(MemoryStore::new()).build()?;
    /// let user = cache.get_or_find("user:0", || find_user(0)).await?;
    /// assert_eq!(user, None); // and the next caller does not ask the database
    /// # Ok(()) }
    /// ```
    pub async fn get_or_find<T, F, Fut, E>(
        &self,
        key: impl AsRef<str>,
        loader: F,
    ) -> Result<Option<Arc<T>>, Error>
    where
        T: super::Cacheable,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<T>, E>>,
        E: Into<BoxError>,
    {
        self.entry(key).get_or_find(loader).await
    }

    /// Cache-aside for one key. Where `absence` is no answer, a known absence is a miss.
    pub(super) async fn read_through<T, Fut>(
        &self,
        key: &str,
        policy: &Policy,
        tags: &Tags,
        absence: Absence,
        loader: impl FnOnce() -> Fut,
    ) -> Result<Option<Arc<T>>, Error>
    where
        T: super::Cacheable,
        Fut: Future<Output = Result<Option<T>, BoxError>>,
    {
        policy.check()?;
        let local = self.local::<Coded<T>>(key)?;
        if let Some(found) = local.filter(|found| absence.answers(found)) {
            self.meter().hit(1);
            return Ok(found);
        }
        // Boxed, so that a hit does not carry the room that a miss needs.
        Box::pin(self.read_through_store(key, policy, tags, absence, loader)).await
    }

    async fn read_through_store<T, Fut>(
        &self,
        key: &str,
        policy: &Policy,
        tags: &Tags,
        absence: Absence,
        loader: impl FnOnce() -> Fut,
    ) -> Result<Option<Arc<T>>, Error>
    where
        T: super::Cacheable,
        Fut: Future<Output = Result<Option<T>, BoxError>>,
    {
        let key = self.full_key(key)?;
        let step = self.read_or_claim::<Coded<T>>(&key, policy, tags, absence).await;
        let (lead, store_failed) = match step {
            Step::Found(value) => return Ok(value),
            Step::Failed(error) => return Err(error),
            Step::Lead { lead, store_failed } => (lead, store_failed),
        };
        let lease = match self.lease_or_value::<Coded<T>>(&lead, policy, absence).await {
            Leased::Found(value) => return Ok(value),
            Leased::Granted(lease) => lease,
        };
        let stamps = self.stamps_of_load(&lead, policy, store_failed).await;
        let moment = self.moment();
        self.begin_load(&lead);
        let loaded = self.guarded(lead.key(), policy, async { loader().await }).await;
        let outcome = loaded.map(|value| value.map(Arc::new));
        lead.publish(outcome.clone());
        if let (Ok(value), Some(stamps)) = (&outcome, stamps) {
            let found = Loaded { lead, lease, stamps, moment, value: value.clone() };
            self.keep::<Coded<T>>(found, policy, store_failed).await;
        }
        outcome
    }

    /// Reads the key, and on a miss leads its load or waits for the one who does.
    pub(super) async fn read_or_claim<F: Form>(
        &self,
        key: &str,
        policy: &Policy,
        tags: &Tags,
        absence: Absence,
    ) -> Step<F::Value> {
        let mark = self.shared.flights.mark(key);
        let found = self.read_telling::<F>(key, tags).await;
        let store_failed = found.is_err();
        if let Some(found) = found.unwrap_or_default().filter(|found| absence.answers(found)) {
            return Step::Found(found);
        }
        loop {
            match self.claim::<F>(key, policy, tags, mark, absence) {
                Claimed::Lead { lead, recheck } => {
                    if recheck && let Some(found) = self.look_again::<F>(&lead, absence).await {
                        return Step::Found(found);
                    }
                    return Step::Lead { lead, store_failed };
                }
                Claimed::Follow(follow) => {
                    self.meter().coalesced();
                    match follow.outcome::<F::Value>(&*self.runtime).await {
                        Ok(Ok(found)) if absence.answers(&found) => return Step::Found(found),
                        Ok(Err(error)) => return Step::Failed(error),
                        // Another kind of caller found nothing, or the leader is lost.
                        Ok(Ok(_)) | Err(_) => {}
                    }
                }
            }
        }
    }

    pub(super) fn claim<F: Form>(
        &self,
        key: &str,
        policy: &Policy,
        tags: &Tags,
        mark: Mark,
        absence: Absence,
    ) -> Claimed {
        // A leader has its own deadline, and is waited for a little longer than that; one
        // that is silent even then is gone.
        let mut patience = policy.load_timeout.saturating_add(policy.load_timeout / 4);
        if self.runtime.isolates_tasks() {
            patience = patience.min(ISOLATED_PATIENCE);
        }
        let takes_absence = absence == Absence::IsAnAnswer;
        let (kind, now) = (TypeId::of::<F>(), self.runtime.now());
        let forget_after = self.forget_after(policy);
        let tags = tags.clone();
        let claimer = Claimer { kind, tags, takes_absence, now, patience, forget_after };
        self.shared.flights.claim(key, mark, &claimer)
    }

    /// After how long a leader is gone for sure, where it can go without a trace.
    pub(super) fn forget_after(&self, policy: &Policy) -> Option<Duration> {
        let load = policy.load_timeout.saturating_add(policy.load_timeout / 4);
        self.runtime.isolates_tasks().then(|| load.saturating_add(ISOLATED_WRITE))
    }

    /// Reads what a leader may have missed, as another load of the key has ended since its first
    /// read; and tells its followers.
    pub(super) async fn look_again<F: Form>(
        &self,
        lead: &Lead,
        absence: Absence,
    ) -> Option<Presence<Arc<F::Value>>> {
        let found = self.read_uncounted::<F>(lead.key(), lead.tags()).await;
        let found = found.filter(|found| absence.answers(found))?;
        lead.publish(Ok(found.clone()));
        Some(found)
    }

    /// What stands for the tags of a load that is about to begin. `None` where that cannot be known,
    /// so that what it finds cannot be kept.
    pub(super) async fn stamps_of_load(
        &self,
        lead: &Lead,
        policy: &Policy,
        store_failed: bool,
    ) -> Option<Vec<Stamp>> {
        if store_failed && !lead.tags().is_empty() {
            return None;
        }
        self.stamps(lead.tags(), policy.ttl).await.ok()
    }

    pub(super) fn begin_load(&self, lead: &Lead) {
        self.meter().load();
        lead.begin_load(self.runtime.now());
    }

    pub(super) async fn read_accepting<F: Form>(
        &self,
        key: &str,
        tags: &Tags,
        absence: Absence,
    ) -> Option<Presence<Arc<F::Value>>> {
        self.read::<F>(key, tags).await.filter(|found| absence.answers(found))
    }

    /// Runs a load to its end, its deadline or its panic.
    pub(super) async fn guarded<T>(
        &self,
        key: &Arc<str>,
        policy: &Policy,
        load: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, Error> {
        let started = self.runtime.now();
        let load = pin!(AssertUnwindSafe(load).catch_unwind());
        let deadline = self.runtime.sleep(policy.load_timeout);
        let result = match select(load, deadline).await {
            Either::Left((Ok(Ok(value)), _)) => Ok(value),
            Either::Left((Ok(Err(source)), _)) => {
                Err(Error::Load { key: Arc::clone(key), source: source.into() })
            }
            Either::Left((Err(panic), _)) => {
                Err(Error::LoadPanicked { key: Arc::clone(key), message: panic_message(&*panic) })
            }
            Either::Right(_) => {
                Err(Error::LoadTimeout { key: Arc::clone(key), after: policy.load_timeout })
            }
        };
        let failure = result.as_ref().err().map(failure_kind);
        self.meter().load_ended(self.runtime.now().since(started), failure);
        result
    }

    /// Writes what a load found, unless it was superseded meanwhile. The write goes on if the
    /// caller goes away; and where the store failed just before, nobody waits for it to fail again.
    pub(super) async fn keep<F: Form>(
        &self,
        found: Loaded<F::Value>,
        policy: &Policy,
        store_failed: bool,
    ) {
        let ttl = policy.life(found.value.is_none(), fastrand::f64());
        if let Some(write) = self.write_back::<F>(found, ttl) {
            let written = self.start(write);
            if !store_failed {
                let _ = written.await;
            }
        }
    }

    pub(super) fn write_back<F: Form>(
        &self,
        found: Loaded<F::Value>,
        ttl: Duration,
    ) -> Option<impl Future<Output = ()> + Send + use<F>> {
        let Loaded { lead, lease, stamps, moment, value } = found;
        let life = Life::starting(lead.load_started(), ttl);
        let (bytes, ttl) = self.keepable::<F>(lead.key(), value.as_deref(), life, &stamps)?;
        let cache = self.clone();
        Some(async move {
            if lead.begin_write() {
                let tags = stamps.iter().map(|stamp| &*stamp.key);
                cache.keep_local::<F>(lead.key(), moment, &value, life, &bytes, tags);
                cache.note_written(&lead, &bytes);
                let put = cache.store().put(lead.key(), bytes, ttl);
                // Counted and logged there; the answer does not depend on it.
                let _ = cache.metered(Operation::Write, put).await;
            } else {
                cache.meter().superseded();
            }
            drop(lease);
        })
    }

    /// Runs `task` whether or not this future is still polled; and at once, without a task of its
    /// own, where it does not have to wait.
    pub(super) async fn run_to_end(&self, task: impl Future<Output = ()> + Send + 'static) {
        let _ = self.start(task).await;
    }

    /// Starts `task`, and tells when it has ended.
    fn start<T: Future<Output = ()> + Send + 'static>(
        &self,
        task: T,
    ) -> impl Future<Output = Result<(), oneshot::Canceled>> + use<T> {
        let mut task = Box::pin(task);
        if task.as_mut().now_or_never().is_some() {
            return Either::Left(ready(Ok(())));
        }
        let (done, wait) = oneshot::channel();
        self.runtime.spawn(Box::pin(async move {
            task.await;
            let _ = done.send(());
        }));
        Either::Right(wait)
    }
}

/// What a load found, to be kept.
pub(super) struct Loaded<T> {
    pub(super) lead: Lead,
    pub(super) lease: Option<Held>,
    /// As they were before it began.
    pub(super) stamps: Vec<Stamp>,
    /// Before it began.
    pub(super) moment: Option<Moment>,
    pub(super) value: Presence<Arc<T>>,
}

/// What a caller makes of a known absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absence {
    IsAnAnswer,
    IsAMiss,
}

impl Absence {
    fn answers<T>(self, found: &Presence<T>) -> bool {
        found.is_some() || self == Self::IsAnAnswer
    }
}

pub(super) enum Step<T> {
    Found(Presence<Arc<T>>),
    Failed(Error),
    Lead { lead: Lead, store_failed: bool },
}

fn failure_kind(error: &Error) -> &'static str {
    match error {
        Error::LoadTimeout { .. } => "timeout",
        Error::LoadPanicked { .. } => "panic",
        _ => "error",
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
        .to_owned()
}
