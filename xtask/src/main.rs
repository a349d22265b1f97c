//! Set-up, tests and checks of the Larder workspace: `cargo xtask --help`.
//!
//! A suite is a row of the summary that `cargo xtask test` ends with. [`suites`] lists them;
//! [`package_tests`], [`browser`], [`worker`], [`examples`], [`readme`] and [`rules`] are those that
//! take more than a few commands. [`setup`] installs what they need, and nothing else here installs anything.

mod apt;
mod backends;
mod bench;
mod browser;
mod cargo_tools;
mod examples;
mod exec;
mod node_packages;
mod package_tests;
mod rates;
mod readme;
mod redis;
mod rules;
mod setup;
mod suites;
mod summary;
mod valkey;
mod wasm_target;
mod worker;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

use crate::workspace::Workspace;

#[derive(Parser)]
#[command(about = "Set-up, tests and checks of the Larder workspace", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing, run every suite, and sum up
    Test {
        /// Run only the suites whose name contains one of these
        suites: Vec<String>,
        /// Print the names of the suites and run nothing
        #[arg(long)]
        list: bool,
    },
    /// Check format, lints and documentation: the quick one
    Check,
    /// Install what the suites need and this machine lacks
    Setup,
    /// Measure Larder beside its peers, and print a table
    Bench {
        /// What the program of `bench/` takes; `-- --help` lists it
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build the example page that caches in the browser, and serve it
    Browser(browser::page::Page),
    /// Write a part of the documentation that a program makes
    Docs {
        /// The part
        page: DocsPage,
    },
    /// Build the Workers, or run the demo as one
    #[command(subcommand)]
    Worker(worker::Task),
}

#[derive(Clone, Copy, ValueEnum)]
enum DocsPage {
    /// docs/backends.md: what each backend guarantees
    Backends,
    /// docs/rate-limits.svg: how each rule of a rate limit admits requests
    Rates,
}

fn main() -> ExitCode {
    run(Arguments::parse()).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    match arguments.task {
        Task::Test { list: true, .. } => {
            for name in suites::names(&workspace) {
                println!("{name}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Task::Test { suites, .. } => suites::run(&workspace, &suites),
        Task::Check => suites::check(&workspace),
        Task::Setup => setup::all(&workspace).map(|()| ExitCode::SUCCESS),
        Task::Browser(page) => browser::page::run(&workspace, &page).map(|()| ExitCode::SUCCESS),
        Task::Docs { page: DocsPage::Backends } => {
            backends::write(&workspace).map(|()| ExitCode::SUCCESS)
        }
        Task::Docs { page: DocsPage::Rates } => {
            rates::write(&workspace).map(|()| ExitCode::SUCCESS)
        }
        Task::Worker(task) => worker::run(&workspace, task).map(|()| ExitCode::SUCCESS),
        Task::Bench { arguments } => bench::run(&workspace, &arguments).map(|()| ExitCode::SUCCESS),
    }
}
