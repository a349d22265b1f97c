//! The programs beside this one: redis-server, and where each runs.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{self, Child, Command, Stdio};
use std::sync::LazyLock;
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

/// A core of the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Core {
    /// The HTTP server's.
    Server,
    /// The client's, and Redis'.
    Client,
}

impl Core {
    fn number(self) -> &'static str {
        match self {
            Self::Server => "0",
            Self::Client => "1",
        }
    }
}

/// `program`, kept to one core where the machine can do that.
pub(crate) fn on_core(core: Core, program: &str) -> Command {
    if !can_pin() {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", core.number(), program]);
    command
}

/// Keeps this program's main thread to one core, where the machine can do that.
pub(crate) fn stay_on(core: Core) -> Result<()> {
    if can_pin() {
        let this = process::id().to_string();
        let pinned = Command::new("taskset").args(["-pc", core.number(), &this]).output()?;
        ensure!(pinned.status.success(), "taskset: {}", String::from_utf8_lossy(&pinned.stderr));
    }
    Ok(())
}

/// Whether programs can be kept to one core. Asked once, before this one is: on the core that it is kept
/// to it sees no other.
pub(crate) fn can_pin() -> bool {
    static CAN_PIN: LazyLock<bool> = LazyLock::new(|| {
        available_parallelism().is_ok_and(|cores| cores.get() > 1)
            && version("taskset", "--version").is_some()
    });
    *CAN_PIN
}

/// The first line that a program says about its version; `None` where it does not start.
pub(crate) fn version(program: &str, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().next().map(|line| line.trim().to_owned())
}

/// A process that ends with its owner.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A redis-server in memory, on a free port.
pub(crate) struct Redis {
    port: u16,
    _process: Process,
    _dir: TempDir,
}

impl Redis {
    /// Starts one, on one core only where `core` says so, and waits until it answers.
    pub(crate) fn start(core: Option<Core>) -> Result<Self> {
        let dir = TempDir::new()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = match core {
            Some(core) => on_core(core, "redis-server"),
            None => Command::new("redis-server"),
        };
        let process = command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start redis-server; `cargo xtask bench` installs it")?;
        let redis = Self { port, _process: Process(process), _dir: dir };
        let started = Instant::now();
        while redis.ping().is_err() {
            if started.elapsed() > Duration::from_secs(10) {
                bail!("redis-server on port {port} does not answer");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(redis)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    fn ping(&self) -> Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut connection = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        connection.set_read_timeout(Some(Duration::from_secs(1)))?;
        connection.write_all(b"PING\r\n")?;
        let mut answer = [0; 7];
        connection.read_exact(&mut answer)?;
        if answer != *b"+PONG\r\n" {
            bail!("redis-server does not answer PING with PONG");
        }
        Ok(())
    }
}
