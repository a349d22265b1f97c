//! A redis-server for the examples and the README: on a free port, in memory, ended with its
//! owner.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// Its name, and that of the package that brings it.
pub(crate) const PROGRAM: &str = "redis-server";

/// A running redis-server.
pub(crate) struct Server {
    process: Child,
    port: u16,
    _dir: TempDir,
}

impl Server {
    /// Starts one and waits until it answers.
    pub(crate) fn start() -> Result<Self> {
        // Another program may take the port between the question and the start.
        for _ in 0..3 {
            if let Some(server) = Self::try_start()? {
                return Ok(server);
            }
        }
        bail!("redis-server ended at once on three ports in a row")
    }

    /// The address, as a client takes it.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn try_start() -> Result<Option<Self>> {
        let dir = TempDir::new()?;
        let port = free_port()?;
        let process = Command::new(PROGRAM)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start redis-server")?;
        let mut server = Self { process, port, _dir: dir };
        let start = Instant::now();
        while !server.answers() {
            if server.process.try_wait()?.is_some() {
                return Ok(None);
            }
            if start.elapsed() > Duration::from_secs(10) {
                bail!("redis-server on port {port} does not answer");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Some(server))
    }

    fn answers(&self) -> bool {
        let ask = || -> std::io::Result<bool> {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
            let mut connection = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
            connection.set_read_timeout(Some(Duration::from_secs(1)))?;
            connection.write_all(b"PING\r\n")?;
            let mut answer = [0; 7];
            connection.read_exact(&mut answer)?;
            Ok(&answer == b"+PONG\r\n")
        };
        ask().unwrap_or(false)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port of the loopback address that nobody listens on.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::Server;

    #[test]
    fn a_server_answers_and_ends_with_its_owner() {
        let server = Server::start().unwrap();
        assert!(server.answers());
        let port = server.port;
        drop(server);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}
