//! What an object does with sessions and with the indexes of users: it reads a row, decides and
//! writes. Nothing is awaited in between, so that every request sees all before it.

use larder_core::Timestamp;
use larder_core::session::TOMBSTONE;

use super::super::BATCH_KEYS;
use super::super::engine::{Database, Handled, LATEST, Value, first, integer, reply, unexpected};
use super::super::protocol::Reply;
use super::message::{Ask, Ended, Record, SPARE, Shown, Standing, Token, millis};
use crate::error::Failure;

/// `now` in milliseconds since the UNIX epoch.
pub(in crate::durable) fn answer<D: Database>(
    database: &D,
    ask: &Ask<'_>,
    now: u64,
) -> Result<Handled, Failure> {
    let shelf = Shelf { database, now };
    match *ask {
        Ask::Load(key) => {
            let row = shelf.row(key)?;
            reply(&Reply::Standing(shelf.standing(&row)?))
        }
        Ask::Create { key, version, noted, record } => shelf.create(key, version, noted, record),
        Ask::Update { key, expected, version, noted, record } => {
            shelf.update(key, expected, Standing::Session { version, noted, record })
        }
        Ask::Touch { key, seen, seen_from, ends, user, noted } => {
            shelf.touch(key, (seen, seen_from), ends, (user, noted))
        }
        Ask::Leave { key, expected, version, to } => shelf.leave(key, expected, version, to),
        Ask::TakeBack { key, version } => shelf.take_back(key, version),
        Ask::End { ref keys, user, version } => shelf.end(keys, user, version),
        Ask::Show { ref keys, user } => shelf.show(keys, user),
        Ask::Note { user, key, until } => shelf.note(user, key, until),
        Ask::Noted { user, after } => shelf.noted(user, after),
        Ask::Forget { user, ref keys } => shelf.forget(user, keys),
    }
}

/// What an object keeps, at a time.
struct Shelf<'d, D> {
    database: &'d D,
    now: u64,
}

/// The bytes of a row.
type Row = Option<Vec<u8>>;

