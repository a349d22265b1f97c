//! What asks the server to stop: Ctrl-C, and SIGTERM where there is such a thing.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears every request to stop from the moment that it is made.
pub(crate) struct Stop {
    #[cfg(unix)]
    signals: [Signal; 2],
    #[cfg(windows)]
    ctrl_c: tokio::signal::windows::CtrlC,
}

impl Stop {
    #[cfg(unix)]
    pub(crate) fn listen() -> io::Result<Self> {
        let signals = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
        Ok(Self { signals })
    }

    #[cfg(windows)]
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { ctrl_c: tokio::signal::windows::ctrl_c()? })
    }

    /// Completes at the next request to stop.
    #[cfg(unix)]
    pub(crate) async fn asked(&mut self) {
        let [interrupt, terminate] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }

    /// Completes at the next request to stop.
    #[cfg(windows)]
    pub(crate) async fn asked(&mut self) {
        self.ctrl_c.recv().await;
    }
}
