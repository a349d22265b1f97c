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
                Box::new(|| nanos_per_read(&keys, draws, |key| store.get_sync(key))),
                Box::new(|| nanos_per_read(&keys, draws, |key| quick_cache.get(key))),
                Box::new(|| nanos_per_read(&keys, draws, |key| moka.get(key))),
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

/// Every thread reads the keys of one of `draws`, all at the same time.
fn nanos_per_read(
    keys: &[String],
    draws: &[Vec<u32>],
    get: impl Fn(&str) -> Option<Bytes> + Sync,
) -> Result<f64> {
    let start = Barrier::new(draws.len());
    let read = |draws: &[u32]| {
        start.wait();
        let started = Instant::now();
        let mut hits = 0;
        for &n in draws {
            hits += usize::from(black_box(get(&keys[n as usize])).is_some());
        }
        (hits, started.elapsed().as_nanos() as f64 / draws.len() as f64)
    };
    let threads: Vec<(usize, f64)> = thread::scope(|scope| {
        let threads: Vec<_> = draws.iter().map(|draws| scope.spawn(|| read(draws))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let hits: usize = threads.iter().map(|(hits, _)| hits).sum();
    let reads: usize = draws.iter().map(Vec::len).sum();
    ensure!(hits == reads, "{} of {reads} reads found nothing", reads - hits);
    Ok(threads.iter().map(|(_, nanos)| nanos).sum::<f64>() / threads.len() as f64)
}
