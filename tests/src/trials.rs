//! The conformance suite as tests of cargo: each case is listed, run and counted by itself.
//!
//! For a test target with `harness = false`:
//!
//! ```no_run
//! use larder_core::MemoryStore;
//! use larder_tests::conformance::{self, Backend};
//! use larder_tests::trials;
//! use std::process::ExitCode;
//!
//! fn main() -> ExitCode {
//!     let trial = |case| {
//!         trials::on_tokio("memory", case, || Backend::of("memory", MemoryStore::new()))
//!     };
//!     trials::run(conformance::cases().map(trial).collect())
//! }
//! ```

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::conformance::{self, Backend, Case, CaseReport, Outcome};
use larder_core::VirtualRuntime;

/// Runs the tests as the command line asks; the exit code is for `main` to return.
#[must_use]
pub fn run(trials: Vec<Trial>) -> ExitCode {
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A case on Tokio with two threads, on a backend made for it.
pub fn on_tokio(
    name: &str,
    case: &'static Case,
    backend: impl FnOnce() -> Backend + Send + 'static,
) -> Trial {
    Trial::test(format!("{name}::{}", case.name), move || {
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| Failed::from(format!("Tokio does not start: {error}")))?;
        // In a task: the case's own thread is no worker, and wakes more slowly.
        let run = tokio.spawn(async move { conformance::run(&backend(), case).await });
        verdict(tokio.block_on(run)?)
    })
}

/// A case on a virtual clock, once for every seed, on a backend made for each.
pub fn on_virtual_time(
    name: &str,
    case: &'static Case,
    seeds: std::ops::Range<u64>,
    backend: impl Fn(&VirtualRuntime) -> Backend + Send + 'static,
) -> Trial {
    Trial::test(format!("{name}::{}", case.name), move || {
        verdict(conformance::run_on_virtual_time(case, seeds, backend))
    })
}

fn verdict(report: CaseReport) -> Result<(), Failed> {
    match report.outcome {
        Outcome::Passed => Ok(()),
        Outcome::NotClaimed(reason) => {
            println!("{}: not claimed: {reason}", report.case);
            Ok(())
        }
        Outcome::Failed(why) => Err(why.into()),
    }
}
