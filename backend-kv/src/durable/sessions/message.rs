//! What is asked of an object that keeps sessions, what it says, and what it stores. A part of
//! `super::super::protocol`, whose rules hold here: what is added comes last.

use larder_core::session::{Data, SessionRecord, StoredSession, UserSession, Version};
use larder_core::{Timestamp, session};
use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;

use crate::error::Failure;

/// Tells one write from all others.
pub(crate) type Token = [u8; 16];

/// Times are microseconds since the UNIX epoch, but for `noted` and `until`, which are milliseconds.
///
/// All of it bears being asked twice: a write knows its own work by the token that it was given.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Ask<'a> {
    /// `Reply::Standing`.
    Load(&'a str),
    /// `Reply::Done`, or `Reply::Standing` where something does.
    Create {
        key: &'a str,
        version: Token,
        /// Until when the user's index knows of the key.
        noted: u64,
        #[serde(borrow)]
        record: Record<'a>,
    },
    /// `Reply::Done`, `Reply::Unnoted`, or `Reply::Standing` of another version or of none.
    Update {
        key: &'a str,
        expected: Token,
        version: Token,
        noted: u64,
        #[serde(borrow)]
        record: Record<'a>,
    },
    /// `Reply::Done`, `Reply::Unnoted`, or `Reply::Standing` of none.
    Touch {
        key: &'a str,
        seen: u64,
        seen_from: Option<&'a str>,
        ends: u64,
        /// Whose index knows of the key.
        user: Option<&'a str>,
        noted: u64,
    },
    /// The session of that version has moved. `Reply::Ends` of it, or `Reply::Standing`.
    Leave { key: &'a str, expected: Token, version: Token, to: &'a str },
    /// The session of that version was made in vain. `Reply::Done`.
    TakeBack { key: &'a str, version: Token },
    /// `Reply::Ends`. Where a user is named, only their sessions end, and nothing is created any
    /// more where none stands yet.
    End {
        #[serde(borrow)]
        keys: Vec<&'a str>,
        user: Option<&'a str>,
        version: Token,
    },
    /// `Reply::Shown`.
    Show {
        #[serde(borrow)]
        keys: Vec<&'a str>,
        user: &'a str,
    },
    /// A session of the user may stand under the key. `Reply::Done`.
    Note { user: &'a str, key: &'a str, until: u64 },
    /// Under which keys sessions of the user may stand. `Reply::Page`.
    Noted { user: &'a str, after: Option<&'a str> },
    /// They ended for good. `Reply::Done`.
    Forget {
        user: &'a str,
        #[serde(borrow)]
        keys: Vec<&'a str>,
    },
}

/// A session's content.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record<'a> {
    pub(crate) user: Option<&'a str>,
    pub(crate) created: u64,
    pub(crate) seen: u64,
    pub(crate) seen_from: Option<&'a str>,
    pub(crate) ends: u64,
    /// A JSON object.
    #[serde(borrow)]
    pub(crate) data: &'a Bytes,
}

/// What stands under a key.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Standing<'a> {
    Session {
        version: Token,
        noted: u64,
        #[serde(borrow)]
        record: Record<'a>,
    },
    /// What is left of a session that ended or moved.
    Tombstone { version: Token, until: u64, moved_to: Option<&'a str> },
}

/// What came of the end of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Ended<'a> {
    /// It ended now, and was this user's.
    Now(#[serde(borrow)] Option<&'a str>),
    MovedTo(&'a str),
    /// There is none.
    Gone,
    /// It is another user's, or nobody's.
    Anothers,
}

/// What a list shows of a session.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shown<'a> {
    pub(crate) key: &'a str,
    pub(crate) created: u64,
    pub(crate) seen: u64,
    pub(crate) seen_from: Option<&'a str>,
    pub(crate) ends: u64,
}

impl<'a> Record<'a> {
    /// With the values in `data`, as [`values`] writes them.
    pub(crate) fn of(session: &'a SessionRecord, data: &'a [u8]) -> Self {
        Self {
            user: session.user.as_deref(),
            created: session.created_at.as_micros(),
            seen: session.seen_at.as_micros(),
            seen_from: session.seen_from.as_deref(),
            ends: session.expires_at.as_micros(),
            data: Bytes::new(data),
        }
    }

    pub(crate) fn stored(&self, version: Token) -> Result<StoredSession, Failure> {
        let at = Timestamp::from_micros;
        let mut session = SessionRecord::new(at(self.created), at(self.ends));
        session.seen_at = at(self.seen);
        session.user = self.user.map(str::to_owned);
        session.seen_from = self.seen_from.map(str::to_owned);
        // What serde says may quote a value, which may be a secret.
        session.data = serde_json::from_slice::<Data>(self.data)
            .map_err(|_| Failure::new("the session's values are no JSON object, or cut off"))?;
        Ok(StoredSession::new(session, self::version(version)))
    }
}

