//! Whether a request may pass, and what its response is told.

use bytes::Bytes;
use compact_str::CompactString;
use futures::future::BoxFuture;
use http::header::RETRY_AFTER;
use http::request::Parts;
use http::{HeaderMap, Response, response};
use larder_core::rate_limit::{Decision, Permit};
use larder_core::{Error, RateLimiter, Runtime as _, Timestamp};

use super::by::{Key, UNKNOWN};
use super::dialect::Told;
use super::held::Held;
use super::layer::{MissingKey, Shared};
use super::refusal::{Refusal, Why};

pub(super) enum Entry {
    Passes(Passage),
    Refused(Response<Bytes>),
}

/// What has to be waited for.
pub(super) struct Waits {
    key: WaitsFor,
    cost: u64,
}

enum WaitsFor {
    Key(BoxFuture<'static, Option<CompactString>>),
    Decision { key: CompactString },
}

/// Decides, where nothing has to be waited for.
pub(super) fn enter_now(
    shared: &Shared,
    limiter: &RateLimiter,
    request: &mut Parts,
) -> Result<Entry, Waits> {
    if shared.skip.as_ref().is_some_and(|skip| skip(request)) {
        return Ok(Entry::Passes(Passage::unlimited()));
    }
    let cost = shared.cost.as_ref().map_or(1, |cost| cost(request));
    let key = match shared.by.key(request) {
        Key::Later(key) => return Err(Waits { key: WaitsFor::Key(key), cost }),
        Key::Now(key) => match identify(shared, key, request) {
            Ok(key) => key,
            Err(entry) => return Ok(*entry),
        },
    };
    match limiter.check_now(&key, cost) {
        Some(result) => Ok(enter_by(shared, limiter, request, key, result)),
        None => Err(Waits { key: WaitsFor::Decision { key }, cost }),
    }
}

/// Waits, and decides.
pub(super) async fn enter(
    shared: &Shared,
    limiter: &RateLimiter,
    request: &mut Parts,
    Waits { key, cost }: Waits,
) -> Entry {
    let key = match key {
        WaitsFor::Decision { key } => key,
        WaitsFor::Key(key) => match identify(shared, key.await, request) {
            Ok(key) => key,
            Err(entry) => return *entry,
        },
    };
    let result = limiter.check_cost(&key, cost).await;
    enter_by(shared, limiter, request, key, result)
}

/// What the request is counted by, or what the policy says where it has no key.
fn identify(
    shared: &Shared,
    key: Option<CompactString>,
    request: &Parts,
) -> Result<CompactString, Box<Entry>> {
    if let Some(key) = key {
        return Ok(key);
    }
    let lacks_address = shared.by.lacks_address(request);
    shared.meter.keyless(shared.limiter.name(), lacks_address);
    match shared.missing_key {
        MissingKey::Share => Ok(UNKNOWN.into()),
        MissingKey::Allow => Err(Box::new(Entry::Passes(Passage::unlimited()))),
        MissingKey::Refuse => {
            let refusal = Refusal::new(request, Why::NoKey { lacks_address });
            Err(Box::new(Entry::Refused(answer(shared, &refusal))))
        }
    }
}

fn enter_by(
    shared: &Shared,
    limiter: &RateLimiter,
    request: &mut Parts,
    key: CompactString,
    result: Result<Decision, Error>,
) -> Entry {
    let decision = match result {
        Ok(decision) => decision,
        Err(error) => {
            tracing::error!(limiter = limiter.name(), %error, "a request cannot be counted");
            return Entry::Refused(answer(shared, &Refusal::new(request, Why::Failed(&error))));
        }
    };
    let decided = limiter.runtime().now();
    if !decision.is_allowed() {
        let mut response = answer(shared, &Refusal::new(request, Why::Decided(&decision)));
        let told = Told { decision: &decision, decided, now: decided };
        tell(shared, &told, response.headers_mut());
        response.extensions_mut().insert(decision);
        return Entry::Refused(response);
    }
    let may_be_given_back =
        decision.lease().is_some() || (shared.refund.is_some() && decision.taken() > 0);
    let held = may_be_given_back.then(|| Box::new(Held::new(limiter, key, &decision)));
    request.extensions.insert(decision.clone());
    Entry::Passes(Passage { decided: Some((decision, decided)), held })
}

fn answer(shared: &Shared, refusal: &Refusal<'_>) -> Response<Bytes> {
    let mut response = match &shared.answer {
        Some(answer) => answer(refusal),
        None => return refusal.response(),
    };
    if let Some(seconds) = refusal.retry_after_seconds() {
        response.headers_mut().entry(RETRY_AFTER).or_insert_with(|| seconds.into());
    }
    response
}

fn tell(shared: &Shared, told: &Told<'_>, headers: &mut HeaderMap) {
    for dialect in &shared.dialects {
        dialect.write(told, headers);
    }
}

/// A request that may pass.
pub(super) struct Passage {
    decided: Option<(Decision, Timestamp)>,
    // In a box, as few requests have one, and all are moved around.
    held: Option<Box<Held>>,
}

impl Passage {
    /// Of a request that nobody was asked about.
    pub(super) fn unlimited() -> Self {
        Self { decided: None, held: None }
    }

    /// Tells the response what is left, and gives back what is too much; the lease, if there is
    /// one, is for the response's body.
    pub(super) fn answered(self, shared: &Shared, head: &mut response::Parts) -> Option<Permit> {
        if let (Some(refund), Some(held)) = (&shared.refund, &self.held) {
            held.refund(refund(head, held.taken()));
        }
        if let Some((decision, decided)) = self.decided {
            let now = shared.limiter.runtime().recent().max(decided);
            tell(shared, &Told { decision: &decision, decided, now }, &mut head.headers);
            if decision.is_degraded() || decision.is_shadowed() {
                // That of a layer further inside stands, as its headers do.
                head.extensions.get_or_insert_with(|| decision);
            }
        }
        self.held?.into_lease()
    }

    /// The service ended with an error in place of a response.
    pub(super) fn failed(self, shared: &Shared) {
        if let (Some(_), Some(held)) = (&shared.refund, &self.held) {
            held.refund(held.taken());
        }
    }
}
