//! What an object says and keeps, on a real SQLite database, beside the pure function.

use larder_core::rate_limit::rule::Verdict;
use larder_core::rate_limit::{Check, KeyState, Reason};
use larder_core::{Quota, Timestamp, millis};
use proptest::prelude::*;

use super::super::engine::{Engine, Swept};
use super::super::protocol::{Reply, Request};
use super::super::tests::{NOW, Sqlite, ask, engine};
use super::message::{Ask, Limit, Said, micros};

fn limits(quotas: &[Quota]) -> Vec<Limit<'_>> {
    quotas.iter().map(|quota| Limit::of(quota).unwrap()).collect()
}

/// What is said to a check: the verdicts, or for how long the key is blocked.
fn check(engine: &Engine<Sqlite>, now: u64, check: &Check<'_>) -> Result<Vec<Said>, u64> {
    let Check { key, cost, lease, takes, .. } = *check;
    let asked = Ask::Check { key, quotas: limits(check.quotas), cost, lease, takes };
    ask(engine, now, &Request::Limits(asked), |reply| match reply {
        Reply::Verdicts(said) => Ok(said),
        Reply::Blocked(left) => Err(left),
        other => panic!("{other:?}"),
    })
}

fn change(engine: &Engine<Sqlite>, now: u64, asked: Ask<'_>) {
    ask(engine, now, &Request::Limits(asked), |reply| assert_eq!(reply, Reply::Done));
}

