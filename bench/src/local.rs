//! A hit of a typed value in the local tier, beside quick_cache and moka.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;

use anyhow::Result;
use larder_bench::workload::{self, Popularity, User};
use larder_core::{Cache, MemoryStore, hours};
use tokio::runtime::Builder;

use crate::Effort;
use crate::memory::nanos_per_read;
use crate::rounds::{self, Turn};
use crate::table::{Figures, Goal, Row};

const ENTRIES: usize = 100_000;

pub(crate) fn compare(effort: Effort, mut row: impl FnMut(Row)) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let keys = workload::keys(ENTRIES);
    let cache = Cache::builder(MemoryStore::builder().capacity_bytes(256 << 20).build())
        .ttl(hours(2))
        .local(2 * ENTRIES as u64)
        .local_ttl(hours(1))
        .build()?;
    let quick_cache = quick_cache::sync::Cache::<Box<str>, Arc<User>>::new(2 * ENTRIES);
    let moka = moka::future::Cache::<String, Arc<User>>::new(2 * ENTRIES as u64);
    runtime.block_on(async {
        for (n, key) in keys.iter().enumerate() {
            let user = User::numbered(n);
            cache.put(key, &user).await?;
            cache.get::<User>(key).await?;
            quick_cache.insert(key.as_str().into(), Arc::new(user.clone()));
            moka.insert(key.clone(), Arc::new(user)).await;
        }
        Ok::<_, larder_core::Error>(())
    })?;
    // A load would be slow enough to show.
    let load = || async { Ok::<_, Infallible>(User::numbered(0)) };
    for popularity in [Popularity::Uniform, Popularity::Zipf] {
        let draws = [1, 2].map(|seed| popularity.draw(ENTRIES, effort.reads, seed));
        for threads in [1, 2] {
            let draws = &draws[..threads];
            let contestants: Vec<Turn<'_>> = vec![
                Box::new(|| {
                    nanos_per_read(draws, |order| {
                        let get = async |key: &str| cache.get::<User>(key).await.ok().flatten();
                        hits(&keys, order, get)
                    })
                }),
                Box::new(|| {
                    nanos_per_read(draws, |order| {
                        let found = |n: &&u32| quick_cache.get(&*keys[**n as usize]);
                        Ok(order.iter().filter(|n| black_box(found(n)).is_some()).count())
                    })
                }),
                Box::new(|| {
                    nanos_per_read(draws, |order| {
                        hits(&keys, order, async |key| cache.get_or_load(key, load).await.ok())
                    })
                }),
                Box::new(|| {
                    nanos_per_read(draws, |order| {
                        hits(&keys, order, async |key| {
                            let loaded = async { Arc::new(User::numbered(0)) };
                            Some(moka.get_with_by_ref(key, loaded).await)
                        })
                    })
                }),
            ];
            let results = rounds::play(effort.rounds, contestants)?;
            let plural = if threads == 1 { "" } else { "s" };
            let threads = format!("{}, {threads} thread{plural}", popularity.name());
            let mut compared = |what: &str, peer, (ours, peers), goal| {
                row(Row {
                    what: format!("{what}, {threads}"),
                    peer,
                    figures: Figures::Nanos {
                        ours: results.median(ours),
                        peers: results.median(peers),
                        ratio: results.ratio(ours, peers),
                    },
                    goal: Goal::AtMost(goal),
                });
            };
            compared("local tier, get", "quick_cache", (0, 1), 1.5);
            compared("local tier, get_or_load", "moka::future, get_with", (2, 3), 1.0 / 3.0);
        }
    }
    Ok(())
}

fn hits<T>(keys: &[String], order: &[u32], get: impl AsyncFn(&str) -> Option<T>) -> Result<usize> {
    Builder::new_current_thread().enable_time().build()?.block_on(async {
        let mut hits = 0;
        for &n in order {
            hits += usize::from(black_box(get(&keys[n as usize]).await).is_some());
        }
        Ok(hits)
    })
}
