//! What the log says of the connection: an outage once, and its end.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::events::ConnectionEvent;

/// Writes events into the log. While Redis is down it is asked again and again; whoever reads the
/// log wants to know that, but not each time.
#[derive(Default)]
pub(crate) struct Log(Mutex<Option<Outage>>);

/// From the first failure until calls go through again.
struct Outage {
    since: Instant,
    failures: u64,
}

impl Log {
    pub(crate) fn note(&self, event: &ConnectionEvent) {
        let mut outage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            ConnectionEvent::Connected { address } => tracing::debug!(%address, "connected"),
            ConnectionEvent::Ready { address } => match outage.take() {
                None => tracing::info!(%address, "Redis is ready"),
                Some(Outage { since, failures }) => tracing::info!(
                    %address, outage = ?since.elapsed(), failures, "Redis is ready again"
                ),
            },
            ConnectionEvent::Error { error } => match &mut *outage {
                Some(outage) => {
                    outage.failures += 1;
                    tracing::debug!(%error, failures = outage.failures, "Redis is still down");
                }
                None => {
                    *outage = Some(Outage { since: Instant::now(), failures: 1 });
                    tracing::error!(
                        %error,
                        "Redis is down; calls fail until it is back, and what is tried meanwhile \
                         is logged at DEBUG"
                    );
                }
            },
            ConnectionEvent::Closed { address } if outage.is_some() => {
                tracing::debug!(%address, "Redis connection closed");
            }
            ConnectionEvent::Closed { address } => {
                tracing::info!(%address, "Redis connection closed");
            }
            ConnectionEvent::Reconnecting { address, attempt, delay } => {
                tracing::debug!(%address, attempt, ?delay, "reconnecting to Redis");
            }
        }
    }
}
