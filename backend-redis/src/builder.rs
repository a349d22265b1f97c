//! Setting up a store.

use std::path::PathBuf;
use std::time::Duration;

use larder_core::StoreError;

use crate::backoff::Backoff;
use crate::breaker::BreakerPolicy;
use crate::config::{
    Config, DEFAULT_PORT, Endpoint, LONGEST, Node, SENTINEL_PORT, Secret, Sentinels, problem,
};
use crate::events::{ConnectionEvent, Listener};
use crate::store::RedisStore;
use crate::url;

/// Sets up a [`RedisStore`].
///
/// | setting | default |
/// | --- | --- |
/// | [`url`](Self::url), or [`host`](Self::host), [`port`](Self::port), … | `redis://127.0.0.1:6379/0` |
/// | [`connect_timeout`](Self::connect_timeout) | 2 s |
/// | [`command_timeout`](Self::command_timeout) | 1 s |
/// | [`max_retries`](Self::max_retries) | 3 for each call |
/// | [`backoff`](Self::backoff) | min(attempt × 50 ms, 2 s) |
/// | [`jitter`](Self::jitter) | on |
/// | [`circuit_breaker`](Self::circuit_breaker) | opens after 5 failures in a row, for 1 s |
/// | [`max_key_bytes`](Self::max_key_bytes) | 4 KiB |
/// | [`max_value_bytes`](Self::max_value_bytes) | 64 MiB |
/// | [`max_outstanding`](Self::max_outstanding) | 65,536 calls |
/// | [`gather_reads`](Self::gather_reads) | on |
///
/// A setting that cannot work is reported by [`connect`](Self::connect) and [`lazy`](Self::lazy),
/// as [`StoreErrorKind::Config`](larder_core::StoreErrorKind::Config).
///
/// ```no_run
/// use larder_core::{millis, seconds};
/// use larder_redis::RedisStore;
///
/// # async fn run() -> Result<(), larder_core::StoreError> {
/// let store = RedisStore::builder()
///     .host("cache.internal")
///     .user("shop")
///     .password("…")
///     .database(2)
///     .tls(true)
///     .client_name("shop-api")
///     .command_timeout(millis(250))
///     .circuit_breaker(10, seconds(2))
///     .connect()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "call connect or lazy to get a store"]
pub struct RedisStoreBuilder {
    config: Config,
    listener: Listener,
    problem: Option<StoreError>,
}

impl RedisStoreBuilder {
    pub(crate) fn new() -> Self {
        Self { config: Config::default(), listener: Listener::default(), problem: None }
    }

    /// Sets where to connect and as whom, by a URL: `redis://[[user]:password@]host[:port][/db]`,
    /// `rediss://…` for TLS, `unix:///path[?db=1&user=…&pass=…]` for a unix socket; `valkey`,
    /// `valkeys`, `redis+unix` and `valkey+unix` are schemes too.
    ///
    /// A Cluster is `redis-cluster://[[user]:password@]host[:port][?node=host:port&…]`, and a master
    /// behind sentinels `redis-sentinel://[[user]:password@]host[:port][/db]?node=host:port&…`
    /// `&sentinelServiceName=mymaster`, with `sentinelUsername` and `sentinelPassword` where the
    /// sentinels want them; over TLS `rediss-cluster` and `rediss-sentinel`, and each with `valkey`
    /// for `redis`.
    ///
    /// It replaces what was set before; what is set after it replaces its parts. The URL is kept
    /// nowhere, as it may hold a password.
    ///
    /// ```
    /// use larder_redis::RedisStore;
    ///
    /// let url = "redis://cache.internal:port/";
    /// let error = RedisStore::builder().url(url).lazy().unwrap_err();
    /// assert!(error.to_string().contains("invalid port number"));
    /// ```
    pub fn url(mut self, url: impl AsRef<str>) -> Self {
        match url::parse(url.as_ref()) {
            Ok(target) => self.config.target = target,
            Err(error) => self.problem = Some(error),
        }
        self
    }

