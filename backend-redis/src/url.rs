//! Redis URLs.
//!
//! | URL | meaning |
//! | --- | --- |
//! | `redis://[[user]:password@]host[:port][/database]` | TCP |
//! | `rediss://…` | the same over TLS |
//! | `redis-cluster://[[user]:password@]host[:port][?node=host:port&…]` | a Cluster |
//! | `redis-sentinel://[[user]:password@]host[:port][/database]?…` | behind sentinels, see below |
//! | `rediss-cluster://…`, `rediss-sentinel://…` | the same over TLS |
//! | `unix:///path[?db=1&user=…&pass=…]`, `redis+unix://…` | a unix socket |
//!
//! `valkey://`, `valkeys://`, `valkey+unix://` and so on mean the same. User and password are
//! percent-decoded.
//!
//! Behind sentinels, host and port are those of a sentinel, and every `node` is another. The query
//! names the service, `sentinelServiceName=mymaster`, and may have `sentinelUsername` and
//! `sentinelPassword`; user and password before the host are the master's.
//!
//! Sources: <https://www.iana.org/assignments/uri-schemes/prov/redis>, and for several nodes what
//! fred reads: <https://docs.rs/fred/latest/fred/types/config/struct.Config.html#method.from_url>.

use std::path::PathBuf;

use larder_core::StoreError;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::config::{
    DEFAULT_PORT, Endpoint, Node, SENTINEL_PORT, Secret, Sentinels, Target, problem,
};

/// Reads a URL. Errors never repeat the URL, which may hold a password.
pub(crate) fn parse(url: &str) -> Result<Target, StoreError> {
    let parsed = Url::parse(url).map_err(|error| {
        problem(format!(
            "the URL cannot be read ({error}); it should look like \
             redis://user:password@host:6379/0, with special characters in user and password \
             percent-encoded"
        ))
    })?;
    match parsed.scheme() {
        "redis" | "valkey" => tcp(&parsed, false),
        "rediss" | "valkeys" => tcp(&parsed, true),
        "redis-cluster" | "valkey-cluster" => cluster(&parsed, false),
        "rediss-cluster" | "valkeys-cluster" => cluster(&parsed, true),
        "redis-sentinel" | "valkey-sentinel" => sentinel(&parsed, false),
        "rediss-sentinel" | "valkeys-sentinel" => sentinel(&parsed, true),
        "unix" | "redis+unix" | "valkey+unix" => unix(&parsed),
        // `host:6379` parses as a URL with the scheme `host`, which is no secret; but
        // `password@host` and the like must not be repeated either way.
        _ => Err(problem(
            "the URL's scheme is not known; known are redis, rediss (TLS), redis-cluster, \
             rediss-cluster, redis-sentinel, rediss-sentinel, unix and redis+unix, and the same \
             with valkey for redis",
        )),
    }
}

fn tcp(url: &Url, tls: bool) -> Result<Target, StoreError> {
    if let Some((name, _)) = url.query_pairs().next() {
        return Err(unknown_parameter(&name, "none for this scheme; see RedisStoreBuilder"));
    }
    server(url, tls, DEFAULT_PORT)
}

fn cluster(url: &Url, tls: bool) -> Result<Target, StoreError> {
    let mut target = server(url, tls, DEFAULT_PORT)?;
    let mut nodes = first(&target);
    for (name, value) in url.query_pairs() {
        match &*name {
            "node" => nodes.push(Node::parse(&value, DEFAULT_PORT)?),
            name => return Err(unknown_parameter(name, "node")),
        }
    }
    target.endpoint = Endpoint::Cluster(nodes);
    Ok(target)
}

