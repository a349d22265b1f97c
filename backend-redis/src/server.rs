//! One server: its connection, its breaker, and the tries that a request has there.

use std::sync::Arc;
use std::time::Duration;

use larder_core::{StoreError, StoreErrorKind};
use redis::{ErrorKind, RedisError, ServerErrorKind};
use tokio::time::{Instant, timeout_at};

use crate::backoff::Backoff;
use crate::client::{Request, timed_out};
use crate::config::Config;
use crate::connect::Connector;
use crate::error::{Remedy, from_redis, is_outage, remedy};
use crate::events::Listener;
use crate::gate::Gate;
use crate::link::{Link, Live};
use crate::meter::Meter;

pub(crate) struct Server {
    pub(crate) link: Link,
    pub(crate) gate: Arc<Gate>,
    pub(crate) address: Arc<str>,
    timeout: Duration,
    backoff: Backoff,
    meter: Meter,
}

/// One call, on its way to one server after the other.
pub(crate) struct Call {
    pub(crate) operation: &'static str,
    pub(crate) deadline: Instant,
    /// Tries that are left.
    pub(crate) tries: u32,
    /// Whether the server owns the slot not yet.
    pub(crate) asking: bool,
}

/// Why a server had no answer.
pub(crate) enum Failed {
    /// Nothing more is to be done.
    For(StoreError),
    /// Another node is to be asked.
    Elsewhere(RedisError),
    /// It was waited for, and is no longer the one to be asked.
    Left,
}

impl Server {
    /// Connects to nothing yet.
    pub(crate) fn new(config: &Config, listener: Listener) -> Result<Self, StoreError> {
        let connector = Connector::new(config)?;
        let address = config.target.address();
        let meter = Meter::new(&address);
        let gate = Arc::new(Gate::new(config.breaker, meter.clone()));
        let link = Link::new(connector, config, Arc::clone(&gate), listener, meter.clone());
        let (timeout, backoff) = (config.command_timeout, config.backoff);
        Ok(Self { link, gate, address, timeout, backoff, meter })
    }

    /// Sends `request`, up to the call's deadline. While there is no connection, `left` may end
    /// the waiting.
    pub(crate) async fn call<R: Request>(
        &self,
        call: &mut Call,
        request: &R,
        left: impl Future<Output = ()> + Send,
    ) -> Result<R::Reply, Failed> {
        let ticket = self.gate.admit(call.operation).map_err(Failed::For)?;
        if ticket.is_probe() {
            self.link.hurry();
        }
        let (operation, deadline) = (call.operation, call.deadline);
        let mut stage = Stage::Connecting;
        let attempts = self.attempts(call, request, left, &mut stage);
        let result = match timeout_at(deadline, attempts).await {
            Ok(result) => result,
            Err(_) => Err(Failed::For(self.too_late(operation, &stage))),
        };
        match &result {
            Err(Failed::Left) => drop(ticket),
            Err(Failed::For(error)) if is_outage(error.kind()) && !is_moving(error) => {
                ticket.failed(error);
            }
            // Refused by the server before it took any command: that says nothing about it.
            Err(Failed::For(_)) if matches!(stage, Stage::Connecting) => drop(ticket),
            _ => ticket.answered(),
        }
        result
    }

    async fn attempts<R: Request>(
        &self,
        call: &mut Call,
        request: &R,
        left: impl Future<Output = ()> + Send,
        stage: &mut Stage,
    ) -> Result<R::Reply, Failed> {
        let operation = call.operation;
        let mut left = std::pin::pin!(left);
        for attempt in 1.. {
            *stage = Stage::Connecting;
            let live = tokio::select! {
                biased;
                live = self.link.live(operation, &mut call.tries) => live.map_err(Failed::For)?,
                () = &mut left => return Err(Failed::Left),
            };
            *stage = Stage::Waiting(live.clone());
            let mut connection = live.connection.clone().asking(call.asking);
            let error = match request.send(&mut connection).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            if error.redirect_node().is_some() {
                return Err(Failed::Elsewhere(error));
            }
            let remedy = remedy(&error);
            if remedy == Remedy::Reconnect {
                self.link.broken(&live);
            }
            call.tries = call.tries.saturating_sub(1);
            // An answer of the server's says that it did nothing.
            let is_lost = matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse);
            let is_final = remedy == Remedy::None || (is_lost && !request.can_be_repeated());
            if call.tries == 0 || is_final {
                return Err(Failed::For(from_redis(operation, &self.address, &error)));
            }
            self.meter.retried();
            tracing::debug!(operation, attempt, %error, "trying again");
            if remedy == Remedy::Wait {
                *stage = Stage::Pausing(error);
                tokio::time::sleep(self.backoff.draw(attempt)).await;
            }
        }
        Err(Failed::For(self.too_late(operation, &Stage::Connecting)))
    }

    fn too_late(&self, operation: &'static str, stage: &Stage) -> StoreError {
        match stage {
            Stage::Connecting => self.link.down(operation, self.timeout),
            Stage::Waiting(live) => {
                self.link.suspect(live);
                timed_out(operation, &self.address, self.timeout)
            }
            Stage::Pausing(error) => from_redis(operation, &self.address, error),
        }
    }
}

/// What a call is at.
enum Stage {
    Connecting,
    /// For an answer, on that connection.
    Waiting(Live),
    /// Until it tries again, as the server has answered this.
    Pausing(RedisError),
}

/// Whether only the keys' slot is at fault, which is on its way to another node.
fn is_moving(error: &StoreError) -> bool {
    error.kind() == StoreErrorKind::Unavailable
        && std::error::Error::source(error)
            .and_then(|source| source.downcast_ref::<RedisError>())
            .is_some_and(|it| it.kind() == ErrorKind::Server(ServerErrorKind::TryAgain))
}
