//! The demo server as a process of its own, on a free port, with a database of its own.

use std::ffi::OsString;
use std::fs::DirEntry;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::Process;

/// How long a server has to start: on a machine that also compiles, in a debug build.
const PATIENCE: Duration = Duration::from_secs(60);
const DATABASE: &str = "shop.db";
const UNLIMITED: [&str; 4] = ["--rate-limit", "0", "--sign-in-limit", "0"];

/// A running demo server. Dropping it kills it.
#[derive(Debug)]
pub struct DemoServer {
    process: Process,
    base: String,
    _folder: TempDir,
}

impl DemoServer {
    /// Starts a server whose caches are in memory, on a filled database. Its clients are not
    /// limited.
    ///
    /// # Errors
    ///
    /// Where it cannot be built or does not start.
    pub fn in_memory() -> Result<Self> {
        Self::start(&UNLIMITED)
    }

    /// Starts a server whose caches are in the Redis at `url`, on a filled database. Its clients
    /// are not limited.
    ///
    /// # Errors
    ///
    /// Where it cannot be built or does not start.
    pub fn on_redis(url: &str) -> Result<Self> {
        Self::start(&[&["--redis", url], &UNLIMITED[..]].concat())
    }

    /// Starts a server with these arguments, on a filled database. Its clients are limited unless
    /// the arguments say otherwise.
    ///
    /// # Errors
    ///
    /// Where it cannot be built or does not start.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        let folder = TempDir::new()?;
        for (name, content) in filled_database()? {
            std::fs::write(folder.path().join(name), content)?;
        }
        let mut command = command(&folder.path().join(DATABASE))?;
        let process = Process::start(command.args(arguments))?;
        let base = wait_for_address(&process)?;
        Ok(Self { process, base, _folder: folder })
    }

    /// Where it listens, as in `http://127.0.0.1:8787`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Everything that it has said so far.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.said()
    }

    /// Does to it what Ctrl-C does.
    ///
    /// # Errors
    ///
    /// Where it has ended already.
    pub fn interrupt(&self) -> Result<()> {
        self.process.interrupt()
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    ///
    /// Where it does not end in time.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.process.wait(patience)
    }
}

/// The demo server's program, on any free port and this database; no environment of the test's
/// reaches it that it listens to.
///
/// # Errors
///
/// Where it cannot be built.
pub fn command(database: &Path) -> Result<Command> {
    let mut command = Command::new(program()?);
    for name in [
        "LARDER_REDIS_URL",
        "LARDER_RATE_LIMIT",
        "LARDER_SIGN_IN_LIMIT",
        "LARDER_SESSION_SECRET",
        "LARDER_TRUSTED_PROXIES",
        "RUST_LOG",
    ] {
        command.env_remove(name);
    }
    command.args(["--port", "0", "--database"]).arg(database);
    Ok(command)
}

/// Waits until a server says where it listens.
///
/// # Errors
///
/// Where it does not.
pub fn wait_for_address(process: &Process) -> Result<String> {
    process
        .wait_for(PATIENCE, |line| line.strip_prefix("listening on ").map(str::to_owned))
        .context("the demo server did not start")
}

/// The program, built by cargo where it is not up to date; or the one that the environment's
/// `LARDER_DEMO_SERVER` names, such as a release build.
///
/// # Errors
///
/// Where it cannot be built.
pub fn program() -> Result<&'static PathBuf> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    shared(PROGRAM.get_or_init(|| build().map_err(|error| format!("{error:#}"))))
}

fn build() -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("LARDER_DEMO_SERVER") {
        return Ok(program.into());
    }
    // The cargo that runs the test.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let built = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--package", "larder-demo-server"])
        .args(["--bin", "larder-demo-server", "--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(built.status.success(), "larder-demo-server cannot be built: {}", built.status);
    let messages = String::from_utf8(built.stdout)?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo did not say where larder-demo-server is")
}

/// The files of a database as the first start leaves it: their names and contents.
type Files = Vec<(OsString, Vec<u8>)>;

fn filled_database() -> Result<&'static Files> {
    static FILLED: OnceLock<Result<Files, String>> = OnceLock::new();
    shared(FILLED.get_or_init(|| fill().map_err(|error| format!("{error:#}"))))
}

fn fill() -> Result<Files> {
    let folder = TempDir::new()?;
    let mut process = Process::start(&mut command(&folder.path().join(DATABASE))?)?;
    wait_for_address(&process)?;
    process.interrupt()?;
    let status = process.wait(PATIENCE)?;
    ensure!(status.success(), "the first start ended with {status}: {}", process.said());
    let read = |file: std::io::Result<DirEntry>| {
        let file = file?;
        Ok((file.file_name(), std::fs::read(file.path())?))
    };
    std::fs::read_dir(folder.path())?.map(read).collect()
}

fn shared<T>(result: &'static Result<T, String>) -> Result<&'static T> {
    result.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}
