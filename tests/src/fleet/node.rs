//! A process that lives, is paused, is killed, and its callers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, join, join_all, select};
use larder_core::{Cache, Error, Runtime, Store, millis};

use super::database::{Database, Stamp, name};
use super::network::Network;
use super::plan::{LONGEST_HANG, LONGEST_PAUSE};
use super::{Plan, Process, cache_of};

/// What marks every row.
const TAG: &str = "rows";

pub(super) struct Node {
    pub(super) number: usize,
    pub(super) plan: Plan,
    pub(super) store: Arc<dyn Store>,
    pub(super) network: Arc<Network>,
    pub(super) database: Arc<Database>,
    pub(super) runtime: Arc<dyn Runtime>,
}

impl Node {
    /// Lives once, or again after it was killed; its cache, and what that runs in, if it lives on.
    pub(super) async fn run(self) -> Result<Option<(Cache, Arc<Process>)>, Error> {
        let mut random = fastrand::Rng::with_seed(self.plan.seed ^ (self.number as u64 + 1) << 40);
        if self.plan.kills && random.bool() {
            let (cache, process, calls) = self.begin(&mut random)?;
            let life = Box::pin(self.life(random.fork()));
            if let Either::Left((_, life)) = select(calls, life).await {
                life.await;
            }
            self.database.record.note(|| format!("node {} is killed", self.number));
            self.database.count(&cache.invalidation_stats());
            let is_numbered = !self.plan.plain;
            self.database.killed(self.number, is_numbered && self.network.is_known(self.number));
            process.kill();
            if random.bool() {
                return Ok(None);
            }
            self.runtime.sleep(Duration::from_micros(random.u64(..200_000))).await;
        }
        let (cache, process, calls) = self.begin(&mut random)?;
        let trouble = self.trouble(&cache, &process, random.fork());
        let (_, looked) = join(calls, trouble).await;
        looked?;
        self.database.count(&cache.invalidation_stats());
        Ok(Some((cache, process)))
    }

    #[allow(clippy::type_complexity)]
    fn begin(
        &self,
        random: &mut fastrand::Rng,
    ) -> Result<
        (Cache, Arc<Process>, impl Future<Output = Vec<Result<(), oneshot::Canceled>>> + use<>),
        Error,
    > {
        let process = Process::on(Arc::clone(&self.runtime));
        let bus = self.network.bus_of(self.number);
        let cache = cache_of(&self.plan, Arc::clone(&self.store))
            .local(64)
            .local_ttl(self.plan.ttl)
            .invalidation(bus)
            .invalidation_silence(self.plan.silence)
            .runtime(Arc::clone(&process))
            .build()?;
        let callers = (0..self.plan.callers).map(|_| {
            let caller = Caller {
                node: self.number,
                plan: self.plan.clone(),
                cache: cache.clone(),
                database: Arc::clone(&self.database),
                runtime: Arc::clone(&self.runtime),
                random: random.fork(),
            };
            let (done, wait) = oneshot::channel();
            process.spawn(Box::pin(async move {
                caller.run().await;
                let _ = done.send(());
            }));
            wait
        });
        let calls = join_all(callers.collect::<Vec<_>>());
        Ok((cache, process, calls))
    }

    /// Until it is killed. What some say last reaches nobody.
    async fn life(&self, mut random: fastrand::Rng) {
        let life = Duration::from_micros(random.u64(..500_000));
        let is_cut_off = !self.plan.plain && random.bool();
        let unheard =
            if is_cut_off { Duration::from_micros(random.u64(..300_000)) } else { Duration::ZERO };
        self.runtime.sleep(life.saturating_sub(unheard)).await;
        if is_cut_off {
            self.network.cut_off(self.number);
        }
        self.runtime.sleep(life.min(unheard)).await;
    }

    async fn trouble(
        &self,
        cache: &Cache,
        process: &Process,
        mut random: fastrand::Rng,
    ) -> Result<(), Error> {
        let mut up_to =
            |most: Duration| Duration::from_micros(random.u64(..=most.as_micros() as u64));
        let half = LONGEST_PAUSE / 2;
        if self.plan.pauses {
            self.runtime.sleep(up_to(half / 2)).await;
            self.database.record.note(|| format!("node {} is paused", self.number));
            process.pause();
            self.runtime.sleep(up_to(LONGEST_PAUSE)).await;
            process.go_on();
            self.database.record.note(|| format!("node {} goes on", self.number));
        }
        if self.plan.breaks {
            self.runtime.sleep(up_to(half)).await;
            let (told_after, lasts) = (up_to(self.plan.delay), up_to(LONGEST_PAUSE));
            self.network.break_of(self.number, told_after, Some(lasts)).await;
        }
        if self.plan.hangs {
            self.runtime.sleep(up_to(half)).await;
            // Half of them go on as if nothing had been.
            let is_told = up_to(millis(1)) < millis(1) / 2;
            let lasts = is_told.then(|| up_to(LONGEST_PAUSE));
            let (hangs, after) = (up_to(LONGEST_HANG), self.plan.silence / 3);
            let hang = self.network.break_of(self.number, hangs, lasts);
            let looks = async {
                self.look_for(cache, hangs, millis(60)).await?;
                // Before others say something, which would tell what was missed.
                self.look_for(cache, after, millis(10)).await
            };
            join(hang, looks).await.1?;
        }
        Ok(())
    }

    /// Looks at every row again and again, for as long.
    async fn look_for(&self, cache: &Cache, lasts: Duration, pause: Duration) -> Result<(), Error> {
        let begin = self.runtime.now();
        while self.runtime.now().since(begin) < lasts {
            for key in 0..self.plan.keys {
                let began = self.database.look();
                if let Some(row) = cache.get::<Stamp>(name(key)).await? {
                    self.database.check(self.number, key, began, *row);
                }
            }
            self.runtime.sleep(pause).await;
        }
        Ok(())
    }
}

