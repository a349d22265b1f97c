//! A notice as bytes.
//!
//! ```text
//! offset  size  field
//!      0     1  0xCB, which begins no UTF-8 text
//!      1     1  version: 1; below 0x80, so that no UTF-8 text begins with both
//!      2     1  what it is about: 0 nothing, 1 keys, 2 patterns, 3 tags, 4 everything, 5 withdrawn,
//!               6 farewell
//!      3     1  0
//!      4    16  the sender
//!     20     8  its epoch, milliseconds since the UNIX epoch
//!     28     8  the number of the notice
//!     36     4  how many texts there are
//!     40        the texts: of each the length in 4 bytes, then the text in UTF-8
//! ```
//! Integers are little-endian. What is of another version, of an unknown kind, or has lengths that are
//! not its own, is unreadable. `core/golden` holds a notice of every version there was.

use bytes::{BufMut, Bytes, BytesMut};

use super::notice::{NodeId, Notice, Origin, Subject};
use crate::glob::Glob;

const MAGIC: u8 = 0xCB;
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 40;
const LENGTH_BYTES: usize = 4;

/// `None` for a notice without an origin: this form has none without.
pub(super) fn write(notice: &Notice) -> Option<Bytes> {
    let origin = notice.origin?;
    let (kind, texts): (u8, Vec<&str>) = match &notice.subject {
        Subject::Alive => (0, Vec::new()),
        Subject::Keys(keys) => (1, borrowed(keys)),
        Subject::Patterns(patterns) => (2, patterns.iter().map(Glob::as_str).collect()),
        Subject::Tags(tags) => (3, borrowed(tags)),
        Subject::Everything => (4, Vec::new()),
        Subject::Withdrawn(keys) => (5, borrowed(keys)),
        Subject::Farewell => (6, Vec::new()),
    };
    let bytes: usize = texts.iter().map(|text| LENGTH_BYTES + text.len()).sum();
    let mut message = BytesMut::with_capacity(HEADER_BYTES + bytes);
    message.put_slice(&[MAGIC, VERSION, kind, 0]);
    message.put_u128_le(origin.node.as_u128());
    message.put_u64_le(origin.epoch);
    message.put_u64_le(origin.sequence);
    message.put_u32_le(u32::try_from(texts.len()).ok()?);
    for text in texts {
        message.put_u32_le(u32::try_from(text.len()).ok()?);
        message.put_slice(text.as_bytes());
    }
    Some(message.freeze())
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// `None` for what is no notice, or none that is understood.
pub(super) fn read(message: &[u8]) -> Option<Notice> {
    let (header, mut rest) = message.split_first_chunk::<HEADER_BYTES>()?;
    let [MAGIC, VERSION, kind, 0, fields @ ..] = header else { return None };
    let (node, fields) = fields.split_first_chunk()?;
    let (epoch, fields) = fields.split_first_chunk()?;
    let (sequence, count) = fields.split_first_chunk()?;
    let origin = Origin {
        node: NodeId::from_u128(u128::from_le_bytes(*node)),
        epoch: u64::from_le_bytes(*epoch),
        sequence: u64::from_le_bytes(*sequence),
    };
    let count = u32::from_le_bytes(*count.first_chunk()?);
    let mut texts = Vec::new();
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (text, after) = after.split_at_checked(length)?;
        texts.push(std::str::from_utf8(text).ok()?.to_owned());
        rest = after;
    }
    if !rest.is_empty() {
        return None;
    }
    let subject = match kind {
        1 => Subject::Keys(texts),
        2 => Subject::Patterns(texts.into_iter().map(Glob::new).collect()),
        3 => Subject::Tags(texts),
        5 => Subject::Withdrawn(texts),
        _ if count > 0 => return None,
        0 => Subject::Alive,
        4 => Subject::Everything,
        6 => Subject::Farewell,
        _ => return None,
    };
    Some(Notice::new(origin, subject))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::test;

    fn subject() -> impl Strategy<Value = Subject> {
        let texts = || prop::collection::vec(any::<String>(), 0..5);
        let globs = |texts: Vec<String>| texts.into_iter().map(Glob::new).collect();
        prop_oneof![
            Just(Subject::Alive),
            texts().prop_map(Subject::Keys),
            texts().prop_map(move |texts| Subject::Patterns(globs(texts))),
            texts().prop_map(Subject::Tags),
            Just(Subject::Everything),
            texts().prop_map(Subject::Withdrawn),
            Just(Subject::Farewell),
        ]
    }

    prop_compose! {
        fn notice()(node: u128, epoch: u64, sequence: u64, subject in subject()) -> Notice {
            Notice::new(Origin { node: NodeId::from_u128(node), epoch, sequence }, subject)
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(notice in notice()) {
            prop_assert_eq!(read(&write(&notice).unwrap()), Some(notice));
        }

        #[test]
        fn no_other_length_is_a_notice(notice in notice(), more: Vec<u8>) {
            let message = write(&notice).unwrap();
            for length in 0..message.len() {
                prop_assert_eq!(read(&message[..length]), None);
            }
            prop_assert_eq!(read(&[&message[..], &more, &[0]].concat()), None);
        }

        #[test]
        fn any_bytes_can_be_tried(mut bytes: Vec<u8>, kind in 0..9_u8, count in 0..4_u8) {
            read(&bytes);
            bytes.splice(..bytes.len().min(4), [MAGIC, VERSION, kind, 0]);
            if bytes.len() > HEADER_BYTES {
                bytes[36..HEADER_BYTES].copy_from_slice(&[count, 0, 0, 0]);
            }
            read(&bytes);
        }

        #[test]
        fn no_text_is_a_notice(text: String) {
            prop_assert_eq!(read(text.as_bytes()), None);
        }
    }

    /// It promises more texts than there are bytes: nothing is reserved for them.
    #[test]
    fn a_count_that_cannot_be_is_no_notice() {
        let origin = Origin { node: NodeId::from_u128(1), epoch: 2, sequence: 3 };
        let notice = Notice::new(origin, Subject::Keys(vec!["a".into()]));
        let mut message = write(&notice).unwrap().to_vec();
        message[36..40].copy_from_slice(&[0xff; 4]);
        assert_eq!(read(&message), None);
    }
}
