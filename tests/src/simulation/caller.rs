//! One of those who use the cache.

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use larder_core::{Cache, Claim, Error, Followed, Leader, Lookup, Runtime};

use super::Plan;
use super::database::{Database, Kind, Lag, Seen, Stamp, name, names, raw_name};

/// What marks every row that is loaded or put alone.
const TAG: &str = "rows";

/// The errors that loaders fail with.
const NOT_FOUND: &str = "there is no such row";
const ON_PURPOSE: &str = "on purpose";

#[derive(Clone)]
pub(super) struct Caller {
    number: usize,
    plan: Plan,
    cache: Cache,
    database: Arc<Database>,
    runtime: Arc<dyn Runtime>,
    random: fastrand::Rng,
}

#[derive(Debug, Clone, Copy)]
enum Call {
    Get,
    Lookup,
    GetMany,
    GetOrLoad,
    GetOrFind,
    GetOrLoadMany,
    GetRaw,
    ClaimRaw,
    Change,
    WriteThrough,
    ChangeAll,
}

const CALLS: [Call; 16] = [
    Call::Get,
    Call::Lookup,
    Call::GetMany,
    Call::GetOrLoad,
    Call::GetOrLoad,
    Call::GetOrLoad,
    Call::GetOrFind,
    Call::GetOrFind,
    Call::GetOrLoadMany,
    Call::GetRaw,
    Call::ClaimRaw,
    Call::ClaimRaw,
    Call::Change,
    Call::Change,
    Call::WriteThrough,
    Call::ChangeAll,
];

/// What a loader does besides its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Error,
    Panic,
    Hang,
}

impl Caller {
    pub(super) fn new(
        plan: &Plan,
        number: usize,
        cache: &Cache,
        database: &Arc<Database>,
        runtime: &Arc<dyn Runtime>,
    ) -> Self {
        Self {
            number,
            plan: plan.clone(),
            cache: cache.clone(),
            database: Arc::clone(database),
            runtime: Arc::clone(runtime),
            random: fastrand::Rng::with_seed(
                plan.seed.wrapping_mul(1_000).wrapping_add(number as u64),
            ),
        }
    }

    pub(super) async fn run(mut self) {
        for _ in 0..self.plan.calls {
            self.pause(20).await;
            let call = match CALLS[self.random.usize(..CALLS.len())] {
                Call::GetOrLoadMany if !self.plan.together => Call::GetOrLoad,
                call => call,
            };
            let key = self.random.usize(..self.plan.keys);
            let leaves = (self.plan.leaving && self.random.u8(..4) == 0)
                .then(|| Duration::from_micros(self.random.u64(..15_000)));
            self.note(|| format!("begins {call:?} of {key}"));
            let mut once = self.clone();
            self.random = self.random.fork();
            let doing = Box::pin(async move { once.call(call, key).await });
            let ended = match leaves {
                None => {
                    doing.await;
                    true
                }
                Some(after) => {
                    matches!(select(doing, self.runtime.sleep(after)).await, Either::Left(_))
                }
            };
            self.note(|| format!("{} {call:?} of {key}", if ended { "ends" } else { "leaves" }));
            if ended {
                self.database.call_ended();
            }
        }
    }

    async fn call(&mut self, call: Call, key: usize) {
        match call {
            Call::Get => self.get(key).await,
            Call::Lookup => self.lookup(key).await,
            Call::GetMany => self.get_many().await,
            Call::GetOrLoad => self.get_or_load(key).await,
            Call::GetOrFind => self.get_or_find(key).await,
            Call::GetOrLoadMany => self.get_or_load_many().await,
            Call::GetRaw => self.get_raw(key).await,
            Call::ClaimRaw => self.claim_raw(key).await,
            Call::Change => self.change(key).await,
            Call::WriteThrough => self.write_through(key).await,
            Call::ChangeAll => self.change_all().await,
        }
    }

    async fn get(&mut self, key: usize) {
        let seen = self.database.look(key);
        match self.cache.get::<Stamp>(name(key)).await {
            Ok(None) => {}
            Ok(Some(stamp)) => self.database.check(key, seen, Some(*stamp), Lag::None),
            Err(error) => self.unexpected(&error),
        }
    }

