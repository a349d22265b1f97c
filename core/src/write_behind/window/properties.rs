//! What holds of a window, whatever it is given and whatever comes of its batches.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::runtime::test;
use crate::time::{millis, seconds};

const START: Timestamp = Timestamp::from_millis(1_000_000);

fn rules() -> Rules {
    Rules {
        batch: 8,
        linger: millis(20),
        attempts: 3,
        backoff: Backoff { first: millis(100), cap: seconds(5) },
        keys: 100,
        bytes: 1 << 20,
    }
}

fn write(number: u64, key: u8) -> Journaled {
    let value = Bytes::from(number.to_string());
    Journaled::new(Sequence::from_number(number), format!("key{key}"), value)
}

/// What the sink does with each write of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sink {
    Saves,
    /// Fails the whole batch that a write of these keys is in.
    FailsWith {
        poison: u8,
        is_permanent: bool,
    },
    Rejects(u8),
    IsDown,
}

fn sinks() -> impl Strategy<Value = Sink> {
    prop_oneof![
        3 => Just(Sink::Saves),
        2 => (0..8_u8, any::<bool>())
            .prop_map(|(poison, is_permanent)| Sink::FailsWith { poison, is_permanent }),
        1 => (0..8_u8).prop_map(Sink::Rejects),
        1 => Just(Sink::IsDown),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    Admit(u8),
    /// A dead letter of this key that is to be tried again: older than all that are not.
    Replay(u8),
    Wait(u64),
    Send(Sink, f64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..8_u8).prop_map(Step::Admit),
        1 => (0..8_u8).prop_map(Step::Replay),
        2 => (0..6_000_u64).prop_map(Step::Wait),
        5 => (sinks(), 0.0..1.0).prop_map(|(sink, spread)| Step::Send(sink, spread)),
    ];
    prop::collection::vec(step, 0..120)
}

/// A window, and what is known of it from outside.
struct Subject {
    window: Window,
    now: Timestamp,
    next: u64,
    next_replay: u64,
    /// What is not settled, by key.
    open: BTreeMap<String, BTreeSet<Sequence>>,
    /// The newest that was settled of each key.
    settled: BTreeMap<String, Sequence>,
    saved: u64,
    dead: Vec<String>,
    sent: u64,
}

impl Subject {
    fn new() -> Self {
        Self {
            window: Window::new(rules()),
            now: START,
            next: 1_000_000,
            next_replay: 1,
            open: BTreeMap::new(),
            settled: BTreeMap::new(),
            saved: 0,
            dead: Vec::new(),
            sent: 0,
        }
    }

    fn admit(&mut self, key: u8, is_replay: bool) {
        let number = if is_replay { &mut self.next_replay } else { &mut self.next };
        *number += 1;
        let write = write(*number, key);
        // The journal drops a dead letter where a later write of its key was saved.
        if self.settled.get(&write.key).is_some_and(|settled| *settled > write.sequence) {
            return;
        }
        self.open.entry(write.key.clone()).or_default().insert(write.sequence);
        self.window.admit(self.now, write);
    }

    /// One turn; whether a batch was sent.
    fn turn(&mut self, sink: Sink, spread: f64, hurries: bool) -> Result<bool, TestCaseError> {
        let batch = match self.window.next(self.now, hurries) {
            Next::Save(batch) => batch,
            Next::Wait(at) => {
                prop_assert!(at > self.now, "it waits for the past");
                prop_assert!(!self.open.is_empty());
                return Ok(false);
            }
            Next::Idle => {
                prop_assert!(self.open.is_empty(), "it forgot {:?}", self.open);
                return Ok(false);
            }
        };
        self.sent += 1;
        let writes = batch.writes();
        prop_assert!(!writes.is_empty() && writes.len() <= rules().batch);
        for write in &writes {
            let open = &self.open[&*write.key];
            prop_assert_eq!(Some(&write.sequence), open.last(), "not the newest of its key");
            prop_assert_eq!(write.covers + 1, open.len());
            let value = write.sequence.to_string();
            prop_assert_eq!(&write.value[..], value.as_bytes());
        }
        let keys: BTreeSet<_> = writes.iter().map(|write| &write.key).collect();
        prop_assert_eq!(keys.len(), writes.len(), "a key is in the batch twice");

        let outcome = outcome(sink, &writes);
        let conclusion = self.window.conclude(self.now, self.now, batch, outcome, spread);
        prop_assert_eq!(conclusion.settled.len() + conclusion.failed, writes.len());
        for settled in conclusion.settled {
            let open = self.open.remove(&settled.key).unwrap_or_default();
            let sequences: BTreeSet<_> = settled.sequences.iter().copied().collect();
            prop_assert_eq!(sequences, open, "settled what is not open");
            prop_assert!(settled.sequences.is_sorted());
            let newest = settled.newest().unwrap();
            let before = self.settled.insert(settled.key.clone(), newest);
            prop_assert!(before < Some(newest), "an older write after a later one");
            match settled.death {
                Some(_) => self.dead.push(settled.key),
                None => self.saved += 1,
            }
        }
        Ok(true)
    }

    /// Lets the time pass that the window asks for, until nothing is open or `turns` are over.
    fn run(&mut self, sink: Sink, turns: usize) -> Result<(), TestCaseError> {
        for _ in 0..turns {
            if !self.turn(sink, 0.5, true)? {
                match self.window.next(self.now, true) {
                    Next::Wait(at) => self.now = at,
                    _ => return Ok(()),
                }
            }
        }
        Ok(())
    }
}

