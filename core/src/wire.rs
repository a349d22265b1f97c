//! The frame around a stored value.
//!
//! ```text
//! offset  size  field
//!      0     1  0xCA, which begins no JSON text
//!      1     1  version: 1; below 0x80, so that no UTF-8 text begins with both
//!      2     1  codec
//!      3     1  flags: bit 0, the value is absent; the others are 0
//!      4     8  loaded at, milliseconds since the UNIX epoch
//!     12     8  fresh until, milliseconds since the UNIX epoch
//!     20     8  usable until, milliseconds since the UNIX epoch
//!     28     4  length of the payload
//!     32        the payload
//! ```
//! Integers are little-endian. A frame of another version, or with a length that is not its own,
//! is unreadable: a miss that is counted. `core/golden` holds a frame of every version there was.

use bytes::{BufMut, Bytes, BytesMut};

use crate::time::Timestamp;

const MAGIC: u8 = 0xCA;
const VERSION: u8 = 1;
const ABSENT: u8 = 1;
pub(crate) const HEADER_BYTES: usize = 32;

/// What a frame says about its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) codec: u8,
    pub(crate) absent: bool,
    pub(crate) loaded_at: Timestamp,
    pub(crate) fresh_until: Timestamp,
    pub(crate) usable_until: Timestamp,
}

/// Why stored bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Foreign,
    Version,
    Truncated,
}

impl Unreadable {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Version => "version",
            Self::Truncated => "truncated",
        }
    }
}

/// A frame that is written into: the header first, then whatever the codec writes.
pub(crate) fn begin(header: &Header, payload_hint: usize) -> BytesMut {
    let mut frame = BytesMut::with_capacity(HEADER_BYTES + payload_hint);
    frame.put_u8(MAGIC);
    frame.put_u8(VERSION);
    frame.put_u8(header.codec);
    frame.put_u8(if header.absent { ABSENT } else { 0 });
    frame.put_u64_le(header.loaded_at.as_millis());
    frame.put_u64_le(header.fresh_until.as_millis());
    frame.put_u64_le(header.usable_until.as_millis());
    frame.put_u32_le(0);
    frame
}

/// Writes the length of the payload; `None` where it has more than 4 GiB.
pub(crate) fn finish(mut frame: BytesMut) -> Option<Bytes> {
    let length = u32::try_from(frame.len().checked_sub(HEADER_BYTES)?).ok()?;
    frame.get_mut(28..HEADER_BYTES)?.copy_from_slice(&length.to_le_bytes());
    Some(frame.freeze())
}

/// The header of a frame; its payload begins at [`HEADER_BYTES`].
pub(crate) fn read(frame: &[u8]) -> Result<Header, Unreadable> {
    match frame {
        [MAGIC, VERSION, ..] => {}
        [MAGIC, _, ..] => return Err(Unreadable::Version),
        [MAGIC] => return Err(Unreadable::Truncated),
        _ => return Err(Unreadable::Foreign),
    }
    let (header, payload) =
        frame.split_first_chunk::<HEADER_BYTES>().ok_or(Unreadable::Truncated)?;
    let time = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&header[at..at + 8]);
        Timestamp::from_millis(u64::from_le_bytes(bytes))
    };
    let length = u32::from_le_bytes([header[28], header[29], header[30], header[31]]);
    if usize::try_from(length) != Ok(payload.len()) {
        return Err(Unreadable::Truncated);
    }
    Ok(Header {
        codec: header[2],
        absent: header[3] & ABSENT != 0,
        loaded_at: time(4),
        fresh_until: time(12),
        usable_until: time(20),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::test;

    fn whole(header: &Header, payload: &[u8]) -> Bytes {
        let mut frame = begin(header, 0);
        frame.put_slice(payload);
        finish(frame).unwrap()
    }

    /// Frames count whole milliseconds.
    fn time() -> impl Strategy<Value = Timestamp> {
        (0..u64::MAX / 1_000).prop_map(Timestamp::from_millis)
    }

    prop_compose! {
        fn header()(
            codec: u8,
            absent: bool,
            loaded_at in time(),
            fresh_until in time(),
            usable_until in time(),
        ) -> Header {
            Header { codec, absent, loaded_at, fresh_until, usable_until }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(header in header(), payload: Vec<u8>) {
            let frame = whole(&header, &payload);
            prop_assert_eq!(read(&frame), Ok(header));
            prop_assert_eq!(&frame[HEADER_BYTES..], &payload);
        }

        #[test]
        fn no_other_length_is_a_frame(header in header(), payload: Vec<u8>, more: Vec<u8>) {
            let frame = whole(&header, &payload);
            for length in 0..frame.len() {
                prop_assert!(read(&frame[..length]).is_err());
            }
            let longer = [&frame[..], &more, &[0]].concat();
            prop_assert_eq!(read(&longer), Err(Unreadable::Truncated));
        }

        #[test]
        fn any_bytes_can_be_tried(mut bytes: Vec<u8>, like_a_frame: bool) {
            if like_a_frame && bytes.len() >= 2 {
                bytes[..2].copy_from_slice(&[MAGIC, VERSION]);
            }
            if read(&bytes).is_ok() {
                prop_assert!(bytes.len() >= HEADER_BYTES && like_a_frame);
            }
        }

        #[test]
        fn no_text_is_a_frame(text: String) {
            prop_assert!(read(text.as_bytes()).is_err());
        }
    }

    #[test]
    fn the_reasons_are_told_apart() {
        assert_eq!(read(b""), Err(Unreadable::Foreign));
        assert_eq!(read(b"{}"), Err(Unreadable::Foreign));
        assert_eq!(read(&[MAGIC]), Err(Unreadable::Truncated));
        assert_eq!(read(&[MAGIC, 2]), Err(Unreadable::Version));
        assert_eq!(read(&[MAGIC, VERSION, 1, 0]), Err(Unreadable::Truncated));
    }
}