    async fn lookup(&mut self, key: usize) {
        let seen = self.database.look(key);
        match self.cache.lookup::<Stamp>(name(key)).await {
            Ok(Lookup::Miss) => {}
            Ok(Lookup::Absent) => self.database.check(key, seen, None, Lag::None),
            Ok(Lookup::Hit(stamp)) => self.database.check(key, seen, Some(*stamp), Lag::None),
            Err(error) => self.unexpected(&error),
        }
    }

    async fn get_many(&mut self) {
        let keys: Vec<usize> = (0..self.plan.keys).collect();
        let seen: Vec<_> = keys.iter().map(|key| self.database.look(*key)).collect();
        match self.cache.get_many::<Stamp>(keys.iter().map(|key| name(*key))).await {
            Ok(found) => {
                for ((key, seen), stamp) in keys.into_iter().zip(seen).zip(found) {
                    if let Some(stamp) = stamp {
                        self.database.check(key, seen, Some(*stamp), Lag::None);
                    }
                }
            }
            Err(error) => self.unexpected(&error),
        }
    }

    async fn get_or_load(&mut self, key: usize) {
        let seen = self.database.look(key);
        let mut loader = self.clone();
        self.random = self.random.fork();
        let load = || async move {
            let rows = loader.load(vec![(key, seen)]).await?;
            rows.into_iter().next().map(|(_, row)| row).ok_or(io::Error::other(NOT_FOUND))
        };
        match self.cache.entry(name(key)).tag(TAG).get_or_load(load).await {
            Ok(stamp) => self.database.check(key, seen, Some(*stamp), Lag::Load),
            Err(error) if is_not_found(&error) => self.database.check(key, seen, None, Lag::Load),
            Err(error) => self.unexpected(&error),
        }
    }

    async fn get_or_find(&mut self, key: usize) {
        let seen = self.database.look(key);
        let mut loader = self.clone();
        self.random = self.random.fork();
        let load = || async move {
            let rows = loader.load(vec![(key, seen)]).await?;
            Ok::<_, io::Error>(rows.into_iter().next().map(|(_, row)| row))
        };
        match self.cache.entry(name(key)).tag(TAG).get_or_find(load).await {
            Ok(stamp) => self.database.check(key, seen, stamp.as_deref().copied(), Lag::Load),
            Err(error) if is_not_found(&error) => self.database.check(key, seen, None, Lag::Load),
            Err(error) => self.unexpected(&error),
        }
    }

    async fn get_or_load_many(&mut self) {
        let mut keys: Vec<usize> = (0..self.plan.keys).collect();
        self.random.shuffle(&mut keys);
        keys.truncate(self.random.usize(1..=keys.len()));
        let seen: HashMap<_, _> = keys.iter().map(|key| (*key, self.database.look(*key))).collect();
        let loader = self.clone();
        self.random = self.random.fork();
        let load = |keys: Vec<usize>| {
            let mut loader = loader.clone();
            let keys = keys.into_iter().map(|key| (key, seen[&key])).collect();
            async move { loader.load(keys).await }
        };
        match self.cache.get_or_load_many(keys.clone(), |key| name(*key), load).await {
            Ok(found) => {
                for key in keys {
                    let seen = seen[&key];
                    self.database.check(key, seen, found.get(&key).map(|stamp| **stamp), Lag::Load);
                }
            }
            // The loader of another, who asked for one row, may have found none.
            Err(error) if is_not_found(&error) => {}
            Err(error) => self.unexpected(&error),
        }
    }

    async fn get_raw(&mut self, key: usize) {
        let seen = self.database.look(key);
        match self.cache.get_raw::<Bytes>(raw_name(key)).await {
            Ok(None) => {}
            Ok(Some(raw)) => self.database.check(key, seen, stamp_of(&raw), Lag::None),
            Err(error) => self.unexpected(&error),
        }
    }

