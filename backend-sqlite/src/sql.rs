//! The tables, and what is done with them.
//!
//! The pragma `user_version` tells the version of the format. A place is a `BIGINT`, and a time is
//! microseconds since the UNIX epoch.

use std::time::Duration;

use bytes::Bytes;
use larder_core::Timestamp;
use larder_core::write_behind::{
    Backlog, DeadLetter, Death, Journaled, Room, Sequence, Settled, Term,
};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

pub(crate) const VERSION: i64 = 1;

/// How long to wait for a transaction of another process.
const BUSY: Duration = Duration::from_secs(5);

const TABLES: &str = "
    CREATE TABLE writes (
        sequence INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        value BLOB NOT NULL
    );
    CREATE TABLE dead (
        sequence INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        value BLOB NOT NULL,
        reason TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        died_at INTEGER NOT NULL,
        is_replayed INTEGER NOT NULL
    );
    CREATE INDEX replayed ON dead (sequence) WHERE is_replayed;
    CREATE TABLE journal (
        id TEXT NOT NULL,
        last INTEGER NOT NULL,
        -- How many rows the other tables have, as SQLite would have to count them.
        held INTEGER NOT NULL,
        term INTEGER NOT NULL,
        leader TEXT,
        leads_until INTEGER NOT NULL
    );
    PRAGMA user_version = 1;
";

/// Sets a connection up. Every commit waits until the disk has it: `synchronous = FULL` in WAL mode.
pub(crate) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// Makes the tables where there are none; the format's version, and the journal's id where that is
/// this one's.
pub(crate) fn prepare(
    transaction: &Transaction<'_>,
    new_id: &str,
) -> rusqlite::Result<(i64, Option<String>)> {
    let version = |transaction: &Transaction<'_>| {
        transaction.query_one("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
    };
    if version(transaction)? == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.execute("INSERT INTO journal VALUES (?1, 0, 0, 0, NULL, 0)", [new_id])?;
    }
    match version(transaction)? {
        VERSION => {
            let id = transaction.query_one("SELECT id FROM journal", [], |row| row.get(0))?;
            Ok((VERSION, Some(id)))
        }
        other => Ok((other, None)),
    }
}

/// Appends as many of the first of `writes` as there is room for; their places.
pub(crate) fn append<'a>(
    transaction: &Transaction<'_>,
    writes: impl Iterator<Item = (&'a str, &'a [u8])>,
    max_writes: usize,
    now: Timestamp,
) -> rusqlite::Result<Vec<Sequence>> {
    let (last, held) = transaction
        .prepare_cached("SELECT last, held FROM journal")?
        .query_one([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
    let room = max_writes.saturating_sub(usize::try_from(held).unwrap_or(0));
    let mut insert = transaction
        .prepare_cached("INSERT INTO writes (sequence, key, value) VALUES (?1, ?2, ?3)")?;
    let mut last = (last > 0).then(|| sequence(last));
    let mut places = Vec::new();
    for (key, value) in writes.take(room) {
        let place = Sequence::next(last, now);
        insert.execute(params![number(place), key, value])?;
        places.push(place);
        last = Some(place);
    }
    if let Some(last) = places.last() {
        transaction
            .prepare_cached("UPDATE journal SET last = ?1, held = held + ?2")?
            .execute(params![number(*last), places.len() as i64])?;
    }
    Ok(places)
}

pub(crate) fn lead(
    transaction: &Transaction<'_>,
    flusher: &str,
    life: Duration,
    now: Timestamp,
) -> rusqlite::Result<Option<Term>> {
    let (term, leader, until) = transaction
        .prepare_cached("SELECT term, leader, leads_until FROM journal")?
        .query_one([], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?, row.get::<_, i64>(2)?))
        })?;
    let is_over = leader.is_none() || until <= micros(now);
    if !is_over && leader.as_deref() != Some(flusher) {
        return Ok(None);
    }
    let term = term + i64::from(is_over);
    transaction
        .prepare_cached("UPDATE journal SET term = ?1, leader = ?2, leads_until = ?3")?
        .execute(params![term, flusher, micros(now + life)])?;
    Ok(Some(Term::new(flusher, u64::try_from(term).unwrap_or_default())))
}

pub(crate) fn resign(transaction: &Transaction<'_>, term: &Term) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE journal SET leader = NULL WHERE leader = ?1 AND term = ?2")?
        .execute(params![term.flusher, term.number as i64])?;
    Ok(())
}

pub(crate) fn read(
    transaction: &Transaction<'_>,
    after: Option<Sequence>,
    room: Room,
) -> rusqlite::Result<Vec<Journaled>> {
    let mut statement = transaction.prepare_cached(
        "SELECT sequence, key, value FROM writes WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
    )?;
    let rows = statement.query(params![after.map_or(0, number), rows(room.writes)])?;
    filled(
        room,
        rows,
        |write: &Journaled| write.value.len(),
        |row| {
            let value: Vec<u8> = row.get(2)?;
            Ok(Journaled::new(place(row, 0)?, row.get::<_, String>(1)?, value.into()))
        },
    )
}

/// The first of the rows that there is room for. No others are read.
fn filled<T>(
    mut room: Room,
    mut rows: rusqlite::Rows<'_>,
    bytes: impl Fn(&T) -> usize,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let mut filled = Vec::new();
    while !room.is_full()
        && let Some(row) = rows.next()?
    {
        let item = read(row)?;
        room.take(bytes(&item));
        filled.push(item);
    }
    Ok(filled)
}

