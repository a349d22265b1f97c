//! The engine on a real SQLite database.

use rusqlite::types::{Value as Held, ValueRef};
use rusqlite::{Connection, params_from_iter};
use serde_bytes::Bytes;

use super::engine::{Database, Engine, Swept, Value, next_sweep};
use super::protocol::{self, Put, Reply, Request};
use super::{BATCH_BYTES, BATCH_KEYS};
use crate::error::Failure;

pub(super) struct Sqlite(Connection);

impl Database for Sqlite {
    fn run(&self, statement: &str, parameters: Vec<Value>) -> Result<Vec<Vec<Value>>, Failure> {
        let failure = |error: rusqlite::Error| Failure::new(error.to_string());
        let mut statement = self.0.prepare(statement).map_err(failure)?;
        let columns = statement.column_count();
        let parameters = parameters.into_iter().map(|value| match value {
            Value::Null => Held::Null,
            // As workerd binds them, which has JavaScript's numbers.
            Value::Integer(number) => Held::Real(number as f64),
            Value::Text(text) => Held::Text(text),
            Value::Blob(bytes) => Held::Blob(bytes),
        });
        let rows = statement.query_map(params_from_iter(parameters), |row| {
            (0..columns)
                .map(|column| {
                    Ok(match row.get_ref(column)? {
                        ValueRef::Null => Value::Null,
                        ValueRef::Integer(number) => Value::Integer(number),
                        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into()),
                        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
                        ValueRef::Real(number) => panic!("{number} is no integer"),
                    })
                })
                .collect()
        });
        rows.map_err(failure)?.collect::<Result<_, _>>().map_err(failure)
    }
}

pub(super) const NOW: u64 = 1_767_225_600_000;

pub(super) fn engine() -> Engine<Sqlite> {
    Engine::new(Sqlite(Connection::open_in_memory().unwrap())).unwrap()
}

