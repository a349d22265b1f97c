//! What an object does, on any SQLite database.
//!
//! Every request is a run of SQL statements without anything awaited between them, so that an object
//! carries it out as a whole.

use larder_core::Glob;
use serde_bytes::Bytes;

use super::protocol::{self, Put, Reply, Request};
use super::{BATCH_BYTES, BATCH_KEYS, limits, sessions};
use crate::error::Failure;

/// A value of SQLite's.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    /// Up to 2^53.
    Integer(i64),
    Text(String),
    Blob(Vec<u8>),
}

/// An SQLite database. Every statement is run at once.
pub(crate) trait Database {
    fn run(&self, statement: &str, parameters: Vec<Value>) -> Result<Vec<Vec<Value>>, Failure>;
}

const SCHEMA: [&str; 9] = [
    "CREATE TABLE IF NOT EXISTS larder_entries_v1 (
         key TEXT PRIMARY KEY NOT NULL,
         value BLOB NOT NULL,
         expires INTEGER NOT NULL
     )",
    "CREATE INDEX IF NOT EXISTS larder_entries_v1_expires ON larder_entries_v1 (expires)",
    // AUTOINCREMENT: a token is never given twice.
    "CREATE TABLE IF NOT EXISTS larder_leases_v1 (
         token INTEGER PRIMARY KEY AUTOINCREMENT,
         key TEXT UNIQUE NOT NULL,
         expires INTEGER NOT NULL
     )",
    // Without a ROWID: each row of a table and of an index that is written is paid for.
    "CREATE TABLE IF NOT EXISTS larder_limits_v1 (
         key TEXT PRIMARY KEY NOT NULL,
         state BLOB NOT NULL,
         expires INTEGER NOT NULL
     ) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS larder_limits_v1_expires ON larder_limits_v1 (expires)",
    // `ends` is when a row is over, and `expires` a time before which it is not.
    "CREATE TABLE IF NOT EXISTS larder_sessions_v1 (
         key TEXT PRIMARY KEY NOT NULL,
         state BLOB NOT NULL,
         ends INTEGER NOT NULL,
         expires INTEGER NOT NULL
     ) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS larder_sessions_v1_expires ON larder_sessions_v1 (expires)",
    // A key is a user's and a session's.
    "CREATE TABLE IF NOT EXISTS larder_session_users_v1 (
         key TEXT PRIMARY KEY NOT NULL,
         expires INTEGER NOT NULL
     ) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS larder_session_users_v1_expires
     ON larder_session_users_v1 (expires)",
];

/// Each with the column that says when a row is over.
const TABLES: [(&str, &str); 5] = [
    ("larder_entries_v1", "expires"),
    ("larder_leases_v1", "expires"),
    ("larder_limits_v1", "expires"),
    ("larder_sessions_v1", "ends"),
    ("larder_session_users_v1", "expires"),
];

/// 2^53 − 1: numbers that go through JavaScript are exact up to here.
pub(super) const LATEST: u64 = (1 << 53) - 1;

/// What a request came to.
#[derive(Debug)]
pub(crate) struct Handled {
    pub(crate) reply: Vec<u8>,
    /// When the first of what it wrote is over, in milliseconds since the UNIX epoch.
    pub(crate) expires: Option<u64>,
}

/// What a sweep left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Whether more is over already.
    pub(crate) is_partial: bool,
    /// When the next is over.
    pub(crate) expires: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Engine<D>(D);

impl<D: Database> Engine<D> {
    pub(crate) fn new(database: D) -> Result<Self, Failure> {
        for statement in SCHEMA {
            database.run(statement, Vec::new())?;
        }
        Ok(Self(database))
    }

    /// Carries out a request; `now` in milliseconds since the UNIX epoch.
    pub(crate) fn handle(&self, request: &[u8], now: u64) -> Handled {
        let handled = match protocol::decode(request) {
            Ok(request) => self.answer(request, now),
            Err(unreadable) => Err(Failure::new(unreadable.to_string())),
        };
        handled.unwrap_or_else(|failure| Handled {
            reply: protocol::encode(&Reply::Failed(&failure.message)).unwrap_or_default(),
            expires: None,
        })
    }

