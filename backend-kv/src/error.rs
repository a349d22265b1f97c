//! What Workers said, as the errors of a store.

use larder_core::{StoreError, StoreErrorKind};

/// What a call of a binding failed with.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub(crate) message: String,
    /// Set by Durable Objects where the same call may succeed at once.
    pub(crate) retryable: bool,
    /// Set by Durable Objects that have too many requests in their queue.
    pub(crate) overloaded: bool,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), retryable: false, overloaded: false }
    }

    /// The HTTP status that KV wraps into its messages: `KV PUT failed: 429 Too Many Requests`.
    pub(crate) fn status(&self) -> Option<u16> {
        let (_, rest) = self.message.split_once("failed: ")?;
        let digits = rest.get(..3)?;
        digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
    }

    pub(crate) fn is_rate_limited(&self) -> bool {
        self.status() == Some(429)
    }

    fn kind(&self) -> StoreErrorKind {
        if self.message.contains("by single ") {
            // «Too many API requests (or subrequests) by single Worker invocation.»
            return StoreErrorKind::Exhausted;
        }
        match self.status() {
            Some(400) => StoreErrorKind::Config,
            Some(401 | 403) => StoreErrorKind::Denied,
            Some(413 | 414) => StoreErrorKind::TooLarge,
            Some(429 | 500..) => StoreErrorKind::Unavailable,
            _ if self.retryable || self.overloaded => StoreErrorKind::Unavailable,
            _ => StoreErrorKind::Other,
        }
    }

    pub(crate) fn into_error(self, store: &'static str, operation: &'static str) -> StoreError {
        let kind = self.kind();
        let advice = match kind {
            StoreErrorKind::Exhausted => {
                "; let another request go on, or raise the Worker's `limits.subrequests`"
            }
            _ if self.overloaded => "; spread the keys over more objects",
            _ => "",
        };
        StoreError::new(kind, store, operation, format!("{}{advice}", self.message))
            .with_source(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_workers_are_told_apart() {
        for (message, kind) in [
            ("KV PUT failed: 429 Too Many Requests", StoreErrorKind::Unavailable),
            ("KV GET failed: 400 Invalid cache_ttl of 1.", StoreErrorKind::Config),
            (
                "KV GET_BULK failed: 413 Total size of request exceeds the limit",
                StoreErrorKind::TooLarge,
            ),
            ("KV GET failed: 503 Service Unavailable", StoreErrorKind::Unavailable),
            ("Too many API requests by single Worker invocation.", StoreErrorKind::Exhausted),
            ("Too many subrequests by single Worker invocation.", StoreErrorKind::Exhausted),
            ("something else", StoreErrorKind::Other),
            ("failed: é", StoreErrorKind::Other),
        ] {
            let error = Failure::new(message).into_error("kv", "get");
            assert_eq!(error.kind(), kind, "{message}");
            assert!(error.to_string().starts_with(&format!("kv get: {message}")), "{error}");
        }
    }

    #[test]
    fn an_overloaded_object_says_what_to_do() {
        let failure = Failure { overloaded: true, ..Failure::new("Durable Object is overloaded.") };
        let error = failure.into_error("durable", "get");
        assert!(error.is_retryable());
        assert_eq!(
            error.to_string(),
            "durable get: Durable Object is overloaded.; spread the keys over more objects"
        );
    }
}
