//! The simulation of callers over a changing database: on virtual time with thousands of seeds, of
//! which [`larder_tests::seeds`] runs one alone, and on threads.

use std::sync::Arc;

use larder_core::{MemoryStore, SystemRuntime, millis};
use larder_tests::seeds::simulate;
use larder_tests::simulation::{self, Plan};

const SEEDS: u64 = 4_000;

#[test]
fn nobody_sees_the_past_whatever_the_order_of_events() {
    simulate::<Plan>(SEEDS, |all| assert!(all.loads > SEEDS && all.calls > all.loads));
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