    /// Loads a row in steps of its own, as a response is that streams.
    async fn claim_raw(&mut self, key: usize) {
        loop {
            let seen = self.database.look(key);
            match self.cache.entry(raw_name(key)).tag(TAG).claim_raw::<Bytes>().await {
                Err(error) => return self.unexpected(&error),
                Ok(Claim::Hit(raw)) => {
                    return self.database.check(key, seen, stamp_of(&raw), Lag::Load);
                }
                Ok(Claim::Lead(leader)) => return self.lead_raw(key, seen, leader).await,
                Ok(Claim::Follow(follower)) => match follower.followed().await {
                    Followed::Value(raw) => {
                        return self.database.check(key, seen, stamp_of(&raw), Lag::Load);
                    }
                    Followed::Declined => return,
                    Followed::Gone | Followed::Overdue => {}
                },
            }
        }
    }

    async fn lead_raw(&mut self, key: usize, seen: Seen, leader: Leader<Bytes>) {
        let under_way = self.database.begin_load(Kind::Raw, key, seen);
        self.note(|| format!("loads {key} raw"));
        self.pause(15).await;
        let row = self.database.read(key);
        self.note(|| format!("has read {row:?}"));
        self.pause(15).await;
        let fault = self.fault();
        drop(under_way);
        match row {
            Some(stamp) if fault == Fault::None => {
                leader.complete(Arc::new(bytes_of(stamp)), self.plan.ttl);
            }
            _ if fault == Fault::Panic || fault == Fault::Hang => drop(leader),
            _ => leader.decline(),
        }
    }

    /// Reads rows of the database, in a moment between the load's beginning and its end.
    async fn load(&mut self, keys: Vec<(usize, Seen)>) -> io::Result<Vec<(usize, Stamp)>> {
        let begin =
            |(key, seen): &(usize, Seen)| self.database.begin_load(Kind::Coded, *key, *seen);
        let under_way: Vec<_> = keys.iter().map(begin).collect();
        let keys: Vec<usize> = keys.into_iter().map(|(key, _)| key).collect();
        self.note(|| format!("loads {keys:?}"));
        self.pause(15).await;
        let rows: Vec<_> =
            keys.iter().filter_map(|key| Some((*key, self.database.read(*key)?))).collect();
        self.note(|| format!("has read {rows:?}"));
        self.pause(15).await;
        match self.fault() {
            Fault::None => {}
            Fault::Error => return Err(io::Error::other(ON_PURPOSE)),
            Fault::Panic if cfg!(panic = "unwind") => {
                std::panic::resume_unwind(Box::new(ON_PURPOSE))
            }
            Fault::Panic | Fault::Hang => pending().await,
        }
        drop(under_way);
        Ok(rows)
    }

    fn fault(&mut self) -> Fault {
        if !self.plan.loader_faults {
            return Fault::None;
        }
        match self.random.u8(..12) {
            0 => Fault::Error,
            1 => Fault::Panic,
            2 => Fault::Hang,
            _ => Fault::None,
        }
    }

    /// Changes a row and tells the cache.
    async fn change(&mut self, key: usize) {
        let _writer = match self.plan.puts {
            true => Some(self.database.writer(key).await),
            false => None,
        };
        let exists = self.random.u8(..4) > 0;
        let version = self.database.write(key, exists);
        self.note(|| format!("has changed {key} to {version}, exists: {exists}"));
        let invalidation = self.database.begin_invalidation([key]);
        let cache = &self.cache;
        let told = match self.random.u8(..5) {
            0 | 1 if self.plan.puts && exists => {
                cache.entry(name(key)).tag(TAG).put(&(key, version)).await
            }
            3 => cache.remove_many([name(key), name(key)]).await.map(drop),
            4 => cache.remove_matching(format!("ro*:{key}")).await.map(drop),
            _ => cache.remove(name(key)).await.map(drop),
        };
        let told = match told {
            Ok(()) if self.random.bool() => cache.remove(raw_name(key)).await.map(drop),
            Ok(()) => cache.remove_matching(format!("raw:{key}*")).await.map(drop),
            Err(error) => Err(error),
        };
        match told {
            Ok(()) => {
                self.note(|| format!("has told the cache of {key} at {version}"));
                invalidation.done();
            }
            Err(error) => self.unexpected(&error),
        }
    }

