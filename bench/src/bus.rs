//! How long after a write was acknowledged another cache serves what it replaced, told by the bus.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use larder_bench::workload::{self, User};
use larder_core::{Cache, hours, millis};
use larder_redis::RedisStore;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{MissedTickBehavior, interval};

use crate::Effort;
use crate::servers::Redis;
use crate::table::{Figures, Goal, Row};

/// What is written beside the values that are watched, a second.
const UPDATES: u32 = 10_000;
const WRITERS: u32 = 100;
const ENTRIES: usize = 10_000;

pub(crate) fn measure(effort: Effort, redis: &Redis, mut row: impl FnMut(Row)) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (rate, millis) = runtime.block_on(staleness(effort, redis))?;
    row(Row {
        what: format!("staleness over the bus, p99 at {:.1} k updates/s", rate / 1_000.0),
        peer: "–",
        figures: Figures::Millis(millis),
        goal: Goal::Below(5.0),
    });
    Ok(())
}

async fn node(redis: &Redis) -> Result<Cache> {
    let store = RedisStore::connect(redis.url()).await?;
    let cache = Cache::builder(store.clone()).namespace("bus").ttl(hours(1));
    let cache = cache.local(2 * ENTRIES as u64).local_ttl(hours(1)).invalidation(store.bus());
    let cache = cache.build()?;
    cache.get::<u64>("nothing").await?;
    let started = Instant::now();
    while !cache.invalidation_stats().trusted {
        ensure!(started.elapsed() < Duration::from_secs(10), "the bus is not heard");
        tokio::time::sleep(millis(5)).await;
    }
    Ok(cache)
}

/// How many updates there were a second, and the 99th percentile in milliseconds.
async fn staleness(effort: Effort, redis: &Redis) -> Result<(f64, f64)> {
    let (here, there) = (node(redis).await?, node(redis).await?);
    let keys: Arc<[String]> = workload::keys(ENTRIES).into();
    let (stop, updates) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let started = Instant::now();
    let mut writers: JoinSet<Result<()>> = JoinSet::new();
    for writer in 0..WRITERS {
        let (cache, keys) = (here.clone(), Arc::clone(&keys));
        let (stop, updates) = (Arc::clone(&stop), Arc::clone(&updates));
        writers.spawn(async move {
            let mut ticks = interval(Duration::from_secs(1) * WRITERS / UPDATES);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut random = fastrand::Rng::with_seed(writer.into());
            while !stop.load(Ordering::Relaxed) {
                ticks.tick().await;
                let number = random.usize(..keys.len());
                cache.put(&keys[number], &User::numbered(number)).await?;
                updates.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
    }
    let lasted = effort.turn * u32::try_from(effort.rounds).unwrap_or(u32::MAX);
    let mut late = Vec::new();
    let mut value = 0_u64;
    while started.elapsed() < lasted {
        let key = format!("watched:{}", value % 64);
        there.get::<u64>(&key).await?;
        value += 1;
        here.put(&key, &value).await?;
        let acknowledged = Instant::now();
        while there.get::<u64>(&key).await?.as_deref() != Some(&value) {
            yield_now().await;
        }
        late.push(acknowledged.elapsed());
    }
    let rate = updates.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    ensure!(!late.is_empty(), "nothing was watched");
    late.sort_unstable();
    let p99 = late[(late.len() * 99 / 100).min(late.len() - 1)];
    Ok((rate, p99.as_secs_f64() * 1_000.0))
}
