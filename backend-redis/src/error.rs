//! What Redis or the network said, as a [`StoreError`].

use larder_core::{StoreError, StoreErrorKind};
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// The store's name in errors, logs and metrics.
pub(crate) const STORE: &str = "redis";

/// What is to be done after a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Nothing helps: the answer is the answer.
    None,
    /// Trying again a little later on the same connection.
    Wait,
    /// Trying again on a new connection.
    Reconnect,
}

pub(crate) fn remedy(error: &RedisError) -> Remedy {
    match error.kind() {
        // The socket failed, or what came out of it was not Redis' protocol.
        ErrorKind::Io | ErrorKind::Parse => Remedy::Reconnect,
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::TryAgain,
        ) => Remedy::Wait,
        // This server became a replica; its address may lead to the new master by now.
        ErrorKind::Server(ServerErrorKind::ReadOnly) => Remedy::Reconnect,
        // A script or function blocks the server.
        _ if error.code() == Some("BUSY") => Remedy::Wait,
        _ => Remedy::None,
    }
}

/// Whether an error of this kind means that the store is down or mute.
pub(crate) fn is_outage(kind: StoreErrorKind) -> bool {
    matches!(kind, StoreErrorKind::Unavailable | StoreErrorKind::Timeout)
}

/// An error that Redis or the network gave to `operation`.
pub(crate) fn from_redis(operation: &'static str, address: &str, error: &RedisError) -> StoreError {
    let (kind, advice) = diagnose(error);
    let mut detail = format!("{address}: {}", said(error));
    if let Some(advice) = advice {
        detail.push_str("; ");
        detail.push_str(advice);
    }
    StoreError::new(kind, STORE, operation, detail).with_source(error.clone())
}

/// What went wrong, in the server's own words where they are its.
pub(crate) fn said(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

fn diagnose(error: &RedisError) -> (StoreErrorKind, Option<&'static str>) {
    match error.kind() {
        ErrorKind::AuthenticationFailed => {
            return (StoreErrorKind::Denied, Some("check the user and the password"));
        }
        ErrorKind::InvalidClientConfig => return (StoreErrorKind::Config, None),
        ErrorKind::RESP3NotSupported => {
            return (StoreErrorKind::Config, Some("Redis 6 or newer, or Valkey, is needed"));
        }
        ErrorKind::Parse => {
            return (
                StoreErrorKind::Unavailable,
                Some("the other side does not speak Redis' protocol; is TLS needed (rediss://)?"),
            );
        }
        ErrorKind::Io if error.is_timeout() => return (StoreErrorKind::Timeout, None),
        ErrorKind::Io => return (StoreErrorKind::Unavailable, io_advice(error)),
        _ => {}
    }
    match error.code() {
        Some("NOAUTH") => (StoreErrorKind::Denied, Some("the server wants a password")),
        Some("WRONGPASS") => (StoreErrorKind::Denied, Some("check the user and the password")),
        Some("NOPERM") => (StoreErrorKind::Denied, Some("give the user this right (ACL SETUSER)")),
        Some("MOVED" | "ASK") => (
            StoreErrorKind::Config,
            Some(
                "the server is a node of a Cluster; use redis-cluster:// or \
                  RedisStoreBuilder::cluster",
            ),
        ),
        Some("CROSSSLOT") => (StoreErrorKind::Unsupported, None),
        Some("WRONGTYPE") => (StoreErrorKind::WrongType, None),
        Some("LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "READONLY" | "BUSY") => {
            (StoreErrorKind::Unavailable, None)
        }
        Some("OOM") => (
            StoreErrorKind::Other,
            Some("raise its maxmemory, or choose a maxmemory-policy that evicts"),
        ),
        _ => (StoreErrorKind::Other, None),
    }
}

fn io_advice(error: &RedisError) -> Option<&'static str> {
    if error.is_connection_refusal() {
        Some("is Redis running there?")
    } else if error.to_string().contains("certificate") {
        Some("trust the server's authority with RedisStoreBuilder::tls_ca_file")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_error(reply: &str) -> RedisError {
        redis::parse_redis_value(format!("-{reply}\r\n").as_bytes())
            .and_then(redis::Value::extract_error)
            .unwrap_err()
    }

    #[test]
    fn answers_have_their_kind() {
        for (reply, kind, remedy_wanted) in [
            ("NOAUTH Authentication required.", StoreErrorKind::Denied, Remedy::None),
            ("WRONGPASS invalid pair", StoreErrorKind::Denied, Remedy::None),
            ("NOPERM no permissions", StoreErrorKind::Denied, Remedy::None),
            ("WRONGTYPE Operation against", StoreErrorKind::WrongType, Remedy::None),
            ("LOADING Redis is loading", StoreErrorKind::Unavailable, Remedy::Wait),
            ("MASTERDOWN Link with MASTER", StoreErrorKind::Unavailable, Remedy::Wait),
            ("BUSY Redis is busy", StoreErrorKind::Unavailable, Remedy::Wait),
            ("READONLY You can't write", StoreErrorKind::Unavailable, Remedy::Reconnect),
            ("OOM command not allowed", StoreErrorKind::Other, Remedy::None),
            ("ERR unknown command", StoreErrorKind::Other, Remedy::None),
        ] {
            let error = server_error(reply);
            assert_eq!(remedy(&error), remedy_wanted, "{reply}");
            let error = from_redis("get", "redis://localhost:6379/0", &error);
            assert_eq!(error.kind(), kind, "{reply}");
            assert!(error.to_string().starts_with("redis get: redis://localhost:6379/0: "));
        }
    }

    #[test]
    fn a_broken_connection_is_an_outage() {
        for (io, kind) in [
            (std::io::ErrorKind::ConnectionRefused, StoreErrorKind::Unavailable),
            (std::io::ErrorKind::BrokenPipe, StoreErrorKind::Unavailable),
            (std::io::ErrorKind::UnexpectedEof, StoreErrorKind::Unavailable),
            (std::io::ErrorKind::TimedOut, StoreErrorKind::Timeout),
        ] {
            let error = RedisError::from(std::io::Error::from(io));
            assert_eq!(remedy(&error), Remedy::Reconnect);
            let error = from_redis("get", "redis://localhost:6379/0", &error);
            assert_eq!(error.kind(), kind);
            assert!(is_outage(error.kind()));
        }
    }
}