    /// Changes a row through the cache.
    async fn write_through(&mut self, key: usize) {
        let _writer = match self.plan.puts {
            true => Some(self.database.writer(key).await),
            false => None,
        };
        let mut saver = self.clone();
        self.random = self.random.fork();
        // That the row is removed from the cache without a change of it is one, too.
        let _attempt = self.database.begin_invalidation([key]);
        let mut invalidation = None;
        let open = &mut invalidation;
        let save = || async move {
            saver.pause(10).await;
            let version = saver.database.write(key, true);
            *open = Some(saver.database.begin_invalidation([key]));
            saver.note(|| format!("has saved {key} as {version}"));
            saver.pause(10).await;
            match saver.fault() {
                Fault::None => Ok((key, version)),
                _ => Err(io::Error::other(ON_PURPOSE)),
            }
        };
        let saved = self.cache.entry(name(key)).tag(TAG).write_through(save).await;
        let told = match saved {
            Ok(_) => self.cache.remove(raw_name(key)).await.map(drop),
            // Where the store fails too, it says so to nobody.
            Err(Error::Save { .. }) if !self.plan.store_faults => {
                self.cache.remove(raw_name(key)).await.map(drop)
            }
            Err(error) => Err(error),
        };
        match (told, invalidation) {
            (Ok(()), Some(invalidation)) => {
                self.note(|| format!("has written {key} through"));
                invalidation.done();
            }
            (Ok(()), None) => {}
            (Err(error), _) => self.unexpected(&error),
        }
    }

    /// Tells the cache to forget everything, whatever it holds.
    async fn change_all(&mut self) {
        if !self.plan.puts {
            for key in 0..self.plan.keys {
                self.database.write(key, self.random.u8(..4) > 0);
            }
        }
        let invalidation = self.database.begin_invalidation(0..self.plan.keys);
        let versions = invalidation.versions().to_vec();
        let told = match self.random.u8(..4) {
            // Not all rows have the tag where some are loaded together.
            0 if !self.plan.together => self.cache.remove_tag(TAG).await,
            1 => self.cache.clear().await,
            2 => self.cache.remove_matching("r[ao]w:*").await.map(drop),
            _ => self.cache.remove_many((0..self.plan.keys).flat_map(names)).await.map(drop),
        };
        match told {
            // A put of a row's writer may come after this: of the version that stood, or a later.
            Ok(()) => {
                self.note(|| format!("has told the cache of all up to {versions:?}"));
                invalidation.done();
            }
            Err(error) => self.unexpected(&error),
        }
    }

    async fn pause(&mut self, most_millis: u64) {
        let pause = Duration::from_micros(self.random.u64(..most_millis * 1_000));
        self.runtime.sleep(pause).await;
    }

    fn note(&self, what: impl FnOnce() -> String) {
        self.database.record.note(|| format!("caller {} {}", self.number, what()));
    }

    /// An error is fine where the plan provokes it.
    fn unexpected(&self, error: &Error) {
        self.note(|| format!("gets the error {error}"));
        let provoked = match error {
            Error::Store(_) => self.plan.store_faults,
            Error::Save { .. }
            | Error::Load { .. }
            | Error::LoadTimeout { .. }
            | Error::LoadPanicked { .. } => self.plan.loader_faults,
            _ => false,
        };
        if !provoked {
            self.database
                .record
                .violation(format!("caller {} gets the error {error}", self.number));
        }
    }
}

fn bytes_of((key, version): Stamp) -> Bytes {
    Bytes::from(format!("{key} {version}"))
}

fn stamp_of(raw: &Bytes) -> Option<Stamp> {
    let (key, version) = std::str::from_utf8(raw).ok()?.split_once(' ')?;
    Some((key.parse().ok()?, version.parse().ok()?))
}

fn is_not_found(error: &Error) -> bool {
    error.loader::<io::Error>().is_some_and(|error| error.to_string() == NOT_FOUND)
}
