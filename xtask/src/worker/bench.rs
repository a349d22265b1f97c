//! What Larder adds to a Worker: in size, and in time for a cached response.

use std::{
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::{
    build,
    upload::{kib, sizes},
    wrangler,
};
use crate::{
    exec::{self, Group},
    redis::free_port,
    workspace::Workspace,
};

/// With a response cache, and without Larder.
const WORKERS: [&str; 2] = ["bench/workers/larder", "bench/workers/bare"];
/// What both answer.
const ANSWER: &str = "bench/workers/products.json";
/// What Larder may add, gzipped.
const GOAL_KIB: usize = 120;
const START: Duration = Duration::from_secs(120);

/// Builds both Workers, prints what each weighs, and lets them answer in turns.
pub(super) fn run(workspace: &Workspace) -> Result<()> {
    for worker in WORKERS {
        build(workspace, worker)?;
    }
    let [ours, bare] = WORKERS.map(|worker| sizes(workspace, worker));
    let (ours, bare) = (ours?.all, bare?.all);
    let [larder, peer] = [Running::start(workspace, 0)?, Running::start(workspace, 1)?];

    println!("\n| uploaded | Larder | bare | Larder adds | goal | met |");
    println!("| --- | ---: | ---: | ---: | --- | --- |");
    println!(
        "| raw | {} KiB | {} KiB | {} KiB | – | – |",
        kib(ours.raw),
        kib(bare.raw),
        kib(ours.raw.saturating_sub(bare.raw))
    );
    let added = ours.gzipped.saturating_sub(bare.gzipped);
    println!(
        "| gzipped | {} KiB | {} KiB | {} KiB | ≤ {GOAL_KIB} KiB | {} |\n",
        kib(ours.gzipped),
        kib(bare.gzipped),
        kib(added),
        if added <= GOAL_KIB << 10 { "yes" } else { "**no**" }
    );
    let mut compare = workspace.cargo();
    compare.args(["run", "--quiet", "--release", "--package", "larder-bench", "--"]);
    exec::run(compare.args(["workers", &larder.base, &peer.base]))
}

/// A Worker under wrangler, with a state of its own.
struct Running {
    base: String,
    _group: Group,
    _state: TempDir,
}

impl Running {
    fn start(workspace: &Workspace, which: usize) -> Result<Self> {
        let worker = WORKERS[which];
        let state = TempDir::new()?;
        let mut put = wrangler(workspace, worker)?;
        put.args(["kv", "key", "put", "products", "--binding", "CACHE", "--local", "--path"])
            .arg(workspace.root.join(ANSWER))
            .arg("--persist-to")
            .arg(state.path());
        exec::run(&mut put)?;
        let port = free_port()?;
        let mut dev = wrangler(workspace, worker)?;
        dev.args(["dev", "--local", "--ip", "127.0.0.1", "--port", &port.to_string()])
            .args(["--inspector-port", "0", "--log-level", "error", "--persist-to"])
            .arg(state.path())
            .stdout(Stdio::null());
        let group = Group::start(&mut dev)?;
        let base = format!("http://127.0.0.1:{port}");
        let running = Self { base, _group: group, _state: state };
        let start = Instant::now();
        while !running.answers() {
            ensure!(start.elapsed() < START, "{worker} does not answer on port {port}");
            thread::sleep(Duration::from_millis(100));
        }
        Ok(running)
    }

    fn answers(&self) -> bool {
        let answer = minreq::get(format!("{}/products", self.base)).with_timeout(5).send();
        answer.is_ok_and(|answer| answer.status_code == 200)
    }
}