fn quotas_of_all() -> [Quota; 4] {
    [
        Quota::new(3, millis(40)).named("fixed"),
        Quota::new(4, millis(30)).sliding_window().named("sliding"),
        Quota::new(7, millis(50)).burst(5).named("gcra"),
        Quota::concurrent(4, millis(70)),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    Check { quotas: Vec<usize>, cost: u64, takes: bool },
    Refund { quotas: Vec<usize>, cost: u64 },
    Release { quotas: Vec<usize>, lease: u64 },
    Reset { quotas: Vec<usize> },
    Block { millis: u64 },
    Sweep,
    Forward { millis: u64 },
    Back { millis: u64 },
}

fn some() -> impl Strategy<Value = Vec<usize>> {
    prop::sample::subsequence(vec![0, 1, 2, 3], 0..=4)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        16 => (some(), 0..4_u64, prop::bool::weighted(0.9))
            .prop_map(|(quotas, cost, takes)| Step::Check { quotas, cost, takes }),
        2 => (some(), 0..4_u64).prop_map(|(quotas, cost)| Step::Refund { quotas, cost }),
        3 => (some(), 0..40_u64).prop_map(|(quotas, lease)| Step::Release { quotas, lease }),
        1 => some().prop_map(|quotas| Step::Reset { quotas }),
        1 => (0..60_u64).prop_map(|millis| Step::Block { millis }),
        1 => Just(Step::Sweep),
        1 => (10_000..30_000_u64).prop_map(|millis| Step::Forward { millis }),
        8 => (0..25_u64).prop_map(|millis| Step::Forward { millis }),
        1 => (0..200_u64).prop_map(|millis| Step::Forward { millis }),
        1 => (0..200_u64).prop_map(|millis| Step::Back { millis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn an_object_says_what_the_pure_function_says(steps in prop::collection::vec(step(), 1..60)) {
        let (engine, of_all) = (engine(), quotas_of_all());
        let (mut model, mut now) = (KeyState::default(), NOW);
        for (number, step) in (0..).zip(steps) {
            let time = Timestamp::from_millis(now);
            let is_touched = !matches!(step, Step::Forward { .. } | Step::Back { .. } | Step::Sweep);
            let chosen = |of: &[usize]| of.iter().map(|at| of_all[*at].clone()).collect::<Vec<_>>();
            match step {
                Step::Check { quotas, cost, takes } => {
                    let quotas = chosen(&quotas);
                    let mut asked = Check::new("a", &quotas).cost(cost).lease(number);
                    asked.takes = takes;
                    let wanted = model.check(time, &asked);
                    let said = check(&engine, now, &asked);
                    if wanted.reason() == Reason::Blocked {
                        prop_assert_eq!(said, Err(micros(wanted.retry_after().unwrap())));
                    } else {
                        let said = said.map_err(|_| TestCaseError::fail("it is blocked"))?;
                        let decision = asked.decision(|quota| {
                            let at = quotas.iter().position(|it| it == quota).unwrap();
                            said[at].verdict(quota)
                        });
                        prop_assert_eq!(decision, wanted);
                    }
                }
                Step::Refund { quotas, cost } => {
                    let quotas = chosen(&quotas);
                    model.refund(time, &quotas, cost);
                    change(&engine, now, Ask::Refund { key: "a", quotas: limits(&quotas), cost });
                }
                Step::Release { quotas, lease } => {
                    let quotas = chosen(&quotas);
                    model.release(time, &quotas, lease);
                    change(&engine, now, Ask::Release { key: "a", quotas: limits(&quotas), lease });
                }
                Step::Reset { quotas } => {
                    let quotas = chosen(&quotas);
                    model.reset(&quotas);
                    change(&engine, now, Ask::Reset { key: "a", quotas: limits(&quotas) });
                }
                Step::Block { millis: of } => {
                    model.block(time, millis(of));
                    change(&engine, now, Ask::Block { key: "a", micros: of * 1_000 });
                }
                Step::Sweep => {
                    engine.sweep(now, 10).unwrap();
                    if engine.rows().unwrap() == 0 {
                        prop_assert!(model.forgotten_at() <= time, "swept before its time");
                        model = KeyState::default();
                    }
                }
                Step::Forward { millis } => now += millis,
                Step::Back { millis } => now -= millis,
            }
            if is_touched {
                let is_kept = model.forgotten_at() > time;
                if !is_kept {
                    // As every store may.
                    model = KeyState::default();
                }
                prop_assert_eq!(engine.rows().unwrap(), u64::from(is_kept));
            }
        }
    }
}

#[test]
fn a_row_says_when_it_is_over_and_goes_then() {
    let engine = engine();
    let quotas = [Quota::new(1, millis(700)), Quota::new(5, millis(300))];
    let message = |asked| super::super::protocol::encode(&Request::Limits(asked)).unwrap();
    let asked = |takes| {
        let quotas = limits(&quotas);
        message(Ask::Check { key: "a", quotas, cost: 1, lease: 0, takes })
    };
    assert_eq!(engine.handle(&asked(false), NOW).expires, None);
    assert_eq!(engine.rows().unwrap(), 0, "a peek leaves something");
    // In steps of ten seconds: the index does not change with every check.
    assert_eq!(engine.handle(&asked(true), NOW).expires, Some(NOW + 10_000));
    // A refusal, which writes nothing, sees to the alarm all the same.
    assert_eq!(engine.handle(&asked(true), NOW + 5).expires, Some(NOW + 10_000));
    let swept = engine.sweep(NOW + 9_999, 10).unwrap();
    assert_eq!(swept, Swept { is_partial: false, expires: Some(NOW + 10_000) });
    let swept = engine.sweep(NOW + 10_000, 10).unwrap();
    assert_eq!((swept.expires, engine.rows().unwrap()), (None, 0));
    let block = message(Ask::Block { key: "a", micros: u64::MAX });
    assert_eq!(engine.handle(&block, NOW).expires, Some((1 << 53) - 1));
    let unblock = message(Ask::Block { key: "a", micros: 0 });
    assert_eq!(engine.handle(&unblock, NOW).expires, None);
    assert_eq!(engine.rows().unwrap(), 0);
}

#[test]
fn counts_are_apart_from_entries() {
    let engine = engine();
    let quotas = [Quota::new(2, millis(700))];
    let first = check(&engine, NOW, &Check::new("a", &quotas)).unwrap();
    let left = Verdict::allowed(2, 1, millis(700));
    assert_eq!(first, [Said::of(&left)]);
    ask(&engine, NOW, &Request::Remove(vec!["a"]), |reply| assert_eq!(reply, Reply::Count(0)));
    assert!(check(&engine, NOW, &Check::new("a", &quotas).cost(2)).is_ok());
    assert_eq!(engine.rows().unwrap(), 1);
}
