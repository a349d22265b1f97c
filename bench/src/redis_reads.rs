//! A typed read through Redis, beside redis-rs with serde_json.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use larder_bench::workload::{self, User};
use larder_core::{Cache, hours};
use larder_redis::RedisStore;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::Effort;
use crate::rounds::{self, Turn};
use crate::servers::Redis;
use crate::table::{Figures, Goal, Row};

const ENTRIES: usize = 10_000;
const NAMESPACE: &str = "framed";

pub(crate) fn compare(effort: Effort, redis: &Redis, mut row: impl FnMut(Row)) -> Result<()> {
    let keys = workload::keys(ENTRIES);
    let two_threads =
        [(1, Goal::None), (16, Goal::None), (64, Goal::AtLeast(1.0)), (256, Goal::AtLeast(1.5))];
    on_threads(2, &two_threads, &keys, effort, redis, &mut row)?;
    on_threads(1, &[(256, Goal::None)], &keys, effort, redis, &mut row)
}

fn on_threads(
    threads: usize,
    goals: &[(u64, Goal)],
    keys: &[String],
    effort: Effort,
    redis: &Redis,
    mut row: impl FnMut(Row),
) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let cache = runtime.block_on(filled_cache(redis, keys))?;
    let peers_keys: Arc<[String]> = keys.iter().map(|key| format!("plain:{key}")).collect();
    let connection = runtime.block_on(filled_connection(redis, &peers_keys))?;
    let keys: Arc<[String]> = keys.into();

    for &(tasks, goal) in goals {
        let contestants: Vec<Turn<'_>> = vec![
            Box::new(|| {
                operations_per_second(&runtime, effort, tasks, |n, stop| {
                    through_larder(cache.clone(), Arc::clone(&keys), n, stop)
                })
            }),
            Box::new(|| {
                operations_per_second(&runtime, effort, tasks, |n, stop| {
                    through_redis_rs(connection.clone(), Arc::clone(&peers_keys), n, stop)
                })
            }),
        ];
        let results = rounds::play(effort.rounds, contestants)?;
        let plural = if tasks == 1 { "" } else { "s" };
        let on = if threads == 1 { ", one thread" } else { "" };
        row(Row {
            what: format!("typed get through Redis, {tasks} task{plural}{on}"),
            peer: "redis-rs GET and serde_json",
            figures: Figures::Rate {
                ours: results.median(0),
                peers: results.median(1),
                ratio: results.ratio(0, 1),
            },
            goal,
        });
    }
    Ok(())
}

async fn filled_cache(redis: &Redis, keys: &[String]) -> Result<Cache> {
    let store = RedisStore::connect(redis.url()).await?;
    let cache = Cache::builder(store).namespace(NAMESPACE).ttl(hours(1)).build()?;
    let users = keys.iter().enumerate().map(|(n, key)| (key, User::numbered(n)));
    cache.put_many(users).await?;
    Ok(cache)
}

async fn filled_connection(redis: &Redis, keys: &[String]) -> Result<MultiplexedConnection> {
    let client = redis::Client::open(redis.url())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    for (n, key) in keys.iter().enumerate() {
        let json = serde_json::to_vec(&User::numbered(n))?;
        let () = connection.set_ex(key, json, 3_600).await?;
    }
    Ok(connection)
}

async fn through_larder(
    cache: Cache,
    keys: Arc<[String]>,
    seed: u64,
    stop: Arc<AtomicBool>,
) -> Result<u64> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut reads = 0;
    while !stop.load(Ordering::Relaxed) {
        let key = &keys[random.usize(..keys.len())];
        let user = cache.get::<User>(key).await?.context("a read missed")?;
        std::hint::black_box(user);
        reads += 1;
    }
    Ok(reads)
}

async fn through_redis_rs(
    mut connection: MultiplexedConnection,
    keys: Arc<[String]>,
    seed: u64,
    stop: Arc<AtomicBool>,
) -> Result<u64> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut reads = 0;
    while !stop.load(Ordering::Relaxed) {
        let key = &keys[random.usize(..keys.len())];
        let json: Option<Vec<u8>> = connection.get(key).await?;
        let user: User = serde_json::from_slice(&json.context("a read missed")?)?;
        std::hint::black_box(user);
        reads += 1;
    }
    Ok(reads)
}

/// Runs `tasks` at once until the time is over, and counts what they did.
pub(crate) fn operations_per_second<F>(
    runtime: &Runtime,
    effort: Effort,
    tasks: u64,
    task: impl Fn(u64, Arc<AtomicBool>) -> F,
) -> Result<f64>
where
    F: Future<Output = Result<u64>> + Send + 'static,
{
    runtime.block_on(async {
        let stop = Arc::new(AtomicBool::new(false));
        let started = Instant::now();
        let mut running: JoinSet<Result<u64>> =
            (0..tasks).map(|n| task(n, Arc::clone(&stop))).collect();
        tokio::time::sleep(effort.turn).await;
        stop.store(true, Ordering::Relaxed);
        let mut reads = 0;
        while let Some(ended) = running.join_next().await {
            reads += ended??;
        }
        Ok(reads as f64 / started.elapsed().as_secs_f64())
    })
}
