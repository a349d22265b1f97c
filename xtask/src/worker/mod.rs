//! The Workers of this repository: the demo, and one that tests run. `worker-build` makes them of
//! Rust, `wrangler` runs and uploads them; the demo's packages of npm serve all of them.

mod bench;
mod dev;
mod upload;

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};

use crate::{
    cargo_tools::Tool,
    exec,
    setup::Need,
    summary::Tally,
    workspace::{self, Workspace},
};

/// The demo on Workers.
pub(crate) const DEMO: &str = "demo-worker";
/// The Worker that the tests of `larder-tests` run.
pub(crate) const TESTS: &str = "tests/worker";

/// What building and running a Worker takes.
pub(crate) const NEEDS: [Need; 4] = [
    Need::WasmTarget,
    Need::EdgePackages,
    Need::Tool(Tool::WasmBindgen),
    Need::Tool(Tool::WorkerBuild),
];

#[derive(Subcommand)]
pub(crate) enum Task {
    /// Build a Worker as it is uploaded, and print how large it is
    Build(Build),
    /// Build the demo and start it in workerd, with local KV, Durable Objects and D1
    Dev {
        /// The port on 127.0.0.1
        #[arg(long, default_value_t = 8787)]
        port: u16,
    },
    /// Weigh and time a response cache in workerd beside a Worker without Larder
    Bench,
}

#[derive(Args)]
pub(crate) struct Build {
    /// The folder of the Worker
    #[arg(default_value = DEMO)]
    folder: String,
    /// For tests: quick to build, into the folder `build-for-tests`; installs nothing
    #[arg(long)]
    for_tests: bool,
}

pub(crate) fn run(workspace: &Workspace, task: Task) -> Result<()> {
    match task {
        Task::Build(Build { folder, for_tests: true }) => build_for_tests(workspace, &folder),
        Task::Build(Build { folder, for_tests: false }) => {
            set_up(workspace)?;
            build(workspace, &folder)?;
            upload::measure(workspace, &folder)
        }
        Task::Dev { port } => {
            set_up(workspace)?;
            dev::run(workspace, port)
        }
        Task::Bench => {
            set_up(workspace)?;
            bench::run(workspace)
        }
    }
}

/// The suite: the demo can be uploaded.
pub(crate) fn suite(workspace: &Workspace, tally: &mut Tally) {
    let uploadable = build(workspace, DEMO).and_then(|()| upload::measure(workspace, DEMO));
    tally.check("wrangler deploy --dry-run", uploadable);
}

fn set_up(workspace: &Workspace) -> Result<()> {
    for need in NEEDS {
        need.ensure(workspace).with_context(|| format!("cannot set up {}", need.name()))?;
    }
    Ok(())
}

/// Builds a Worker as it is uploaded, into its folder `build`.
fn build(workspace: &Workspace, folder: &str) -> Result<()> {
    exec::run(worker_build(workspace, folder)?.args(["--profile", "worker"]))
}

/// Builds a Worker for tests, with what is installed.
///
/// # Errors
/// Where a tool is missing; the message says what installs it.
pub(crate) fn build_for_tests(workspace: &Workspace, folder: &str) -> Result<()> {
    let mut tools = vec![wrangler_bin(workspace)];
    for tool in [Tool::WasmBindgen, Tool::WorkerBuild] {
        tools.push(tool.bin(workspace)?);
    }
    for bin in tools {
        ensure!(bin.is_dir(), "{} is missing: run `cargo xtask setup`", bin.display());
    }
    exec::run(worker_build(workspace, folder)?.args([
        "--profile",
        "worker-tests",
        "--no-opt",
        "--out-dir",
        "build-for-tests",
    ]))
}

/// `worker-build` in a Worker's folder, with the tools that it would download otherwise.
fn worker_build(workspace: &Workspace, folder: &str) -> Result<Command> {
    let bin = wrangler_bin(workspace);
    let mut command = Command::new(Tool::WorkerBuild.bin(workspace)?.join("worker-build"));
    command
        .current_dir(worker_dir(workspace, folder)?)
        .env("WASM_BINDGEN_BIN", Tool::WasmBindgen.bin(workspace)?.join("wasm-bindgen"))
        .env("ESBUILD_BIN", bin.join("esbuild"))
        .env("WASM_OPT_BIN", bin.join("wasm-opt"))
        .env("PATH", exec::path_with(&bin)?);
    workspace::forget_own_variables(&mut command);
    Ok(command)
}

/// `wrangler` in a Worker's folder.
fn wrangler(workspace: &Workspace, folder: &str) -> Result<Command> {
    let bin = wrangler_bin(workspace);
    let mut command = Command::new(bin.join("wrangler"));
    command
        .current_dir(worker_dir(workspace, folder)?)
        .env("PATH", exec::path_with(&bin)?)
        .env("WRANGLER_SEND_METRICS", "false")
        // It would ask questions on a terminal.
        .env("CI", "true");
    Ok(command)
}

fn worker_dir(workspace: &Workspace, folder: &str) -> Result<PathBuf> {
    let dir = workspace.root.join(folder);
    ensure!(dir.join("wrangler.toml").is_file(), "{folder} is no Worker: it has no wrangler.toml");
    Ok(dir)
}

fn wrangler_bin(workspace: &Workspace) -> PathBuf {
    workspace.root.join(DEMO).join("node_modules/.bin")
}
