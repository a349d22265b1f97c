//! The bytes under a session's key.
//!
//! ```text
//! offset  size  field
//!      0     1  0xCE, which begins no JSON text
//!      1     1  version of the format: 1; below 0x80, so that no UTF-8 text begins with both
//!      2     1  1: a session; 2: a tombstone
//!      3     1  0
//!      4    16  the version of what stands here: random, for every write but a touch
//!     20     8  when it ends
//! ```
//! Then, of a session:
//! ```text
//!     28     8  when it began
//!     36     8  when it was last used
//!     44        who is signed in: a length of 4 bytes, all ones for nobody, and the text
//!               where it was last used, likewise
//!               its values: a JSON object
//! ```
//! and of a tombstone the key that the session has moved to, or nothing. Integers are
//! little-endian, times are microseconds since the UNIX epoch. `golden` holds a frame of every
//! version there was.

use larder_core::Timestamp;
use larder_core::session::{Data, SessionRecord, StoredSession, Version};

const MAGIC: u8 = 0xCE;
const FORMAT: u8 = 1;
const SESSION: u8 = 1;
const TOMBSTONE: u8 = 2;
/// The length of a text that is absent.
const ABSENT: u32 = u32::MAX;

/// Tells one write from all others.
pub(super) type Token = [u8; 16];

/// What stands under a key.
#[derive(Debug)]
pub(super) enum Standing {
    Session(StoredSession),
    MovedTo(String),
    Nothing,
}

/// A session as it is stored.
pub(super) fn session(token: Token, session: &SessionRecord) -> serde_json::Result<Vec<u8>> {
    let mut frame = Vec::with_capacity(64 + 2 * session.size());
    begin(&mut frame, SESSION, token, session.expires_at);
    frame.extend(time(session.created_at));
    frame.extend(time(session.seen_at));
    push_text(&mut frame, session.user.as_deref());
    push_text(&mut frame, session.seen_from.as_deref());
    serde_json::to_writer(&mut frame, &session.data)?;
    Ok(frame)
}

/// What stands for a session that ended, until `until`.
pub(super) fn tombstone(token: Token, until: Timestamp, moved_to: Option<&str>) -> Vec<u8> {
    let mut frame = Vec::with_capacity(28 + moved_to.map_or(0, str::len));
    begin(&mut frame, TOMBSTONE, token, until);
    frame.extend(moved_to.unwrap_or_default().as_bytes());
    frame
}

fn begin(frame: &mut Vec<u8>, kind: u8, token: Token, ends: Timestamp) {
    frame.extend([MAGIC, FORMAT, kind, 0]);
    frame.extend(token);
    frame.extend(time(ends));
}

pub(super) fn time(time: Timestamp) -> [u8; 8] {
    time.as_micros().to_le_bytes()
}

/// A text, or none, with its length.
pub(super) fn text(text: Option<&str>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + text.map_or(0, str::len));
    push_text(&mut bytes, text);
    bytes
}

fn push_text(frame: &mut Vec<u8>, text: Option<&str>) {
    let text = text.map(str::as_bytes);
    let length = text.map_or(ABSENT, |text| u32::try_from(text.len()).unwrap_or(ABSENT));
    frame.extend(length.to_le_bytes());
    frame.extend(text.unwrap_or_default());
}

/// A text written by [`text`], alone.
pub(super) fn read_text(bytes: &[u8]) -> Option<String> {
    take_text(&mut &*bytes).ok().flatten()
}

pub(super) fn version(token: Token) -> Version {
    Version::of_token(token)
}

/// What the version was made of; of one that is none of this store's, what nothing has.
pub(super) fn token(version: &Version) -> Token {
    version.token().unwrap_or_default()
}

/// What these bytes say at `now`; or why they say nothing.
pub(super) fn read(mut frame: &[u8], now: Timestamp) -> Result<Standing, &'static str> {
    const CUT_OFF: &str = "they are cut off";
    match frame {
        [MAGIC, FORMAT, ..] => {}
        [MAGIC, ..] => return Err("they are of another version of the format"),
        _ => return Err("they are no session of Larder's"),
    }
    let [_, _, kind, _] = take::<4>(&mut frame).ok_or(CUT_OFF)?;
    let token = take::<16>(&mut frame).ok_or(CUT_OFF)?;
    let ends = take_time(&mut frame).ok_or(CUT_OFF)?;
    match kind {
        SESSION | TOMBSTONE if ends <= now => Ok(Standing::Nothing),
        TOMBSTONE if frame.is_empty() => Ok(Standing::Nothing),
        TOMBSTONE => match std::str::from_utf8(frame) {
            Ok(key) => Ok(Standing::MovedTo(key.to_owned())),
            Err(_) => Err("they name no key"),
        },
        SESSION => {
            let created_at = take_time(&mut frame).ok_or(CUT_OFF)?;
            let mut session = SessionRecord::new(created_at, ends);
            session.seen_at = take_time(&mut frame).ok_or(CUT_OFF)?;
            session.user = take_text(&mut frame)?;
            session.seen_from = take_text(&mut frame)?;
            // What serde says may quote a value, which may be a secret.
            session.data = serde_json::from_slice::<Data>(frame)
                .map_err(|_| "its values are no JSON object, or cut off")?;
            Ok(Standing::Session(StoredSession::new(session, version(token))))
        }
        _ => Err("they are neither a session nor what is left of one"),
    }
}

