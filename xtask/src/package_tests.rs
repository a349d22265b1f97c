//! Each package's own tests, documentation examples included.
//!
//! All packages are built and run by one cargo command, so that what they share is built once;
//! its output is read for what each package ran. Only where that build fails is each package
//! built alone, so that one that does not compile does not hide the others' results.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use crate::{
    backends::{self, Records},
    browser, exec,
    setup::Need,
    summary::{Report, Tally},
    worker,
    workspace::Workspace,
};

/// The tests of all parts together: what can be started, they start.
const TESTS: &str = "larder-tests";

/// Packages for wasm32: one is a test, two are measured, the others are tested end to end by
/// `larder-tests`.
const ON_WASM: [&str; 5] = [
    "larder-tests-worker",
    "larder-bench-bare",
    "larder-bench-larder",
    "larder-demo-worker",
    browser::page::PACKAGE,
];

/// The packages that have tests: each is a suite.
pub(crate) fn packages(workspace: &Workspace) -> Vec<&str> {
    let names = workspace.packages.iter().map(|package| package.name.as_str());
    names.filter(|name| !ON_WASM.contains(name)).collect()
}

/// What a package's tests need.
pub(crate) fn needs(package: &str) -> Vec<Need> {
    match package {
        TESTS => {
            let servers = [Need::Redis, Need::Valkey, Need::Chromium, Need::NodePackages];
            [&servers, &worker::NEEDS[..]].concat()
        }
        "larder-core" | "larder-http" | "larder-sqlite" => vec![],
        _ => vec![Need::Redis],
    }
}

/// Builds and runs the tests of `packages`; `everything` says that these are all there are.
pub(crate) fn run(workspace: &Workspace, packages: &[&str], everything: bool) -> Vec<Report> {
    println!("\n== test build ==");
    let start = Instant::now();
    let selection: Vec<&str> = if everything {
        let excluded = ON_WASM.iter().flat_map(|package| ["--exclude", package]);
        ["--workspace"].into_iter().chain(excluded).collect()
    } else {
        packages.iter().flat_map(|package| ["--package", package]).collect()
    };
    let mut tally = Tally::default();
    let programs = match build(workspace, &selection) {
        Ok(programs) => {
            tally.check("the tests", Ok(()));
            Some(programs)
        }
        Err(error) => {
            tally.check("the tests", Err(error));
            None
        }
    };
    let has_tests = packages.contains(&TESTS);
    if has_tests {
        // The end-to-end tests start them, and would have to wait for them.
        let build = exec::run(workspace.cargo().args(["build", "--package", "larder-demo-server"]));
        tally.check("the demo server", build);
        tally.check("the test Worker", worker::build_for_tests(workspace, worker::TESTS));
        tally.check("the demo's Worker", worker::build_for_tests(workspace, worker::DEMO));
        tally.check("the page", browser::page::build(workspace).map(drop));
    }
    let records = Records::none(workspace);
    if let Err(error) = &records {
        tally.check("a place for records", Err(anyhow!("{error:#}")));
    }
    let records = records.ok();
    let mut reports = vec![Report::new("test build", tally, start.elapsed())];

    println!("\n== {} ==", packages.join(", "));
    if let Some(programs) = programs {
        reports.extend(run_built(workspace, packages, &selection, &programs, records.as_ref()));
    } else {
        for package in packages {
            reports.extend(run_alone(workspace, package, records.as_ref()));
        }
    }
    if let Some(records) = records.filter(|_| has_tests) {
        let start = Instant::now();
        let mut tally = Tally::default();
        tally.check(backends::PAGE, records.check(workspace));
        reports.push(Report::new("backends page", tally, start.elapsed()));
    }
    reports
}

fn run_alone(workspace: &Workspace, package: &str, records: Option<&Records>) -> Vec<Report> {
    let start = Instant::now();
    let selection = ["--package", package];
    match build(workspace, &selection) {
        Ok(programs) => run_built(workspace, &[package], &selection, &programs, records),
        Err(error) => {
            let mut tally = Tally::default();
            tally.check("its tests do not compile", Err(error));
            vec![Report::new(package, tally, start.elapsed())]
        }
    }
}

