//! The conformance suite on the memory store: on a virtual clock in every layout, with several
//! orders of the tasks, and on Tokio's threads.

use std::process::ExitCode;

use larder_core::MemoryStore;
use larder_tests::conformance::{self, Backend};
use larder_tests::trials;

fn main() -> ExitCode {
    let mut tests = Vec::new();
    for case in conformance::cases() {
        for (name, layout) in conformance::layouts() {
            tests.push(trials::on_virtual_time(name, case, 0..5, move |runtime| {
                let store = MemoryStore::builder().capacity_bytes(16 << 20).on(runtime.clone());
                Backend::of("memory", store).layout(layout.clone())
            }));
        }
        tests.push(trials::on_tokio("threads", case, || Backend::of("memory", MemoryStore::new())));
    }
    trials::run(tests)
}
