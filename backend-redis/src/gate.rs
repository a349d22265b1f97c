//! The breaker, shared by every call of a store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use larder_core::{StoreError, StoreErrorKind};

use crate::breaker::{Breaker, BreakerPolicy, Event, State, Verdict};
use crate::error::STORE;
use crate::meter::Meter;

/// What the circuit breaker of a [`RedisStore`](crate::RedisStore) does with calls.
///
/// ```
/// # fn report(store: &larder_redis::RedisStore) {
/// if store.breaker_state() != larder_redis::BreakerState::Closed {
///     println!("the cache is degraded");
/// }
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BreakerState {
    /// Calls go to Redis.
    Closed,
    /// One call, the probe, is at Redis; the others are refused until it ends.
    HalfOpen,
    /// Calls are refused at once, with
    /// [`StoreErrorKind::CircuitOpen`](larder_core::StoreErrorKind::CircuitOpen).
    Open,
}

/// Lets calls through, or refuses them.
pub(crate) struct Gate {
    policy: Option<BreakerPolicy>,
    /// The epoch + 1 while the breaker is closed without a failure, else 0. A healthy store's
    /// calls read this and take no lock.
    calm: AtomicU64,
    guarded: Mutex<Guarded>,
    meter: Meter,
}

struct Guarded {
    breaker: Breaker,
    /// The failure that opened it, or the last one before.
    last: Option<StoreError>,
}

impl Gate {
    pub(crate) fn new(policy: Option<BreakerPolicy>, meter: Meter) -> Self {
        meter.breaker(BreakerState::Closed);
        Self {
            policy,
            calm: AtomicU64::new(1),
            guarded: Mutex::new(Guarded { breaker: Breaker::closed(), last: None }),
            meter,
        }
    }

    /// Lets one call through, or refuses it at once.
    pub(crate) fn admit(&self, operation: &'static str) -> Result<Ticket<'_>, StoreError> {
        let Some(policy) = &self.policy else { return Ok(Ticket::unchecked(self)) };
        if let Some(epoch) = self.calm.load(Ordering::Acquire).checked_sub(1) {
            return Ok(Ticket { gate: self, epoch, probe: false, settled: false });
        }
        let mut guarded = self.lock();
        match self.step(&mut guarded, policy, Event::Call) {
            Verdict::Refuse { retry_in } => Err(self.refusal(&guarded, operation, retry_in)),
            Verdict::Admit { epoch, probe } => {
                Ok(Ticket { gate: self, epoch, probe, settled: false })
            }
            Verdict::Noted => Ok(Ticket::unchecked(self)),
        }
    }

    /// Whether a call would be refused now. Unlike [`admit`](Self::admit) it makes no call a
    /// probe: for calls that wait in a queue first.
    pub(crate) fn check(&self, operation: &'static str) -> Result<(), StoreError> {
        if self.policy.is_none() || self.calm.load(Ordering::Acquire) != 0 {
            return Ok(());
        }
        let guarded = self.lock();
        let retry_in = match guarded.breaker.state {
            State::Closed { .. } => return Ok(()),
            State::Open { until } => until.saturating_duration_since(Instant::now()),
            State::HalfOpen => return Err(self.refusal(&guarded, operation, Duration::ZERO)),
        };
        if retry_in.is_zero() { Ok(()) } else { Err(self.refusal(&guarded, operation, retry_in)) }
    }

    fn refusal(
        &self,
        guarded: &Guarded,
        operation: &'static str,
        retry_in: Duration,
    ) -> StoreError {
        self.meter.refused();
        let last = guarded.last.as_ref().map(|error| format!(", the last with «{error}»"));
        let last = last.unwrap_or_default();
        let next = if retry_in.is_zero() {
            String::from("a probe is on its way")
        } else {
            format!("the next probe may go in {retry_in:.1?}")
        };
        let detail = format!("not tried, as too many calls in a row failed{last}; {next}");
        StoreError::new(StoreErrorKind::CircuitOpen, STORE, operation, detail)
    }

    /// A new connection stands.
    pub(crate) fn reachable(&self) {
        if let Some(policy) = &self.policy {
            self.step(&mut self.lock(), policy, Event::Reachable);
        }
    }

    pub(crate) fn state(&self) -> BreakerState {
        public(self.lock().breaker.state)
    }

    fn settle(&self, event: Event, error: Option<&StoreError>) {
        let Some(policy) = &self.policy else { return };
        if let Event::Success { epoch } = event
            && self.calm.load(Ordering::Acquire) == epoch + 1
        {
            return;
        }
        let mut guarded = self.lock();
        if let Some(error) = error {
            guarded.last = Some(error.clone());
        }
        self.step(&mut guarded, policy, event);
    }

    fn step(&self, guarded: &mut Guarded, policy: &BreakerPolicy, event: Event) -> Verdict {
        let before = public(guarded.breaker.state);
        let (next, verdict) = guarded.breaker.step(policy, Instant::now(), event);
        guarded.breaker = next;
        let calm = match next.state {
            State::Closed { failures: 0 } => next.epoch + 1,
            _ => 0,
        };
        self.calm.store(calm, Ordering::Release);
        let after = public(next.state);
        if before != after {
            self.meter.breaker(after);
            match after {
                BreakerState::Open if before == BreakerState::HalfOpen => {
                    tracing::debug!("no probe got through, the circuit breaker stays open");
                }
                BreakerState::Open => {
                    let error = guarded.last.as_ref().map(tracing::field::display);
                    tracing::warn!(error, "the circuit breaker of the Redis store opened");
                }
                BreakerState::HalfOpen => tracing::debug!("the circuit breaker lets a probe out"),
                BreakerState::Closed => {
                    tracing::info!("the circuit breaker of the Redis store closed");
                }
            }
        }
        verdict
    }

    fn lock(&self) -> MutexGuard<'_, Guarded> {
        self.guarded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn public(state: State) -> BreakerState {
    match state {
        State::Closed { .. } => BreakerState::Closed,
        State::Open { .. } => BreakerState::Open,
        State::HalfOpen => BreakerState::HalfOpen,
    }
}

/// The right to make one call. A ticket that is dropped counts as given up, without an answer.
pub(crate) struct Ticket<'a> {
    gate: &'a Gate,
    epoch: u64,
    probe: bool,
    settled: bool,
}

impl<'a> Ticket<'a> {
    fn unchecked(gate: &'a Gate) -> Self {
        Self { gate, epoch: 0, probe: false, settled: true }
    }

    /// Whether this is the one call of a half-open breaker.
    pub(crate) fn is_probe(&self) -> bool {
        self.probe
    }

    /// Redis answered, be it with an error.
    pub(crate) fn answered(mut self) {
        self.settled = true;
        self.gate.settle(Event::Success { epoch: self.epoch }, None);
    }

    /// Redis could not be reached, or kept silent.
    pub(crate) fn failed(mut self, error: &StoreError) {
        self.settled = true;
        self.gate.settle(Event::Failure { epoch: self.epoch }, Some(error));
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.gate.settle(Event::Abandoned { epoch: self.epoch }, None);
        }
    }
}
