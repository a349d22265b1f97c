//! Writes into a journal in Redis, beside `XADD` itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use bytes::Bytes;
use larder_core::Journal;
use larder_redis::{RedisJournal, RedisStore};
use redis::aio::MultiplexedConnection;

use crate::Effort;
use crate::redis_reads::operations_per_second;
use crate::rounds::{self, Turn};
use crate::servers::Redis;
use crate::table::{Figures, Goal, Row};

const TASKS: u64 = 64;
const KEYS: usize = 10_000;
const VALUE: &[u8] = &[b'v'; 200];
/// More than are written: what is there is removed between the turns.
const ROOM: usize = 100_000_000;

pub(crate) fn compare(effort: Effort, redis: &Redis, mut row: impl FnMut(Row)) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let store = runtime.block_on(RedisStore::connect(redis.url()))?;
    let journal = store.journal("bench")?.max_writes(ROOM);
    let client = redis::Client::open(redis.url())?;
    let connection = runtime.block_on(client.get_multiplexed_async_connection())?;
    let keys: Arc<[String]> = (0..KEYS).map(|n| format!("user:{n}")).collect();
    let empty = || runtime.block_on(empty(connection.clone()));
    let contestants: Vec<Turn<'_>> = vec![
        Box::new(|| {
            empty()?;
            operations_per_second(&runtime, effort, TASKS, |n, stop| {
                through_larder(journal.clone(), Arc::clone(&keys), n, stop)
            })
        }),
        Box::new(|| {
            empty()?;
            operations_per_second(&runtime, effort, TASKS, |n, stop| {
                by_xadd(connection.clone(), Arc::clone(&keys), n, stop)
            })
        }),
    ];
    let results = rounds::play(effort.rounds, contestants)?;
    row(Row {
        what: "write into a journal in Redis, 64 tasks".into(),
        peer: "redis-rs XADD",
        figures: Figures::Rate {
            ours: results.median(0),
            peers: results.median(1),
            ratio: results.ratio(0, 1),
        },
        goal: Goal::AtLeast(0.8),
    });
    Ok(())
}

async fn empty(mut connection: MultiplexedConnection) -> Result<()> {
    let streams = ["{larder-journal:bench}:writes", "stream"];
    Ok(redis::cmd("DEL").arg(&streams).query_async(&mut connection).await?)
}

async fn through_larder(
    journal: RedisJournal,
    keys: Arc<[String]>,
    seed: u64,
    stop: Arc<AtomicBool>,
) -> Result<u64> {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut writes, mut last) = (0, None);
    while !stop.load(Ordering::Relaxed) {
        let key = &keys[random.usize(..keys.len())];
        let place = journal.append(key, Bytes::from_static(VALUE)).await?;
        ensure!(Some(place) > last, "the place {place} after {last:?}");
        last = Some(place);
        writes += 1;
    }
    Ok(writes)
}

async fn by_xadd(
    mut connection: MultiplexedConnection,
    keys: Arc<[String]>,
    seed: u64,
    stop: Arc<AtomicBool>,
) -> Result<u64> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut writes = 0;
    while !stop.load(Ordering::Relaxed) {
        let key = &keys[random.usize(..keys.len())];
        let mut add = redis::cmd("XADD");
        add.arg("stream").arg("*").arg("k").arg(key).arg("v").arg(VALUE);
        let _id: String = add.query_async(&mut connection).await?;
        writes += 1;
    }
    Ok(writes)
}
