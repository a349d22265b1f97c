//! What a decision says besides what the script decided.

use larder_core::Timestamp;
use larder_core::rate_limit::rule::{self, Request, State};
use larder_core::rate_limit::{Check, Decision};

use super::packed::Found;

/// What the script decided on what it found.
pub(super) fn said(found: &Found, check: &Check<'_>) -> Decision {
    match found.blocked_for() {
        Some(time) => Decision::blocked(time),
        None => decide(check, found.now, || found.states()),
    }
}

/// What the script decided on these states, by the rules that it equals.
pub(super) fn decide<'s, I: Iterator<Item = Option<&'s State>>>(
    check: &Check<'_>,
    now: Timestamp,
    states: impl Fn() -> I,
) -> Decision {
    let fits = |(state, quota)| rule::peek(state, now, check.cost, quota).allowed;
    // What is alone is decided by itself.
    let takes = check.takes && (check.quotas.len() == 1 || states().zip(check.quotas).all(fits));
    let request = Request::costing(check.cost).lease(check.lease);
    let mut states = states();
    check.decision(|quota| {
        let state = states.next().flatten();
        match takes {
            true => rule::check(state, now, request, quota).0,
            false => rule::peek(state, now, check.cost, quota),
        }
    })
}
