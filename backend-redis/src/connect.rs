//! Opening one connection: network, TLS, credentials, the ready check.

use std::sync::Arc;
use std::time::Duration;

use larder_core::{StoreError, StoreErrorKind};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, PushInfo,
    PushKind, RedisConnectionInfo, RedisError,
};
use tokio::sync::Notify;

use crate::bus::Inbox;
use crate::config::{Config, Endpoint, Secret, Target, TlsFiles, problem};
use crate::connection::Connection;
use crate::error::{Remedy, STORE, from_redis, remedy, said};
use crate::sentinel::Guide;

/// What a failed attempt to connect is called in errors.
pub(crate) const CONNECT: &str = "connect";

/// How often a server that loads its data is asked again.
const LOADING_POLL: Duration = Duration::from_millis(50);

/// How soon an idle connection is probed by the operating system, so that routers do not forget
/// it, and that a dead peer is noticed.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// How many requests may wait for the connection's writer before their callers wait themselves.
const WRITER_QUEUE: usize = 1_024;

/// Opens connections to one server.
pub(crate) struct Connector {
    way: Way,
    address: Arc<str>,
    client_name: Option<String>,
    timeout: Duration,
}

/// A connection that a server's answer came through.
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    /// Told when the connection is lost.
    pub(crate) lost: Arc<Notify>,
}

impl Connector {
    /// Reads the certificates; connects to nothing.
    pub(crate) fn new(config: &Config) -> Result<Self, StoreError> {
        Ok(Self {
            way: match &config.target.endpoint {
                Endpoint::Sentinel(sentinels) => {
                    Way::Guided(Box::new(Guide::new(config, sentinels)?))
                }
                _ => Way::Direct(Box::new(client(&config.target, &config.tls_files)?)),
            },
            address: config.target.address(),
            client_name: config.client_name.clone(),
            timeout: config.connect_timeout,
        })
    }

    /// One attempt; `connected` is called between the handshake and the ready check.
    pub(crate) async fn open(&self, connected: impl FnOnce()) -> Result<Opened, StoreError> {
        self.attempt(connected, None).await
    }

    /// One attempt; what the server says unasked goes into `inbox`, and that the connection is lost.
    pub(crate) async fn open_hearing(&self, inbox: &Arc<Inbox>) -> Result<Connection, StoreError> {
        self.attempt(|| {}, Some(inbox)).await.map(|opened| opened.connection)
    }