    /// Sets the host: a name, which is resolved anew for every connection, or an IP address.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        let port = match self.config.target.endpoint {
            Endpoint::Tcp { port, .. } => port,
            _ => DEFAULT_PORT,
        };
        self.config.target.endpoint = Endpoint::Tcp { host: host.into(), port };
        self
    }

    /// Sets the port.
    pub fn port(mut self, port: u16) -> Self {
        match &mut self.config.target.endpoint {
            Endpoint::Tcp { port: old, .. } => *old = port,
            Endpoint::Unix(_) => self.problem = Some(problem("a unix socket has no port")),
            Endpoint::Cluster(_) | Endpoint::Sentinel(_) => {
                self.problem =
                    Some(problem("of several nodes each has a port of its own; write host:port"));
            }
        }
        self
    }

    /// Connects to a Redis Cluster, of which these are some nodes: `host:port`, or `host` alone for
    /// port 6379. The others are learnt from whichever of them answers first. User, password, TLS
    /// and all other settings hold for every node.
    ///
    /// See [`RedisStore`](RedisStore#on-a-cluster) for what is different there.
    ///
    /// ```
    /// use larder_redis::RedisStore;
    ///
    /// # fn run() -> Result<(), larder_core::StoreError> {
    /// let store = RedisStore::builder().cluster(["10.0.0.1:7000", "10.0.0.2:7000"]).lazy()?;
    /// assert_eq!(store.address(), "redis-cluster://10.0.0.1:7000?node=10.0.0.2:7000");
    /// # Ok(()) }
    /// # run().unwrap();
    /// ```
    pub fn cluster<I: IntoIterator<Item = S>, S: AsRef<str>>(mut self, nodes: I) -> Self {
        match parse_nodes(nodes, DEFAULT_PORT) {
            Ok(nodes) => self.config.target.endpoint = Endpoint::Cluster(nodes),
            Err(error) => self.problem = Some(error),
        }
        self
    }

    /// Connects to the master that these sentinels name for `service`: the name in their
    /// `sentinel monitor`. They are `host:port`, or `host` alone for port 26379.
    ///
    /// [`user`](Self::user) and [`password`](Self::password) are those of the master; TLS is on for
    /// both, or off.
    ///
    /// See [`RedisStore`](RedisStore#behind-sentinels) for what is different there.
    ///
    /// ```
    /// use larder_redis::RedisStore;
    ///
    /// # fn run() -> Result<(), larder_core::StoreError> {
    /// let store = RedisStore::builder()
    ///     .sentinel("mymaster", ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
    ///     .database(2)
    ///     .lazy()?;
    /// assert!(store.address().starts_with("redis-sentinel://10.0.0.1:26379/2?"));
    /// # Ok(()) }
    /// # run().unwrap();
    /// ```
    pub fn sentinel<I: IntoIterator<Item = S>, S: AsRef<str>>(
        mut self,
        service: impl Into<String>,
        sentinels: I,
    ) -> Self {
        match parse_nodes(sentinels, SENTINEL_PORT) {
            Ok(nodes) => {
                let (user, password) = (None, None);
                let sentinels = Sentinels { service: service.into(), nodes, user, password };
                self.config.target.endpoint = Endpoint::Sentinel(sentinels);
            }
            Err(error) => self.problem = Some(error),
        }
        self
    }

    /// Sets the user and the password that the sentinels themselves want, if they do; an empty user
    /// is `default`. To be called after [`sentinel`](Self::sentinel).
    pub fn sentinel_login(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        match &mut self.config.target.endpoint {
            Endpoint::Sentinel(sentinels) => {
                sentinels.user = Some(user.into()).filter(|user| !user.is_empty());
                sentinels.password = Some(Secret::new(password));
            }
            _ => {
                self.problem =
                    Some(problem("there is a login of sentinels, but no sentinel is named"));
            }
        }
        self
    }

    /// Connects to a unix socket instead of a host and port.
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.target.endpoint = Endpoint::Unix(path.into());
        self
    }

    /// Sets the user (Redis' `ACL`); without one the password is that of `default`.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.config.target.user = Some(user.into());
        self
    }

    /// Sets the password. It is never printed: not by `Debug`, errors or logs.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.config.target.password = Some(Secret::new(password));
        self
    }

    /// Sets the number of the database (Redis' `SELECT`).
    pub fn database(mut self, database: u32) -> Self {
        self.config.target.database = database;
        self
    }

    /// Turns TLS on or off. The server's certificate is always checked: against Mozilla's
    /// authorities, or those of [`tls_ca_file`](Self::tls_ca_file).
    pub fn tls(mut self, on: bool) -> Self {
        self.config.target.tls = on;
        self
    }

    /// Trusts the authorities of this PEM file, and no others.
    pub fn tls_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.tls_files.authority = Some(path.into());
        self
    }

    /// Shows the server this certificate (a PEM file, with its chain) and proves it with this key
    /// (a PEM file), for servers with `tls-auth-clients`.
    pub fn tls_identity_files(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.config.tls_files.identity = Some((certificate.into(), key.into()));
        self
    }

    /// Sets the name under which `CLIENT LIST` shows the connection: printable ASCII without
    /// spaces.
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.config.client_name = Some(name.into());
        self
    }

    /// Sets how long one attempt to connect may take, from resolving the name to the server's
    /// being ready.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = timeout;
        self
    }

    /// Sets how long one call may take: waiting for a connection, all retries and the many-forms'
    /// every chunk included.
    pub fn command_timeout(mut self, timeout: Duration) -> Self {
        self.config.command_timeout = timeout.min(LONGEST);
        self
    }

    /// Sets how often a call is tried again after a failure of the connection, within the
    /// [`command_timeout`](Self::command_timeout).
    ///
    /// Every command that the store sends may be sent twice: reads change nothing, and `SETEX` and
    /// `UNLINK` leave the same state when repeated. What a retry can change is the answer of
    /// [`remove`](larder_core::Store::remove): `false`, when the first attempt removed the key and
    /// only its answer was lost. What [rate limits](crate::RedisRateLimits) count is not sent
    /// twice.
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.config.max_retries = retries;
        self
    }

    /// Sets the wait before attempt n: min(n × `step`, `cap`).
    pub fn backoff(mut self, step: Duration, cap: Duration) -> Self {
        self.config.backoff = Backoff { step, cap, ..self.config.backoff };
        self
    }

    /// Turns jitter on or off: with it a wait is between half of what
    /// [`backoff`](Self::backoff) says and all of it.
    pub fn jitter(mut self, on: bool) -> Self {
        self.config.backoff.jitter = on;
        self
    }

    /// Sets the circuit breaker: after that many calls in a row that found the server down or mute
    /// it opens, and calls fail at once with
    /// [`StoreErrorKind::CircuitOpen`](larder_core::StoreErrorKind::CircuitOpen). After `open_for`,
    /// or when a connection stands again, one call is let through as a probe; its success closes
    /// the breaker.
    pub fn circuit_breaker(mut self, failures: u32, open_for: Duration) -> Self {
        self.config.breaker = Some(BreakerPolicy { failures, open_for: open_for.min(LONGEST) });
        self
    }

    /// Turns the circuit breaker off: every call waits for Redis, up to the
    /// [`command_timeout`](Self::command_timeout).
    pub fn without_circuit_breaker(mut self) -> Self {
        self.config.breaker = None;
        self
    }

    /// Sets the longest complete key, in bytes; at most 512 MiB, Redis' own limit.
    pub fn max_key_bytes(mut self, bytes: usize) -> Self {
        self.config.max_key_bytes = bytes;
        self
    }

    /// Sets the largest value, in bytes; at most 512 MiB, Redis' own limit. One huge value delays
    /// every other call on the connection.
    pub fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.config.max_value_bytes = bytes;
        self
    }

    /// Sets how many calls may wait for Redis at once. One more fails at once, with
    /// [`StoreErrorKind::Unavailable`](larder_core::StoreErrorKind::Unavailable).
    pub fn max_outstanding(mut self, calls: usize) -> Self {
        self.config.max_outstanding = calls;
        self
    }

    /// Turns the gathering of concurrent reads into `MGET`s, and of checks into runs of one script,
    /// on or off; see [`RedisStore`](RedisStore#gathered-reads) and
    /// [`RedisRateLimits`](crate::RedisRateLimits#gathered-checks).
    pub fn gather_reads(mut self, on: bool) -> Self {
        self.config.gather = on;
        self
    }

    /// Calls `callback` at every event of the connection, beside the `tracing` events.
    ///
    /// It runs on the task that looks after the connection, and must not block.
    pub fn on_event(mut self, callback: impl Fn(&ConnectionEvent) + Send + Sync + 'static) -> Self {
        self.listener = Listener::new(callback);
        self
    }

    /// Connects, and waits until the server is ready.
    ///
    /// # Errors
    ///
    /// A setting that cannot work, or why the first attempt failed. There is no second one: a
    /// program that is to start without its Redis uses [`lazy`](Self::lazy).
    pub async fn connect(self) -> Result<RedisStore, StoreError> {
        let store = self.lazy()?;
        store.first_connection().await?;
        Ok(store)
    }

    /// A store that connects when it is first used.
    ///
    /// # Errors
    ///
    /// A setting that cannot work.
    pub fn lazy(self) -> Result<RedisStore, StoreError> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        self.config.check()?;
        RedisStore::new(self.config, self.listener)
    }
}

