//! The Node.js service of `tests/node`, as a process of its own on a free port.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process::Process;

const PATIENCE: Duration = Duration::from_secs(30);

/// A running Node.js service that caches in a Redis. Dropping it kills it.
#[derive(Debug)]
pub struct NodeService {
    process: Process,
    base: String,
}

impl NodeService {
    /// Starts one on the Redis at `url`.
    ///
    /// # Errors
    ///
    /// Where Node.js or the service's packages are missing, or it does not start.
    pub fn start(url: &str) -> Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("node");
        let packages = [
            "connect-redis",
            "express",
            "express-rate-limit",
            "express-session",
            "ioredis",
            "rate-limit-redis",
            "redis",
        ];
        let is_there = |package: &&str| folder.join("node_modules").join(package).is_dir();
        let installed = packages.iter().all(is_there);
        ensure!(
            installed,
            "the packages of the Node.js service are missing; `cargo xtask setup` installs them"
        );
        let mut command = Command::new("node");
        command.current_dir(folder).arg("service.js").env("REDIS_URL", url);
        let process = Process::start(&mut command)
            .context("Node.js is missing; `cargo xtask setup` installs it")?;
        let port = |line: &str| line.strip_prefix("listening on ")?.parse::<u16>().ok();
        let port = process.wait_for(PATIENCE, port).context("the Node.js service did not start")?;
        Ok(Self { process, base: format!("http://127.0.0.1:{port}") })
    }

    /// Where it listens, as in `http://127.0.0.1:3000`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Everything that it has said so far.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.said()
    }
}