/// Sends a request at a time, and hands its reply to `see`.
#[track_caller]
pub(super) fn ask<T>(
    engine: &Engine<Sqlite>,
    now: u64,
    request: &Request<'_>,
    see: impl FnOnce(Reply<'_>) -> T,
) -> T {
    let handled = engine.handle(&protocol::encode(request).unwrap(), now);
    see(protocol::decode(&handled.reply).unwrap())
}

fn put(engine: &Engine<Sqlite>, now: u64, key: &str, value: &[u8], life_ms: u64) {
    let put = Put { key, life_ms, value: Bytes::new(value) };
    ask(engine, now, &Request::Put(vec![put]), |reply| assert_eq!(reply, Reply::Done));
}

fn get(engine: &Engine<Sqlite>, now: u64, key: &str) -> Option<Vec<u8>> {
    ask(engine, now, &Request::Get(vec![key]), |reply| match reply {
        Reply::Values(values) => values[0].map(|value| value.to_vec()),
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_life_ends_to_the_millisecond() {
    let engine = engine();
    put(&engine, NOW, "a", b"\xFF\0", 100);
    assert_eq!(get(&engine, NOW + 99, "a").unwrap(), b"\xFF\0");
    assert_eq!(get(&engine, NOW + 100, "a"), None);
    ask(&engine, NOW + 40, &Request::Lives(vec!["a", "b"]), |reply| {
        assert_eq!(reply, Reply::Lives(vec![Some(60), None]));
    });
    ask(&engine, NOW + 100, &Request::Lives(vec!["a"]), |reply| {
        assert_eq!(reply, Reply::Lives(vec![None]));
    });
    put(&engine, NOW, "a", b"", u64::MAX);
    assert_eq!(get(&engine, NOW + 1_000_000_000, "a").unwrap(), b"");
}

#[test]
fn a_removal_counts_what_stood() {
    let engine = engine();
    put(&engine, NOW, "a", b"1", 100);
    put(&engine, NOW, "over", b"1", 10);
    let remove = Request::Remove(vec!["a", "over", "b"]);
    ask(&engine, NOW + 50, &remove, |reply| assert_eq!(reply, Reply::Count(1)));
    assert_eq!(get(&engine, NOW, "a"), None);
    assert_eq!(get(&engine, NOW, "over"), None);
}

#[test]
fn a_reply_holds_what_fits() {
    let engine = engine();
    for key in ["a", "b", "c"] {
        put(&engine, NOW, key, &vec![1; BATCH_BYTES / 2], 100);
    }
    put(&engine, NOW, "large", &vec![1; BATCH_BYTES + 1], 100);
    let answered = |keys: Vec<&str>| {
        ask(&engine, NOW, &Request::Get(keys), |reply| match reply {
            Reply::Values(values) => values.len(),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(answered(vec!["a", "missing", "b", "c"]), 3);
    assert_eq!(answered(vec!["c"]), 1);
    assert_eq!(answered(vec!["large", "a"]), 1);
}

fn scan(engine: &Engine<Sqlite>, pattern: &str) -> (Vec<String>, usize) {
    let mut after: Option<String> = None;
    let (mut found, mut pages) = (Vec::new(), 0);
    loop {
        let request = Request::Scan { pattern, after: after.as_deref() };
        after = ask(engine, NOW, &request, |reply| match reply {
            Reply::Page { keys, next } => {
                found.extend(keys.into_iter().map(str::to_owned));
                next.map(str::to_owned)
            }
            other => panic!("{other:?}"),
        });
        pages += 1;
        if after.is_none() {
            return (found, pages);
        }
    }
}

#[test]
fn a_scan_goes_through_the_keys_of_a_prefix() {
    let engine = engine();
    for key in ["a", "b", "b:1", "b:2", "b:é", "b:\u{10FFFD}", "b;", "c", "%:1", "b_1"] {
        put(&engine, NOW, key, b"", 100);
    }
    put(&engine, NOW - 100, "b:over", b"", 100);
    assert_eq!(scan(&engine, "b:*").0, ["b:1", "b:2", "b:é", "b:\u{10FFFD}"]);
    assert_eq!(scan(&engine, "b:1").0, ["b:1"]);
    assert_eq!(scan(&engine, "?").0, ["a", "b", "c"]);
    assert_eq!(scan(&engine, "%*").0, ["%:1"]);
    assert_eq!(scan(&engine, "*").0.len(), 10);
    assert_eq!(scan(&engine, "d*"), (vec![], 1));
}

#[test]
fn a_scan_is_paged() {
    let engine = engine();
    let keys: Vec<String> = (0..BATCH_KEYS * 2 + 1).map(|n| format!("k{n:05}")).collect();
    for key in &keys {
        put(&engine, NOW, key, b"", 100);
    }
    assert_eq!(scan(&engine, "k*"), (keys, 3));
    // Pages without a match are pages.
    assert_eq!(scan(&engine, "*x"), (vec![], 3));
}

fn acquire(engine: &Engine<Sqlite>, now: u64, key: &str, life_ms: u64) -> Option<u64> {
    ask(engine, now, &Request::Acquire { key, life_ms }, |reply| match reply {
        Reply::Lease(token) => token,
        other => panic!("{other:?}"),
    })
}

fn release(engine: &Engine<Sqlite>, key: &str, token: u64) {
    ask(engine, NOW, &Request::Release { key, token }, |reply| assert_eq!(reply, Reply::Done));
}

#[test]
fn a_lease_has_one_holder() {
    let engine = engine();
    let first = acquire(&engine, NOW, "a", 100).unwrap();
    assert_eq!(acquire(&engine, NOW + 99, "a", 100), None);
    let other = acquire(&engine, NOW, "b", 100).unwrap();
    assert!(other > first);
    // It ends with its life, or when it is given back by its own token.
    let second = acquire(&engine, NOW + 100, "a", 100).unwrap();
    assert!(second > other);
    release(&engine, "a", first);
    release(&engine, "b", second);
    assert_eq!(acquire(&engine, NOW + 150, "a", 100), None);
    release(&engine, "a", second);
    assert!(acquire(&engine, NOW + 150, "a", 100).unwrap() > second);
}

#[test]
fn a_sweep_deletes_what_is_over() {
    let engine = engine();
    for (key, life) in [("a", 10), ("b", 20), ("c", 30), ("d", 500)] {
        put(&engine, NOW, key, b"", life);
    }
    acquire(&engine, NOW, "lease", 40).unwrap();
    assert_eq!(engine.rows().unwrap(), 5);
    assert_eq!(
        engine.sweep(NOW + 30, 2).unwrap(),
        Swept { is_partial: true, expires: Some(NOW + 30) }
    );
    assert_eq!(
        engine.sweep(NOW + 30, 2).unwrap(),
        Swept { is_partial: false, expires: Some(NOW + 40) }
    );
    assert_eq!(
        engine.sweep(NOW + 40, 2).unwrap(),
        Swept { is_partial: false, expires: Some(NOW + 500) }
    );
    assert_eq!(engine.rows().unwrap(), 1);
    assert_eq!(engine.sweep(NOW + 500, 2).unwrap(), Swept { is_partial: false, expires: None });
    assert_eq!(engine.rows().unwrap(), 0);
}

#[test]
fn a_write_says_when_to_sweep() {
    let engine = engine();
    let value = Bytes::new(b"");
    let puts = [("a", 300), ("b", 200)].map(|(key, life_ms)| Put { key, life_ms, value }).into();
    let message = protocol::encode(&Request::Put(puts)).unwrap();
    assert_eq!(engine.handle(&message, NOW).expires, Some(NOW + 200));
    let message = protocol::encode(&Request::Get(vec!["a"])).unwrap();
    assert_eq!(engine.handle(&message, NOW).expires, None);
}

#[test]
fn the_alarm_is_moved_only_where_it_matters() {
    let (second, minute) = (1_000, 60_000);
    // Nothing is swept sooner than ten seconds from now.
    assert_eq!(next_sweep(NOW, None, NOW + second), Some(NOW + 10 * second));
    assert_eq!(next_sweep(NOW, None, NOW + minute), Some(NOW + minute));
    // One that comes early enough stays.
    assert_eq!(next_sweep(NOW, Some(NOW + 5 * second), NOW + minute), None);
    assert_eq!(next_sweep(NOW, Some(NOW + minute + 10 * second), NOW + minute), None);
    assert_eq!(next_sweep(NOW, Some(NOW + minute + 11 * second), NOW + minute), Some(NOW + minute));
    // What never ends is looked at all the same.
    let month = 28 * 24 * 60 * minute;
    assert_eq!(next_sweep(NOW, None, (1 << 53) - 1), Some(NOW + month));
    assert_eq!(next_sweep(NOW, Some(NOW + month), (1 << 53) - 1), None);
    // One that should have come is waited for.
    assert_eq!(next_sweep(NOW, Some(NOW - minute), NOW + minute), None);
}

#[test]
fn what_cannot_be_read_is_answered() {
    let engine = engine();
    for request in [&b""[..], b"\x02\0", b"\x01\x63"] {
        let handled = engine.handle(request, NOW);
        match protocol::decode(&handled.reply).unwrap() {
            Reply::Failed(detail) => assert!(detail.contains("message"), "{detail}"),
            other => panic!("{other:?}"),
        }
    }
}
