//! What the suites need on the machine. Everything here does nothing where it already stands.

use anyhow::{Context, Result};

use crate::{
    apt, cargo_tools::Tool, node_packages, redis, valkey, wasm_target, worker, workspace::Workspace,
};

/// Something that a suite needs and that cargo does not bring.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// The standard library for wasm32-unknown-unknown.
    WasmTarget,
    /// A redis-server to start.
    Redis,
    /// A valkey-server to start.
    Valkey,
    /// Node.js.
    Node,
    /// Chromium, and the program that WebDriver speaks to.
    Chromium,
    /// The packages of the Node service that shares a Redis with Larder.
    NodePackages,
    /// wrangler with workerd, and what builds a Worker beside cargo.
    EdgePackages,
    /// What cargo installs.
    Tool(Tool),
}

impl Need {
    pub(crate) const ALL: [Self; 10] = [
        Self::WasmTarget,
        Self::Redis,
        Self::Valkey,
        Self::Node,
        Self::Chromium,
        Self::NodePackages,
        Self::Tool(Tool::WasmBindgen),
        Self::Tool(Tool::WorkerBuild),
        Self::Tool(Tool::WasmPack),
        Self::EdgePackages,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::WasmTarget => "wasm32-unknown-unknown",
            Self::Redis => "redis-server",
            Self::Valkey => "valkey-server",
            Self::Node => "Node.js",
            Self::Chromium => "Chromium",
            Self::NodePackages => "Node packages",
            Self::EdgePackages => "packages of the edge",
            Self::Tool(tool) => tool.package(),
        }
    }

    pub(crate) fn ensure(self, workspace: &Workspace) -> Result<()> {
        match self {
            Self::WasmTarget => wasm_target::ensure(workspace),
            Self::Redis => apt::ensure(redis::PROGRAM, redis::PROGRAM),
            Self::Valkey => valkey::ensure(),
            Self::Node => apt::ensure("node", "nodejs"),
            Self::Chromium => {
                apt::ensure("chromium", "chromium")?;
                apt::ensure("chromedriver", "chromium-driver")
            }
            Self::NodePackages => node_packages::ensure(workspace, "tests/node"),
            Self::EdgePackages => node_packages::ensure(workspace, worker::DEMO),
            Self::Tool(tool) => tool.ensure(workspace),
        }
    }
}

/// Installs everything that is missing.
pub(crate) fn all(workspace: &Workspace) -> Result<()> {
    for need in Need::ALL {
        need.ensure(workspace).with_context(|| format!("cannot set up {}", need.name()))?;
        println!("{}: ready", need.name());
    }
    Ok(())
}
