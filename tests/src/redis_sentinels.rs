//! A real master with a replica, and sentinels that watch them.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::redis_server::{RedisServer, free_port};

/// The name by which the sentinels know the master.
pub const SERVICE: &str = "mymaster";

const PATIENCE: Duration = Duration::from_secs(30);

/// A master, a replica, and three sentinels of which two have to agree; they give a master up after
/// half a second.
#[derive(Debug)]
pub struct RedisSentinels {
    servers: [RedisServer; 2],
    sentinels: Vec<Sentinel>,
    _dir: TempDir,
}

#[derive(Debug)]
struct Sentinel {
    port: u16,
    child: Child,
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl RedisSentinels {
    /// Starts all of them, and waits until every sentinel knows the others and the replica.
    ///
    /// # Panics
    ///
    /// When that does not come about.
    #[must_use]
    #[allow(clippy::expect_used)]
    pub fn start() -> Self {
        let dir = TempDir::new().expect("a folder for the sentinels");
        let quick = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];
        let master = RedisServer::builder().arguments(quick).start();
        let replica = RedisServer::builder().arguments(quick).start();
        let port = master.port().to_string();
        assert_eq!(replica.command(&["REPLICAOF", "127.0.0.1", &port]), "+OK");
        wait("the replica follows", || {
            replica.command(&["INFO", "replication"]).contains("master_link_status:up")
        });
        let sentinels = (0..3).map(|index| sentinel(&dir, index, &port)).collect();
        let all = Self { servers: [master, replica], sentinels, _dir: dir };
        for sentinel in &all.sentinels {
            wait("the sentinels know each other", || {
                let said = ask(sentinel.port, &["INFO", "sentinel"]);
                said.contains("status=ok") && said.contains("slaves=1,sentinels=3")
            });
        }
        all
    }

    /// `redis-sentinel://127.0.0.1:<port of one>/0?node=…&sentinelServiceName=mymaster`.
    #[must_use]
    pub fn url(&self) -> String {
        let nodes = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port));
        let nodes: Vec<String> = nodes.collect();
        let (first, others) = nodes.split_first().map_or(("", &[][..]), |(a, b)| (a.as_str(), b));
        let others: String = others.iter().map(|node| format!("node={node}&")).collect();
        format!("redis-sentinel://{first}/0?{others}sentinelServiceName={SERVICE}")
    }

    /// The master of the beginning, and its replica.
    pub fn servers(&mut self) -> &mut [RedisServer; 2] {
        &mut self.servers
    }

    /// Ends one of the sentinels.
    pub fn end_one(&mut self) {
        self.sentinels.remove(0);
    }

    /// The port of the master that the sentinels name.
    #[must_use]
    pub fn master_port(&self) -> Option<u16> {
        let said = ask(self.sentinels.last()?.port, &["INFO", "sentinel"]);
        let (_, rest) = said.split_once("address=127.0.0.1:")?;
        rest.split(',').next()?.parse().ok()
    }

    /// Waits until the replica is the master and the sentinels say so.
    ///
    /// # Panics
    ///
    /// When that does not come about.
    pub fn wait_for_promotion(&self) {
        wait("the replica is promoted", || {
            self.servers[1].command(&["INFO", "replication"]).contains("role:master")
                && self.master_port() == Some(self.servers[1].port())
        });
    }
}

#[allow(clippy::expect_used)]
fn sentinel(dir: &TempDir, index: usize, master: &str) -> Sentinel {
    let port = free_port().expect("a free port");
    let file: PathBuf = dir.path().join(format!("sentinel-{index}.conf"));
    let text = format!(
        "port {port}\nbind 127.0.0.1\ndir {}\n\
         sentinel monitor {SERVICE} 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds {SERVICE} 500\n\
         sentinel failover-timeout {SERVICE} 3000\n",
        dir.path().display()
    );
    std::fs::write(&file, text).expect("the sentinel's file");
    let child = Command::new("redis-server")
        .arg(&file)
        .arg("--sentinel")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server starts as a sentinel; `cargo xtask setup` installs it");
    Sentinel { port, child }
}

fn ask(port: u16, words: &[&str]) -> String {
    crate::redis_server::command_at(port, words).unwrap_or_default()
}

#[allow(clippy::panic)]
fn wait(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        if started.elapsed() > PATIENCE {
            panic!("waited for {PATIENCE:?} in vain until {what}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
