//! Core from outside, on every target: natively, in a browser and under Node.js.

#![allow(clippy::unwrap_used)]

mod golden;
#[path = "../../src/runtime/harness.rs"]
mod harness;
mod memory_store;
mod notices;
mod plain_notices;
mod system_runtime;

harness::natively! {
    mod threads;
}
