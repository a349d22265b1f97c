//! The rules against slow models that know every request that was ever allowed.

use proptest::prelude::*;

use super::{Request, State, check, peek, refund, release};
use crate::rate_limit::{Quota, Rule};
use crate::runtime::test;
use crate::time::Timestamp;

use std::time::Duration;

/// What was allowed, and when by a clock that only goes forward.
#[derive(Debug, Clone, Copy)]
struct Allowed {
    at: u64,
    cost: u64,
    lease: u64,
    released: bool,
}

/// What happens to a key.
#[derive(Debug, Clone, Copy)]
enum Step {
    Check {
        cost: u64,
    },
    /// Ends one of the leases that were ever taken.
    Release {
        index: usize,
    },
    Forward {
        micros: u64,
    },
    Back {
        micros: u64,
    },
}

fn forward() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => 0..1_500_u64,
        1 => 0..12_000_u64,
        1 => Just(1_000_u64),
    ]
    .prop_map(|micros| Step::Forward { micros })
}

fn steady() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6_u64).prop_map(|cost| Step::Check { cost }),
        1 => (0..20_usize).prop_map(|index| Step::Release { index }),
        5 => forward(),
    ]
}

fn hostile() -> impl Strategy<Value = Step> {
    prop_oneof![8 => steady(), 1 => (0..20_000_u64).prop_map(|micros| Step::Back { micros })]
}

fn quota(rule: Rule) -> impl Strategy<Value = Quota> {
    let window = prop_oneof![Just(1_000_u64), 1_000..5_000_u64].prop_map(Duration::from_micros);
    (0..9_u64, 0..12_u64, window).prop_map(move |(limit, burst, window)| {
        let quota = Quota::new(limit, window);
        match rule {
            Rule::FixedWindow => quota,
            Rule::SlidingWindow => quota.sliding_window(),
            Rule::Gcra => quota.burst(burst),
            Rule::Concurrency => Quota::concurrent(limit, window),
        }
    })
}

fn any_quota() -> impl Strategy<Value = Quota> {
    prop_oneof![
        quota(Rule::FixedWindow),
        quota(Rule::SlidingWindow),
        quota(Rule::Gcra),
        quota(Rule::Concurrency),
    ]
}

/// Long before which a state can have been written, so that clocks can go back.
const START: u64 = 1_000_000;

fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros)
}

/// Plays `steps`, and has `look` judge every check: what was allowed before it, the time by a clock
/// that only goes forward, its cost, and whether it was allowed.
fn play(
    quota: &Quota,
    steps: &[Step],
    mut look: impl FnMut(&[Allowed], u64, u64, bool) -> Result<(), TestCaseError>,
) -> Result<Vec<Allowed>, TestCaseError> {
    let (mut clock, mut steady) = (START, START);
    let (mut state, mut allowed) = (None::<State>, Vec::<Allowed>::new());
    for (number, step) in (1..).zip(steps) {
        match *step {
            Step::Check { cost } => {
                let request = Request::costing(cost).lease(number);
                let before = state.clone();
                let (verdict, after) = check(before.as_ref(), at(clock), request, quota);
                truthful(after.as_ref(), clock, quota)?;
                let looked = peek(before.as_ref(), at(clock), cost, quota);
                prop_assert_eq!(looked.allowed, verdict.allowed);
                prop_assert_eq!(looked.retry_after, verdict.retry_after);
                let taken = if verdict.allowed { cost } else { 0 };
                prop_assert_eq!(verdict.remaining, looked.remaining - taken);
                if taken == 0 {
                    prop_assert_eq!(verdict, looked, "what takes nothing changes nothing");
                    let again = check(after.as_ref(), at(clock), request, quota);
                    prop_assert_eq!(&again, &(verdict, after.clone()));
                }
                look(&allowed, steady, cost, verdict.allowed)?;
                if taken > 0 {
                    allowed.push(Allowed { at: steady, cost, lease: number, released: false });
                }
                state = after;
            }
            Step::Release { index } => {
                if let Some(taken) = allowed.get_mut(index) {
                    taken.released = true;
                    state = release(state.as_ref(), at(clock), taken.lease, quota);
                }
            }
            Step::Forward { micros } => {
                clock += micros;
                steady += micros;
            }
            Step::Back { micros } => clock = clock.saturating_sub(micros),
        }
    }
    Ok(allowed)
}

