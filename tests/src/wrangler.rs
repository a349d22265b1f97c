//! Workers of this repository under wrangler: in the real workerd, with KV, Durable Objects and D1
//! on this machine.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::process::Process;

/// How long wrangler has to start, on a machine that does other work too.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where `cargo xtask worker build --for-tests` leaves a Worker.
const BUILT: &str = "build-for-tests/index.js";

/// The folder of a Worker, and the state of its local bindings, empty at first.
///
/// ```no_run
/// use larder_tests::wrangler::Wrangler;
///
/// # fn main() -> anyhow::Result<()> {
/// let wrangler = Wrangler::new("tests/worker")?;
/// wrangler.build()?;
/// let worker = wrangler.dev()?;
/// println!("{}", worker.base());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Wrangler {
    folder: &'static str,
    /// What npm installs, Node.js included.
    tools: PathBuf,
    state: TempDir,
    variables: Vec<String>,
}

impl Wrangler {
    /// Of the Worker in that folder of the workspace.
    ///
    /// # Errors
    ///
    /// Where wrangler is missing: with the command that installs it.
    pub fn new(folder: &'static str) -> Result<Self> {
        let tools = workspace().join("demo-worker/node_modules/.bin");
        for tool in ["wrangler", "node"] {
            let tool = tools.join(tool);
            ensure!(
                tool.exists(),
                "{} is missing; `cargo xtask setup` installs it",
                tool.display()
            );
        }
        let state = state().context("cannot create a folder for the state")?;
        Ok(Self { folder, tools, state, variables: Vec::new() })
    }

    /// Runs the Worker with this variable in place of what its configuration has.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push(format!("{name}:{value}"));
        self
    }

    /// Builds the Worker. Does little where it is up to date.
    ///
    /// # Errors
    ///
    /// Where a tool is missing or it does not compile; with what was said.
    pub fn build(&self) -> Result<()> {
        // The cargo that runs the test.
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(cargo);
        command.current_dir(workspace()).args(["run", "--quiet", "--package", "xtask", "--"]);
        run(command.args(["worker", "build", self.folder, "--for-tests"]))
    }

    /// Runs a command of wrangler's on the local state, as in `["d1", "migrations", "apply", "DB"]`.
    ///
    /// # Errors
    ///
    /// Where it fails; with what it said.
    pub fn command<I: IntoIterator<Item = S>, S: Into<OsString>>(&self, words: I) -> Result<()> {
        let mut command = self.wrangler();
        command.args(words.into_iter().map(Into::into)).arg("--local");
        run(command.arg("--persist-to").arg(self.state.path()))
    }

    /// Starts the Worker on a free port, and waits until it listens.
    ///
    /// # Errors
    ///
    /// Where it does not; with what wrangler said.
    pub fn dev(self) -> Result<Worker> {
        let mut command = self.wrangler();
        command
            .args([
                "dev",
                BUILT,
                "--local",
                "--ip",
                "127.0.0.1",
                "--port",
                "0",
                "--inspector-port",
                "0",
            ])
            .args(["--show-interactive-dev-session", "false", "--persist-to"])
            .arg(self.state.path());
        for variable in &self.variables {
            command.args(["--var", variable]);
        }
        let process = Process::start_group(&mut command)?;
        let base = process
            .wait_for(PATIENCE, |line| {
                let (_, address) = line.split_once("Ready on ")?;
                Some(address.trim().to_owned())
            })
            .context("the Worker did not start")?;
        Ok(Worker { process, base, wrangler: self })
    }

    /// Where wrangler writes all that it does.
    fn logs(&self) -> PathBuf {
        self.state.path().join("logs")
    }

    /// In the Worker's folder, with the repository's own Node.js.
    fn wrangler(&self) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = [self.tools.clone()].into_iter().chain(std::env::split_paths(&path));
        let mut command = Command::new(self.tools.join("wrangler"));
        command
            .current_dir(workspace().join(self.folder))
            // A folder whose name has a colon cannot stand in PATH, and then wrangler says so.
            .env("PATH", std::env::join_paths(path).unwrap_or_default())
            .env("WRANGLER_SEND_METRICS", "false")
            .env("WRANGLER_LOG_PATH", self.logs())
            .env("WRANGLER_REGISTRY_PATH", self.state.path().join("registry"))
            .env("NO_COLOR", "1")
            .env("CI", "1");
        command
    }
}

/// In memory where the system has a place for that: a local KV waits for the disk at every write.
fn state() -> std::io::Result<TempDir> {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output();
    let shown = format!("{command:?}");
    let output = output.with_context(|| format!("cannot start {shown}"))?;
    ensure!(
        output.status.success(),
        "{shown}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    Ok(())
}

/// A Worker that serves. Dropping it ends it, and everything that it started.
#[derive(Debug)]
pub struct Worker {
    process: Process,
    base: String,
    // Its state, which is removed when the process has ended: fields are dropped in order.
    wrangler: Wrangler,
}

impl Worker {
    /// Where it listens, as in `http://127.0.0.1:8787`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Where workerd itself listens. Wrangler's proxy in front of it goes on with a request whose
    /// client has left, so that the Worker does not hear of it.
    ///
    /// # Errors
    ///
    /// Where wrangler's log does not name it.
    pub fn behind_the_proxy(&self) -> Result<String> {
        let logs = self.wrangler.logs();
        let started = Instant::now();
        // Wrangler writes its log when it finds the time.
        while started.elapsed() < PATIENCE {
            if let Some(address) = logged_address(&logs)? {
                return Ok(address);
            }
            thread::sleep(Duration::from_millis(10));
        }
        bail!("wrangler's logs in {} do not name the userWorkerUrl", logs.display())
    }

    /// Waits for a line that contains `text`, among those already said and those to come.
    ///
    /// # Errors
    ///
    /// Where none comes in time; with what was said instead.
    pub fn wait_for(&self, text: &str) -> Result<()> {
        let found = self.process.wait_for(PATIENCE, |line| line.contains(text).then_some(()));
        found.with_context(|| format!("{text:?} was not said"))
    }

    /// Everything that wrangler and the Worker have said so far.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.said()
    }
}

/// The last address of workerd that one of the logs names.
fn logged_address(logs: &Path) -> Result<Option<String>> {
    for log in fs::read_dir(logs).with_context(|| format!("no logs in {}", logs.display()))? {
        let log = String::from_utf8_lossy(&fs::read(log?.path())?).into_owned();
        let last = log.rsplit_once(r#""userWorkerUrl":{"protocol":"http:","hostname":""#);
        let address = last.and_then(|(_, rest)| {
            let (host, rest) = rest.split_once(r#"","port":""#)?;
            let (port, _) = rest.split_once('"')?;
            Some(format!("http://{host}:{port}"))
        });
        if address.is_some() {
            return Ok(address);
        }
    }
    Ok(None)
}

fn workspace() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}