fn take<const N: usize>(frame: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = frame.split_first_chunk()?;
    *frame = rest;
    Some(*taken)
}

fn take_time(frame: &mut &[u8]) -> Option<Timestamp> {
    take(frame).map(|bytes| Timestamp::from_micros(u64::from_le_bytes(bytes)))
}

fn take_text(frame: &mut &[u8]) -> Result<Option<String>, &'static str> {
    const CUT_OFF: &str = "a text in them is cut off";
    let length = u32::from_le_bytes(take(frame).ok_or(CUT_OFF)?);
    if length == ABSENT {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| CUT_OFF)?;
    let (text, rest) = frame.split_at_checked(length).ok_or(CUT_OFF)?;
    *frame = rest;
    match std::str::from_utf8(text) {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => Err("a text in them is no UTF-8"),
    }
}

#[cfg(test)]
mod tests {
    use larder_core::session::Value;
    use proptest::prelude::*;

    use super::*;

    const TOKEN: Token = *b"0123456789abcdef";
    const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

    fn golden() -> SessionRecord {
        let mut session = SessionRecord::new(NOW, Timestamp::from_micros(NOW.as_micros() * 2));
        session.seen_at = Timestamp::from_micros(NOW.as_micros() + 61_000_001);
        session.user = Some("zoë".into());
        session.seen_from = Some("203.0.113.9".into());
        session.data.insert("cart".into(), Value::of(&[42, 7]).unwrap());
        session.data.insert("naïve".into(), Value::of("ß").unwrap());
        session
    }

    fn same(one: &SessionRecord, other: &SessionRecord) -> bool {
        one.data == other.data
            && (&one.user, &one.seen_from) == (&other.user, &other.seen_from)
            && (one.created_at, one.seen_at, one.expires_at)
                == (other.created_at, other.seen_at, other.expires_at)
    }

    /// The files are promises: sessions that users are signed in by hold such bytes.
    #[test]
    fn version_1_is_read_and_written_as_it_always_was() {
        let bytes = include_bytes!("../../golden/v1-session.bin");
        assert_eq!(session(TOKEN, &golden()).unwrap(), bytes);
        let Ok(Standing::Session(found)) = read(bytes, NOW) else { panic!() };
        assert!(same(&found.session, &golden()));
        assert_eq!(token(&found.version), TOKEN);

        let until = golden().expires_at;
        let bytes = include_bytes!("../../golden/v1-moved.bin");
        assert_eq!(tombstone(TOKEN, until, Some("sess:new")), bytes);
        assert!(matches!(read(bytes, NOW), Ok(Standing::MovedTo(key)) if key == "sess:new"));

        let bytes = include_bytes!("../../golden/v1-ended.bin");
        assert_eq!(tombstone(TOKEN, until, None), bytes);
        assert!(matches!(read(bytes, NOW), Ok(Standing::Nothing)));
    }

    #[test]
    fn the_end_is_exact_to_the_microsecond() {
        let ends = golden().expires_at;
        let before = Timestamp::from_micros(ends.as_micros() - 1);
        let frame = session(TOKEN, &golden()).unwrap();
        assert!(matches!(read(&frame, before), Ok(Standing::Session(_))));
        assert!(matches!(read(&frame, ends), Ok(Standing::Nothing)));
        let frame = tombstone(TOKEN, ends, Some("new"));
        assert!(matches!(read(&frame, before), Ok(Standing::MovedTo(_))));
        assert!(matches!(read(&frame, ends), Ok(Standing::Nothing)));
    }

    #[test]
    fn a_part_of_a_session_is_no_session() {
        let frame = session(TOKEN, &golden()).unwrap();
        for length in 0..frame.len() {
            assert!(read(&frame[..length], NOW).is_err(), "{length} bytes");
        }
        assert!(read(&[&frame[..], b"}"].concat(), NOW).is_err());
        let mut later = frame;
        later[1] = 2;
        assert!(read(&later, NOW).unwrap_err().contains("version"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn what_is_written_is_read(
            times: [u64; 3],
            user: Option<String>,
            seen_from: Option<String>,
            data: std::collections::BTreeMap<String, String>,
            token: Token,
        ) {
            let [created, seen, ends] = times.map(Timestamp::from_micros);
            let mut record = SessionRecord::new(created, ends);
            (record.seen_at, record.user, record.seen_from) = (seen, user, seen_from);
            for (key, value) in data {
                record.data.insert(key, Value::of(&value).unwrap());
            }
            let read = read(&session(token, &record).unwrap(), Timestamp::EPOCH);
            match read {
                Ok(Standing::Session(found)) => {
                    prop_assert!(same(&found.session, &record));
                    prop_assert_eq!(super::token(&found.version), token);
                }
                other => prop_assert!(ends == Timestamp::EPOCH, "{:?}", other),
            }
        }

        #[test]
        fn any_bytes_can_be_tried(mut bytes: Vec<u8>, kind in 0..3_u8) {
            let _ = read(&bytes, Timestamp::EPOCH);
            if bytes.len() > 3 {
                bytes[..3].copy_from_slice(&[MAGIC, FORMAT, kind]);
                let _ = read(&bytes, Timestamp::EPOCH);
            }
        }
    }
}
