//! What the suites need on the machine. Everything here does nothing where it already stands.

use std::{fs, process::Command};

use anyhow::{Context, Result, bail};

use crate::{apt, exec, redis, wasm_target, workspace::Workspace};

/// Something that a suite needs and that cargo does not bring.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// The standard library for wasm32-unknown-unknown.
    WasmTarget,
    /// A redis-server to start.
    Redis,
    /// The packages of the Node service that shares a Redis with Larder.
    NodePackages,
}

impl Need {
    pub(crate) const ALL: [Self; 3] = [Self::WasmTarget, Self::Redis, Self::NodePackages];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::WasmTarget => "wasm32-unknown-unknown",
            Self::Redis => "redis-server",
            Self::NodePackages => "Node packages",
        }
    }

    pub(crate) fn ensure(self, workspace: &Workspace) -> Result<()> {
        match self {
            Self::WasmTarget => wasm_target::ensure(workspace),
            Self::Redis => apt::ensure(redis::PROGRAM, redis::PROGRAM),
            Self::NodePackages => node_packages(workspace),
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

fn node_packages(workspace: &Workspace) -> Result<()> {
    let dir = workspace.root.join("tests/node");
    if !dir.join("package.json").exists() {
        return Ok(());
    }
    apt::ensure("node", "nodejs")?;
    apt::ensure("npm", "npm")?;
    let wanted = fs::read(dir.join("package-lock.json"))
        .context("tests/node has no package-lock.json: run `npm install` there")?;
    // What `npm ci` last installed from, kept beside what it installed.
    let mark = dir.join("node_modules/.installed-from.json");
    if fs::read(&mark).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    exec::run(Command::new("npm").current_dir(&dir).args(["ci", "--no-audit", "--no-fund"]))?;
    if !dir.join("node_modules").is_dir() {
        bail!("`npm ci` left no node_modules in tests/node");
    }
    fs::write(&mark, wanted).context("cannot write to tests/node/node_modules")
}