impl<D: Database> Shelf<'_, D> {
    fn row(&self, key: &str) -> Result<Row, Failure> {
        let select = "SELECT state FROM larder_sessions_v1 WHERE key = ?";
        match first(self.database.run(select, vec![key.into()])?) {
            None => Ok(None),
            Some(Value::Blob(row)) => Ok(Some(row)),
            Some(other) => Err(unexpected(&other)),
        }
    }

    /// What stands there and is not over.
    fn standing<'r>(&self, row: &'r Row) -> Result<Option<Standing<'r>>, Failure> {
        let Some(row) = row else { return Ok(None) };
        let standing = Standing::decode(row)?;
        let is_over = standing.ends() <= Timestamp::from_millis(self.now).as_micros();
        Ok((!is_over).then_some(standing))
    }

    /// Writes the row, and says when it is over.
    ///
    /// `ends` is when it is, `expires` a time before which it is not: a session that is used moves
    /// the former, and the row in the index of the latter, which would be another row written, stays
    /// until a sweep comes by.
    fn write(&self, key: &str, standing: &Standing<'_>) -> Result<u64, Failure> {
        let state = standing.encode().map(Value::Blob)?;
        let ends = millis(standing.ends()).min(LATEST);
        let updated = self.database.run(
            "UPDATE larder_sessions_v1 SET state = ?, ends = ?
             WHERE key = ? AND expires <= ? RETURNING 1",
            vec![state.clone(), integer(ends), key.into(), integer(ends)],
        )?;
        if updated.is_empty() {
            self.database.run(
                "INSERT INTO larder_sessions_v1 (key, state, ends, expires) VALUES (?, ?, ?, ?)
                 ON CONFLICT (key) DO UPDATE SET
                 state = excluded.state, ends = excluded.ends, expires = excluded.expires",
                vec![key.into(), state, integer(ends), integer(ends)],
            )?;
        }
        Ok(ends)
    }

    fn done(&self, key: &str, standing: &Standing<'_>) -> Result<Handled, Failure> {
        let expires = self.write(key, standing)?;
        Ok(Handled { expires: Some(expires), ..reply(&Reply::Done)? })
    }

    fn bury(&self, key: &str, version: Token, moved_to: Option<&str>) -> Result<u64, Failure> {
        let until = (Timestamp::from_millis(self.now) + TOMBSTONE).as_micros();
        self.write(key, &Standing::Tombstone { version, until, moved_to })
    }

    fn create(
        &self,
        key: &str,
        version: Token,
        noted: u64,
        record: Record<'_>,
    ) -> Result<Handled, Failure> {
        let row = self.row(key)?;
        match self.standing(&row)? {
            None => self.done(key, &Standing::Session { version, noted, record }),
            // Made by the same request, whose answer was lost.
            Some(Standing::Session { version: made, .. }) if made == version => reply(&Reply::Done),
            Some(standing) => reply(&Reply::Standing(Some(standing))),
        }
    }

    fn update(&self, key: &str, expected: Token, new: Standing<'_>) -> Result<Handled, Failure> {
        let row = self.row(key)?;
        let standing = self.standing(&row)?;
        let Some(Standing::Session { version: found, noted: known, record: before }) = standing
        else {
            return reply(&Reply::Standing(standing));
        };
        let Standing::Session { version, noted, record } = new else {
            return reply(&Reply::Standing(standing));
        };
        if found == version {
            return reply(&Reply::Done);
        }
        if found != expected {
            return reply(&Reply::Standing(standing));
        }
        let known = if before.user == record.user { known } else { 0 };
        let noted = noted.max(known);
        match record.user {
            Some(user) if !covers(noted, record.ends) => reply(&Reply::Unnoted(user)),
            _ => self.done(key, &Standing::Session { version, noted, record }),
        }
    }

    fn touch(
        &self,
        key: &str,
        (seen, seen_from): (u64, Option<&str>),
        ends: u64,
        (user, noted): (Option<&str>, u64),
    ) -> Result<Handled, Failure> {
        let row = self.row(key)?;
        let standing = self.standing(&row)?;
        let Some(Standing::Session { version, noted: known, mut record }) = standing else {
            return reply(&Reply::Standing(None));
        };
        if record.seen <= seen {
            (record.seen, record.seen_from) = (seen, seen_from);
        }
        record.ends = record.ends.max(ends);
        // The session may be another's by now.
        let noted = if user == record.user { noted.max(known) } else { known };
        match record.user {
            Some(user) if !covers(noted, record.ends) => reply(&Reply::Unnoted(user)),
            _ => self.done(key, &Standing::Session { version, noted, record }),
        }
    }

    fn leave(
        &self,
        key: &str,
        expected: Token,
        version: Token,
        to: &str,
    ) -> Result<Handled, Failure> {
        let row = self.row(key)?;
        match self.standing(&row)? {
            Some(Standing::Session { version: found, record, .. }) if found == expected => {
                let expires = self.bury(key, version, Some(to))?;
                let ends = Reply::Ends(vec![Ended::Now(record.user)]);
                Ok(Handled { expires: Some(expires), ..reply(&ends)? })
            }
            Some(Standing::Tombstone { version: left, .. }) if left == version => {
                reply(&Reply::Ends(vec![Ended::Now(None)]))
            }
            standing => reply(&Reply::Standing(standing)),
        }
    }

    fn take_back(&self, key: &str, version: Token) -> Result<Handled, Failure> {
        let row = self.row(key)?;
        if let Some(Standing::Session { version: made, .. }) = self.standing(&row)?
            && made == version
        {
            let delete = "DELETE FROM larder_sessions_v1 WHERE key = ?";
            self.database.run(delete, vec![key.into()])?;
        }
        reply(&Reply::Done)
    }

    fn end(&self, keys: &[&str], user: Option<&str>, version: Token) -> Result<Handled, Failure> {
        let rows = keys.iter().map(|key| self.row(key)).collect::<Result<Vec<_>, _>>()?;
        let mut expires: Option<u64> = None;
        let mut ends = Vec::with_capacity(keys.len());
        for (key, row) in keys.iter().zip(&rows) {
            let (ended, is_buried) = match self.standing(row) {
                // What cannot be read ends as well: nothing else would end it.
                Err(_) => (Ended::Now(None), true),
                Ok(Some(Standing::Session { record, .. })) => match user {
                    Some(user) if record.user != Some(user) => (Ended::Anothers, false),
                    _ => (Ended::Now(record.user), true),
                },
                Ok(Some(Standing::Tombstone { version: left, .. })) if left == version => {
                    (Ended::Now(None), false)
                }
                Ok(Some(Standing::Tombstone { moved_to: Some(to), .. })) => {
                    (Ended::MovedTo(to), false)
                }
                Ok(Some(Standing::Tombstone { moved_to: None, .. })) => (Ended::Gone, false),
                // Of a user: one that is announced and not made yet is not to be made afterwards.
                // Else anybody could have a tombstone written, under any key.
                Ok(None) => (Ended::Gone, user.is_some()),
            };
            if is_buried {
                // A tombstone of nothing is nobody's work: asked again, there still was nothing.
                let token = if ended == Ended::Gone { Token::default() } else { version };
                let until = self.bury(key, token, None)?;
                expires = Some(expires.map_or(until, |first| first.min(until)));
            }
            ends.push(ended);
        }
        Ok(Handled { expires, ..reply(&Reply::Ends(ends))? })
    }

    fn show(&self, keys: &[&str], user: &str) -> Result<Handled, Failure> {
        let rows = keys.iter().map(|key| self.row(key)).collect::<Result<Vec<_>, _>>()?;
        let mut shown = Vec::new();
        for (key, row) in keys.iter().zip(&rows) {
            if let Some(Standing::Session { record, .. }) = self.standing(row)?
                && record.user == Some(user)
            {
                let Record { created, seen, seen_from, ends, .. } = record;
                shown.push(Shown { key, created, seen, seen_from, ends });
            }
        }
        reply(&Reply::Shown(shown))
    }

    fn note(&self, user: &str, key: &str, until: u64) -> Result<Handled, Failure> {
        let until = until.min(LATEST);
        self.database.run(
            // Never brought forward: the session may have been used meanwhile.
            "INSERT INTO larder_session_users_v1 (key, expires) VALUES (?, ?)
             ON CONFLICT (key) DO UPDATE SET expires = MAX(expires, excluded.expires)",
            vec![Value::Text(of_user(user) + key), integer(until)],
        )?;
        Ok(Handled { expires: Some(until), ..reply(&Reply::Done)? })
    }

    fn noted(&self, user: &str, after: Option<&str>) -> Result<Handled, Failure> {
        let prefix = of_user(user);
        let rows = self.database.run(
            "SELECT key FROM larder_session_users_v1
             WHERE key > ? AND key < ? || char(1114111) AND expires > ? ORDER BY key LIMIT ?",
            vec![
                Value::Text(format!("{prefix}{}", after.unwrap_or_default())),
                prefix.as_str().into(),
                integer(self.now),
                integer(BATCH_KEYS as u64),
            ],
        )?;
        let mut keys = Vec::with_capacity(rows.len());
        for row in &rows {
            match row.as_slice() {
                [Value::Text(key)] => keys.push(key.get(prefix.len()..).unwrap_or_default()),
                other => return Err(unexpected(other.first().unwrap_or(&Value::Null))),
            }
        }
        let next = keys.last().copied().filter(|_| keys.len() == BATCH_KEYS);
        reply(&Reply::Page { keys, next })
    }

    fn forget(&self, user: &str, keys: &[&str]) -> Result<Handled, Failure> {
        let prefix = of_user(user);
        for key in keys {
            let delete = "DELETE FROM larder_session_users_v1 WHERE key = ?";
            self.database.run(delete, vec![Value::Text(format!("{prefix}{key}"))])?;
        }
        reply(&Reply::Done)
    }
}

/// Whether an index that knows of a key until `noted` does so for as long as a session stands there
/// that ends at `ends`.
fn covers(noted: u64, ends: u64) -> bool {
    millis(ends).saturating_add(SPARE).min(LATEST) <= noted
}

/// What the rows of a user's index begin with, and no other's: the length says where the user ends.
fn of_user(user: &str) -> String {
    format!("{}:{user}:", user.len())
}
