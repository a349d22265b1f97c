//! What is stored of a key that counts: a version byte, and its state in postcard's wire format.

use larder_core::Timestamp;
use larder_core::rate_limit::KeyState;
use larder_core::rate_limit::rule::{Concurrency, FixedWindow, Gcra, Lease, SlidingWindow, State};
use serde::{Deserialize, Serialize};

use crate::error::Failure;

const VERSION: u8 = 1;

/// Times are microseconds since the UNIX epoch.
#[derive(Serialize, Deserialize)]
struct Row<'a> {
    blocked_until: Option<u64>,
    #[serde(borrow)]
    counts: Vec<Counted<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Counted<'a> {
    quota: &'a str,
    until: u64,
    state: Form,
}

#[derive(Serialize, Deserialize)]
enum Form {
    FixedWindow { count: u64, ends: u64 },
    SlidingWindow { started: u64, current: u64, previous: u64 },
    Gcra { full_at: u64, fraction: u64 },
    Concurrency(Vec<Held>),
}

#[derive(Serialize, Deserialize)]
struct Held {
    number: u64,
    cost: u64,
    until: u64,
}

pub(crate) fn encode(state: &KeyState) -> Result<Vec<u8>, Failure> {
    let counts = state.counts().map(|(quota, state, until)| {
        Ok(Counted { quota, until: until.as_micros(), state: form(state)? })
    });
    let row = Row {
        blocked_until: state.blocked_until().map(Timestamp::as_micros),
        counts: counts.collect::<Result<_, Failure>>()?,
    };
    postcard::to_extend(&row, vec![VERSION]).map_err(|error| Failure::new(error.to_string()))
}

pub(crate) fn decode(bytes: &[u8]) -> Result<KeyState, Failure> {
    let unreadable = |why: &str| {
        Failure::new(format!(
            "what is kept of the key cannot be read ({why}); it is forgotten when its time is over"
        ))
    };
    let row = match bytes {
        [VERSION, row @ ..] => {
            postcard::from_bytes::<Row<'_>>(row).map_err(|error| unreadable(&error.to_string()))?
        }
        [other, ..] => return Err(unreadable(&format!("it is of version {other}"))),
        [] => return Err(unreadable("it is empty")),
    };
    let counts = row.counts.into_iter().map(|counted| {
        (counted.quota.to_owned(), state(counted.state), Timestamp::from_micros(counted.until))
    });
    Ok(KeyState::restore(row.blocked_until.map(Timestamp::from_micros), counts))
}

fn form(state: &State) -> Result<Form, Failure> {
    Ok(match state {
        State::FixedWindow(FixedWindow { count, ends }) => {
            Form::FixedWindow { count: *count, ends: ends.as_micros() }
        }
        State::SlidingWindow(SlidingWindow { started, current, previous }) => Form::SlidingWindow {
            started: started.as_micros(),
            current: *current,
            previous: *previous,
        },
        State::Gcra(Gcra { full_at, fraction }) => {
            Form::Gcra { full_at: full_at.as_micros(), fraction: *fraction }
        }
        State::Concurrency(Concurrency { leases }) => {
            let held =
                |it: &Lease| Held { number: it.number, cost: it.cost, until: it.until.as_micros() };
            Form::Concurrency(leases.iter().map(held).collect())
        }
        other => return Err(Failure::new(format!("larder-kv cannot store {other:?} yet"))),
    })
}

fn state(form: Form) -> State {
    let at = Timestamp::from_micros;
    match form {
        Form::FixedWindow { count, ends } => {
            State::FixedWindow(FixedWindow { count, ends: at(ends) })
        }
        Form::SlidingWindow { started, current, previous } => {
            State::SlidingWindow(SlidingWindow { started: at(started), current, previous })
        }
        Form::Gcra { full_at, fraction } => State::Gcra(Gcra { full_at: at(full_at), fraction }),
        Form::Concurrency(held) => {
            let lease = |it: Held| Lease { number: it.number, cost: it.cost, until: at(it.until) };
            State::Concurrency(Concurrency { leases: held.into_iter().map(lease).collect() })
        }
    }
}

#[cfg(test)]
mod tests {
    use larder_core::rate_limit::Check;
    use larder_core::{Quota, seconds};

    use super::*;

    /// A state of every rule, blocked too.
    fn state_of_all() -> KeyState {
        let at = Timestamp::from_micros;
        let quotas = [
            Quota::new(9, seconds(1)).named("f"),
            Quota::new(9, seconds(1)).sliding_window().named("s"),
            Quota::new(7, seconds(1)).burst(9).named("g"),
            Quota::concurrent(9, seconds(1)).named("c"),
        ];
        let mut state = KeyState::default();
        state.check(at(300), &Check::new("a", &quotas).cost(2).lease(u64::MAX));
        state.block(at(300), seconds(2));
        state
    }

    /// Earlier versions have stored these bytes.
    #[test]
    fn version_1_is_fixed() {
        let bytes = encode(&state_of_all()).unwrap();
        let expected = [
            &b"\x01\x01\xAC\x8B\x7A\x04"[..],
            b"\x01f\xEC\x86\x3D\0\x02\xEC\x86\x3D",
            b"\x01s\xAC\x8B\x7A\x01\xAC\x02\x02\0",
            b"\x01g\xBF\xBA\x11\x02\xBE\xBA\x11\x02",
            b"\x01c\xEC\x86\x3D\x03\x01",
            b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01\x02\xEC\x86\x3D",
        ];
        assert_eq!(bytes, expected.concat());
        assert_eq!(decode(&bytes).unwrap(), state_of_all());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let whole = encode(&state_of_all()).unwrap();
        for length in 0..whole.len() {
            let error = decode(&whole[..length]).unwrap_err();
            assert!(error.message.contains("cannot be read"), "{error}");
        }
        let error = decode(b"\x02").unwrap_err();
        assert!(error.message.contains("version 2"), "{error}");
    }
}