/// What `peek` says of waiting and of the reset comes true at that very microsecond.
fn truthful(state: Option<&State>, clock: u64, quota: &Quota) -> Result<(), TestCaseError> {
    let after = |wait: Duration| at(clock) + wait;
    for cost in 0..quota.capacity() + 2 {
        let said = peek(state, at(clock), cost, quota);
        prop_assert!(said.remaining <= said.limit);
        prop_assert_eq!(said.allowed, cost <= said.remaining, "a cost of {}: {:?}", cost, said);
        if let Some(wait) = said.retry_after {
            prop_assert!(!wait.is_zero());
            let just_before = wait - Duration::from_micros(1);
            prop_assert!(peek(state, after(wait), cost, quota).allowed, "{:?}", said);
            prop_assert!(!peek(state, after(just_before), cost, quota).allowed, "{:?}", said);
        } else {
            prop_assert_eq!(said.allowed, cost <= said.limit, "without a wait");
        }
        let reset = said.reset;
        prop_assert_eq!(peek(state, after(reset), 0, quota).remaining, said.limit);
        if !reset.is_zero() {
            let just_before = peek(state, after(reset - Duration::from_micros(1)), 0, quota);
            prop_assert!(just_before.remaining < said.limit || said.limit == 0, "{:?}", said);
        }
        prop_assert!(reset <= longest_reset(quota), "{:?}", said);
    }
    Ok(())
}

fn longest_reset(quota: &Quota) -> Duration {
    match quota.rule() {
        Rule::SlidingWindow => quota.window() * 2,
        Rule::Gcra => {
            let parts = quota.capacity() * quota.window_micros();
            Duration::from_micros(parts.div_ceil(quota.limit().max(1)))
        }
        _ => quota.window(),
    }
}

fn total<'a>(allowed: impl IntoIterator<Item = &'a Allowed>) -> u64 {
    allowed.into_iter().map(|it| it.cost).sum()
}

/// What was allowed in the window at hand, which began with the first request after the last one.
fn in_fixed_window(allowed: &[Allowed], now: u64, window: u64) -> u64 {
    let mut start = None;
    for it in allowed {
        if start.is_none_or(|start| it.at >= start + window) {
            start = Some(it.at);
        }
    }
    let start = start.filter(|start| now < start + window).unwrap_or(now);
    total(allowed.iter().filter(|it| it.at >= start))
}

/// When the sliding window at hand began: windows follow on each other while there are requests.
fn sliding_start(allowed: &[Allowed], now: u64, window: u64) -> u64 {
    let mut start = None;
    for time in allowed.iter().map(|it| it.at).chain([now]) {
        let in_last = |start: u64| allowed.iter().any(|it| it.at >= start && it.at < time);
        start = match start {
            Some(start) if time < start + window => Some(start),
            Some(start) if time < start + 2 * window && in_last(start) => Some(start + window),
            _ => Some(time),
        };
    }
    start.unwrap_or(now)
}

