//! What a store is set to, checked.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use larder_core::{StoreError, StoreErrorKind};

use crate::backoff::Backoff;
use crate::breaker::BreakerPolicy;
use crate::error::STORE;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where the server listens, or who knows where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Tcp {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
    /// Some nodes of a Cluster.
    Cluster(Vec<Node>),
    Sentinel(Sentinels),
}

/// One of several servers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Node {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl From<Node> for Endpoint {
    fn from(Node { host, port }: Node) -> Self {
        Self::Tcp { host, port }
    }
}

impl Node {
    /// Reads `host`, `host:port`, `[::1]` or `[::1]:port`.
    pub(crate) fn parse(text: &str, default_port: u16) -> Result<Self, StoreError> {
        if text.contains("://") || text.contains('@') {
            return Err(problem(
                "a node looks like a URL; name nodes as host:port, and set user, password and TLS \
                 by RedisStoreBuilder's methods, or give everything as one URL",
            ));
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((host, port)) => (host, port),
                None => return Err(problem(format!("the node {text:?} has no closing bracket"))),
            },
            // More than one colon is an address of IPv6.
            None if text.matches(':').count() > 1 => (text, ""),
            None => text.find(':').map_or((text, ""), |colon| text.split_at(colon)),
        };
        let port = match port.strip_prefix(':') {
            None => default_port,
            Some(port) => port.parse().map_err(|_| {
                problem(format!("the node {text:?}: the port is not a number up to 65535"))
            })?,
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

/// Who tells which server is the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sentinels {
    pub(crate) service: String,
    pub(crate) nodes: Vec<Node>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
}

/// Which server, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    pub(crate) tls: bool,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) database: u32,
}

/// Nobody waits or keeps a cache for a century, and neither an `Instant` nor Redis' expiries can
/// be moved on by [`Duration::MAX`].
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Redis' own port.
pub(crate) const DEFAULT_PORT: u16 = 6379;

/// That of its sentinels.
pub(crate) const SENTINEL_PORT: u16 = 26_379;

impl Default for Target {
    /// `redis://127.0.0.1:6379/0`, without a user, as in the reference.
    fn default() -> Self {
        Self {
            endpoint: Endpoint::Tcp { host: String::from("127.0.0.1"), port: DEFAULT_PORT },
            tls: false,
            user: None,
            password: None,
            database: 0,
        }
    }
}

impl Target {
    /// The target as a URL, without user and password.
    pub(crate) fn address(&self) -> Arc<str> {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let database = self.database;
        let listed = |nodes: &[Node]| -> (String, String) {
            let mut nodes = nodes.iter().map(Node::to_string);
            let first = nodes.next().unwrap_or_default();
            (first, nodes.map(|node| format!("node={node}")).collect::<Vec<_>>().join("&"))
        };
        match &self.endpoint {
            Endpoint::Tcp { host, port } if host.contains(':') => {
                format!("{scheme}://[{host}]:{port}/{database}")
            }
            Endpoint::Tcp { host, port } => format!("{scheme}://{host}:{port}/{database}"),
            Endpoint::Unix(path) => format!("unix://{}?db={database}", path.display()),
            Endpoint::Cluster(nodes) => {
                let (first, others) = listed(nodes);
                let mark = if others.is_empty() { "" } else { "?" };
                format!("{scheme}-cluster://{first}{mark}{others}")
            }
            Endpoint::Sentinel(Sentinels { service, nodes, .. }) => {
                let (first, others) = listed(nodes);
                let mark = if others.is_empty() { "" } else { "&" };
                let service = format!("sentinelServiceName={service}");
                format!("{scheme}-sentinel://{first}/{database}?{others}{mark}{service}")
            }
        }
        .into()
    }
}

/// Whom to trust and who to be under TLS, beyond the public authorities.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsFiles {
    pub(crate) authority: Option<PathBuf>,
    /// Certificate chain and key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    pub(crate) fn is_empty(&self) -> bool {
        self.authority.is_none() && self.identity.is_none()
    }
}