struct Caller {
    node: usize,
    plan: Plan,
    cache: Cache,
    database: Arc<Database>,
    runtime: Arc<dyn Runtime>,
    random: fastrand::Rng,
}

impl Caller {
    async fn run(mut self) {
        for _ in 0..self.plan.calls {
            // Some calls come soon after one another, others long after.
            let most = if self.random.u8(..8) == 0 { self.plan.rest } else { millis(12) };
            self.pause(most).await;
            let key = self.random.usize(..self.plan.keys);
            let call = self.random.u8(..8);
            let result = match call {
                0 => self.get(key).await,
                1 => self.get_many().await,
                2..=4 => self.load(key).await,
                5 => self.load_many().await,
                _ => self.change(key).await,
            };
            if let Err(error) = result {
                self.database.record.violation(format!("a call failed: {error}"));
            }
        }
    }

    async fn pause(&mut self, most: Duration) {
        let pause = Duration::from_micros(self.random.u64(..most.as_micros() as u64));
        self.runtime.sleep(pause).await;
    }

    fn note(&self, what: impl FnOnce() -> String) {
        self.database.record.note(|| format!("node {}: {}", self.node, what()));
    }

    async fn get(&mut self, key: usize) -> Result<(), Error> {
        for _ in 0..self.random.usize(1..5) {
            let began = self.database.look();
            if let Some(row) = self.cache.get::<Stamp>(name(key)).await? {
                self.note(|| format!("has got {row:?}"));
                self.database.check(self.node, key, began, *row);
            }
            self.pause(millis(30)).await;
        }
        Ok(())
    }

    async fn get_many(&mut self) -> Result<(), Error> {
        let began = self.database.look();
        let found = self.cache.get_many::<Stamp>((0..self.plan.keys).map(name)).await?;
        for (key, row) in found.into_iter().enumerate() {
            if let Some(row) = row {
                self.note(|| format!("has got {row:?} with others"));
                self.database.check(self.node, key, began, *row);
            }
        }
        Ok(())
    }

    async fn load(&mut self, key: usize) -> Result<(), Error> {
        let began = self.database.look();
        let rows = self.rows(vec![key]);
        let loader = || async { rows.await.map(|mut rows| rows.remove(0).1) };
        let entry = self.cache.entry(name(key));
        let entry = if self.plan.plain { entry } else { entry.tag(TAG) };
        let row = entry.get_or_load(loader).await?;
        self.note(|| format!("has {row:?}"));
        self.database.check(self.node, key, began, *row);
        Ok(())
    }

    /// Rows that are loaded together have no tag of their own.
    async fn load_many(&mut self) -> Result<(), Error> {
        if !self.plan.plain && !self.plan.instant_clear {
            return self.get_many().await;
        }
        let began = self.database.look();
        let keys: Vec<usize> = (0..self.plan.keys).collect();
        let mut rows = Some(self.rows(keys.clone()));
        let loader = |keys: Vec<usize>| {
            let rows = rows.take();
            async move {
                let mut rows = match rows {
                    Some(rows) => rows.await?,
                    None => return Err(io::Error::other("loaded twice")),
                };
                rows.retain(|(key, _)| keys.contains(key));
                Ok(rows)
            }
        };
        let found = self.cache.get_or_load_many(keys, |key| name(*key), loader).await;
        // Whom it followed has gone away, so that it would have to load again.
        let Ok(found) = found else { return Ok(()) };
        for (key, row) in found {
            self.database.check(self.node, key, began, *row);
        }
        Ok(())
    }

    /// Rows as they are at some moment of a load.
    fn rows(
        &mut self,
        keys: Vec<usize>,
    ) -> impl Future<Output = io::Result<Vec<(usize, Stamp)>>> + Send + use<> {
        let (node, database) = (self.node, Arc::clone(&self.database));
        let runtime = Arc::clone(&self.runtime);
        let longest = self.plan.load.as_micros() as u64;
        let (before, after) = (self.random.u64(..8_000), self.random.u64(..longest));
        async move {
            runtime.sleep(Duration::from_micros(before)).await;
            let rows: Vec<_> =
                keys.into_iter().map(|key| (key, database.load(node, key))).collect();
            database.record.note(|| format!("node {node}: reads {rows:?}"));
            runtime.sleep(Duration::from_micros(after)).await;
            rows.iter().for_each(|(_, row)| database.loaded(node, *row));
            Ok(rows)
        }
    }

    /// Changes a row, or all of them, and tells the cache.
    async fn change(&mut self, key: usize) -> Result<(), Error> {
        let how = self.random.u8(..8);
        let all = how >= 5 || (how == 4 && self.plan.keys > 1);
        let keys: Vec<usize> = if all { (0..self.plan.keys).collect() } else { vec![key] };
        let versions: Vec<_> = keys.iter().map(|key| (*key, self.database.write(*key))).collect();
        self.note(|| format!("has changed {versions:?} ({how})"));
        let cache = &self.cache;
        let is_tagged = !self.plan.plain && !self.plan.instant_clear;
        match how {
            0..=2 => cache.remove(name(key)).await.map(drop)?,
            3 => cache.remove_matching(format!("r*:{key}")).await.map(drop)?,
            4 => cache.remove_many(keys.iter().map(|key| name(*key))).await.map(drop)?,
            5 if is_tagged => cache.remove_tag(TAG).await?,
            5 | 6 => cache.remove_matching("row:*").await.map(drop)?,
            _ => cache.clear().await?,
        }
        self.note(|| format!("has told of {versions:?}"));
        for version in versions {
            self.database.invalidated(self.node, version);
        }
        Ok(())
    }
}
