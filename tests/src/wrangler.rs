//! Workers of this repository under wrangler: in the real workerd, with KV, Durable Objects and D1
//! on this machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::process::Process;

/// How long wrangler has to start, on a machine that does other work too.
const PATIENCE: Duration = Duration::from_secs(120);

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
    folder: PathBuf,
    tools: Tools,
    state: TempDir,
}

impl Wrangler {
    /// Of the Worker in that folder of the workspace.
    ///
    /// # Errors
    ///
    /// Where a tool is missing: with the command that installs it.
    pub fn new(folder: &str) -> Result<Self> {
        Ok(Self {
            folder: workspace().join(folder),
            tools: Tools::find()?,
            state: TempDir::new().context("cannot create a folder for the state")?,
        })
    }

    /// Builds the Worker as it is deployed. Does little where it is up to date.
    ///
    /// # Errors
    ///
    /// Where it does not compile; with what the compiler said.
    pub fn build(&self) -> Result<()> {
        let mut command = Command::new(&self.tools.worker_build);
        command.arg("--profile").arg("worker");
        self.run(&mut command)
    }

    /// Runs a command of wrangler's on the local state, as in `["d1", "migrations", "apply", "DB"]`.
    ///
    /// # Errors
    ///
    /// Where it fails; with what it said.
    pub fn command<I: IntoIterator<Item = S>, S: Into<OsString>>(&self, words: I) -> Result<()> {
        let mut command = Command::new(&self.tools.wrangler);
        command.args(words.into_iter().map(Into::into)).arg("--local");
        command.arg("--persist-to").arg(self.state.path());
        self.run(&mut command)
    }

    /// Starts the Worker on a free port, and waits until it listens.
    ///
    /// # Errors
    ///
    /// Where it does not; with what wrangler said.
    pub fn dev(self) -> Result<Worker> {
        let mut command = Command::new(&self.tools.wrangler);
        command
            .args(["dev", "--local", "--ip", "127.0.0.1", "--port", "0", "--inspector-port", "0"])
            .args(["--show-interactive-dev-session", "false", "--persist-to"])
            .arg(self.state.path());
        let process = Process::start_group(self.prepared(&mut command))?;
        let base = process
            .wait_for(PATIENCE, |line| {
                let (_, address) = line.split_once("Ready on ")?;
                Some(address.trim().to_owned())
            })
            .context("the Worker did not start")?;
        Ok(Worker { process, base, _wrangler: self })
    }

    fn run(&self, command: &mut Command) -> Result<()> {
        let program = command.get_program().display().to_string();
        let output = self.prepared(command).output();
        let output = output.with_context(|| format!("cannot start {program}"))?;
        ensure!(
            output.status.success(),
            "{program} in {}: {}\n{}{}",
            self.folder.display(),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        Ok(())
    }

    /// In the Worker's folder, with the repository's own tools, and nothing of the user's account.
    fn prepared<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = [self.tools.node.clone()].into_iter().chain(std::env::split_paths(&path));
        command
            .current_dir(&self.folder)
            // A folder whose name has a colon cannot stand in PATH, and then wrangler says so.
            .env("PATH", std::env::join_paths(path).unwrap_or_default())
            .env("WASM_BINDGEN_BIN", &self.tools.wasm_bindgen)
            .env("WASM_OPT_BIN", &self.tools.wasm_opt)
            .env("ESBUILD_BIN", &self.tools.esbuild)
            .env("WRANGLER_SEND_METRICS", "false")
            .env("WRANGLER_LOG_PATH", self.state.path().join("logs"))
            .env("WRANGLER_REGISTRY_PATH", self.state.path().join("registry"))
            .env("NO_COLOR", "1")
            .env("CI", "1")
    }
}

/// A Worker that serves. Dropping it ends it, and everything that it started.
#[derive(Debug)]
pub struct Worker {
    process: Process,
    base: String,
    // Its state, which is removed when the process has ended: fields are dropped in order.
    _wrangler: Wrangler,
}

impl Worker {
    /// Where it listens, as in `http://127.0.0.1:8787`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Everything that wrangler and the Worker have said so far.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.said()
    }
}

/// What builds and runs a Worker.
#[derive(Debug)]
struct Tools {
    worker_build: PathBuf,
    wasm_bindgen: PathBuf,
    /// The folder of what npm installs, Node.js included.
    node: PathBuf,
    wrangler: PathBuf,
    wasm_opt: PathBuf,
    esbuild: PathBuf,
}

impl Tools {
    fn find() -> Result<Self> {
        let cargo = cache()?.join("tools/bin");
        let node = workspace().join("demo-worker/node_modules/.bin");
        let tools = Self {
            worker_build: cargo.join("worker-build"),
            wasm_bindgen: cargo.join("wasm-bindgen"),
            wrangler: node.join("wrangler"),
            wasm_opt: node.join("wasm-opt"),
            esbuild: node.join("esbuild"),
            node,
        };
        let Self { worker_build, wasm_bindgen, wrangler, wasm_opt, esbuild, node } = &tools;
        for tool in [worker_build, wasm_bindgen, wrangler, wasm_opt, esbuild, &node.join("node")] {
            ensure!(
                tool.exists(),
                "{} is missing; `cargo xtask setup` installs it",
                tool.display()
            );
        }
        Ok(tools)
    }
}

/// Where xtask keeps tools between checkouts.
fn cache() -> Result<PathBuf> {
    let named = |name| std::env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    if let Some(dir) = named("LARDER_XTASK_CACHE") {
        return Ok(dir);
    }
    let caches = named("XDG_CACHE_HOME")
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .context("no home folder: name a folder for tools in LARDER_XTASK_CACHE")?;
    Ok(caches.join("larder-xtask"))
}

fn workspace() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}
