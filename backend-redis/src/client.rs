//! One call: admitted by the breaker, bounded in time, tried again where that helps.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use larder_core::{StoreError, StoreErrorKind};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, Value};
use tokio::time::{Instant, timeout_at};

use crate::backoff::Backoff;
use crate::error::{Remedy, STORE, from_redis, is_outage, remedy};
use crate::gate::Gate;
use crate::link::{Link, Live};
use crate::meter::Meter;

/// What a call sends.
pub(crate) trait Request: Sync {
    type Reply: Send;

    /// Whether it may be sent again where the answer to the first time was lost.
    ///
    /// All commands of the store may. Reads change nothing; `SETEX`, `PSETEX` and `UNLINK` leave
    /// the same state when they are repeated.
    fn can_be_repeated(&self) -> bool {
        true
    }

    fn send(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> impl Future<Output = Result<Self::Reply, RedisError>> + Send;
}

impl Request for Cmd {
    type Reply = Value;

    async fn send(&self, connection: &mut MultiplexedConnection) -> Result<Value, RedisError> {
        connection.send_packed_command(self).await?.extract_error()
    }
}

impl Request for Pipeline {
    /// One for each command; errors among them stay in their place.
    type Reply = Vec<Value>;

    async fn send(&self, connection: &mut MultiplexedConnection) -> Result<Vec<Value>, RedisError> {
        let replies = connection.send_packed_commands(self, 0, self.len()).await?;
        // What helps one of its commands helps the whole pipeline.
        for reply in &replies {
            if let Value::ServerError(error) = reply {
                let error = RedisError::from(error.clone());
                if remedy(&error) != Remedy::None {
                    return Err(error);
                }
            }
        }
        Ok(replies)
    }
}

/// Makes calls.
pub(crate) struct Client {
    pub(crate) link: Link,
    pub(crate) gate: Arc<Gate>,
    pub(crate) address: Arc<str>,
    pub(crate) timeout: Duration,
    pub(crate) max_retries: u32,
    pub(crate) backoff: Backoff,
    pub(crate) meter: Meter,
}

impl Client {
    /// When a call that begins now has to end.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Sends `request`, up to `deadline`.
    pub(crate) async fn call<R: Request>(
        &self,
        operation: &'static str,
        request: &R,
        deadline: Instant,
    ) -> Result<R::Reply, StoreError> {
        let ticket = self.gate.admit(operation)?;
        if ticket.is_probe() {
            self.link.hurry();
        }
        let mut at = None;
        let attempts = self.attempts(operation, request, &mut at);
        let result = match timeout_at(deadline, attempts).await {
            Ok(result) => result,
            Err(_) => Err(self.too_late(operation, at.as_ref())),
        };
        match &result {
            Err(error) if is_outage(error.kind()) => ticket.failed(error),
            // Refused by the server before it took any command: that says nothing about it.
            Err(_) if at.is_none() => drop(ticket),
            _ => ticket.answered(),
        }
        result
    }

    /// `at` is the connection that an answer is waited for on.
    async fn attempts<R: Request>(
        &self,
        operation: &'static str,
        request: &R,
        at: &mut Option<Live>,
    ) -> Result<R::Reply, StoreError> {
        let mut tries = self.max_retries.saturating_add(1);
        for attempt in 1.. {
            *at = None;
            let live = self.link.live(operation, &mut tries).await?;
            let live = at.insert(live);
            let error = match request.send(&mut live.connection).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let remedy = remedy(&error);
            if remedy == Remedy::Reconnect {
                self.link.broken(live);
            }
            tries = tries.saturating_sub(1);
            // An answer of the server's says that it did nothing.
            let is_lost = matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse);
            let is_final = remedy == Remedy::None || (is_lost && !request.can_be_repeated());
            if tries == 0 || is_final {
                return Err(from_redis(operation, &self.address, &error));
            }
            self.meter.retried();
            tracing::debug!(operation, attempt, %error, "trying again");
            if remedy == Remedy::Wait {
                tokio::time::sleep(self.backoff.draw(attempt)).await;
            }
        }
        Err(self.too_late(operation, None))
    }

    /// A reply that is a value, or nothing.
    pub(crate) fn bytes(
        &self,
        operation: &'static str,
        reply: Value,
    ) -> Result<Option<Bytes>, StoreError> {
        match reply {
            Value::BulkString(bytes) => Ok(Some(bytes.into())),
            Value::Nil => Ok(None),
            other => Err(self.unexpected(operation, &other)),
        }
    }

    /// A reply that is a number.
    pub(crate) fn integer(
        &self,
        operation: &'static str,
        reply: &Value,
    ) -> Result<i64, StoreError> {
        match reply {
            Value::Int(number) => Ok(*number),
            other => Err(self.unexpected(operation, other)),
        }
    }

    /// A reply that is an error, or of a kind that the command never gives.
    pub(crate) fn unexpected(&self, operation: &'static str, reply: &Value) -> StoreError {
        if let Value::ServerError(error) = reply {
            return from_redis(operation, &self.address, &error.clone().into());
        }
        let kind = match reply {
            Value::Nil => "nothing",
            Value::Int(_) => "a number",
            Value::BulkString(_) | Value::SimpleString(_) | Value::Okay => "a text",
            Value::Array(_) => "an array",
            _ => "something",
        };
        let detail = format!(
            "{}: answered with {kind} where that makes no sense; is it really Redis?",
            self.address
        );
        StoreError::new(StoreErrorKind::Other, STORE, operation, detail)
    }

    fn too_late(&self, operation: &'static str, at: Option<&Live>) -> StoreError {
        let Some(live) = at else { return self.link.down(operation, self.timeout) };
        self.link.suspect(live);
        timed_out(operation, &self.address, self.timeout)
    }
}

/// A call that had no answer in its time.
pub(crate) fn timed_out(operation: &'static str, address: &str, timeout: Duration) -> StoreError {
    let detail =
        format!("{address}: no answer within {timeout:?} (see RedisStoreBuilder::command_timeout)");
    StoreError::new(StoreErrorKind::Timeout, STORE, operation, detail)
}