    fn answer(&self, request: Request<'_>, now: u64) -> Result<Handled, Failure> {
        match request {
            Request::Get(keys) => self.get(&keys, now),
            Request::Put(entries) => self.put(&entries, now),
            Request::Remove(keys) => self.remove(&keys, now),
            Request::Lives(keys) => self.lives(&keys, now),
            Request::Scan { pattern, after } => self.scan(&Glob::new(pattern), after, now),
            Request::Acquire { key, life_ms } => self.acquire(key, life_ms, now),
            Request::Release { key, token } => {
                self.0.run(
                    "DELETE FROM larder_leases_v1 WHERE key = ? AND token = ?",
                    vec![key.into(), integer(token)],
                )?;
                reply(&Reply::Done)
            }
            Request::Limits(ask) => limits::engine::answer(&self.0, &ask, now),
            Request::Sessions(ask) => sessions::engine::answer(&self.0, &ask, now),
        }
    }

    fn get(&self, keys: &[&str], now: u64) -> Result<Handled, Failure> {
        let mut values = Vec::with_capacity(keys.len());
        let mut bytes = 0;
        for key in keys {
            let rows = self.0.run(
                "SELECT value FROM larder_entries_v1 WHERE key = ? AND expires > ?",
                vec![(*key).into(), integer(now)],
            )?;
            let value = match first(rows) {
                None => None,
                Some(Value::Blob(value)) => Some(value),
                Some(other) => return Err(unexpected(&other)),
            };
            bytes += value.as_ref().map_or(0, Vec::len);
            if bytes > BATCH_BYTES && !values.is_empty() {
                break;
            }
            values.push(value);
        }
        let values = values.iter().map(|value| value.as_deref().map(Bytes::new)).collect();
        reply(&Reply::Values(values))
    }

    fn put(&self, entries: &[Put<'_>], now: u64) -> Result<Handled, Failure> {
        for entry in entries {
            self.0.run(
                "INSERT INTO larder_entries_v1 (key, value, expires) VALUES (?, ?, ?)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires = excluded.expires",
                vec![
                    entry.key.into(),
                    Value::Blob(entry.value.to_vec()),
                    integer(after(now, entry.life_ms)),
                ],
            )?;
        }
        let expires = entries.iter().map(|entry| after(now, entry.life_ms)).min();
        Ok(Handled { expires, ..reply(&Reply::Done)? })
    }

    fn remove(&self, keys: &[&str], now: u64) -> Result<Handled, Failure> {
        let mut stood = 0;
        for key in keys {
            let rows = self.0.run(
                "DELETE FROM larder_entries_v1 WHERE key = ? RETURNING expires",
                vec![(*key).into()],
            )?;
            if let Some(expires) = first(rows)
                && unsigned(&expires)? > now
            {
                stood += 1;
            }
        }
        reply(&Reply::Count(stood))
    }

    fn lives(&self, keys: &[&str], now: u64) -> Result<Handled, Failure> {
        let life = |key: &&str| {
            let rows = self.0.run(
                "SELECT expires FROM larder_entries_v1 WHERE key = ? AND expires > ?",
                vec![(*key).into(), integer(now)],
            )?;
            first(rows).map(|expires| Ok(unsigned(&expires)?.saturating_sub(now))).transpose()
        };
        reply(&Reply::Lives(keys.iter().map(life).collect::<Result<_, _>>()?))
    }

    fn scan(&self, pattern: &Glob, after: Option<&str>, now: u64) -> Result<Handled, Failure> {
        let prefix = pattern.literal_prefix();
        let rows = self.0.run(
            // The keys that begin with the prefix are a range of the primary key: no character is
            // above U+10FFFF.
            "SELECT key, expires FROM larder_entries_v1
             WHERE key > ? AND key >= ? AND key < ? || char(1114111) ORDER BY key LIMIT ?",
            vec![
                after.unwrap_or_default().into(),
                prefix.as_str().into(),
                prefix.as_str().into(),
                integer(BATCH_KEYS as u64),
            ],
        )?;
        let is_full = rows.len() == BATCH_KEYS;
        let mut live = Vec::new();
        let mut last = None;
        for row in rows {
            let [Value::Text(key), expires] = row.as_slice() else {
                return Err(unexpected(&Value::Null));
            };
            if unsigned(expires)? > now && pattern.matches(key) {
                live.push(key.clone());
            }
            last = Some(key.clone());
        }
        let keys = live.iter().map(String::as_str).collect();
        reply(&Reply::Page { keys, next: last.as_deref().filter(|_| is_full) })
    }

    fn acquire(&self, key: &str, life_ms: u64, now: u64) -> Result<Handled, Failure> {
        self.0.run(
            "DELETE FROM larder_leases_v1 WHERE key = ? AND expires <= ?",
            vec![key.into(), integer(now)],
        )?;
        let expires = after(now, life_ms);
        let rows = self.0.run(
            "INSERT INTO larder_leases_v1 (key, expires) VALUES (?, ?)
             ON CONFLICT (key) DO NOTHING RETURNING token",
            vec![key.into(), integer(expires)],
        )?;
        let token = first(rows).as_ref().map(unsigned).transpose()?;
        let expires = token.map(|_| expires);
        Ok(Handled { expires, ..reply(&Reply::Lease(token))? })
    }

    /// Deletes up to `most` rows of each table whose lives are over.
    pub(crate) fn sweep(&self, now: u64, most: u64) -> Result<Swept, Failure> {
        let mut swept = Swept { is_partial: false, expires: None };
        for (table, ends) in TABLES {
            if ends != "expires" {
                let moved = self.0.run(
                    &format!(
                        "UPDATE {table} SET expires = {ends} WHERE key IN (SELECT key FROM {table}
                         WHERE expires <= ? AND {ends} > ? ORDER BY expires LIMIT ?) RETURNING 1"
                    ),
                    vec![integer(now), integer(now), integer(most)],
                )?;
                swept.is_partial |= moved.len() as u64 >= most;
            }
            let deleted = self.0.run(
                &format!(
                    "DELETE FROM {table} WHERE key IN (SELECT key FROM {table}
                     WHERE expires <= ? AND {ends} <= ? ORDER BY expires LIMIT ?) RETURNING 1"
                ),
                vec![integer(now), integer(now), integer(most)],
            )?;
            swept.is_partial |= deleted.len() as u64 >= most;
            let next = first(self.0.run(&format!("SELECT MIN(expires) FROM {table}"), Vec::new())?);
            if let Some(next) = next.filter(|next| *next != Value::Null) {
                let next = unsigned(&next)?;
                swept.expires = Some(swept.expires.map_or(next, |first| first.min(next)));
            }
        }
        Ok(swept)
    }

    /// How many rows are stored, whether or not their lives are over.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn rows(&self) -> Result<u64, Failure> {
        let mut rows = 0;
        for (table, _) in TABLES {
            let counted = self.0.run(&format!("SELECT COUNT(*) FROM {table}"), Vec::new())?;
            rows += first(counted).as_ref().map_or(Ok(0), unsigned)?;
        }
        Ok(rows)
    }
}