/// Whether the term is still under way; only then anything is done.
pub(crate) fn settle(
    transaction: &Transaction<'_>,
    term: &Term,
    settled: &[Settled],
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let holds = transaction
        .prepare_cached(
            "SELECT 1 FROM journal WHERE leader = ?1 AND term = ?2 AND leads_until > ?3",
        )?
        .exists(params![term.flusher, term.number as i64, micros(now)])?;
    if !holds {
        return Ok(false);
    }
    let mut held = 0;
    let mut delete = transaction.prepare_cached("DELETE FROM writes WHERE sequence = ?1")?;
    let mut later =
        transaction.prepare_cached("SELECT 1 FROM dead WHERE key = ?1 AND sequence > ?2")?;
    let mut obsolete = transaction.prepare_cached("DELETE FROM dead WHERE key = ?1")?;
    let mut bury =
        transaction.prepare_cached("INSERT INTO dead VALUES (?1, ?2, ?3, ?4, ?5, ?6, FALSE)")?;
    for settled in settled {
        for sequence in &settled.sequences {
            held -= delete.execute([number(*sequence)])? as i64;
        }
        let Some(newest) = settled.newest().map(number) else { continue };
        if later.exists(params![settled.key, newest])? {
            continue;
        }
        held -= obsolete.execute([&settled.key])? as i64;
        if let Some(Death { value, reason, attempts, died_at, .. }) = &settled.death {
            let (value, died_at) = (&value[..], micros(*died_at));
            bury.execute(params![newest, settled.key, value, reason, attempts, died_at])?;
            held += 1;
        }
    }
    transaction.prepare_cached("UPDATE journal SET held = held + ?1")?.execute([held])?;
    Ok(true)
}

pub(crate) fn backlog(transaction: &Transaction<'_>) -> rusqlite::Result<Backlog> {
    transaction
        .prepare_cached(
            "SELECT journal.held, (SELECT count(*) FROM dead),
                (SELECT count(*) FROM dead WHERE is_replayed),
                (SELECT min(sequence) FROM writes)
             FROM journal",
        )?
        .query_one([], |row| {
            let (held, dead, replayed): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let oldest = row.get::<_, Option<i64>>(3)?.map(sequence);
            let count = |count: i64| u64::try_from(count).unwrap_or_default();
            Ok(Backlog::new(count(held - dead + replayed), oldest, count(dead)))
        })
}

pub(crate) fn dead_letters(
    transaction: &Transaction<'_>,
    after: Option<Sequence>,
    limit: usize,
) -> rusqlite::Result<Vec<DeadLetter>> {
    transaction
        .prepare_cached("SELECT * FROM dead WHERE sequence > ?1 ORDER BY sequence LIMIT ?2")?
        .query_map(params![after.map_or(0, number), rows(limit)], letter)?
        .collect()
}

pub(crate) fn replayed(
    transaction: &Transaction<'_>,
    room: Room,
) -> rusqlite::Result<Vec<DeadLetter>> {
    let mut statement = transaction
        .prepare_cached("SELECT * FROM dead WHERE is_replayed ORDER BY sequence LIMIT ?1")?;
    let rows = statement.query([rows(room.writes)])?;
    filled(room, rows, |letter: &DeadLetter| letter.death.value.len(), letter)
}

pub(crate) fn replay(transaction: &Transaction<'_>, place: Sequence) -> rusqlite::Result<bool> {
    let mut update =
        transaction.prepare_cached("UPDATE dead SET is_replayed = TRUE WHERE sequence = ?1")?;
    Ok(update.execute([number(place)])? > 0)
}

pub(crate) fn discard(transaction: &Transaction<'_>, place: Sequence) -> rusqlite::Result<bool> {
    let gone = transaction
        .prepare_cached("DELETE FROM dead WHERE sequence = ?1")?
        .execute([number(place)])?;
    transaction.prepare_cached("UPDATE journal SET held = held - ?1")?.execute([gone as i64])?;
    Ok(gone > 0)
}

pub(crate) fn ready(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.query_one("SELECT 1 FROM journal", [], |_| Ok(())).optional().map(drop)
}

fn letter(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    let value: Vec<u8> = row.get("value")?;
    let died_at = u64::try_from(row.get::<_, i64>("died_at")?).unwrap_or_default();
    let died_at = Timestamp::from_micros(died_at);
    let (reason, attempts): (String, u32) = (row.get("reason")?, row.get("attempts")?);
    let death = Death::new(Bytes::from(value), reason, attempts, died_at);
    Ok(DeadLetter::new(place(row, 0)?, row.get::<_, String>("key")?, death))
}

fn place(row: &Row<'_>, column: usize) -> rusqlite::Result<Sequence> {
    let number = row.get::<_, i64>(column)?;
    u64::try_from(number).map(Sequence::from_number).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, Box::new(error))
    })
}

fn sequence(number: i64) -> Sequence {
    Sequence::from_number(number.unsigned_abs())
}

fn number(sequence: Sequence) -> i64 {
    i64::try_from(sequence.number()).unwrap_or(i64::MAX)
}

fn micros(time: Timestamp) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A test cannot cut the power; what SQLite promises to do then it promises in this mode alone.
    #[test]
    fn the_disk_has_it_before_it_is_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open(folder.path().join("journal")).unwrap();
        configure(&connection).unwrap();
        let asked = |pragma: &str| {
            connection
                .pragma_query_value(None, pragma, |row| row.get::<_, rusqlite::types::Value>(0))
        };
        assert_eq!(asked("journal_mode").unwrap(), "wal".to_owned().into());
        // FULL.
        assert_eq!(asked("synchronous").unwrap(), 2.into());
    }
}