impl Shown<'_> {
    pub(crate) fn session(&self) -> UserSession {
        let at = Timestamp::from_micros;
        let mut record = SessionRecord::new(at(self.created), at(self.ends));
        record.seen_at = at(self.seen);
        record.seen_from = self.seen_from.map(str::to_owned);
        UserSession::of(self.key, &record)
    }
}

/// The values of a session as they are stored.
pub(crate) fn values(session: &SessionRecord) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(&session.data)
        .map_err(|_| Failure::new("the session's values cannot be written as JSON"))
}

pub(crate) fn version(token: Token) -> Version {
    Version::of_token(token)
}

/// What the version was made of; of one that is none of this store's, what nothing has.
pub(crate) fn token(version: &Version) -> Token {
    version.token().unwrap_or_default()
}

/// For how long, in milliseconds, a user's index knows of a key beyond the end of the session
/// there: two objects have two clocks.
pub(crate) const SPARE: u64 = session::TOMBSTONE.as_millis() as u64;

/// Up to the next millisecond: nothing is collected before its time.
pub(crate) fn millis(micros: u64) -> u64 {
    micros.div_ceil(1_000)
}

const VERSION: u8 = 1;

impl Standing<'_> {
    /// A version byte, and postcard's wire format.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Failure> {
        postcard::to_extend(self, vec![VERSION]).map_err(|error| Failure::new(error.to_string()))
    }
}

impl<'a> Standing<'a> {
    pub(crate) fn decode(row: &'a [u8]) -> Result<Self, Failure> {
        let unreadable = |why: String| {
            Failure::new(format!(
                "what stands for the session cannot be read ({why}); deploy the version of \
                 larder-kv that wrote it, or end the session"
            ))
        };
        match row {
            [VERSION, row @ ..] => {
                postcard::from_bytes(row).map_err(|error| unreadable(error.to_string()))
            }
            [other, ..] => Err(unreadable(format!("it is of version {other}"))),
            [] => Err(unreadable("it is empty".into())),
        }
    }

    /// Until when it stands, in microseconds.
    pub(crate) fn ends(&self) -> u64 {
        match self {
            Self::Session { record, .. } => record.ends,
            Self::Tombstone { until, .. } => *until,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use larder_core::session::Value;

    use super::*;

    pub(crate) const TOKEN: Token = *b"0123456789abcdef";

    pub(crate) fn record(data: &[u8]) -> Record<'_> {
        Record {
            user: Some("é"),
            created: 300,
            seen: 400,
            seen_from: None,
            ends: 1_000_000,
            data: Bytes::new(data),
        }
    }

    /// Earlier versions have stored these bytes.
    #[test]
    fn version_1_is_fixed() {
        let session = Standing::Session { version: TOKEN, noted: 7, record: record(b"{}") };
        let bytes = session.encode().unwrap();
        let expected =
            b"\x01\x000123456789abcdef\x07\x01\x02\xC3\xA9\xAC\x02\x90\x03\0\xC0\x84\x3D\x02{}";
        assert_eq!(bytes, expected);
        assert_eq!(Standing::decode(&bytes).unwrap(), session);
        let moved = Standing::Tombstone { version: TOKEN, until: 300, moved_to: Some("b") };
        let bytes = moved.encode().unwrap();
        assert_eq!(bytes, b"\x01\x010123456789abcdef\xAC\x02\x01\x01b");
        assert_eq!(Standing::decode(&bytes).unwrap(), moved);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let session = Standing::Session { version: TOKEN, noted: 7, record: record(b"{}") };
        let whole = session.encode().unwrap();
        for length in 0..whole.len() {
            let error = Standing::decode(&whole[..length]).unwrap_err();
            assert!(error.message.contains("cannot be read"), "{error}");
        }
        let error = Standing::decode(b"\x02").unwrap_err();
        assert!(error.message.contains("version 2"), "{error}");
        let error = record(b"{\"token\":hunter2").stored(TOKEN).unwrap_err();
        assert!(!error.message.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_session_arrives_as_it_was() {
        let mut session =
            SessionRecord::new(Timestamp::from_micros(1_000_001), Timestamp::from_micros(u64::MAX));
        session.seen_from = Some("203.0.113.9 «phone»".into());
        session.data.insert("umläut~\n".into(), Value::of(&["\"", "\u{1F600}"]).unwrap());
        let data = values(&session).unwrap();
        let stored = Record::of(&session, &data).stored(TOKEN).unwrap();
        assert_eq!(stored.session.data, session.data);
        assert_eq!(stored.session.seen_from, session.seen_from);
        assert_eq!(stored.session.created_at, session.created_at);
        assert_eq!(stored.session.expires_at, session.expires_at);
        assert_eq!(token(&stored.version), TOKEN);
        assert_eq!(token(&Version::new("another's")), [0; 16]);
    }
}
