//! What runs as WebAssembly in a browser: the libraries' own tests, under Node.js as well, and the
//! example page.

pub(crate) mod page;
mod wasm_tests;

pub(crate) use wasm_tests::{chromium, node};

use crate::{cargo_tools::Tool, setup::Need};

/// What running tests under Node.js takes.
pub(crate) const NODE_NEEDS: [Need; 4] =
    [Need::WasmTarget, Need::Node, Need::Tool(Tool::WasmBindgen), Need::Tool(Tool::WasmPack)];

/// What running tests in Chromium takes.
pub(crate) const CHROMIUM_NEEDS: [Need; 4] =
    [Need::WasmTarget, Need::Chromium, Need::Tool(Tool::WasmBindgen), Need::Tool(Tool::WasmPack)];