/// Whether a model that remembers everything would allow it.
fn model_allows(quota: &Quota, allowed: &[Allowed], now: u64, cost: u64) -> bool {
    let (limit, window) = (quota.capacity(), quota.window_micros());
    if cost == 0 {
        return true;
    }
    match quota.rule() {
        Rule::FixedWindow => in_fixed_window(allowed, now, window) + cost <= limit,
        Rule::SlidingWindow => {
            let start = sliding_start(allowed, now, window);
            let current = total(allowed.iter().filter(|it| it.at >= start));
            let previous =
                total(allowed.iter().filter(|it| it.at < start && it.at + window >= start));
            previous * (window - (now - start)) + (current + cost) * window <= limit * window
        }
        Rule::Gcra => {
            let mut sum = cost;
            let fits = |sum: u64, since: u64| {
                sum * window <= limit * window + (now - since) * quota.limit()
            };
            fits(sum, now)
                && allowed.iter().rev().all(|it| {
                    sum += it.cost;
                    fits(sum, it.at)
                })
        }
        Rule::Concurrency => {
            let held = allowed.iter().filter(|it| !it.released && now < it.at + window);
            total(held) + cost <= limit
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_rule_allows_what_its_model_allows(
        quota in any_quota(),
        steps in prop::collection::vec(steady(), 1..80),
    ) {
        play(&quota, &steps, |before, now, cost, allowed| {
            prop_assert_eq!(allowed, model_allows(&quota, before, now, cost), "a cost of {}", cost);
            Ok(())
        })?;
    }

    #[test]
    fn a_clock_that_goes_back_lets_nothing_more_through(
        quota in any_quota(),
        steps in prop::collection::vec(hostile(), 1..80),
    ) {
        let (window, capacity) = (quota.window_micros(), quota.capacity());
        let allowed = play(&quota, &steps, |before, now, cost, allowed| {
            if matches!(quota.rule(), Rule::Gcra | Rule::Concurrency) && allowed {
                prop_assert!(model_allows(&quota, before, now, cost));
            }
            Ok(())
        })?;
        if matches!(quota.rule(), Rule::FixedWindow | Rule::SlidingWindow) {
            for first in &allowed {
                let within = allowed.iter().filter(|it| (first.at..first.at + window).contains(&it.at));
                prop_assert!(total(within) <= 2 * capacity);
            }
        }
    }

    #[test]
    fn a_refund_gives_back_no_more_than_what_counts(
        quota in any_quota(),
        steps in prop::collection::vec((0..5_u64, 0..6_u64, 0..900_u64), 1..40),
    ) {
        let (mut clock, mut state) = (START, None);
        for (cost, back, pause) in steps {
            state = check(state.as_ref(), at(clock), Request::costing(cost), &quota).1;
            clock += pause;
            let before = peek(state.as_ref(), at(clock), 0, &quota);
            state = refund(state.as_ref(), at(clock), back, &quota);
            let after = peek(state.as_ref(), at(clock), 0, &quota);
            truthful(state.as_ref(), clock, &quota)?;
            match quota.rule() {
                Rule::Concurrency => prop_assert_eq!(after, before),
                // What fades is rounded up, so that it may give back less by one.
                _ => {
                    let most = (before.remaining + back).min(after.limit);
                    prop_assert!((before.remaining..=most).contains(&after.remaining));
                    let is_whole = quota.rule() != Rule::SlidingWindow;
                    prop_assert!(!is_whole || after.remaining == most);
                }
            }
        }
    }

    /// What another quota, or a damaged store, may have left.
    #[test]
    fn any_state_is_taken_as_it_is(
        left in any_quota(),
        then in any_quota(),
        costs in prop::collection::vec((0..6_u64, 0..2_000_u64), 0..20),
        numbers in any::<[u64; 3]>(),
    ) {
        let [a, b, c] = numbers;
        let mut states = vec![
            Some(State::FixedWindow(super::FixedWindow { count: a, ends: at(b) })),
            Some(State::SlidingWindow(super::SlidingWindow {
                started: at(a), current: b, previous: c,
            })),
            Some(State::Gcra(super::Gcra { full_at: at(a), fraction: b })),
        ];
        let (mut clock, mut state) = (START, None);
        for (cost, pause) in costs {
            state = check(state.as_ref(), at(clock), Request::costing(cost), &left).1;
            clock += pause;
        }
        states.push(state);
        for state in states {
            let (_, settled) = check(state.as_ref(), at(clock), Request::costing(1), &then);
            truthful(settled.as_ref(), clock, &then)?;
        }
    }
}

#[test]
fn rates_that_do_not_divide_the_second_do_not_drift() {
    // 7 a second, asked for a thousand seconds as fast as it allows: 2 + 7,000 requests. With a
    // burst of 1 the part of a microsecond until a request can come would be lost.
    let quota = Quota::per_second(7).burst(2);
    let (mut clock, mut state, mut allowed) = (START, None, 0_u64);
    while clock <= START + 1_000_000_000 {
        let (verdict, after) = check(state.as_ref(), at(clock), Request::costing(1), &quota);
        allowed += u64::from(verdict.allowed);
        state = after;
        let wait = peek(state.as_ref(), at(clock), 1, &quota).retry_after.unwrap_or_default();
        let wait = u64::try_from(wait.as_micros()).unwrap();
        assert!(wait > 0 || verdict.allowed, "refused without a wait");
        clock += wait;
    }
    assert_eq!(allowed, 7_002);
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let rules: [fn(Quota) -> Quota; 3] =
        [|quota| quota, Quota::sliding_window, |quota| quota.burst(u64::MAX)];
    for of in rules {
        for window in [Duration::ZERO, Duration::MAX] {
            let quota = of(Quota::new(u64::MAX, window));
            for now in [0, u64::MAX] {
                let request = Request::costing(u64::MAX);
                let (first, state) = check(None, at(now), request, &quota);
                assert!(first.allowed, "{quota:?}");
                let (second, state) = check(state.as_ref(), at(now), request, &quota);
                assert!(!second.allowed || now == u64::MAX, "{quota:?} {second:?}");
                drop(refund(state.as_ref(), at(now), u64::MAX, &quota));
            }
        }
    }
}
