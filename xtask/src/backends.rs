//! docs/backends.md: what each backend guarantees, made of the records that the conformance tests
//! leave.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use crate::{exec, package_tests, workspace::Workspace};

/// The page, from the root of the workspace.
pub(crate) const PAGE: &str = "docs/backends.md";

/// Names the folder for the records to the tests.
const RECORDS: &str = "LARDER_CONFORMANCE_RECORDS";

/// The tests that leave records of whole runs.
const TESTS: [&str; 3] = ["conformance_memory", "conformance_redis", "worker_conformance"];

/// The records of one run of the tests.
pub(crate) struct Records(PathBuf);

impl Records {
    /// None yet, whatever an earlier run left.
    pub(crate) fn none(workspace: &Workspace) -> Result<Self> {
        let dir = workspace.target_dir.join("conformance");
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Self(dir))
    }

    /// Makes a command that runs tests leave their records here.
    pub(crate) fn of<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env(RECORDS, &self.0)
    }

    /// Prints the page, and fails where docs/ says anything else.
    ///
    /// # Errors
    /// That, and where a record is missing: a backend was not tested with every case.
    pub(crate) fn check(&self, workspace: &Workspace) -> Result<()> {
        let page = self.page(workspace)?;
        println!("{page}");
        let stands = fs::read_to_string(workspace.root.join(PAGE)).unwrap_or_default();
        if let Some(difference) = first_difference(&stands, &page) {
            bail!(
                "{PAGE} is not what the tests say: {difference}; write it anew with `cargo xtask docs backends`"
            );
        }
        Ok(())
    }

    fn page(&self, workspace: &Workspace) -> Result<String> {
        let mut print = workspace.cargo();
        print.args(["run", "--quiet", "--package", "larder-tests", "--bin", "backends-page", "--"]);
        exec::output(print.arg(&self.0))
    }
}

/// Runs the tests that the page is made of, and writes it.
///
/// # Errors
/// Where a test fails, and the page would say so.
pub(crate) fn write(workspace: &Workspace) -> Result<()> {
    for need in package_tests::needs("larder-tests") {
        need.ensure(workspace).with_context(|| format!("cannot set up {}", need.name()))?;
    }
    let records = Records::none(workspace)?;
    let mut test = workspace.cargo();
    test.args(["test", "--package", "larder-tests"]);
    for name in TESTS {
        test.args(["--test", name]);
    }
    exec::run(records.of(&mut test))?;
    fs::write(workspace.root.join(PAGE), records.page(workspace)?)
        .with_context(|| format!("cannot write {PAGE}"))?;
    println!("{PAGE} is written.");
    Ok(())
}

/// Where two texts begin to differ.
fn first_difference(stands: &str, wanted: &str) -> Option<String> {
    if stands == wanted {
        return None;
    }
    let (mut stands, mut wanted) = (stands.lines(), wanted.lines());
    for number in 1.. {
        let (old, new) = (stands.next(), wanted.next());
        if old.is_none() && new.is_none() {
            break;
        }
        if old != new {
            let [old, new] = [old, new].map(|line| line.unwrap_or("nothing"));
            return Some(format!("line {number} has\n  {old}\ninstead of\n  {new}\n"));
        }
    }
    Some("it ends otherwise".to_owned())
}

#[cfg(test)]
mod tests {
    use super::first_difference;

    #[test]
    fn the_first_line_that_differs_is_named() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        let difference = first_difference("a\nb\n", "a\nc\nd\n").unwrap();
        assert!(difference.contains("line 2 has\n  b\ninstead of\n  c\n"), "{difference}");
        assert!(first_difference("", "a\n").unwrap().contains("line 1 has\n  nothing"));
        assert!(first_difference("a", "a\n").is_some());
    }
}
