//! Leaves the names of functions out of what is deployed: a seventh of its size.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|it| it == value);
    // The profile `worker` alone is built for size; tests keep the names for their backtraces.
    if is("CARGO_CFG_TARGET_ARCH", "wasm32") && is("OPT_LEVEL", "z") {
        println!("cargo::rustc-link-arg-cdylib=--strip-all");
        // By it wasm-bindgen tells what the target may do.
        println!("cargo::rustc-link-arg-cdylib=--keep-section=target_features");
    }
}
