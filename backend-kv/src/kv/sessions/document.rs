//! What lies in a namespace for a session: JSON, so that a session and its tombstone are read in one
//! call.
//!
//! | field | meaning |
//! | --- | --- |
//! | `v` | the version of this form |
//! | `version` | which state of the session it is |
//! | `user`, `from` | who is signed in, and where it was last used; optional |
//! | `created`, `seen`, `ends` | microseconds since the UNIX epoch |
//! | `noted` | until when the index of its user knows of it, in milliseconds |
//! | `data` | its values |
//!
//! and for its tombstone, under a key of its own, `{"v": 1}`, with the key that the session has moved
//! to as `to`.

use bytes::Bytes;
use larder_core::Timestamp;
use larder_core::session::{Data, SessionRecord, StoredSession, Version};
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
pub(super) struct Document {
    v: u32,
    pub(super) version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    created: u64,
    seen: u64,
    ends: u64,
    pub(super) noted: u64,
    data: Data,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Tombstone {
    v: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<String>,
}

impl Document {
    pub(super) fn of(session: &SessionRecord, version: String, noted: u64) -> Self {
        Self {
            v: VERSION,
            version,
            user: session.user.clone(),
            from: session.seen_from.clone(),
            created: session.created_at.as_micros(),
            seen: session.seen_at.as_micros(),
            ends: session.expires_at.as_micros(),
            noted,
            data: session.data.clone(),
        }
    }

    pub(super) fn session(self) -> StoredSession {
        let at = Timestamp::from_micros;
        let mut session = SessionRecord::new(at(self.created), at(self.ends));
        session.seen_at = at(self.seen);
        session.user = self.user;
        session.seen_from = self.from;
        session.data = self.data;
        StoredSession::new(session, Version::new(self.version))
    }

    /// What serde says may quote a value, which may be a secret.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        match serde_json::from_slice::<Self>(bytes) {
            Ok(document) if document.v == VERSION => Ok(document),
            Ok(_) => Err("it is of another version of the form"),
            Err(_) => Err("it is no session, or cut off"),
        }
    }

    pub(super) fn ends(&self) -> Timestamp {
        Timestamp::from_micros(self.ends)
    }

    /// Until when a save may live that is made at `last`, by somebody who does not see that the
    /// session has ended: one that its absolute end cuts short ends there, and any other after as
    /// long as this one after its last use.
    pub(super) fn outlived_at(&self, last: Timestamp) -> Timestamp {
        let idle = self.ends().since(Timestamp::from_micros(self.seen));
        self.ends().max(last + idle)
    }
}

impl Tombstone {
    pub(super) fn new(to: Option<&str>) -> Self {
        Self { v: VERSION, to: to.map(str::to_owned) }
    }

    /// Whatever stands there, the session has ended.
    pub(super) fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or(Self { v: VERSION, to: None })
    }
}

/// A document has texts for its keys, and can be written.
pub(super) fn write(document: &impl Serialize) -> Result<Bytes, &'static str> {
    serde_json::to_vec(document).map(Bytes::from).map_err(|_| "it cannot be written as JSON")
}

#[cfg(test)]
mod tests {
    use larder_core::session::Value;

    use super::*;

    fn session() -> SessionRecord {
        let at = Timestamp::from_micros;
        let mut session = SessionRecord::new(at(1_000_001), at(9_000_000));
        session.user = Some("zoë".into());
        session.data.insert("cart".into(), Value::of(&[42, 7]).unwrap());
        session
    }

    /// Earlier versions have stored these texts.
    #[test]
    fn version_1_is_fixed() {
        let text = write(&Document::of(&session(), "0a".into(), 7)).unwrap();
        let expected = concat!(
            r#"{"v":1,"version":"0a","user":"zoë","created":1000001,"seen":1000001,"#,
            r#""ends":9000000,"noted":7,"data":{"cart":[42,7]}}"#
        );
        assert_eq!(text, expected);
        let read = Document::read(&text).unwrap();
        assert_eq!(read.noted, 7);
        let found = read.session();
        assert_eq!(found.version.as_str(), "0a");
        assert_eq!(found.session.data, session().data);
        assert_eq!(found.session.expires_at, session().expires_at);

        assert_eq!(write(&Tombstone::new(None)).unwrap(), r#"{"v":1}"#);
        let moved = write(&Tombstone::new(Some("b"))).unwrap();
        assert_eq!(moved, r#"{"v":1,"to":"b"}"#);
        assert_eq!(Tombstone::read(&moved).to.as_deref(), Some("b"));
    }

    #[test]
    fn what_cannot_be_read_is_no_session_and_an_end() {
        let text = write(&Document::of(&session(), "0a".into(), 7)).unwrap();
        for length in 0..text.len() {
            assert!(Document::read(&text[..length]).is_err());
        }
        let later = String::from_utf8_lossy(&text).replace("\"v\":1", "\"v\":2");
        assert!(Document::read(later.as_bytes()).err().unwrap().contains("version"));
        assert_eq!(Tombstone::read(b"\xFF").to, None);
    }
}