fn sentinel(url: &Url, tls: bool) -> Result<Target, StoreError> {
    let mut target = server(url, tls, SENTINEL_PORT)?;
    let mut sentinels =
        Sentinels { service: String::new(), nodes: first(&target), user: None, password: None };
    for (name, value) in url.query_pairs() {
        match &*name {
            "node" => sentinels.nodes.push(Node::parse(&value, SENTINEL_PORT)?),
            "sentinelServiceName" => sentinels.service = value.into_owned(),
            "sentinelUsername" => sentinels.user = Some(value.into_owned()),
            "sentinelPassword" => sentinels.password = Some(Secret::new(value)),
            name => {
                let known = "node, sentinelServiceName, sentinelUsername and sentinelPassword";
                return Err(unknown_parameter(name, known));
            }
        }
    }
    if sentinels.service.is_empty() {
        return Err(problem(
            "the URL names no service; add the name by which the sentinels know the master, as in \
             redis-sentinel://host:26379/0?sentinelServiceName=mymaster",
        ));
    }
    target.endpoint = Endpoint::Sentinel(sentinels);
    Ok(target)
}

/// The node that stands where one server would.
fn first(target: &Target) -> Vec<Node> {
    match &target.endpoint {
        Endpoint::Tcp { host, port } => vec![Node { host: host.clone(), port: *port }],
        _ => Vec::new(),
    }
}

/// What comes before the query.
fn server(url: &Url, tls: bool, default_port: u16) -> Result<Target, StoreError> {
    let host = match url.host() {
        // The `url` crate leaves hosts of schemes it does not know percent-encoded.
        Some(Host::Domain(name)) => decode(name, "host")?,
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => return Err(problem("the URL names no host")),
    };
    if url.fragment().is_some() {
        return Err(problem(
            "the URL has a fragment (#…), which means nothing here; TLS certificates are always \
             checked, see RedisStoreBuilder::tls_ca_file",
        ));
    }
    let database = match url.path().trim_matches('/') {
        "" => 0,
        path => database(path)?,
    };
    let user = match url.username() {
        "" => None,
        name => Some(decode(name, "user")?),
    };
    let password = url.password().map(|text| decode(text, "password")).transpose()?;
    Ok(Target {
        endpoint: Endpoint::Tcp { host, port: url.port().unwrap_or(default_port) },
        tls,
        user,
        password: password.map(Secret::new),
        database,
    })
}

fn unix(url: &Url) -> Result<Target, StoreError> {
    if url.host_str().is_some_and(|host| !host.is_empty()) {
        return Err(problem(
            "the URL of a unix socket has no host; write three slashes, as in \
             unix:///run/redis/redis.sock",
        ));
    }
    let path = decode(url.path(), "path")?;
    if path.len() < 2 {
        return Err(problem("the URL names no socket; write unix:///run/redis/redis.sock"));
    }
    let mut target = Target { endpoint: Endpoint::Unix(PathBuf::from(path)), ..Target::default() };
    for (name, value) in url.query_pairs() {
        match &*name {
            "db" => target.database = database(&value)?,
            "user" => target.user = Some(value.into_owned()),
            "pass" | "password" => target.password = Some(Secret::new(value)),
            name => return Err(unknown_parameter(name, "db, user and pass")),
        }
    }
    Ok(target)
}

fn database(text: &str) -> Result<u32, StoreError> {
    text.parse().map_err(|_| {
        problem(format!("the database {text:?} is not a number from 0 on, as in redis://host/0"))
    })
}

fn decode(text: &str, what: &str) -> Result<String, StoreError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| problem(format!("the {what} in the URL is not UTF-8 once percent-decoded")))
}

fn unknown_parameter(name: &str, known: &str) -> StoreError {
    problem(format!("the URL's parameter {name:?} is not known; known are {known}"))
}

#[cfg(test)]
mod tests {
    use larder_core::StoreErrorKind;

    use super::*;

    fn target(host: &str, port: u16) -> Target {
        let endpoint = Endpoint::Tcp { host: host.into(), port };
        Target { endpoint, ..Target::default() }
    }