fn parse_nodes<I: IntoIterator<Item = S>, S: AsRef<str>>(
    nodes: I,
    default_port: u16,
) -> Result<Vec<Node>, StoreError> {
    nodes.into_iter().map(|node| Node::parse(node.as_ref(), default_port)).collect()
}

#[cfg(test)]
mod tests {
    use larder_core::StoreErrorKind;

    use super::*;

    #[test]
    fn settings_that_cannot_work_are_named() {
        type Change = fn(RedisStoreBuilder) -> RedisStoreBuilder;
        let cases: [(&str, Change); 24] = [
            ("connect_timeout is zero", |b| b.connect_timeout(Duration::ZERO)),
            ("command_timeout is zero", |b| b.command_timeout(Duration::ZERO)),
            ("max_key_bytes is 0", |b| b.max_key_bytes(0)),
            ("Redis takes at most 536870912", |b| b.max_value_bytes(1 << 30)),
            ("max_outstanding is 0", |b| b.max_outstanding(0)),
            ("without_circuit_breaker", |b| b.circuit_breaker(0, Duration::ZERO)),
            ("printable ASCII", |b| b.client_name("two words")),
            ("a user but no password", |b| b.user("me")),
            ("the host is empty", |b| b.host("")),
            ("looks like a URL", |b| b.host("redis://cache")),
            ("the port is 0", |b| b.port(0)),
            ("a unix socket has no port", |b| b.unix_socket("/run/redis.sock").port(1)),
            ("one or the other", |b| b.unix_socket("/run/redis.sock").tls(true)),
            ("but TLS is off", |b| b.tls_ca_file("/etc/ca.pem")),
            ("has database 0 only", |b| b.cluster(["cache"]).database(1)),
            ("no node is named", |b| b.cluster([""; 0])),
            ("a node has no host", |b| b.cluster([":7000"])),
            ("a node has no host, or the port 0", |b| b.cluster(["cache:0"])),
            ("the port is not a number", |b| b.cluster(["cache:redis"])),
            ("looks like a URL", |b| b.cluster(["redis://cache"])),
            ("no closing bracket", |b| b.cluster(["[::1"])),
            ("no service is named", |b| b.sentinel("", ["cache"])),
            ("no sentinel is named", |b| b.sentinel_login("", "secret")),
            ("a port of its own", |b| b.cluster(["cache"]).port(7000)),
        ];
        for (said, change) in cases {
            let error = change(RedisStore::builder()).lazy().unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Config, "{said}");
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn parts_of_a_url_can_be_replaced() {
        let builder = RedisStore::builder()
            .url("rediss://me:secret@cache:7000/3")
            .host("other")
            .password("better")
            .database(4);
        assert_eq!(&*builder.config.target.address(), "rediss://other:7000/4");
        assert_eq!(builder.config.target.password, Some(Secret::new("better")));
        assert_eq!(builder.config.target.user.as_deref(), Some("me"));
    }

    #[test]
    fn nodes_are_named_by_host_and_port() {
        let address = |nodes: &[&str]| {
            let store = RedisStore::builder().cluster(nodes).lazy().unwrap();
            store.address().to_owned()
        };
        assert_eq!(address(&["cache"]), "redis-cluster://cache:6379");
        assert_eq!(address(&["a:7", "b:8"]), "redis-cluster://a:7?node=b:8");
        assert_eq!(
            address(&["[::1]:7", "::1", "[fe80::1]"]),
            "redis-cluster://[::1]:7?node=[::1]:6379&node=[fe80::1]:6379"
        );
    }

    #[test]
    fn the_password_is_not_printed() {
        let builder = RedisStore::builder().url("redis://me:hunter2@cache").client_name("shop");
        assert!(!format!("{builder:?} {builder:#?}").contains("hunter2"));
        let store = builder.lazy().unwrap();
        let text = format!("{store:?} {store:#?} {}", store.address());
        assert!(!text.contains("hunter2"));
        assert!(text.contains("redis://cache:6379/0"));
    }

    #[test]
    #[cfg(feature = "tls")]
    fn a_certificate_that_is_not_there_is_named() {
        let error = RedisStore::builder()
            .tls(true)
            .tls_ca_file("/nowhere/authority.pem")
            .lazy()
            .unwrap_err();
        assert!(error.to_string().contains("/nowhere/authority.pem"), "{error}");
    }
}
