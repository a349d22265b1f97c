//! The tests that exist on wasm32, by `wasm-pack test`: those of core, of the middleware, and the
//! conformance list on the memory store.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{
    cargo_tools::Tool, exec, package_tests, summary::Tally, workspace, workspace::Workspace,
};

/// What cargo selects, of all packages at once so that what they share is built once. The
/// documentation's examples are for native targets.
const SELECTION: [&str; 20] = [
    "--package",
    "larder-core",
    "--package",
    "larder-http",
    "--package",
    "larder-tests",
    "--no-default-features",
    "--features",
    "larder-tests/browser",
    "--lib",
    "--test",
    "suite",
    "--test",
    "response_cache",
    "--test",
    "rate_limit",
    "--test",
    "session",
    "--test",
    "invalidate",
];

/// How many programs that makes: three libraries, and the tests beside two of them.
const PROGRAMS: usize = 8;

/// For all tests of a program together, in seconds.
const TIMEOUT: &str = "900";

/// The tests under Node.js.
pub(crate) fn node(workspace: &Workspace, tally: &mut Tally) {
    run(workspace, tally, |command| {
        command.arg("--node");
        Ok(())
    });
}

/// The tests in Chromium.
pub(crate) fn chromium(workspace: &Workspace, tally: &mut Tally) {
    run(workspace, tally, |command| {
        let driver = exec::find("chromedriver")?;
        command
            .args(["--headless", "--chrome", "--chromedriver"])
            .arg(driver)
            .env("WASM_BINDGEN_USE_BROWSER", "1")
            .env("WASM_BINDGEN_TEST_WEBDRIVER_JSON", workspace.root.join("tests/webdriver.json"));
        Ok(())
    });
}

fn run(workspace: &Workspace, tally: &mut Tally, target: impl FnOnce(&mut Command) -> Result<()>) {
    let mut reader = Reader::new(tally);
    let outcome = wasm_pack(workspace, target).and_then(|mut command| {
        let status = exec::echoed_lines(&mut command, |line| reader.line(line))?;
        if !status.success() {
            bail!("`wasm-pack test` failed: {status}");
        }
        Ok(())
    });
    reader.finish(outcome);
}

fn wasm_pack(
    workspace: &Workspace,
    target: impl FnOnce(&mut Command) -> Result<()>,
) -> Result<Command> {
    let program = Tool::WasmPack.bin(workspace)?.join("wasm-pack");
    let mut command = Command::new(program);
    workspace::forget_own_variables(&mut command);
    command
        .current_dir(&workspace.root)
        .env("PATH", exec::path_with(&Tool::WasmBindgen.bin(workspace)?)?)
        .env("WASM_BINDGEN_TEST_TIMEOUT", TIMEOUT)
        .args(["test", "--mode", "no-install"]);
    target(&mut command)?;
    // The package whose Cargo.toml it reads. What follows is for cargo.
    command.arg("core").args(SELECTION);
    Ok(command)
}

/// Follows the output of the runner and counts.
struct Reader<'a> {
    tally: &'a mut Tally,
    /// The program that has begun and not yet said what it came to.
    running: Option<String>,
    results: usize,
    failed: bool,
}

impl<'a> Reader<'a> {
    fn new(tally: &'a mut Tally) -> Self {
        Self { tally, running: None, results: 0, failed: false }
    }

    fn line(&mut self, line: &str) {
        let text = line.trim();
        if let Some(program) = text.strip_prefix("Running ").filter(|_| text.ends_with(".wasm)")) {
            self.close();
            self.running = program.split(" (").next().map(str::to_owned);
        } else if let Some(result) = text.strip_prefix("test result: ") {
            self.running = None;
            self.results += 1;
            match package_tests::counts(result) {
                Ok([passed, failed, ignored]) => {
                    self.tally.add(passed, failed);
                    self.failed |= failed > 0;
                    for _ in 0..ignored {
                        self.fail("a test is ignored: mend it or remove it");
                    }
                }
                Err(error) => self.tally.check("the result", Err(error)),
            }
        } else if let Some(name) =
            text.strip_prefix("test ").and_then(|it| it.strip_suffix(" ... FAIL"))
        {
            self.tally.name(name);
        }
    }

    /// A program that ends without a result was ended, or hung.
    fn close(&mut self) {
        if let Some(program) = self.running.take() {
            self.fail(format!("{program} ended without a result"));
        }
    }

    fn fail(&mut self, name: impl Into<String>) {
        self.failed = true;
        self.tally.fail(name);
    }

    /// `outcome` is that of the whole command.
    fn finish(mut self, outcome: Result<()>) {
        self.close();
        if self.failed && self.results < PROGRAMS {
            // `wasm-pack test` cannot be told to go on.
            println!("{} of {PROGRAMS} programs have run: it ends at a failure", self.results);
        }
        match outcome {
            Err(error) if !self.failed => self.fail(format!("{error:#}")),
            _ if !self.failed && self.results != PROGRAMS => {
                self.fail(format!("{} of {PROGRAMS} programs have run", self.results));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{PROGRAMS, Reader, Tally};

    const GOOD: &str = "     Running unittests src/lib.rs (/x/deps/a-1.wasm)\n\
                        running 2 tests\n\
                        test one ... ok\n\
                        test two ... ok\n\
                        test result: ok. 2 passed; 0 failed; 0 ignored; 0 filtered out; \
                        finished in 1.0s\n";

    fn read(output: &str, succeeds: bool) -> (u64, u64, Vec<String>) {
        let mut tally = Tally::default();
        let mut reader = Reader::new(&mut tally);
        output.lines().for_each(|line| reader.line(line));
        reader.finish(if succeeds { Ok(()) } else { Err(anyhow::anyhow!("exit 1")) });
        let (passed, failed, names) = tally.parts();
        (passed, failed, names.to_vec())
    }

    #[test]
    fn what_every_program_counted_is_added() {
        assert_eq!(read(&GOOD.repeat(PROGRAMS), true), (2 * PROGRAMS as u64, 0, vec![]));
    }

    #[test]
    fn a_failed_test_is_counted_once_and_named() {
        let bad = "     Running tests/suite/main.rs (/x/deps/suite-1.wasm)\n\
                   test a::b ... FAIL\n\
                   test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 filtered out\n";
        assert_eq!(read(bad, false), (3, 1, vec!["a::b".to_owned()]));
    }

    #[test]
    fn a_program_that_did_not_run_or_did_not_end_has_failed() {
        let skipped = read(&GOOD.repeat(PROGRAMS - 1), true);
        assert_eq!(skipped.1, 1);
        let said = format!("{} of {PROGRAMS} programs", PROGRAMS - 1);
        assert!(skipped.2[0].contains(&said), "{:?}", skipped.2);
        let hung = read("     Running unittests src/lib.rs (/x/deps/a-1.wasm)\n", false);
        assert_eq!(hung.2, ["unittests src/lib.rs ended without a result"]);
        assert_eq!(read("error: could not compile\n", false).2, ["exit 1"]);
    }
}
