//! Sentinels, and the master they tell of.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder_core::{StoreError, StoreErrorKind};
use redis::{AsyncConnectionConfig, Client, Cmd, Value};

use crate::config::{Config, Endpoint, Node, Sentinels, Target, TlsFiles};
use crate::connect::{CONNECT, client, connect};
use crate::connection::Connection;
use crate::error::{Remedy, STORE, remedy, said};

/// Finds the master anew for every connection.
///
/// After a fail-over the connection to the old master breaks, or it answers `READONLY`, or nothing:
/// each leads to a new connection, and so to the sentinels. Source:
/// <https://redis.io/docs/latest/develop/reference/sentinel-clients/>.
pub(crate) struct Guide {
    service: String,
    sentinels: Vec<(String, Client)>,
    /// The one that answered last, which is asked first.
    first: AtomicUsize,
    /// How long one has for its answer.
    patience: Duration,
    /// The master's, but for its address.
    target: Target,
    tls_files: TlsFiles,
}

/// What one sentinel says.
enum Said {
    Master(Node),
    /// It watches no service of that name.
    Unknown,
}

impl Guide {
    pub(crate) fn new(config: &Config, sentinels: &Sentinels) -> Result<Self, StoreError> {
        let clients = sentinels.nodes.iter().map(|node| {
            let target = Target {
                endpoint: Endpoint::from(node.clone()),
                tls: config.target.tls,
                user: sentinels.user.clone(),
                password: sentinels.password.clone(),
                database: 0,
            };
            Ok((node.to_string(), client(&target, &config.tls_files)?))
        });
        Ok(Self {
            service: sentinels.service.clone(),
            sentinels: clients.collect::<Result<_, StoreError>>()?,
            first: AtomicUsize::new(0),
            // One that is mute leaves time for the others, and for the master.
            patience: config.connect_timeout / (sentinels.nodes.len().max(1) as u32 + 1),
            target: config.target.clone(),
            tls_files: config.tls_files.clone(),
        })
    }

    /// A connection to the server that is the master now.
    pub(crate) async fn to_master(
        &self,
        address: &str,
        settings: &AsyncConnectionConfig,
    ) -> Result<Connection, StoreError> {
        let master = self.master(address).await?;
        tracing::debug!(%address, %master, "the sentinels named a master");
        let name = format!("{address}: {master}");
        let target = Target { endpoint: Endpoint::from(master), ..self.target.clone() };
        let client = client(&target, &self.tls_files)?;
        let mut connection = connect(&client, &name, settings).await?;
        // What a sentinel says may be out of date for a while.
        match connection.ask(&redis::cmd("ROLE")).await {
            Ok(Value::Array(role)) if !is_master(&role) => {
                let detail = format!(
                    "{name} is a replica, though the sentinels say that it is the master of {:?}; \
                     a fail-over may be under way",
                    self.service
                );
                Err(StoreError::new(StoreErrorKind::Unavailable, STORE, CONNECT, detail))
            }
            Err(error) if remedy(&error) == Remedy::Reconnect => {
                Err(crate::error::from_redis(CONNECT, &name, &error))
            }
            // This user may not ask; what it may do is seen with the first call.
            Ok(_) | Err(_) => Ok(connection),
        }
    }

    async fn master(&self, address: &str) -> Result<Node, StoreError> {
        let first = self.first.load(Ordering::Relaxed);
        let count = self.sentinels.len();
        let (mut is_unknown, mut failures) = (false, Vec::new());
        for index in (0..count).map(|index| (first + index) % count.max(1)) {
            let Some((name, sentinel)) = self.sentinels.get(index) else { continue };
            match tokio::time::timeout(self.patience, self.ask(name, sentinel)).await {
                Ok(Ok(Said::Master(master))) => {
                    self.first.store(index, Ordering::Relaxed);
                    return Ok(master);
                }
                Ok(Ok(Said::Unknown)) => is_unknown = true,
                Ok(Err(why)) => failures.push(why),
                Err(_) => failures.push(format!("{name}: no answer within {:?}", self.patience)),
            }
        }
        let service = &self.service;
        let (kind, detail) = if is_unknown && failures.is_empty() {
            let detail = format!(
                "{address}: the sentinels know no master named {service:?}; it is the name in \
                 their `sentinel monitor`"
            );
            (StoreErrorKind::Config, detail)
        } else {
            let failures = failures.join("; ");
            let detail =
                format!("{address}: no sentinel names the master of {service:?}: {failures}");
            (StoreErrorKind::Unavailable, detail)
        };
        Err(StoreError::new(kind, STORE, CONNECT, detail))
    }

    async fn ask(&self, name: &str, sentinel: &Client) -> Result<Said, String> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(Some(self.patience));
        let told = |error: &redis::RedisError| format!("{name}: {}", said(error));
        let connection = sentinel.get_multiplexed_async_connection_with_config(&settings).await;
        let mut connection = Connection::new(connection.map_err(|error| told(&error))?);
        let mut command = Cmd::new();
        command.arg("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.service);
        let reply = connection.ask(&command).await.map_err(|error| told(&error))?;
        match &reply {
            Value::Nil => Ok(Said::Unknown),
            Value::Array(words) => match words.as_slice() {
                [Value::BulkString(host), Value::BulkString(port)] => {
                    let host = String::from_utf8_lossy(host).into_owned();
                    let port = String::from_utf8_lossy(port).parse();
                    let port = port.map_err(|_| format!("{name}: its answer has no port"))?;
                    Ok(Said::Master(Node { host, port }))
                }
                _ => Err(format!("{name}: its answer is not an address")),
            },
            _ => Err(format!("{name}: its answer is not an address; is it a sentinel?")),
        }
    }
}

fn is_master(role: &[Value]) -> bool {
    matches!(role.first(), Some(Value::BulkString(name)) if name == b"master")
        || matches!(role.first(), Some(Value::SimpleString(name)) if name == "master")
}
