//! The conformance suite on the memory store: on a virtual clock in every layout, with several
//! orders of the tasks, and on Tokio's threads.

use std::process::ExitCode;
use std::sync::Arc;

use futures::FutureExt;
use larder_core::codec::MessagePack;
use larder_core::{Layout, MemoryStore, Store};
use larder_tests::conformance::{self, Backend};
use larder_tests::trials;

fn main() -> ExitCode {
    let mut tests = Vec::new();
    for case in conformance::cases() {
        for (name, layout) in [
            ("json", Layout::default()),
            ("msgpack", Layout::Framed(Arc::new(MessagePack))),
            ("plain", Layout::Plain),
        ] {
            tests.push(trials::on_virtual_time(name, case, 0..5, move |runtime| {
                backend(MemoryStore::builder().capacity_bytes(16 << 20).on(runtime.clone()))
                    .layout(layout.clone())
            }));
        }
        tests.push(trials::on_tokio("threads", case, || backend(MemoryStore::new())));
    }
    trials::run(tests)
}

fn backend(store: MemoryStore) -> Backend {
    Backend::new("memory", move || {
        let handle: Arc<dyn Store> = Arc::new(store.clone());
        async { Ok(handle) }.boxed()
    })
}
