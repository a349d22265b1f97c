//! The conformance suite as tests of cargo: each case is listed, run and counted by itself.
//!
//! For a test target with `harness = false`:
//!
//! ```no_run
//! use larder_core::MemoryStore;
//! use larder_tests::conformance::{self, Backend};
//! use larder_tests::trials::{self, Trials};
//! use std::process::ExitCode;
//!
//! fn main() -> ExitCode {
//!     let mut trials = Trials::default();
//!     for case in conformance::cases() {
//!         let run = trials::on_tokio(|| Backend::of("memory", MemoryStore::new()));
//!         trials.add("memory", case, run);
//!     }
//!     trials.run()
//! }
//! ```

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use larder_core::VirtualRuntime;
use libtest_mimic::{Arguments, Failed, Trial};

use crate::conformance::{self, Backend, Case, CaseReport, Claims, Outcome, Record, Report};

/// Names the folder for records of whole runs; without it none are written.
pub const RECORDS: &str = "LARDER_CONFORMANCE_RECORDS";

/// Tests of a target, most of them cases of the suite.
#[derive(Default)]
pub struct Trials {
    tests: Vec<Trial>,
    ended: Arc<Mutex<HashMap<String, Vec<CaseReport>>>>,
    recorded: Vec<Recorded>,
}

/// A run whose record is kept.
struct Recorded {
    run: String,
    backend: String,
    claims: Box<dyn FnOnce() -> Result<Claims>>,
}

impl Trials {
    /// Adds a case, as a part of the run of that name.
    pub fn add(
        &mut self,
        run: &str,
        case: &'static Case,
        report: impl FnOnce(&'static Case) -> Result<CaseReport> + Send + 'static,
    ) {
        let (run, ended) = (run.to_owned(), Arc::clone(&self.ended));
        self.test(format!("{run}::{}", case.name), move || {
            let report = report(case)?;
            let mut ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
            ended.entry(run).or_default().push(report.clone());
            drop(ended);
            verdict(report)
        });
    }

    /// Adds a test that is no case.
    pub fn test(
        &mut self,
        name: impl Into<String>,
        test: impl FnOnce() -> Result<()> + Send + 'static,
    ) {
        let test = move || test().map_err(|error| Failed::from(format!("{error:#}")));
        self.tests.push(Trial::test(name, test));
    }

    /// Makes a run the one that is shown of a backend: where [`RECORDS`] names a folder and every
    /// case of the run was run, its record is written there. `claims` is asked after the run.
    pub fn record(
        &mut self,
        run: &str,
        backend: &str,
        claims: impl FnOnce() -> Result<Claims> + 'static,
    ) {
        let (run, backend) = (run.to_owned(), backend.to_owned());
        self.recorded.push(Recorded { run, backend, claims: Box::new(claims) });
    }

    /// Runs the tests as the command line asks; the exit code is for `main` to return.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let code = libtest_mimic::run(&Arguments::from_args(), self.tests).exit_code();
        let Some(folder) = std::env::var_os(RECORDS) else { return code };
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        for recorded in self.recorded {
            let reports = ended.remove(&recorded.run).unwrap_or_default();
            if let Err(error) = recorded.write(reports, Path::new(&folder)) {
                eprintln!("error: {error:#}");
                return ExitCode::FAILURE;
            }
        }
        code
    }
}

impl Recorded {
    fn write(self, mut reports: Vec<CaseReport>, folder: &Path) -> Result<()> {
        let order: Vec<&str> = conformance::cases().map(|case| case.name).collect();
        if reports.len() < order.len() {
            return Ok(());
        }
        reports.sort_by_key(|report| order.iter().position(|name| *name == report.case));
        let report = Report { backend: self.backend.clone(), cases: reports };
        let record = Record { claims: (self.claims)()?, report };
        let path = folder.join(format!("{}.json", self.backend));
        std::fs::write(&path, serde_json::to_vec_pretty(&record)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Runs a case on Tokio with two threads, on a backend made for it.
pub fn on_tokio(
    backend: impl FnOnce() -> Backend + Send + 'static,
) -> impl FnOnce(&'static Case) -> Result<CaseReport> + Send + 'static {
    move |case| {
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("Tokio does not start")?;
        // In a task: the case's own thread is no worker, and wakes more slowly.
        let run = tokio.spawn(async move { conformance::run(&backend(), case).await });
        Ok(tokio.block_on(run)?)
    }
}

/// Runs a case on a virtual clock, once for every seed, on a backend made for each; what the first
/// that does not pass comes to is the outcome.
pub fn on_virtual_time(
    seeds: std::ops::Range<u64>,
    backend: impl Fn(&VirtualRuntime) -> Backend + Send + 'static,
) -> impl FnOnce(&'static Case) -> Result<CaseReport> + Send + 'static {
    move |case| Ok(conformance::run_on_virtual_time(case, seeds, backend))
}

fn verdict(report: CaseReport) -> Result<()> {
    match report.outcome {
        Outcome::Passed => Ok(()),
        Outcome::NotClaimed(reason) => {
            println!("{}: not claimed: {reason}", report.case);
            Ok(())
        }
        Outcome::Failed(why) => Err(anyhow::anyhow!(why)),
    }
}
