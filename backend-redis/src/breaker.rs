//! The circuit breaker's rule. Pure: the time and what happened are handed in.
//!
//! ```text
//!            failures in a row reach the threshold
//!   Closed ───────────────────────────────────────► Open ◄──────┐
//!     ▲                                              │          │ the probe fails
//!     │                    open time over, next call │          │
//!     └──────────────── HalfOpen ◄───────────────────┘          │
//!      the probe succeeds    └──────────────────────────────────┘
//! ```

use std::time::{Duration, Instant};

/// When the breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BreakerPolicy {
    /// Failures in a row that open it; at least 1.
    pub(crate) failures: u32,
    /// How long it stays open before it lets a probe through.
    pub(crate) open_for: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures: 5, open_for: Duration::from_secs(1) }
    }
}

/// What the breaker does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Lets them through, and counts failures in a row.
    Closed { failures: u32 },
    /// Refuses them until then.
    Open { until: Instant },
    /// Refuses them while one, the probe, is out.
    HalfOpen,
}

/// A breaker at one moment.
///
/// The epoch counts changes of state. A call carries the epoch it was let through in, so that the
/// late answer of a call from before says nothing about now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Breaker {
    pub(crate) state: State,
    pub(crate) epoch: u64,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Somebody wants to call.
    Call,
    /// A call of that epoch was answered.
    Success { epoch: u64 },
    /// A call of that epoch found the server down or mute.
    Failure { epoch: u64 },
    /// A call of that epoch was given up by its caller, without an answer.
    Abandoned { epoch: u64 },
    /// A new connection stands: trying is worth it now.
    Reachable,
}

/// What is to be done with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Let it through; it carries the epoch. The probe is the one call of a half-open breaker.
    Admit { epoch: u64, probe: bool },
    /// Refuse it; the next probe may go after that time (zero while a probe is out).
    Refuse { retry_in: Duration },
    /// Nothing: the event was no call.
    Noted,
}

impl Breaker {
    pub(crate) fn closed() -> Self {
        Self { state: State::Closed { failures: 0 }, epoch: 0 }
    }

    /// The breaker after `event` at `now`, and what is to be done.
    pub(crate) fn step(
        self,
        policy: &BreakerPolicy,
        now: Instant,
        event: Event,
    ) -> (Self, Verdict) {
        match (event, self.state) {
            (Event::Call, State::Closed { .. }) => {
                (self, Verdict::Admit { epoch: self.epoch, probe: false })
            }
            (Event::Call, State::Open { until }) if now >= until => {
                let next = self.turn(State::HalfOpen);
                (next, Verdict::Admit { epoch: next.epoch, probe: true })
            }
            (Event::Call, State::Open { until }) => {
                (self, Verdict::Refuse { retry_in: until.saturating_duration_since(now) })
            }
            (Event::Call, State::HalfOpen) => (self, Verdict::Refuse { retry_in: Duration::ZERO }),

            (Event::Reachable, State::Open { until }) => {
                let state = State::Open { until: until.min(now) };
                (Self { state, ..self }, Verdict::Noted)
            }
            (Event::Reachable, _) => (self, Verdict::Noted),

            (
                Event::Success { epoch } | Event::Failure { epoch } | Event::Abandoned { epoch },
                _,
            ) if epoch != self.epoch => (self, Verdict::Noted),
            (Event::Success { .. }, State::Closed { .. }) => {
                (Self { state: State::Closed { failures: 0 }, ..self }, Verdict::Noted)
            }
            (Event::Success { .. }, State::HalfOpen) => {
                (self.turn(State::Closed { failures: 0 }), Verdict::Noted)
            }
            (Event::Failure { .. }, State::Closed { failures }) => {
                let failures = failures.saturating_add(1);
                let next = if failures >= policy.failures {
                    self.turn(State::Open { until: now + policy.open_for })
                } else {
                    Self { state: State::Closed { failures }, ..self }
                };
                (next, Verdict::Noted)
            }
            (Event::Failure { .. }, State::HalfOpen) => {
                (self.turn(State::Open { until: now + policy.open_for }), Verdict::Noted)
            }
            // The probe's caller went away: the next call takes its place.
            (Event::Abandoned { .. }, State::HalfOpen) => {
                (self.turn(State::Open { until: now }), Verdict::Noted)
            }
            (Event::Abandoned { .. }, State::Closed { .. })
            | (
                Event::Success { .. } | Event::Failure { .. } | Event::Abandoned { .. },
                State::Open { .. },
            ) => (self, Verdict::Noted),
        }
    }

