//! The conformance suite on the memory store in a browser or under Node.js. Each case is a test, made
//! where the case is listed.

use larder_core::{LocalBus, MemoryRateLimits, MemorySessions, MemoryStore};

use crate::conformance::{self, Backend, Case, CaseReport, Outcome};

/// With the clock, the timers and the tasks of the platform.
pub(crate) async fn on_the_event_loop(case: &str) {
    let backend = Backend::of("memory", MemoryStore::new())
        .counting_in(MemoryRateLimits::new())
        .keeping_in(MemorySessions::new())
        .carrying_in(LocalBus::new());
    judge(conformance::run(&backend, find(case)).await);
}

/// On a virtual clock in every layout, with several orders of the tasks.
pub(crate) fn on_virtual_time(case: &str) {
    for (_, layout) in conformance::layouts() {
        judge(conformance::run_on_virtual_time(find(case), 0..3, |runtime| {
            let store = MemoryStore::builder().capacity_bytes(16 << 20).on(runtime.clone());
            let limits = MemoryRateLimits::builder().on(runtime.clone());
            let sessions = MemorySessions::builder().on(runtime.clone());
            Backend::of("memory", store)
                .counting_in(limits)
                .keeping_in(sessions)
                .carrying_in(LocalBus::new())
                .layout(layout.clone())
        }));
    }
}

fn find(name: &str) -> &'static Case {
    conformance::cases().find(|case| case.name == name).expect("the case is in the list of cases")
}

fn judge(report: CaseReport) {
    assert!(!matches!(report.outcome, Outcome::Failed(_)), "{report}");
}
