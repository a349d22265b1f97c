//! A check of a rate limit in memory, beside governor.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use anyhow::{Result, ensure};
use larder_bench::workload::Popularity;
use larder_core::{MemoryRateLimits, Quota, RateLimiter};
use tokio::runtime::Builder;

use crate::Effort;
use crate::rounds::{self, Turn};
use crate::table::{Figures, Goal, Row};

/// Slow to come back and never used up: every check is allowed, and finds what was counted before.
const RATE: u32 = 10;
const BURST: u32 = u32::MAX;

pub(crate) fn compare(effort: Effort, mut row: impl FnMut(Row)) -> Result<()> {
    for (keys, named) in [(10_000, "10,000 keys"), (1, "1 key")] {
        let draws = [1, 2].map(|seed| Popularity::Uniform.draw(keys, effort.reads, seed));
        let keys: Vec<String> = (0..keys).map(|n| format!("user:{n}")).collect();
        let limiter = RateLimiter::builder(MemoryRateLimits::new())
            .quota(Quota::per_second(RATE.into()).burst(BURST.into()))
            .build()?;
        let [rate, burst] = [RATE, BURST].map(|n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN));
        let quota = governor::Quota::per_second(rate).allow_burst(burst);
        let governor = governor::RateLimiter::keyed(quota);
        for threads in [1, 2] {
            let draws = &draws[..threads];
            let contestants: Vec<Turn<'_>> = vec![
                Box::new(|| nanos_per_check(draws, |order| through_larder(&limiter, &keys, order))),
                Box::new(|| {
                    nanos_per_check(draws, |order| {
                        let check = |&n: &u32| governor.check_key(&keys[n as usize]);
                        Ok(order.iter().filter(|n| black_box(check(n)).is_ok()).count())
                    })
                }),
            ];
            let results = rounds::play(effort.rounds, contestants)?;
            let plural = if threads == 1 { "" } else { "s" };
            row(Row {
                what: format!("rate limit in memory, {named}, {threads} thread{plural}"),
                peer: "governor",
                figures: Figures::Nanos {
                    ours: results.median(0),
                    peers: results.median(1),
                    ratio: results.ratio(0, 1),
                },
                goal: Goal::AtMost(1.0),
            });
        }
    }
    Ok(())
}

fn through_larder(limiter: &RateLimiter, keys: &[String], order: &[u32]) -> Result<usize> {
    Builder::new_current_thread().build()?.block_on(async {
        let mut allowed = 0;
        for &n in order {
            allowed += usize::from(black_box(limiter.check(&keys[n as usize]).await?).is_allowed());
        }
        Ok(allowed)
    })
}

/// Every thread checks the keys of one of `draws`, all at the same time.
fn nanos_per_check(
    draws: &[Vec<u32>],
    checks: impl Fn(&[u32]) -> Result<usize> + Sync,
) -> Result<f64> {
    let start = Barrier::new(draws.len());
    let check = |order: &[u32]| {
        start.wait();
        let started = Instant::now();
        let allowed = checks(order)?;
        ensure!(allowed == order.len(), "{allowed} of {} checks were allowed", order.len());
        Ok(started.elapsed().as_nanos() as f64 / order.len() as f64)
    };
    let threads: Vec<Result<f64>> = thread::scope(|scope| {
        let threads: Vec<_> = draws.iter().map(|order| scope.spawn(|| check(order))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    ensure!(threads.len() == draws.len(), "a thread panicked");
    let nanos: f64 = threads.into_iter().sum::<Result<f64>>()?;
    Ok(nanos / draws.len() as f64)
}