fn run_built(
    workspace: &Workspace,
    packages: &[&str],
    selection: &[&str],
    programs: &HashMap<String, String>,
    records: Option<&Records>,
) -> Vec<Report> {
    let mut reader = Reader::new(workspace, programs, packages);
    let mut command = workspace.cargo();
    command.args(["test", "--no-fail-fast"]).args(selection);
    if let Some(records) = records {
        records.of(&mut command);
    }
    let outcome = exec::echoed_lines(&mut command, |line| reader.line(line)).map(|status| {
        (!status.success()).then(|| format!("`{}` failed: {status}", exec::shown(&command)))
    });
    reader.finish(outcome)
}

/// Compiles the tests; returns the package of each test program, by its file name.
fn build(workspace: &Workspace, selection: &[&str]) -> Result<HashMap<String, String>> {
    let mut command = workspace.cargo();
    command
        .args(["test", "--no-run", "--message-format", "json-render-diagnostics"])
        .args(selection);
    let mut programs = HashMap::new();
    let status = exec::stdout_lines(&mut command, |line| {
        let Ok(Artifact { package_id, executable: Some(path), profile }) =
            serde_json::from_str::<Artifact>(line)
        else {
            return;
        };
        let package = workspace.packages.iter().find(|package| package.id == package_id);
        if let (Some(package), true) = (package, profile.test) {
            programs.insert(file_name(&path).to_owned(), package.name.clone());
        }
    })?;
    if !status.success() {
        bail!("`{}` failed: {status}", exec::shown(&command));
    }
    Ok(programs)
}

/// What cargo says of a program that it built.
#[derive(Deserialize)]
struct Artifact {
    package_id: String,
    executable: Option<String>,
    profile: Profile,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Follows the output of `cargo test` and counts for each package.
struct Reader<'a> {
    /// The package of a test program, by its file name.
    programs: &'a HashMap<String, String>,
    /// The package of a library, by the name that `Doc-tests` shows.
    libraries: HashMap<String, String>,
    counts: BTreeMap<String, (Tally, Duration)>,
    current: Option<Current>,
}

/// The test program that writes at present.
struct Current {
    package: String,
    program: String,
    start: Instant,
    has_result: bool,
}

impl<'a> Reader<'a> {
    fn new(
        workspace: &Workspace,
        programs: &'a HashMap<String, String>,
        packages: &[&str],
    ) -> Self {
        let libraries = workspace
            .packages
            .iter()
            .map(|package| (package.name.replace('-', "_"), package.name.clone()))
            .collect();
        let counts = packages
            .iter()
            .map(|package| ((*package).to_owned(), (Tally::default(), Duration::ZERO)))
            .collect();
        Self { programs, libraries, counts, current: None }
    }

    fn line(&mut self, line: &str) {
        let text = line.trim_start();
        if let Some(rest) = text.strip_prefix("Running ").filter(|rest| rest.ends_with(')')) {
            let program = rest.rsplit_once('(').map_or(rest, |(_, path)| path);
            let program = program.trim_end_matches(')');
            if let Some(package) = self.programs.get(file_name(program)) {
                let named = rest.rsplit_once(" (").map_or(rest, |(target, _)| target);
                self.switch(package.clone(), named.to_owned());
            }
        } else if let Some(library) = text.strip_prefix("Doc-tests ") {
            if let Some(package) = self.libraries.get(library) {
                self.switch(package.clone(), "documentation".to_owned());
            }
        } else if let Some(result) = text.strip_prefix("test result: ") {
            self.result(result);
        } else if let Some(name) =
            text.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.tally(|tally| tally.name(name.trim_end()));
        }
    }

    fn result(&mut self, result: &str) {
        if let Some(current) = &mut self.current {
            current.has_result = true;
        }
        match counts(result) {
            Ok([passed, failed, ignored]) => self.tally(|tally| {
                tally.add(passed, failed);
                for _ in 0..ignored {
                    tally.fail("a test is ignored: mend it or remove it");
                }
            }),
            Err(error) => self.tally(|tally| tally.check("the result", Err(error))),
        }
    }

    fn switch(&mut self, package: String, program: String) {
        self.close();
        self.current = Some(Current { package, program, start: Instant::now(), has_result: false });
    }

    /// A program that ends without a result was ended: by a signal, or by calling exit.
    fn close(&mut self) {
        let Some(current) = self.current.take() else { return };
        let (tally, took) = self.counts.entry(current.package).or_default();
        *took += current.start.elapsed();
        if !current.has_result {
            tally.fail(format!("{} ended without a result", current.program));
        }
    }

    fn tally(&mut self, change: impl FnOnce(&mut Tally)) {
        if let Some(current) = &self.current {
            change(&mut self.counts.entry(current.package.clone()).or_default().0);
        }
    }

    /// `outcome` is what cargo failed with, if it did.
    fn finish(mut self, outcome: Result<Option<String>>) -> Vec<Report> {
        self.close();
        let failed: u64 = self.counts.values().map(|(tally, _)| tally.failed()).sum();
        let unexplained = match outcome {
            Ok(Some(message)) if failed == 0 => Some(message),
            Ok(_) => None,
            Err(error) => Some(format!("{error:#}")),
        };
        let mut reports: Vec<Report> = self
            .counts
            .into_iter()
            .map(|(package, (tally, took))| Report::new(package, tally, took))
            .collect();
        if let Some(message) = unexplained {
            let mut tally = Tally::default();
            tally.fail(message);
            reports.push(Report::new("cargo test", tally, Duration::ZERO));
        }
        reports
    }
}

