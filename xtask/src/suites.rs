//! The suites: what `cargo xtask test` runs, in the order it runs them.

use std::{collections::BTreeSet, process::ExitCode, time::Instant};

use anyhow::{Result, bail};

use crate::{
    browser, examples, package_tests, readme, rules,
    setup::Need,
    summary::{Report, Summary, Tally},
    wasm_target, worker,
    workspace::Workspace,
};

/// The crates that users depend on: each of their features is built alone and all together.
const LIBRARIES: [&str; 6] =
    ["larder", "larder-core", "larder-http", "larder-redis", "larder-kv", "larder-sqlite"];

/// What is built for wasm32, and with which features.
const ON_WASM: [(&str, &[&str]); 13] = [
    ("larder-core", &["--no-default-features"]),
    ("larder-core", &["--no-default-features", "--features", "memory,msgpack,browser"]),
    ("larder-core", &["--all-features"]),
    ("larder-http", &["--no-default-features"]),
    ("larder-http", &["--all-features"]),
    ("larder-kv", &[]),
    ("larder-kv", &["--all-features"]),
    ("larder-tests-worker", &[]),
    ("larder-demo-worker", &[]),
    ("larder-bench-bare", &[]),
    ("larder-bench-larder", &[]),
    (browser::page::PACKAGE, &[]),
    ("larder", &["--no-default-features", "--features", "memory,msgpack,browser,http"]),
];

/// A suite that is a function, and what it needs. Those that answer fastest come first; the
/// packages' own tests run between [`BEFORE`] and [`AFTER`].
struct Suite {
    name: &'static str,
    needs: &'static [Need],
    run: fn(&Workspace, &mut Tally),
}

const BEFORE: [Suite; 6] = [
    Suite { name: "format", needs: &[], run: format },
    Suite { name: "rules", needs: &[], run: rules::run },
    Suite { name: "clippy", needs: &[], run: clippy },
    Suite { name: "docs", needs: &[], run: docs },
    Suite { name: "features", needs: &[], run: features },
    Suite { name: "wasm", needs: &[Need::WasmTarget], run: wasm },
];

const AFTER: [Suite; 5] = [
    Suite { name: "node", needs: &browser::NODE_NEEDS, run: browser::node },
    Suite { name: "chromium", needs: &browser::CHROMIUM_NEEDS, run: browser::chromium },
    Suite { name: "worker", needs: &worker::NEEDS, run: worker::suite },
    Suite { name: "examples", needs: &[Need::Redis], run: examples::run },
    Suite { name: "readme", needs: &readme::NEEDS, run: readme::run },
];

/// The names of all suites, in order.
pub(crate) fn names(workspace: &Workspace) -> Vec<&str> {
    let names = |suites: &'static [Suite]| suites.iter().map(|suite| suite.name);
    let packages = package_tests::packages(workspace);
    names(&BEFORE).chain(packages).chain(names(&AFTER)).collect()
}

/// Runs the suites whose name contains one of `filters`, or all where there is no filter.
pub(crate) fn run(workspace: &Workspace, filters: &[String]) -> Result<ExitCode> {
    let is_wanted = |name: &str| {
        filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
    };
    let mut packages = package_tests::packages(workspace);
    let all_packages = packages.len();
    packages.retain(|name| is_wanted(name));
    let [before, after] =
        [&BEFORE[..], &AFTER].map(|suites| suites.iter().filter(|suite| is_wanted(suite.name)));
    if packages.is_empty() && before.clone().chain(after.clone()).next().is_none() {
        bail!("no suite is named so; there are: {}", names(workspace).join(", "));
    }

    let mut summary = Summary::default();
    let mut needs: BTreeSet<Need> =
        before.clone().chain(after.clone()).flat_map(|suite| suite.needs).copied().collect();
    needs.extend(packages.iter().flat_map(|package| package_tests::needs(package)));
    if !needs.is_empty() {
        summary.push(timed("setup", |tally| {
            for need in needs {
                tally.check(need.name(), need.ensure(workspace));
            }
        }));
    }
    for suite in before {
        summary.push(timed(suite.name, |tally| (suite.run)(workspace, tally)));
    }
    if !packages.is_empty() {
        let everything = packages.len() == all_packages;
        summary.extend(package_tests::run(workspace, &packages, everything));
    }
    for suite in after {
        summary.push(timed(suite.name, |tally| (suite.run)(workspace, tally)));
    }
    print!("{summary}");
    Ok(summary.exit_code())
}

/// Format, lints and documentation.
pub(crate) fn check(workspace: &Workspace) -> Result<ExitCode> {
    let mut summary = Summary::default();
    for suite in BEFORE.iter().filter(|suite| ["format", "clippy", "docs"].contains(&suite.name)) {
        summary.push(timed(suite.name, |tally| (suite.run)(workspace, tally)));
    }
    print!("{summary}");
    Ok(summary.exit_code())
}

fn timed(name: &str, run: impl FnOnce(&mut Tally)) -> Report {
    println!("\n== {name} ==");
    let start = Instant::now();
    let mut tally = Tally::default();
    run(&mut tally);
    Report::new(name, tally, start.elapsed())
}

fn format(workspace: &Workspace, tally: &mut Tally) {
    tally.check("cargo fmt", exec_cargo(workspace, &["fmt", "--all", "--", "--check"]));
}

fn clippy(workspace: &Workspace, tally: &mut Tally) {
    let arguments = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    tally.check("cargo clippy", exec_cargo(workspace, &arguments));
}

fn docs(workspace: &Workspace, tally: &mut Tally) {
    let mut command = workspace.cargo();
    command.env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--workspace", "--no-deps"]);
    tally.check("cargo doc", crate::exec::run(&mut command));
}

/// Each feature alone, none, and all together, with warnings denied: an import that only another
/// feature uses shows here.
fn features(workspace: &Workspace, tally: &mut Tally) {
    for library in LIBRARIES {
        let package = match workspace.package(library) {
            Ok(package) => package,
            Err(error) => {
                tally.check(library, Err(error));
                continue;
            }
        };
        let mut sets = vec![vec!["--no-default-features"]];
        for feature in package.features.keys().filter(|feature| *feature != "default") {
            sets.push(vec!["--no-default-features", "--features", feature]);
        }
        sets.push(vec!["--all-features"]);
        for set in sets {
            lint_library(workspace, tally, library, &set);
        }
    }
}

fn wasm(workspace: &Workspace, tally: &mut Tally) {
    for (package, features) in ON_WASM {
        let arguments = [&["--target", wasm_target::TARGET], features].concat();
        lint_library(workspace, tally, package, &arguments);
    }
}

fn lint_library(workspace: &Workspace, tally: &mut Tally, package: &str, arguments: &[&str]) {
    let mut all = vec!["clippy", "--quiet", "--package", package, "--lib"];
    all.extend(arguments);
    all.extend(["--", "-D", "warnings"]);
    tally.check(&format!("{package} {}", arguments.join(" ")), exec_cargo(workspace, &all));
}

fn exec_cargo(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    crate::exec::run(workspace.cargo().args(arguments))
}
