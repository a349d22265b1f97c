//! A hit in memory, beside quick_cache and moka.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use anyhow::{Result, ensure};
use bytes::Bytes;
use larder_bench::workload::{self, Popularity};
use larder_core::{MemoryStore, PutEntry, Store, hours};

use crate::Effort;
use crate::rounds::{self, Turn};
use crate::table::{Figures, Goal, Row};

const ENTRIES: usize = 100_000;

pub(crate) fn compare(effort: Effort, mut row: impl FnMut(Row)) -> Result<()> {
    let keys = workload::keys(ENTRIES);
    let store = filled_store(&keys)?;
    let quick_cache = quick_cache::sync::Cache::<Box<str>, Bytes>::new(2 * ENTRIES);
    let moka = moka::sync::Cache::<Box<str>, Bytes>::new(2 * ENTRIES as u64);
    for (n, key) in keys.iter().enumerate() {
        quick_cache.insert(key.as_str().into(), workload::value(n));
        moka.insert(key.as_str().into(), workload::value(n));
    }
    for popularity in [Popularity::Uniform, Popularity::Zipf] {
        let draws = [1, 2].map(|seed| popularity.draw(ENTRIES, effort.reads, seed));
        for threads in [1, 2] {
            let draws = &draws[..threads];
            let contestants: Vec<Turn<'_>> = vec![
                Box::new(|| {
                    nanos_per_read(draws, |order| hits(&keys, order, |key| store.get_sync(key)))
                }),
                Box::new(|| {
                    nanos_per_read(draws, |order| hits(&keys, order, |key| quick_cache.get(key)))
                }),
                Box::new(|| nanos_per_read(draws, |order| hits(&keys, order, |key| moka.get(key)))),
            ];
            let results = rounds::play(effort.rounds, contestants)?;
            let plural = if threads == 1 { "" } else { "s" };
            let what = format!("memory get, {}, {threads} thread{plural}", popularity.name());
            let goals = [Goal::AtMost(1.3), Goal::Below(1.0)];
            for (peer, (name, goal)) in
                ["quick_cache", "moka::sync"].into_iter().zip(goals).enumerate()
            {
                let peer = peer + 1;
                row(Row {
                    what: what.clone(),
                    peer: name,
                    figures: Figures::Nanos {
                        ours: results.median(0),
                        peers: results.median(peer),
                        ratio: results.ratio(0, peer),
                    },
                    goal,
                });
            }
        }
    }
    Ok(())
}

fn filled_store(keys: &[String]) -> Result<MemoryStore> {
    let store = MemoryStore::builder().capacity_bytes(256 << 20).build();
    let entries: Vec<_> = keys
        .iter()
        .enumerate()
        .map(|(n, key)| PutEntry { key, value: workload::value(n), ttl: hours(1) })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(store.put_many(&entries))?;
    Ok(store)
}

fn hits(keys: &[String], order: &[u32], get: impl Fn(&str) -> Option<Bytes>) -> Result<usize> {
    Ok(order.iter().filter(|n| black_box(get(&keys[**n as usize])).is_some()).count())
}

/// Every thread reads the keys of one of `draws`, all at the same time; `read` says how many of them
/// it found.
pub(crate) fn nanos_per_read(
    draws: &[Vec<u32>],
    read: impl Fn(&[u32]) -> Result<usize> + Sync,
) -> Result<f64> {
    let start = Barrier::new(draws.len());
    let turn = |order: &[u32]| {
        start.wait();
        let started = Instant::now();
        let hits = read(order)?;
        ensure!(
            hits == order.len(),
            "{} of {} reads found nothing",
            order.len() - hits,
            order.len()
        );
        Ok(started.elapsed().as_nanos() as f64 / order.len() as f64)
    };
    let threads: Vec<Result<f64>> = thread::scope(|scope| {
        let threads: Vec<_> = draws.iter().map(|order| scope.spawn(|| turn(order))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    ensure!(threads.len() == draws.len(), "a thread panicked");
    let nanos: f64 = threads.into_iter().sum::<Result<f64>>()?;
    Ok(nanos / draws.len() as f64)
}
