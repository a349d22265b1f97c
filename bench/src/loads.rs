//! How many loads a crowd that asks for one cold key at once makes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use larder_bench::workload::User;
use larder_core::{Cache, MemoryStore};
use larder_redis::RedisStore;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::Effort;
use crate::servers::Redis;
use crate::table::{Figures, Goal, Row};

const CALLERS: usize = 10_000;
/// How long a load takes.
const LOAD: Duration = Duration::from_millis(20);

pub(crate) fn count(effort: Effort, redis: &Redis, mut row: impl FnMut(Row)) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let memory = Cache::builder(MemoryStore::new()).namespace("crowd").build()?;
        let store = RedisStore::connect(redis.url()).await?;
        let redis = Cache::builder(store).namespace("crowd").build()?;
        for (store, cache) in [("memory", memory), ("Redis", redis)] {
            let mut most = 0;
            for round in 0..effort.rounds {
                most = most.max(loads(&cache, &format!("round:{round}")).await?);
            }
            row(Row {
                what: format!("loads of {CALLERS} callers at once of one cold key, {store}"),
                peer: "–",
                figures: Figures::Count(most),
                goal: Goal::Exactly(1),
            });
        }
        Ok(())
    })
}

async fn loads(cache: &Cache, key: &str) -> Result<u64> {
    let loads = Arc::new(AtomicU64::new(0));
    let gate = Arc::new(Barrier::new(CALLERS));
    let callers = (0..CALLERS).map(|_| {
        let (cache, key) = (cache.clone(), key.to_owned());
        let (loads, gate) = (Arc::clone(&loads), Arc::clone(&gate));
        async move {
            gate.wait().await;
            let load = || async {
                let n = loads.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(LOAD).await;
                Ok::<_, std::convert::Infallible>(User::numbered(n as usize))
            };
            cache.get_or_load(&key, load).await
        }
    });
    let mut callers: JoinSet<_> = callers.collect();
    while let Some(ended) = callers.join_next().await {
        let user = ended??;
        ensure!(*user == User::numbered(0), "a caller was given the value of another load");
    }
    Ok(loads.load(Ordering::Relaxed))
}