    #[test]
    fn urls_say_where_and_as_whom() {
        let secret = |text: &str| Some(Secret::new(text));
        let user = |text: &str| Some(String::from(text));
        let socket = |path: &str| Target { endpoint: Endpoint::Unix(path.into()), ..target("", 1) };
        for (url, expected) in [
            ("redis://127.0.0.1", target("127.0.0.1", 6379)),
            ("redis://127.0.0.1/", target("127.0.0.1", 6379)),
            ("redis://cache.internal:6380", target("cache.internal", 6380)),
            ("valkey://cache:6380/", target("cache", 6380)),
            ("redis://[::1]:7000/", target("::1", 7000)),
            ("redis://cache/3", Target { database: 3, ..target("cache", 6379) }),
            ("rediss://cache", Target { tls: true, ..target("cache", 6379) }),
            ("valkeys://cache", Target { tls: true, ..target("cache", 6379) }),
            ("redis://:pw@cache", Target { password: secret("pw"), ..target("cache", 6379) }),
            (
                "redis://zo%C3%AB:p%40ss%2Fw%3Ard@cache:1/2",
                Target {
                    user: user("zoë"),
                    password: secret("p@ss/w:rd"),
                    database: 2,
                    ..target("cache", 1)
                },
            ),
            ("unix:///run/redis.sock", socket("/run/redis.sock")),
            ("redis+unix:///run/my%20redis.sock", socket("/run/my redis.sock")),
            (
                "unix:///run/redis.sock?db=4&user=me&pass=p%26w",
                Target {
                    user: user("me"),
                    password: secret("p&w"),
                    database: 4,
                    ..socket("/run/redis.sock")
                },
            ),
        ] {
            assert_eq!(parse(url).unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn bad_urls_say_what_is_wrong_without_repeating_a_secret() {
        for (url, said) in [
            ("", "cannot be read"),
            ("127.0.0.1:6379", "cannot be read"),
            ("localhost:6379", "scheme is not known"),
            ("http://:hunter2@cache", "scheme is not known"),
            ("hunter2@cache:6379", "cannot be read"),
            ("redis://", "names no host"),
            ("redis://:hunter2@cache:port", "invalid port number"),
            ("redis://:hunter2@cache:99999", "invalid port number"),
            ("redis://:hunter2@cache/one", "the database \"one\" is not a number"),
            ("redis://:hunter2@cache/-1", "the database \"-1\" is not a number"),
            ("redis://:hunter2@cache?timeout=5", "\"timeout\" is not known"),
            ("rediss://:hunter2@cache/#insecure", "always checked"),
            ("redis://:hunter2%FF@cache", "the password in the URL is not UTF-8"),
            ("redis-cluster://:hunter2@cache?nodes=a:1", "\"nodes\" is not known"),
            ("redis-cluster://:hunter2@cache?node=hunter2@a:1", "looks like a URL"),
            ("redis-sentinel://:hunter2@cache", "names no service"),
            ("redis-sentinel://cache?sentinelPass=hunter2", "\"sentinelPass\" is not known"),
            ("unix://run/redis.sock?pass=hunter2", "three slashes"),
            ("unix:///?pass=hunter2", "names no socket"),
            ("unix:///run/redis.sock?pass=hunter2&tls=1", "\"tls\" is not known"),
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Config, "{url}");
            let text = format!("{error} {error:?}");
            assert!(text.contains(said), "{url}: {text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn an_address_has_no_user_and_no_password() {
        for (url, address) in [
            ("redis://me:hunter2@cache/2", "redis://cache:6379/2"),
            ("rediss://:hunter2@[::1]", "rediss://[::1]:6379/0"),
            ("unix:///run/redis.sock?pass=hunter2", "unix:///run/redis.sock?db=0"),
            (
                "rediss-cluster://me:hunter2@a:1?node=b&node=[::1]:3",
                "rediss-cluster://a:1?node=b:6379&node=[::1]:3",
            ),
            (
                "valkey-sentinel://me:hunter2@a/3?node=b:2&sentinelServiceName=main\
                 &sentinelUsername=they&sentinelPassword=hunter2",
                "redis-sentinel://a:26379/3?node=b:2&sentinelServiceName=main",
            ),
        ] {
            let target = parse(url).unwrap();
            assert_eq!(&*target.address(), address);
            assert!(!format!("{target:?}").contains("hunter2"));
        }
    }
}
