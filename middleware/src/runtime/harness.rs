//! The attributes of tests, by the harness of the target: cargo's own, or that of wasm-bindgen,
//! which runs them in a browser or in Node.js.
//!
//! The tests beside the crate include this file, so that a test is written once for every target.

// Each test program uses a part.
#![allow(unused_imports, unused_macros)]

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use core::prelude::v1::test;
#[cfg(target_arch = "wasm32")]
pub(crate) use wasm_bindgen_test::wasm_bindgen_test as test;

/// What needs an operating system, or a crate that does: threads, sockets, an exporter.
#[cfg(not(target_arch = "wasm32"))]
macro_rules! natively {
    ($($item:item)*) => { $($item)* };
}
#[cfg(target_arch = "wasm32")]
macro_rules! natively {
    ($($item:item)*) => {};
}
pub(crate) use natively;
