//! The cases as tests of cargo, on a server that the first of them starts.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use anyhow::Result;
use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;

use super::{Case, Shop, Target, cases_for, run};
use crate::demo_server::DemoServer;
use crate::wrangler::Worker;

/// A server of the demo that runs.
pub trait Serves: Send + Sync + 'static {
    /// Where it listens, as in `http://127.0.0.1:8787`.
    fn base(&self) -> &str;

    /// Everything that it has said so far.
    fn said(&self) -> String;
}

impl Serves for DemoServer {
    fn base(&self) -> &str {
        self.base()
    }

    fn said(&self) -> String {
        self.said()
    }
}

impl Serves for Worker {
    fn base(&self) -> &str {
        self.base()
    }

    fn said(&self) -> String {
        self.said()
    }
}

struct Server<S> {
    target: Target,
    start: fn() -> Result<S>,
    running: OnceLock<Result<S, String>>,
}

impl<S: Serves> Server<S> {
    fn run(&self, case: &Case) -> Result<()> {
        let start = || (self.start)().map_err(|error| format!("{error:#}"));
        let running = self.running.get_or_init(start).as_ref();
        let running = running.map_err(|error| anyhow::anyhow!("{error}"))?;
        let shop = Shop::new(running.base(), self.target);
        // Of its own, as connections belong to the runtime that opened them.
        let runtime = Runtime::new()?;
        let result = runtime.block_on(run(case, shop));
        result.map_err(|error| anyhow::anyhow!("{error:#}\nthe server said:\n{}", running.said()))
    }
}

/// A test for every case that a server of this kind is held to.
pub fn trials<S: Serves>(target: Target, start: fn() -> Result<S>) -> Vec<Trial> {
    let server = Arc::new(Server { target, start, running: OnceLock::new() });
    let trial = |case: &'static Case| {
        let server = Arc::clone(&server);
        Trial::test(format!("{}::{}", target.name, case.name), move || {
            server.run(case).map_err(|error| format!("{error:#}").into())
        })
    };
    cases_for(target).map(trial).collect()
}

/// What `main` of a test target with `harness = false` does. A server is used by one case at a time.
#[must_use]
pub fn run_trials(trials: Vec<Trial>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}
