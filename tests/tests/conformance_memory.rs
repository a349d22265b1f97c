//! The conformance suite on the memory store: on a virtual clock in every layout, with several
//! orders of the tasks, and on Tokio's threads.

use std::process::ExitCode;

use larder_core::{
    LocalBus, MemoryRateLimits, MemorySessions, MemoryStore, RateLimitStore, SessionStore, Store,
};
use larder_tests::conformance::{self, Backend, Claims};
use larder_tests::trials::{self, Trials};

fn main() -> ExitCode {
    let mut trials = Trials::default();
    for case in conformance::cases() {
        for (name, layout) in conformance::layouts() {
            let run = trials::on_virtual_time(0..5, move |runtime| {
                let store = MemoryStore::builder().capacity_bytes(16 << 20).on(runtime.clone());
                let limits = MemoryRateLimits::builder().on(runtime.clone());
                let sessions = MemorySessions::builder().on(runtime.clone());
                Backend::of("memory", store)
                    .counting_in(limits)
                    .keeping_in(sessions)
                    .carrying_in(LocalBus::new())
                    .layout(layout.clone())
            });
            trials.add(name, case, run);
        }
        let run = trials::on_tokio(|| {
            Backend::of("memory", MemoryStore::new())
                .counting_in(MemoryRateLimits::new())
                .keeping_in(MemorySessions::new())
                .carrying_in(LocalBus::new())
        });
        trials.add("threads", case, run);
    }
    trials.record("threads", "memory", || {
        let claims = Claims::from(MemoryStore::new().capabilities());
        let claims = claims.counting(MemoryRateLimits::new().capabilities());
        Ok(claims.keeping(MemorySessions::new().capabilities()))
    });
    trials.run()
}
