//! What a client is told that is refused.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::request::Parts;
use http::{Response, StatusCode};
use larder_core::Error;
use larder_core::rate_limit::{Decision, Reason};
use larder_core::seconds;

use super::dialect::seconds_of;
use crate::problem::Problem;

/// After which time it may be tried again, where the store of counts failed.
const STORE_FAILED: Duration = seconds(2);

/// A request that is refused, and why: for a handler that answers it, see
/// [`RateLimit::on_refusal`](super::RateLimit::on_refusal).
pub struct Refusal<'a> {
    request: &'a Parts,
    why: Why<'a>,
}

pub(super) enum Why<'a> {
    Decided(&'a Decision),
    NoKey { lacks_address: bool },
    Failed(&'a Error),
}

impl<'a> Refusal<'a> {
    pub(super) fn new(request: &'a Parts, why: Why<'a>) -> Self {
        Self { request, why }
    }

    /// The request's head.
    #[must_use]
    pub fn request(&self) -> &'a Parts {
        self.request
    }

    /// The decision; `None` where it came to none, as the request has no key.
    #[must_use]
    pub fn decision(&self) -> Option<&'a Decision> {
        match self.why {
            Why::Decided(decision) => Some(decision),
            Why::NoKey { .. } | Why::Failed(_) => None,
        }
    }

    /// The status that goes with it:
    ///
    /// | | |
    /// | --- | --- |
    /// | 429 | a quota refuses it, or its key is blocked |
    /// | 403 | its key is on the list of those that are always refused |
    /// | 503 | the store failed, and the limiter is told to refuse then |
    /// | 400 | it has no key, and its sender could have given it one |
    /// | 500 | its sender's address is not known, or the limiter is not built for it: see the log |
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.why {
            Why::Decided(decision) => match decision.reason() {
                Reason::Denied => StatusCode::FORBIDDEN,
                Reason::StoreFailed => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::TOO_MANY_REQUESTS,
            },
            Why::NoKey { lacks_address: false } => StatusCode::BAD_REQUEST,
            Why::NoKey { lacks_address: true } | Why::Failed(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// After how long the request may be sent again; `None` where no wait will help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let decision = self.decision()?;
        match decision.reason() {
            Reason::StoreFailed => Some(STORE_FAILED),
            _ => decision.retry_after(),
        }
    }

    /// Whole seconds, and none of them too early.
    pub(super) fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after().map(|time| seconds_of(time).max(1))
    }

    /// The answer where there is no handler: `application/problem+json` (RFC 9457). Where a quota
    /// refuses, of the type `quota-exceeded`, whose member `violated-policies` names it
    /// (draft-ietf-httpapi-ratelimit-headers).
    #[must_use]
    pub fn response(&self) -> Response<Bytes> {
        let mut response = self.problem().response();
        if let Some(seconds) = self.retry_after_seconds() {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }

    fn problem(&self) -> Problem<'a> {
        let problem = Problem::of(self.status(), self.detail());
        match self.decision() {
            Some(decision) if decision.reason() == Reason::OverQuota => {
                let violated = decision.quotas().filter(|quota| !quota.verdict.allowed);
                problem.quota_exceeded(violated.map(|quota| quota.policy).collect())
            }
            _ => problem,
        }
    }

    fn detail(&self) -> String {
        let again = match self.retry_after_seconds() {
            Some(1) => "try again in 1 second".into(),
            Some(seconds) => format!("try again in {seconds} seconds"),
            None => "it will not be accepted later either".into(),
        };
        match self.why {
            Why::Decided(decision) => match (decision.reason(), decision.limit()) {
                (Reason::Denied, _) => "requests of this client are not accepted".into(),
                (Reason::Blocked, _) => {
                    format!("requests of this client are blocked for a time; {again}")
                }
                (Reason::StoreFailed, _) => {
                    format!("it cannot be told now whether there are too many requests; {again}")
                }
                (_, Some(limit)) if decision.retry_after().is_none() => {
                    format!("the request costs more than the limit of {limit}; {again}")
                }
                (_, Some(limit)) => {
                    let policy = decision.policy().unwrap_or_default();
                    format!("the limit of {limit} ({policy}) is reached; {again}")
                }
                (_, None) => again,
            },
            Why::NoKey { lacks_address: true } => {
                "the client's address is not known, so that its requests cannot be counted".into()
            }
            Why::NoKey { lacks_address: false } => {
                "the request lacks what requests are counted by".into()
            }
            Why::Failed(_) => "the request cannot be counted".into(),
        }
    }
}

impl fmt::Debug for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Refusal");
        debug.field("status", &self.status());
        match self.why {
            Why::Decided(decision) => debug.field("decision", decision),
            Why::NoKey { lacks_address } => debug.field("lacks_address", &lacks_address),
            Why::Failed(error) => debug.field("error", error),
        };
        debug.finish_non_exhaustive()
    }
}
