//! The simulation of write-behind, with thousands of seeds.
//!
//! A seed that fails is printed with what happened. `LARDER_SIMULATION_SEED=<seed>` runs it alone,
//! `LARDER_SIMULATION_SEEDS=<number>` runs more than usual.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::future::{Either, select};
use larder_core::{Runtime, VirtualRuntime, hours};
use larder_tests::write_behind::{self, Outcome, Plan};

const SEEDS: u64 = 1_000;

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

fn simulate(plan: &Plan) -> Outcome {
    // What a flusher draws, it draws here, as there is one thread.
    fastrand::seed(plan.seed);
    let runtime = VirtualRuntime::seeded(plan.seed);
    let run = Box::pin(write_behind::run(plan, &runtime));
    let result =
        catch_unwind(AssertUnwindSafe(|| runtime.block_on(select(run, runtime.sleep(hours(5))))));
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
    let outcome = simulate(&plan);
    format!(
        "{plan:#?}\n{}\nseed {seed} (LARDER_SIMULATION_SEED={seed}): {:#?}",
        outcome.trace.join("\n"),
        outcome.violations
    )
}

#[test]
fn what_was_acknowledged_is_saved_in_order_whoever_crashes() {
    let seeds = match number_from("LARDER_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number_from("LARDER_SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    let mut failed = Vec::new();
    let mut all = Outcome::default();
    for seed in seeds.clone() {
        let outcome = simulate(&Plan::of(seed));
        all.written += outcome.written;
        all.saved += outcome.saved;
        all.killed += outcome.killed;
        all.dead += outcome.dead;
        if !outcome.violations.is_empty() {
            failed.push(seed);
        }
    }
    println!(
        "{} writes acknowledged, {} sent to the sink, {} dead, {} processes killed; failing seeds: \
         {failed:?}",
        all.written, all.saved, all.dead, all.killed
    );
    if let Some(seed) = failed.first() {
        panic!("{} seeds fail, the first of them so:\n{}", failed.len(), explain(*seed));
    }
    // Of all seeds together: what is to happen, happens.
    if seeds.end - seeds.start >= SEEDS {
        assert!(all.killed > SEEDS && all.dead > SEEDS / 4 && all.saved < 2 * all.written);
    }
}