/// Passed, failed and ignored, of `ok. 3 passed; 0 failed; 0 ignored; 0 measured; …`.
pub(crate) fn counts(result: &str) -> Result<[u64; 3]> {
    let count = |what: &str| {
        result
            .split([';', '.'])
            .find_map(|part| part.trim().strip_suffix(what))
            .and_then(|number| number.trim().parse().ok())
            .with_context(|| format!("no number {what} in `{result}`"))
    };
    Ok([count("passed")?, count("failed")?, count("ignored")?])
}

fn file_name(path: &str) -> &str {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, path::PathBuf};

    use super::{Reader, counts};
    use crate::workspace::{Package, Workspace};

    fn workspace() -> Workspace {
        let package = |name: &str| Package {
            id: String::new(),
            name: name.to_owned(),
            manifest_path: PathBuf::new(),
            dependencies: Vec::new(),
            features: Default::default(),
            targets: Vec::new(),
        };
        Workspace {
            root: PathBuf::new(),
            target_dir: PathBuf::new(),
            packages: vec![package("a-lib"), package("b")],
        }
    }

    /// What each package counted: passed, failed, and the names of the failures.
    fn read(output: &str) -> Vec<(String, u64, u64, Vec<String>)> {
        let programs = HashMap::from([
            ("a_lib-1".to_owned(), "a-lib".to_owned()),
            ("end_to_end-2".to_owned(), "b".to_owned()),
        ]);
        let mut reader = Reader::new(&workspace(), &programs, &["a-lib", "b"]);
        output.lines().for_each(|line| reader.line(line));
        reader.close();
        let row = |(name, (tally, _)): (&String, &(super::Tally, _))| {
            let (passed, failed, failures) = tally.parts();
            (name.clone(), passed, failed, failures.to_vec())
        };
        reader.counts.iter().map(row).collect()
    }

    #[test]
    fn tests_count_for_the_package_that_ran_them() {
        let rows = read(
            "     Running unittests src/lib.rs (target/debug/deps/a_lib-1)\n\
             test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\
             \x20    Running tests/end_to_end.rs (/elsewhere/debug/deps/end_to_end-2)\n\
             test one::case   ... FAILED\n\
             test two ... ok\n\
             test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n\
             \x20  Doc-tests a_lib\n\
             test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\
             test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n",
        );
        assert_eq!(
            rows,
            [
                ("a-lib".to_owned(), 6, 0, vec![]),
                ("b".to_owned(), 1, 1, vec!["one::case".to_owned()]),
            ]
        );
    }

    #[test]
    fn a_program_that_is_killed_has_failed() {
        let rows = read(
            "     Running unittests src/lib.rs (target/debug/deps/a_lib-1)\n\
             running 3 tests\n\
             \x20    Running tests/end_to_end.rs (target/debug/deps/end_to_end-2)\n\
             test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n",
        );
        assert_eq!(rows[0].2, 1);
        assert_eq!(rows[0].3, ["unittests src/lib.rs ended without a result"]);
        assert_eq!((rows[1].1, rows[1].2), (1, 0));
    }

    #[test]
    fn an_ignored_test_has_failed() {
        let rows = read(
            "     Running unittests src/lib.rs (target/debug/deps/a_lib-1)\n\
             test result: ok. 3 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out\n",
        );
        assert_eq!((rows[0].1, rows[0].2), (3, 2));
    }

    #[test]
    fn counts_of_a_result() {
        let line = "FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 4 filtered out; \
                    finished in 0.05s";
        assert_eq!(counts(line).unwrap(), [12, 3, 1]);
        assert!(counts("ok.").is_err());
    }
}
