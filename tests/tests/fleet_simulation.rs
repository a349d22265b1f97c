//! The simulation of processes that share a store and a bus, with ten thousand seeds.
//!
//! A seed that fails is printed with what happened. `LARDER_SIMULATION_SEED=<seed>` runs it alone,
//! `LARDER_SIMULATION_SEEDS=<number>` runs more or fewer than usual.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use futures::future::{Either, select};
use larder_core::{Runtime, VirtualRuntime, hours};
use larder_tests::fleet::{self, Outcome, Plan};

const SEEDS: u64 = 10_000;

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

fn simulate(plan: &Plan) -> Outcome {
    // What a cache draws, it draws here, as a simulation has one thread.
    fastrand::seed(plan.seed);
    let runtime = VirtualRuntime::seeded(plan.seed);
    let run = Box::pin(fleet::run(plan, &runtime));
    let result =
        catch_unwind(AssertUnwindSafe(|| runtime.block_on(select(run, runtime.sleep(hours(1))))));
    let problem = match result {
        Ok(Either::Left((Ok(outcome), _))) => return outcome,
        Ok(Either::Left((Err(error), _))) => error.to_string(),
        Ok(Either::Right(_)) => "it does not end".into(),
        Err(_) => "it panicked".into(),
    };
    Outcome { violations: vec![problem], ..Outcome::default() }
}

fn explain(seed: u64) -> String {
    let plan = Plan { traced: true, ..Plan::of(seed) };
    // Keys share their places by chance, so that now and then a run takes another path.
    let outcome = (0..20)
        .map(|_| simulate(&plan))
        .find(|outcome| !outcome.violations.is_empty())
        .unwrap_or_default();
    format!(
        "{plan:#?}\n{}\nseed {seed} (LARDER_SIMULATION_SEED={seed}): {:#?}",
        outcome.trace.join("\n"),
        outcome.violations
    )
}

/// Seeds are taken one by one by as many threads as there are cores.
fn simulate_all(seeds: std::ops::Range<u64>) -> (Outcome, Vec<u64>) {
    let (next, end) = (AtomicU64::new(seeds.start), seeds.end);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let (mut all, mut failed) = (Outcome::default(), Vec::new());
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= end {
                return (all, failed);
            }
            let outcome = simulate(&Plan::of(seed));
            all.add(&outcome);
            if !outcome.violations.is_empty() {
                failed.push(seed);
            }
        }
    };
    let (mut all, mut failed) = (Outcome::default(), Vec::new());
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            match thread.join() {
                Ok((outcome, seeds)) => {
                    all.add(&outcome);
                    failed.extend(seeds);
                }
                Err(panic) => resume_unwind(panic),
            }
        }
    });
    failed.sort_unstable();
    (all, failed)
}

#[test]
fn nobody_sees_for_long_what_another_process_has_invalidated() {
    let seeds = match number_from("LARDER_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number_from("LARDER_SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    let (all, failed) = simulate_all(seeds.clone());
    println!(
        "{} values read, {} of them within the bound after their invalidation; {} invalidations, {} \
         gaps, {} checks, {} taken back; failing seeds: {failed:?}",
        all.reads, all.late, all.invalidations, all.gaps, all.checks, all.withdrawn
    );
    if let Some(seed) = failed.first() {
        panic!("{} seeds fail, the first of them so:\n{}", failed.len(), explain(*seed));
    }
    // Of all seeds together: what is to happen, happens.
    if seeds.end - seeds.start >= SEEDS {
        assert!(all.late > SEEDS / 10 && all.gaps > SEEDS && all.checks > SEEDS / 10);
        assert!(all.withdrawn > SEEDS / 10 && all.invalidations > SEEDS);
    }
}
