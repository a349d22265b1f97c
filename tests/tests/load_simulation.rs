//! The simulation of callers over a changing database: on virtual time with thousands of seeds, and
//! on threads.
//!
//! A seed that fails is printed with what happened. `LARDER_SIMULATION_SEED=<seed>` runs it alone,
//! `LARDER_SIMULATION_SEEDS=<number>` runs more than usual.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures::future::{Either, select};
use larder_core::{MemoryStore, Runtime, SystemRuntime, VirtualRuntime, hours, millis};
use larder_tests::simulation::{self, Outcome, Plan};

const SEEDS: u64 = 4_000;

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

fn simulate(plan: &Plan) -> Outcome {
    let runtime = VirtualRuntime::seeded(plan.seed);
    let store = Arc::new(MemoryStore::builder().capacity_bytes(1 << 20).on(runtime.clone()));
    let shared: Arc<dyn Runtime> = Arc::new(runtime.clone());
    let run = Box::pin(simulation::run(plan, store, shared));
    let result =
        catch_unwind(AssertUnwindSafe(|| runtime.block_on(select(run, runtime.sleep(hours(1))))));
    let problem = match result {
        Ok(Either::Left((Ok(outcome), _))) => return outcome,
        Ok(Either::Left((Err(error), _))) => error.to_string(),
        Ok(Either::Right(_)) => "a call does not end".into(),
        Err(_) => "it panicked".into(),
    };
    Outcome { violations: vec![problem], ..Outcome::default() }
}

/// Runs a seed again to tell what happened. Keys share their places among the loads by chance, so
/// that now and then a run takes another path.
fn explain(seed: u64) -> String {
    let plan = Plan { traced: true, ..Plan::of(seed) };
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

#[test]
fn nobody_sees_the_past_whatever_the_order_of_events() {
    let seeds = match number_from("LARDER_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number_from("LARDER_SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    let mut failed = Vec::new();
    let (mut calls, mut loads) = (0, 0);
    for seed in seeds {
        let outcome = simulate(&Plan::of(seed));
        calls += outcome.calls;
        loads += outcome.loads;
        if !outcome.violations.is_empty() {
            failed.push(seed);
        }
    }
    println!("{calls} calls and {loads} loads; failing seeds: {failed:?}");
    if let Some(seed) = failed.first() {
        panic!("{} seeds fail, the first of them so:\n{}", failed.len(), explain(*seed));
    }
}

#[test]
fn nobody_sees_the_past_on_threads() {
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a Tokio runtime");
    tokio.block_on(async {
        let runs = (0..40).map(|seed| {
            tokio::spawn(async move {
                // Short ways, so that threads meet; and neither faults nor leases, which take real
                // time when a caller leaves.
                let plan = Plan {
                    callers: 16,
                    calls: 30,
                    keys: 2,
                    latency: millis(u64::from(seed % 2 == 0)),
                    loader_faults: false,
                    leases: false,
                    ..Plan::of(seed)
                };
                let store = Arc::new(MemoryStore::new());
                simulation::run(&plan, store, Arc::new(SystemRuntime::default())).await
            })
        });
        for (seed, run) in runs.enumerate() {
            let outcome = run.await.expect("a run").expect("a run");
            assert!(outcome.violations.is_empty(), "{seed}: {:#?}", outcome.violations);
        }
    });
}