/// Everything that a store is set to.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) target: Target,
    pub(crate) tls_files: TlsFiles,
    pub(crate) client_name: Option<String>,
    pub(crate) connect_timeout: Duration,
    pub(crate) command_timeout: Duration,
    pub(crate) max_retries: u32,
    pub(crate) backoff: Backoff,
    pub(crate) breaker: Option<BreakerPolicy>,
    pub(crate) max_key_bytes: usize,
    pub(crate) max_value_bytes: usize,
    pub(crate) max_outstanding: usize,
    pub(crate) gather: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            target: Target::default(),
            tls_files: TlsFiles::default(),
            client_name: None,
            connect_timeout: Duration::from_secs(2),
            command_timeout: Duration::from_secs(1),
            max_retries: 3,
            backoff: Backoff::default(),
            breaker: Some(BreakerPolicy::default()),
            max_key_bytes: 4 << 10,
            max_value_bytes: 64 << 20,
            max_outstanding: 65_536,
            gather: true,
        }
    }
}

impl Config {
    /// The first setting that cannot work.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        for (setting, duration) in
            [("connect_timeout", self.connect_timeout), ("command_timeout", self.command_timeout)]
        {
            if duration.is_zero() {
                return Err(problem(format!("{setting} is zero; no call could succeed")));
            }
        }
        for (setting, limit, most) in [
            ("max_key_bytes", self.max_key_bytes, REDIS_STRING_LIMIT),
            ("max_value_bytes", self.max_value_bytes, REDIS_STRING_LIMIT),
            ("max_outstanding", self.max_outstanding, usize::MAX),
        ] {
            if limit == 0 {
                return Err(problem(format!("{setting} is 0; no call could succeed")));
            }
            if limit > most {
                return Err(problem(format!("{setting} is {limit}; Redis takes at most {most}")));
            }
        }
        if self.breaker.is_some_and(|breaker| breaker.failures == 0) {
            return Err(problem(
                "circuit_breaker: opening after 0 failures refuses every call; give at least 1, \
                 or use without_circuit_breaker",
            ));
        }
        if let Some(name) = &self.client_name
            && !name.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(problem(format!(
                "client_name {name:?}: Redis takes printable ASCII characters without spaces only"
            )));
        }
        self.check_target()
    }

    fn check_target(&self) -> Result<(), StoreError> {
        let target = &self.target;
        if target.user.is_some() && target.password.is_none() {
            return Err(problem("there is a user but no password"));
        }
        match &target.endpoint {
            Endpoint::Tcp { host, .. } if host.is_empty() => Err(problem("the host is empty")),
            Endpoint::Tcp { host, .. } if host.contains("://") => {
                Err(problem("the host looks like a URL; use RedisStoreBuilder::url for it"))
            }
            Endpoint::Tcp { port: 0, .. } => Err(problem("the port is 0")),
            Endpoint::Cluster(_) if target.database != 0 => Err(problem(format!(
                "the database is {}, and a Redis Cluster has database 0 only; tell services apart \
                 by namespaces",
                target.database
            ))),
            Endpoint::Cluster(nodes) | Endpoint::Sentinel(Sentinels { nodes, .. })
                if nodes.is_empty() =>
            {
                Err(problem("no node is named; name at least one, better three"))
            }
            Endpoint::Cluster(nodes) | Endpoint::Sentinel(Sentinels { nodes, .. })
                if nodes.iter().any(|node| node.host.is_empty() || node.port == 0) =>
            {
                Err(problem("a node has no host, or the port 0; write host:port"))
            }
            Endpoint::Sentinel(Sentinels { service, .. }) if service.is_empty() => Err(problem(
                "no service is named: the name by which the sentinels know the master, often \
                 mymaster",
            )),
            Endpoint::Sentinel(Sentinels { user: Some(_), password: None, .. }) => {
                Err(problem("there is a user of the sentinels but no password"))
            }
            Endpoint::Unix(_) if target.tls => {
                Err(problem("TLS over a unix socket is not supported; use one or the other"))
            }
            _ if target.tls && cfg!(not(feature = "tls")) => {
                Err(problem("TLS needs larder-redis' feature `tls`, which this build left out"))
            }
            _ if !target.tls && !self.tls_files.is_empty() => Err(problem(
                "certificates are given, but TLS is off; use rediss:// or RedisStoreBuilder::tls",
            )),
            _ => Ok(()),
        }
    }
}

/// Redis' `proto-max-bulk-len`.
const REDIS_STRING_LIMIT: usize = 512 << 20;

pub(crate) fn problem(detail: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Config, STORE, "configuration", detail)
}