fn outcome(sink: Sink, writes: &[Unsaved]) -> Outcome {
    let place = |key: u8| writes.iter().position(|write| *write.key == *format!("key{key}"));
    let failed = |is_permanent| Err(Failure { is_permanent, reason: "on purpose".into() });
    let (mut rejected, mut rest) = (Vec::new(), Ok(()));
    match sink {
        Sink::Saves => {}
        Sink::IsDown => rest = failed(false),
        Sink::FailsWith { poison, is_permanent } if place(poison).is_some() => {
            rest = failed(is_permanent);
        }
        Sink::FailsWith { .. } => {}
        Sink::Rejects(key) => rejected.extend(place(key).map(|at| (at, "rejected".into()))),
    }
    Outcome { rejected, rest }
}

proptest! {
    #[test]
    fn nothing_is_lost_and_nothing_goes_back(steps in steps()) {
        let mut it = Subject::new();
        for step in steps {
            match step {
                Step::Admit(key) => it.admit(key, false),
                Step::Replay(key) => it.admit(key, true),
                Step::Wait(time) => it.now = it.now + millis(time),
                Step::Send(sink, spread) => drop(it.turn(sink, spread, false)?),
            }
        }
        it.run(Sink::Saves, 1_000)?;
        prop_assert!(it.open.is_empty(), "never saved: {:?}", it.open);
    }

    #[test]
    fn a_poison_write_dies_alone(
        keys in prop::collection::vec(0..40_u8, 1..60),
        poison in 0..40_u8,
        is_permanent in any::<bool>(),
    ) {
        let mut it = Subject::new();
        it.admit(poison, false);
        for key in keys {
            it.admit(key, false);
        }
        // Others come all the time, so that the sink is known to work.
        for turn in 0..300 {
            it.admit(100 + (turn % 20) as u8, false);
            it.turn(Sink::FailsWith { poison, is_permanent }, 0.0, true)?;
            it.now = it.now + millis(100);
        }
        prop_assert_eq!(&it.dead, &[format!("key{poison}")]);
        it.run(Sink::Saves, 1_000)?;
        prop_assert_eq!(it.dead.len(), 1);
    }

    #[test]
    fn a_sink_that_is_down_kills_nothing_and_is_asked_less_and_less(keys in 1..30_u8) {
        let mut it = Subject::new();
        (0..keys).for_each(|key| it.admit(key, false));
        let end = START + seconds(600);
        while it.now < end {
            it.run(Sink::IsDown, 1)?;
        }
        prop_assert!(it.dead.is_empty());
        // Waits of up to five seconds, less half of that by chance.
        prop_assert!(it.sent <= 10 + 600 / 2, "asked {} times", it.sent);
        it.run(Sink::Saves, 2_000)?;
        prop_assert_eq!(it.saved, u64::from(keys));
    }

    #[test]
    fn a_hot_key_goes_out_once_a_linger(writes in 1..200_u64) {
        let mut it = Subject::new();
        for _ in 0..writes {
            it.admit(1, false);
            it.turn(Sink::Saves, 0.0, false)?;
            it.now = it.now + millis(1);
        }
        prop_assert!(it.sent <= writes / 20 + 1, "sent {} times", it.sent);
        it.run(Sink::Saves, 10)?;
        prop_assert!(it.open.is_empty());
    }

    #[test]
    fn waits_grow_to_their_cap_and_spread(failures in 1..100_u32, spread in 0.0..1.0) {
        let backoff = rules().backoff;
        let wait = backoff.after(failures, spread);
        prop_assert!(wait >= millis(50) && wait <= backoff.cap);
        prop_assert!(backoff.after(failures, 0.0) <= wait && wait <= backoff.after(failures, 1.0));
        prop_assert!(wait <= backoff.after(failures + 1, spread));
    }
}

#[test]
fn a_write_dies_by_failures_that_count_only() {
    let mut it = Subject::new();
    let poison = Sink::FailsWith { poison: 1, is_permanent: false };
    it.admit(1, false);
    it.run(poison, 50).unwrap();
    assert!(it.dead.is_empty(), "it died while nothing was saved");
    // Failing together with another tells nothing of either.
    for _ in 0..rules().attempts {
        assert!(it.dead.is_empty());
        it.admit(2, false);
        it.run(Sink::FailsWith { poison: 1, is_permanent: false }, 4).unwrap();
    }
    assert_eq!(it.dead, ["key1"]);
}

#[test]
fn who_fails_waits_for_all_that_and_newer_writes_wait_with_it() {
    let mut it = Subject::new();
    let poison = Sink::FailsWith { poison: 1, is_permanent: false };
    it.admit(1, false);
    assert!(it.turn(poison, 1.0, true).unwrap());
    it.admit(1, false);
    it.now = it.now + millis(99);
    assert!(!it.turn(poison, 1.0, true).unwrap(), "the newer write went out at once");
    it.now = it.now + millis(1);
    assert!(it.turn(Sink::Saves, 1.0, true).unwrap());
    assert_eq!((it.saved, it.sent), (1, 2));
}

#[test]
fn a_window_that_is_full_reads_no_more() {
    let mut window = Window::new(Rules { keys: 2, bytes: 10, ..rules() });
    window.admit(START, write(1, 1));
    assert!(!window.room().is_full());
    window.admit(START, write(2, 2));
    assert!(window.room().is_full());
    let Next::Save(batch) = window.next(START, true) else { panic!("nothing to save") };
    assert!(!window.room().is_full());
    window.conclude(START, START, batch, Outcome::failed("on purpose"), 0.0);
    assert!(window.room().is_full());
}
