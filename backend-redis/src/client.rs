//! One call: admitted by the breaker, bounded in time, tried again where that helps.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use larder_core::{StoreError, StoreErrorKind};
use redis::{Cmd, Pipeline, RedisError, Value};
use tokio::time::Instant;

use crate::cluster::{Apart, Cluster, Place, split};
use crate::config::{Config, Endpoint};
use crate::connect::CONNECT;
use crate::connection::Connection;
use crate::error::{Remedy, STORE, from_redis, remedy};
use crate::events::Listener;
use crate::gate::BreakerState;
use crate::meter::Meter;
use crate::server::{Call, Failed, Server};
use crate::slot;

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

    /// The slot of its keys, where it has keys.
    fn slot(&self) -> Option<u16> {
        None
    }

    fn send(
        &self,
        connection: &mut Connection,
    ) -> impl Future<Output = Result<Self::Reply, RedisError>> + Send;

    /// Sends it to those nodes of a Cluster that it is for.
    fn send_apart(
        &self,
        apart: &Apart<'_>,
    ) -> impl Future<Output = Result<Self::Reply, StoreError>> + Send
    where
        Self: Sized,
    {
        apart.send(Place::of(self.slot()), self)
    }
}

impl Request for Cmd {
    type Reply = Value;

    fn slot(&self) -> Option<u16> {
        slot::of_command(self)
    }

    async fn send(&self, connection: &mut Connection) -> Result<Value, RedisError> {
        connection.ask(self).await
    }

    async fn send_apart(&self, apart: &Apart<'_>) -> Result<Value, StoreError> {
        match split(self) {
            Some(split) => split.send(apart).await,
            None => apart.send(Place::of(self.slot()), self).await,
        }
    }
}

impl Request for Pipeline {
    /// One for each command; errors among them stay in their place.
    type Reply = Vec<Value>;

    async fn send(&self, connection: &mut Connection) -> Result<Vec<Value>, RedisError> {
        let replies = connection.send_pipeline(self).await?;
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

    /// In their order at each node, and in none among nodes.
    async fn send_apart(&self, apart: &Apart<'_>) -> Result<Vec<Value>, StoreError> {
        apart.each(self).await.into_iter().collect()
    }
}

/// Makes calls.
pub(crate) struct Client {
    pub(crate) servers: Servers,
    pub(crate) address: Arc<str>,
    pub(crate) timeout: Duration,
    pub(crate) max_retries: u32,
    pub(crate) meter: Meter,
}

/// What is behind a store.
pub(crate) enum Servers {
    One(Box<Server>),
    Cluster(Cluster),
}

impl Client {
    /// Reads certificates; connects to nothing.
    pub(crate) fn new(config: &Config, listener: Listener) -> Result<Self, StoreError> {
        let address = config.target.address();
        let servers = match &config.target.endpoint {
            Endpoint::Cluster(nodes) => Servers::Cluster(Cluster::new(config, nodes, listener)?),
            _ => Servers::One(Box::new(Server::new(config, listener)?)),
        };
        Ok(Self {
            servers,
            meter: Meter::new(&address),
            address,
            timeout: config.command_timeout,
            max_retries: config.max_retries,
        })
    }

    /// When a call that begins now has to end.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// A call that begins.
    pub(crate) fn begin(&self, operation: &'static str, deadline: Instant) -> Call {
        let tries = self.max_retries.saturating_add(1);
        Call { operation, deadline, tries, asking: false }
    }

    /// Sends `request`, up to `deadline`.
    pub(crate) async fn call<R: Request>(
        &self,
        operation: &'static str,
        request: &R,
        deadline: Instant,
    ) -> Result<R::Reply, StoreError> {
        match &self.servers {
            Servers::One(server) => {
                let mut call = self.begin(operation, deadline);
                match server.call(&mut call, request, std::future::pending()).await {
                    Ok(reply) => Ok(reply),
                    Err(Failed::For(error)) => Err(error),
                    Err(Failed::Elsewhere(error)) => {
                        Err(from_redis(operation, &self.address, &error))
                    }
                    Err(Failed::Left) => Err(timed_out(operation, &self.address, self.timeout)),
                }
            }
            // Boxed, so that a call of one server does not carry the room that many need.
            Servers::Cluster(cluster) => {
                let apart = Apart { client: self, cluster, operation, deadline };
                Box::pin(request.send_apart(&apart)).await
            }
        }
    }

    /// A call on a Cluster that chooses its nodes itself; nothing where there is one server.
    pub(crate) fn apart(&self, operation: &'static str, deadline: Instant) -> Option<Apart<'_>> {
        match &self.servers {
            Servers::One(_) => None,
            Servers::Cluster(cluster) => Some(Apart { client: self, cluster, operation, deadline }),
        }
    }

    /// Refuses a call that would be refused anyway; unlike the call it makes no probe.
    pub(crate) fn check(&self, operation: &'static str) -> Result<(), StoreError> {
        match &self.servers {
            Servers::One(server) => server.gate.check(operation),
            // Which node it goes to is not known here.
            Servers::Cluster(_) => Ok(()),
        }
    }

    /// What leads to the one server that a connection about `key` is to be made to.
    pub(crate) async fn config_for(
        &self,
        operation: &'static str,
        key: &str,
        config: &Config,
        deadline: Instant,
    ) -> Result<Config, StoreError> {
        match &self.servers {
            Servers::One(_) => Ok(config.clone()),
            Servers::Cluster(cluster) => {
                let mut call = self.begin(operation, deadline);
                cluster.config_for(slot::of_key(key.as_bytes()), &mut call).await
            }
        }
    }

    /// Such a connection could not be made, or broke: the server may be another by now.
    pub(crate) fn look_anew(&self, operation: &'static str) {
        if let Servers::Cluster(cluster) = &self.servers {
            // Where that cannot be, the next call says why.
            let _ = cluster.refresh(operation);
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        match &self.servers {
            Servers::One(server) => server.link.is_live(),
            Servers::Cluster(cluster) => cluster.is_live(),
        }
    }

    pub(crate) fn breaker(&self) -> BreakerState {
        match &self.servers {
            Servers::One(server) => server.gate.state(),
            Servers::Cluster(cluster) => cluster.breaker(),
        }
    }

    /// Waits for the first attempt to connect, and for no other.
    pub(crate) async fn first_connection(&self) -> Result<(), StoreError> {
        match &self.servers {
            Servers::One(server) => server.link.live(CONNECT, &mut 1).await.map(drop),
            Servers::Cluster(cluster) => cluster.first_connection().await,
        }
    }

    /// Drops the connections for good. Idempotent.
    pub(crate) async fn close(&self) {
        match &self.servers {
            Servers::One(server) => server.link.close().await,
            Servers::Cluster(cluster) => cluster.close().await,
        }
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
}

/// A call that had no answer in its time.
pub(crate) fn timed_out(operation: &'static str, address: &str, timeout: Duration) -> StoreError {
    let detail =
        format!("{address}: no answer within {timeout:?} (see RedisStoreBuilder::command_timeout)");
    StoreError::new(StoreErrorKind::Timeout, STORE, operation, detail)
}