    async fn attempt(
        &self,
        connected: impl FnOnce(),
        inbox: Option<&Arc<Inbox>>,
    ) -> Result<Opened, StoreError> {
        let mut stage = Stage::Network;
        let attempt = async {
            let lost = Arc::new(Notify::new());
            let mut connection = match &self.way {
                Way::Direct(client) => {
                    connect(client, &self.address, &settings(&lost, inbox)).await?
                }
                Way::Guided(guide) => {
                    guide.to_master(&self.address, &settings(&lost, inbox)).await?
                }
            };
            stage = Stage::Ready(None);
            connected();
            self.introduce(&mut connection).await?;
            while let Err(error) = ping(&mut connection).await {
                match remedy(&error) {
                    Remedy::Wait => stage = Stage::Ready(Some(error)),
                    // It answers; whether this user may ask is another matter.
                    Remedy::None if error.code() == Some("NOPERM") => break,
                    _ => return Err(from_redis(CONNECT, &self.address, &error)),
                }
                tokio::time::sleep(LOADING_POLL).await;
            }
            Ok(Opened { connection, lost })
        };
        match tokio::time::timeout(self.timeout, attempt).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.too_late(&stage)),
        }
    }

    /// Tells the server the connection's name. A server that does not take it is used all the
    /// same.
    async fn introduce(&self, connection: &mut Connection) -> Result<(), StoreError> {
        let Some(name) = &self.client_name else { return Ok(()) };
        let mut command = redis::cmd("CLIENT");
        command.arg("SETNAME").arg(name);
        match connection.ask(&command).await {
            Err(error) if remedy(&error) == Remedy::Reconnect => {
                Err(from_redis(CONNECT, &self.address, &error))
            }
            Err(error) => {
                tracing::warn!(%error, "Redis did not take the connection's name");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    fn too_late(&self, stage: &Stage) -> StoreError {
        let (address, timeout) = (&self.address, self.timeout);
        let (what, source) = match stage {
            Stage::Network => ("no connection".into(), None),
            Stage::Ready(None) => ("no answer to PING".into(), None),
            Stage::Ready(Some(error)) => {
                (format!("not ready ({})", said(error)), Some(error.clone()))
            }
        };
        let detail = format!(
            "{address}: {what} within {timeout:?} (see RedisStoreBuilder::connect_timeout)"
        );
        let error = StoreError::new(StoreErrorKind::Unavailable, STORE, CONNECT, detail);
        match source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }
}

/// How far an attempt came.
enum Stage {
    Network,
    Ready(Option<RedisError>),
}

/// Whether the server answers on this connection.
pub(crate) async fn ping(connection: &mut Connection) -> Result<(), RedisError> {
    connection.ask(&redis::cmd("PING")).await.map(drop)
}

pub(crate) async fn connect(
    client: &Client,
    address: &str,
    settings: &AsyncConnectionConfig,
) -> Result<Connection, StoreError> {
    let multiplexed = client.get_multiplexed_async_connection_with_config(settings).await;
    multiplexed.map(Connection::new).map_err(|error| from_redis(CONNECT, address, &error))
}

/// How a server is found.
enum Way {
    Direct(Box<Client>),
    /// By what sentinels say.
    Guided(Box<Guide>),
}

/// RESP3, because the library tells of a lost connection at once only there, and because a connection
/// that listens can be asked whether it is alive.
fn settings(lost: &Arc<Notify>, inbox: Option<&Arc<Inbox>>) -> AsyncConnectionConfig {
    let (lost, inbox) = (Arc::clone(lost), inbox.map(Arc::clone));
    AsyncConnectionConfig::new()
        // Both are bounded by the callers, who know how much of their time is left.
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(WRITER_QUEUE)
        .set_push_sender(move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                lost.notify_one();
            }
            if let Some(inbox) = &inbox {
                inbox.push(push);
            }
            Ok::<(), std::convert::Infallible>(())
        })
}

/// A client for the one server of `target`.
pub(crate) fn client(target: &Target, files: &TlsFiles) -> Result<Client, StoreError> {
    let mut login = RedisConnectionInfo::default()
        .set_db(i64::from(target.database))
        .set_protocol(ProtocolVersion::RESP3)
        .set_lib_name("larder", env!("CARGO_PKG_VERSION"));
    if let Some(user) = &target.user {
        login = login.set_username(user);
    }
    if let Some(password) = target.password.as_ref().map(Secret::expose) {
        login = login.set_password(password);
    }
    let address = match &target.endpoint {
        Endpoint::Unix(path) => ConnectionAddr::Unix(path.clone()),
        Endpoint::Tcp { host, port } if target.tls => ConnectionAddr::TcpTls {
            host: host.clone(),
            port: *port,
            insecure: false,
            tls_params: None,
        },
        Endpoint::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
        Endpoint::Cluster(_) | Endpoint::Sentinel(_) => {
            return Err(problem("several servers are named where one is needed"));
        }
    };
    // Requests are small and written whole: Nagle's algorithm would only delay them.
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(TcpKeepalive::new().with_time(KEEPALIVE));
    let unusable = |error: RedisError| problem(error.to_string());
    let info = address.into_connection_info().map_err(unusable)?;
    let info = info.set_redis_settings(login).set_tcp_settings(tcp);
    #[cfg(feature = "tls")]
    if target.tls {
        return crate::tls::client(info, files);
    }
    #[cfg(not(feature = "tls"))]
    let _ = files;
    Client::open(info).map_err(unusable)
}
