//! A way to a server of this machine that can be cut, or fall silent.

#![allow(dead_code)] // No program of tests needs all of it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result};

/// Hands on what comes, both ways. Dropping it cuts all connections.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    way: Arc<Way>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Way {
    target: u16,
    ends: Mutex<Vec<TcpStream>>,
    is_silent: Mutex<bool>,
    speaks: Condvar,
    is_closed: AtomicBool,
}

impl Proxy {
    /// A way to whoever listens on a port of this machine.
    pub(crate) fn to(target: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
        let port = listener.local_addr()?.port();
        let way = Arc::new(Way {
            target,
            ends: Mutex::default(),
            is_silent: Mutex::default(),
            speaks: Condvar::new(),
            is_closed: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&way);
        let listener = std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.is_closed.load(Ordering::SeqCst) {
                    break;
                }
                // Where the server is not there, the client learns it as from the server.
                let _ = accepting.join(client);
            }
        });
        Ok(Self { port, way, listener: Some(listener) })
    }

    /// Where it listens, on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Breaks every connection; those that are made afterwards stand.
    pub(crate) fn cut(&self) {
        let mut ends = self.way.ends.lock().unwrap_or_else(PoisonError::into_inner);
        for end in ends.drain(..) {
            // It may have been closed already.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    /// Holds back everything, while all connections stand; or hands it on, late as it is.
    pub(crate) fn silence(&self, on: bool) {
        *self.way.is_silent.lock().unwrap_or_else(PoisonError::into_inner) = on;
        self.way.speaks.notify_all();
    }
}

impl Way {
    fn join(self: &Arc<Self>, client: TcpStream) -> Result<()> {
        let server = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.target)))?;
        for end in [&client, &server] {
            end.set_nodelay(true)?;
            self.ends.lock().unwrap_or_else(PoisonError::into_inner).push(end.try_clone()?);
        }
        for (from, to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
            let way = Arc::clone(self);
            std::thread::spawn(move || way.hand_on(from, to));
        }
        Ok(())
    }

    fn hand_on(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let silent = self.is_silent.lock().unwrap_or_else(PoisonError::into_inner);
            let silent = self.speaks.wait_while(silent, |is_silent| *is_silent);
            drop(silent);
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        for end in [from, to] {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.way.is_closed.store(true, Ordering::SeqCst);
        self.silence(false);
        self.cut();
        // Wakes who listens, who then sees that it is over.
        let _ = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}
