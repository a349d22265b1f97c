//! Every case of the demo, on the Worker: in workerd, with local KV, Durable Objects and D1.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use larder_demo::seed;
use larder_tests::e2e::{Target, run_trials, trials};
use larder_tests::wrangler::{Worker, Wrangler};
use tempfile::NamedTempFile;

/// On this machine workerd serves all requests with one isolate.
const WORKER: Target =
    Target { name: "worker", store: "durable and kv", one_process: true, metrics: true };

fn start() -> Result<Worker> {
    let wrangler = Wrangler::new("demo-worker")?;
    wrangler.build()?;
    wrangler.command(["d1", "migrations", "apply", "DATABASE"])?;
    let mut sql = NamedTempFile::with_suffix(".sql")?;
    for statement in seed::statements(seed::PRODUCTS) {
        writeln!(sql, "{statement}")?;
    }
    wrangler.command(["d1", "execute", "DATABASE", "--file", &sql.path().display().to_string()])?;
    wrangler.dev()
}

fn main() -> ExitCode {
    run_trials(trials(WORKER, start))
}
