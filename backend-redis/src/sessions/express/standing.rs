//! What Redis says of a session, and what of it makes a version.

use std::time::Duration;

use bytes::Bytes;
use larder_core::session::{SessionRecord, StoredSession, Version};
use larder_core::{StoreError, StoreErrorKind, Timestamp, seconds};
use redis::Value;

use super::text::{Content, Kept};
use super::{ExpressSessions, cookie, shown};
use crate::error::STORE;
use crate::sessions::frame::{self, Token};

/// What the times of two clocks may differ by, and of a life that is counted in whole seconds.
const TOLERANCE: Duration = seconds(1);

/// What stands under a session's key.
pub(super) enum Standing {
    Session(Box<Found>),
    MovedTo(String),
    Nothing,
    /// Bytes that say nothing, and why.
    Unreadable(StoreError),
}

impl Standing {
    fn readable(self) -> Result<Self, StoreError> {
        match self {
            Self::Unreadable(error) => Err(error),
            standing => Ok(standing),
        }
    }
}

/// A session, and what else is known of it.
pub(super) struct Found {
    pub(super) session: SessionRecord,
    pub(super) state: State,
    /// The note in Redis' own bytes; none where there is none.
    pub(super) note: Bytes,
    /// Whom and until when the user's index knows it.
    pub(super) noted: Option<(String, Timestamp)>,
}

/// Which state of a session it is, and what of that state the next one keeps.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    /// What the note has for its version, in letters; nothing where there is no note.
    pub(super) token: String,
    /// The SHA-1 of the text, in letters.
    pub(super) sum: String,
    pub(super) kept: Kept,
}

impl State {
    pub(super) fn version(&self) -> Version {
        let kept = serde_json::to_string(&self.kept).unwrap_or_default();
        Version::new(format!("{}:{}:{kept}", self.token, self.sum))
    }

    /// What the version was made of; of one that is none of this store's, what nothing has.
    pub(super) fn of(version: &Version) -> Self {
        let mut parts = version.as_str().splitn(3, ':');
        let mut part = || parts.next().unwrap_or_default();
        let (token, sum, kept) = (part(), part(), part());
        match serde_json::from_str(kept) {
            Ok(kept) => Self { token: token.into(), sum: sum.into(), kept },
            Err(_) => Self { sum: "none".into(), ..Self::default() },
        }
    }

    /// The note's version, as it stands in the note.
    pub(super) fn token(&self) -> Option<Token> {
        (!self.token.is_empty()).then(|| frame::token(&Version::new(self.token.as_str())))
    }
}

impl Found {
    pub(super) fn stored(&self) -> StoredSession {
        StoredSession::new(self.session.clone(), self.state.version())
    }
}

impl ExpressSessions {
    /// For how long a session lives after a use.
    pub(super) fn life(&self, kept: &Kept) -> Duration {
        cookie::life(&kept.cookie).unwrap_or(self.ttl)
    }

    /// What stands there, as it can be read.
    pub(super) fn standing(
        &self,
        operation: &'static str,
        at: (&str, Timestamp),
        reply: Value,
    ) -> Result<Standing, StoreError> {
        self.whatever_stands(operation, at, reply)?.readable()
    }

    /// What stands there, by the text, the note, for how many milliseconds the text is there, its
    /// sum, and whether it was there after its end.
    pub(super) fn whatever_stands(
        &self,
        operation: &'static str,
        (key, now): (&str, Timestamp),
        reply: Value,
    ) -> Result<Standing, StoreError> {
        let client = self.base.client();
        let parts = match reply {
            Value::Array(parts) => <[Value; 5]>::try_from(parts).ok(),
            _ => None,
        };
        let Some([text, note, left, sum, revived]) = parts else {
            return Err(client.unexpected(operation, &Value::Nil));
        };
        if client.integer(operation, &revived)? != 0 {
            tracing::info!(
                operation,
                "another service wrote a session that had ended; it was ended again"
            );
        }
        let (text, note) = (client.bytes(operation, text)?, client.bytes(operation, note)?);
        let sum = client.bytes(operation, sum)?.unwrap_or_default();
        let left = client.integer(operation, &left)?;
        match self.read(now, text, note.unwrap_or_default(), left) {
            Ok(Standing::Session(mut found)) => {
                found.state.sum = String::from_utf8_lossy(&sum).into_owned();
                Ok(Standing::Session(found))
            }
            Ok(other) => Ok(other),
            Err(why) => {
                let detail = format!(
                    "what stands under {} cannot be read: {why}; it is no session of \
                     express-session, or one of a later version of Larder. Remove the key, or sign \
                     out, which ends the session",
                    shown(key)
                );
                let kind = StoreErrorKind::Other;
                Ok(Standing::Unreadable(StoreError::new(kind, STORE, operation, detail)))
            }
        }
    }

    /// What a text and a note come to, but for the text's sum.
    fn read(
        &self,
        now: Timestamp,
        text: Option<Bytes>,
        note: Bytes,
        left: i64,
    ) -> Result<Standing, &'static str> {
        // Its end is that of the key: see below.
        let noted = match note.is_empty() {
            true => None,
            false => Some(frame::read(&note, Timestamp::EPOCH)?),
        };
        let noted = match noted {
            Some(frame::Standing::MovedTo(key)) => return Ok(Standing::MovedTo(key)),
            Some(frame::Standing::Nothing) => return Ok(Standing::Nothing),
            Some(frame::Standing::Session(noted)) => Some(noted),
            None => None,
        };
        let Some(text) = text else { return Ok(Standing::Nothing) };
        let Content { data, user, kept } = self.user.read(&text)?;
        let life = self.life(&kept);
        // A key that stays for ever is that of a service without expiries.
        let left = u64::try_from(left).map_or(life, Duration::from_millis);
        // Every use there lets it live on for its whole life.
        let (ends, used_there) = ((now + left), (now + left) - life);
        let mut session = SessionRecord::new(used_there, ends);
        let (mut token, mut known) = (String::new(), None);
        if let Some(noted) = noted {
            let was = &noted.session;
            session.created_at = was.created_at;
            session.seen_from.clone_from(&was.seen_from);
            let is_newer = used_there.since(was.seen_at) > TOLERANCE;
            session.seen_at = if is_newer { used_there } else { was.seen_at };
            let differs = ends.since(was.expires_at).max(was.expires_at.since(ends));
            if differs <= TOLERANCE {
                session.expires_at = was.expires_at;
            }
            token = noted.version.as_str().into();
            known = was.user.clone().map(|user| (user, was.expires_at));
        }
        if !session.is_live(now) {
            return Ok(Standing::Nothing);
        }
        (session.data, session.user) = (data, user);
        let state = State { token, sum: String::new(), kept };
        Ok(Standing::Session(Box::new(Found { session, state, note, noted: known })))
    }
}