/// Between two sweeps, in milliseconds: entries that are over are not found anyway.
pub(super) const SWEEP_PAUSE: u64 = 10_000;

/// How far ahead an alarm is set at most, in milliseconds: 28 days. A date has an end, some lives
/// have none.
const LONGEST_PAUSE: u64 = 28 * 86_400_000;

/// When to sweep, if it is to be sweeped at another time than `armed`, when the first entry is over
/// at `expires`.
pub(crate) fn next_sweep(now: u64, armed: Option<u64>, expires: u64) -> Option<u64> {
    let wanted = expires.clamp(now + SWEEP_PAUSE, now + LONGEST_PAUSE);
    match armed {
        Some(armed) if armed <= wanted + SWEEP_PAUSE => None,
        _ => Some(wanted),
    }
}

fn after(now: u64, life_ms: u64) -> u64 {
    now.saturating_add(life_ms).min(LATEST)
}

pub(super) fn reply(reply: &Reply<'_>) -> Result<Handled, Failure> {
    let reply = protocol::encode(reply).map_err(|error| Failure::new(error.to_string()))?;
    Ok(Handled { reply, expires: None })
}

pub(super) fn first(rows: Vec<Vec<Value>>) -> Option<Value> {
    rows.into_iter().next()?.into_iter().next()
}

pub(super) fn integer(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn unsigned(value: &Value) -> Result<u64, Failure> {
    match value {
        Value::Integer(number) => Ok(u64::try_from(*number).unwrap_or(0)),
        other => Err(unexpected(other)),
    }
}

pub(super) fn unexpected(value: &Value) -> Failure {
    let kind = match value {
        Value::Null => "null",
        Value::Integer(_) => "a number",
        Value::Text(_) => "a text",
        Value::Blob(_) => "bytes",
    };
    Failure::new(format!("the object's database holds {kind} in an unexpected place"))
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