    fn turn(self, state: State) -> Self {
        Self { state, epoch: self.epoch + 1 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: BreakerPolicy = BreakerPolicy { failures: 3, open_for: Duration::from_secs(1) };

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::closed();
        for _ in 0..POLICY.failures {
            breaker = breaker.step(&POLICY, now, Event::Failure { epoch: breaker.epoch }).0;
        }
        assert_eq!(breaker.state, State::Open { until: now + POLICY.open_for });
        breaker
    }

    #[test]
    fn a_success_between_failures_starts_the_count_again() {
        let now = Instant::now();
        let mut breaker = Breaker::closed();
        for _ in 0..10 {
            breaker = breaker.step(&POLICY, now, Event::Failure { epoch: 0 }).0;
            breaker = breaker.step(&POLICY, now, Event::Failure { epoch: 0 }).0;
            breaker = breaker.step(&POLICY, now, Event::Success { epoch: 0 }).0;
        }
        assert_eq!(breaker, Breaker::closed());
    }

    #[test]
    fn an_open_breaker_refuses_until_its_time_and_then_admits_one() {
        let start = Instant::now();
        let breaker = opened(start);
        let early = start + Duration::from_millis(400);
        let (breaker, verdict) = breaker.step(&POLICY, early, Event::Call);
        assert_eq!(verdict, Verdict::Refuse { retry_in: Duration::from_millis(600) });

        let late = start + POLICY.open_for;
        let (breaker, verdict) = breaker.step(&POLICY, late, Event::Call);
        let Verdict::Admit { epoch, probe: true } = verdict else { panic!("{verdict:?}") };
        let (breaker, verdict) = breaker.step(&POLICY, late, Event::Call);
        assert_eq!(verdict, Verdict::Refuse { retry_in: Duration::ZERO });

        let failed = breaker.step(&POLICY, late, Event::Failure { epoch }).0;
        assert_eq!(failed.state, State::Open { until: late + POLICY.open_for });
        let succeeded = breaker.step(&POLICY, late, Event::Success { epoch }).0;
        assert_eq!(succeeded.state, State::Closed { failures: 0 });
    }

    #[test]
    fn an_abandoned_probe_gives_its_place_to_the_next_call() {
        let start = Instant::now();
        let late = start + POLICY.open_for;
        let (breaker, verdict) = opened(start).step(&POLICY, late, Event::Call);
        let Verdict::Admit { epoch, .. } = verdict else { panic!("{verdict:?}") };
        let breaker = breaker.step(&POLICY, late, Event::Abandoned { epoch }).0;
        let (_, verdict) = breaker.step(&POLICY, late, Event::Call);
        assert!(matches!(verdict, Verdict::Admit { probe: true, .. }));
    }

    #[test]
    fn a_new_connection_ends_the_waiting() {
        let now = Instant::now();
        let breaker = opened(now).step(&POLICY, now, Event::Reachable).0;
        let (_, verdict) = breaker.step(&POLICY, now, Event::Call);
        assert!(matches!(verdict, Verdict::Admit { probe: true, .. }));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Wait(u64),
        Call,
        Answer { index: usize, kind: u8 },
        Reachable,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0_u64..700).prop_map(Step::Wait),
            Just(Step::Call),
            (any::<usize>(), 0_u8..3).prop_map(|(index, kind)| Step::Answer { index, kind }),
            Just(Step::Reachable),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn never_more_than_one_probe_and_never_stuck(steps in steps()) {
            let mut now = Instant::now();
            let mut breaker = Breaker::closed();
            let mut out: Vec<(u64, bool)> = Vec::new();
            for step in steps {
                let event = match step {
                    Step::Wait(millis) => {
                        now += Duration::from_millis(millis);
                        continue;
                    }
                    Step::Call => Event::Call,
                    Step::Reachable => Event::Reachable,
                    Step::Answer { .. } if out.is_empty() => continue,
                    Step::Answer { index, kind } => {
                        let (epoch, _) = out.swap_remove(index % out.len());
                        match kind {
                            0 => Event::Success { epoch },
                            1 => Event::Failure { epoch },
                            _ => Event::Abandoned { epoch },
                        }
                    }
                };
                let before = breaker;
                let (after, verdict) = breaker.step(&POLICY, now, event);
                breaker = after;
                if let Verdict::Admit { epoch, probe } = verdict {
                    prop_assert_eq!(epoch, breaker.epoch);
                    prop_assert_eq!(probe, !matches!(before.state, State::Closed { .. }));
                    out.push((epoch, probe));
                }
                let probes = out.iter().filter(|(e, probe)| *probe && *e == breaker.epoch).count();
                prop_assert!(probes <= 1);
                match breaker.state {
                    State::Closed { failures } => prop_assert!(failures < POLICY.failures),
                    State::Open { until } => prop_assert!(until <= now + POLICY.open_for),
                    // Half-open only while the probe is out, so that its end always comes.
                    State::HalfOpen => prop_assert_eq!(probes, 1),
                }
                if before.state != breaker.state && before.epoch == breaker.epoch {
                    let same_kind = matches!(
                        (before.state, breaker.state),
                        (State::Closed { .. }, State::Closed { .. })
                            | (State::Open { .. }, State::Open { .. })
                    );
                    prop_assert!(same_kind, "{:?} to {:?}", before, breaker);
                }
            }
        }
    }
}
