//! The frame around a stored value.
//!
//! ```text
//! offset  size  field
//!      0     1  0xCA, which begins no JSON text
//!      1     1  version: 2; below 0x80, so that no UTF-8 text begins with both
//!      2     1  codec
//!      3     1  flags: bit 0, the value is absent; the others are 0
//!      4     8  loaded at, milliseconds since the UNIX epoch
//!     12     8  fresh until, milliseconds since the UNIX epoch
//!     20     8  usable until, milliseconds since the UNIX epoch
//!     28     4  length of the payload
//!     32     4  length of the stamps
//!     36        the stamps: of each the epoch in 8 bytes, the length of its key in 2, the key
//!               the payload
//! ```
//! Integers are little-endian. A frame of another version, or with lengths that are not its own,
//! is unreadable: a miss that is counted. `core/golden` holds a frame of every version there was.
//!
//! Version 1 had no stamps: its payload began at 32. It is read still.

use bytes::{BufMut, Bytes, BytesMut};

use crate::epoch::Stamp;
use crate::time::Timestamp;

const MAGIC: u8 = 0xCA;
const VERSION: u8 = 2;
const WITHOUT_STAMPS: u8 = 1;
const ABSENT: u8 = 1;
const COMMON_BYTES: usize = 32;
const HEADER_BYTES: usize = COMMON_BYTES + 4;
const STAMP_BYTES: usize = 8 + 2;

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

/// A frame that was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) header: Header,
    pub(crate) stamps: Stamps<'a>,
    /// Where its payload begins.
    pub(crate) payload_at: usize,
}

/// A frame that is written into: the header and the stamps first, then whatever the codec writes.
pub(crate) fn begin(header: &Header, stamps: &[Stamp], payload_hint: usize) -> BytesMut {
    let bytes: usize = stamps.iter().map(|stamp| STAMP_BYTES + stamp.key.len()).sum();
    let mut frame = BytesMut::with_capacity(HEADER_BYTES + bytes + payload_hint);
    frame.put_u8(MAGIC);
    frame.put_u8(VERSION);
    frame.put_u8(header.codec);
    frame.put_u8(if header.absent { ABSENT } else { 0 });
    frame.put_u64_le(header.loaded_at.as_millis());
    frame.put_u64_le(header.fresh_until.as_millis());
    frame.put_u64_le(header.usable_until.as_millis());
    frame.put_u32_le(0);
    // What does not fit, `finish` sees.
    frame.put_u32_le(u32::try_from(bytes).unwrap_or(u32::MAX));
    for stamp in stamps {
        frame.put_u64_le(stamp.epoch);
        frame.put_u16_le(u16::try_from(stamp.key.len()).unwrap_or(u16::MAX));
        frame.put_slice(stamp.key.as_bytes());
    }
    frame
}

/// Writes the length of the payload; `None` where it or a stamp is too long.
pub(crate) fn finish(mut frame: BytesMut) -> Option<Bytes> {
    let stamps = usize::try_from(u32_at(&frame, COMMON_BYTES)?).ok()?;
    Stamps(frame.get(HEADER_BYTES..HEADER_BYTES.checked_add(stamps)?)?).checked()?;
    let length = u32::try_from(frame.len() - HEADER_BYTES - stamps).ok()?;
    frame.get_mut(28..COMMON_BYTES)?.copy_from_slice(&length.to_le_bytes());
    Some(frame.freeze())
}

pub(crate) fn read(frame: &[u8]) -> Result<Frame<'_>, Unreadable> {
    let version = match frame {
        [MAGIC, version @ (VERSION | WITHOUT_STAMPS), ..] => *version,
        [MAGIC, _, ..] => return Err(Unreadable::Version),
        [MAGIC] => return Err(Unreadable::Truncated),
        _ => return Err(Unreadable::Foreign),
    };
    let (header, _) = frame.split_first_chunk::<COMMON_BYTES>().ok_or(Unreadable::Truncated)?;
    let time = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&header[at..at + 8]);
        Timestamp::from_millis(u64::from_le_bytes(bytes))
    };
    let (stamps, payload_at) = match version {
        WITHOUT_STAMPS => (Stamps::default(), COMMON_BYTES),
        _ => stamps_of(frame).ok_or(Unreadable::Truncated)?,
    };
    let length = u32::from_le_bytes([header[28], header[29], header[30], header[31]]);
    if usize::try_from(length) != Ok(frame.len() - payload_at) {
        return Err(Unreadable::Truncated);
    }
    let header = Header {
        codec: header[2],
        absent: header[3] & ABSENT != 0,
        loaded_at: time(4),
        fresh_until: time(12),
        usable_until: time(20),
    };
    Ok(Frame { header, stamps, payload_at })
}

fn stamps_of(frame: &[u8]) -> Option<(Stamps<'_>, usize)> {
    let length = usize::try_from(u32_at(frame, COMMON_BYTES)?).ok()?;
    let payload_at = HEADER_BYTES.checked_add(length)?;
    let stamps = Stamps(frame.get(HEADER_BYTES..payload_at)?).checked()?;
    Some((stamps, payload_at))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|number| u32::from_le_bytes(*number))
}

/// The stamps of a frame, each a key and its epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stamps<'a>(&'a [u8]);

impl<'a> Stamps<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These, if they are stamps to the last byte.
    fn checked(self) -> Option<Self> {
        let mut rest = self;
        while !rest.0.is_empty() {
            rest.take_one()?;
        }
        Some(self)
    }

    fn take_one(&mut self) -> Option<(&'a str, u64)> {
        let (epoch, rest) = self.0.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        let key = std::str::from_utf8(key).ok()?;
        self.0 = rest;
        Some((key, u64::from_le_bytes(*epoch)))
    }
}

impl<'a> Iterator for Stamps<'a> {
    type Item = (&'a str, u64);

    fn next(&mut self) -> Option<Self::Item> {
        self.take_one()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::test;

    fn whole(header: &Header, stamps: &[Stamp], payload: &[u8]) -> Bytes {
        let mut frame = begin(header, stamps, 0);
        frame.put_slice(payload);
        finish(frame).unwrap()
    }

    fn stamps() -> impl Strategy<Value = Vec<Stamp>> {
        let stamp = |(key, epoch): (String, u64)| Stamp { key: key.into(), epoch };
        prop::collection::vec(any::<(String, u64)>().prop_map(stamp), 0..4)
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
        fn what_is_written_is_read(header in header(), stamps in stamps(), payload: Vec<u8>) {
            let frame = whole(&header, &stamps, &payload);
            let found = read(&frame).unwrap();
            prop_assert_eq!(found.header, header);
            prop_assert_eq!(&frame[found.payload_at..], &payload);
            let found: Vec<Stamp> =
                found.stamps.map(|(key, epoch)| Stamp { key: key.into(), epoch }).collect();
            prop_assert_eq!(found, stamps);
        }

        #[test]
        fn no_other_length_is_a_frame(
            header in header(), stamps in stamps(), payload: Vec<u8>, more: Vec<u8>,
        ) {
            let frame = whole(&header, &stamps, &payload);
            for length in 0..frame.len() {
                prop_assert!(read(&frame[..length]).is_err());
            }
            let longer = [&frame[..], &more, &[0]].concat();
            prop_assert_eq!(read(&longer), Err(Unreadable::Truncated));
        }

        #[test]
        fn any_bytes_can_be_tried(mut bytes: Vec<u8>, version in 0..=VERSION) {
            if version > 0 && bytes.len() >= 2 {
                bytes[..2].copy_from_slice(&[MAGIC, version]);
            }
            if read(&bytes).is_ok() {
                prop_assert!(bytes.len() >= COMMON_BYTES && version > 0);
            }
        }

        /// The lengths agree with one another, whatever the stamps are.
        #[test]
        fn any_stamps_can_be_tried(header in header(), bytes: Vec<u8>, claimed in 0..64_u32) {
            let mut frame = whole(&header, &[], &bytes).to_vec();
            let claimed = claimed.min(bytes.len() as u32);
            frame[28..32].copy_from_slice(&(bytes.len() as u32 - claimed).to_le_bytes());
            frame[32..36].copy_from_slice(&claimed.to_le_bytes());
            if let Ok(frame) = read(&frame) {
                let length: usize = frame.stamps.map(|(key, _)| STAMP_BYTES + key.len()).sum();
                prop_assert_eq!(length, claimed as usize);
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
        assert_eq!(read(&[MAGIC, 3]), Err(Unreadable::Version));
        assert_eq!(read(&[MAGIC, VERSION, 1, 0]), Err(Unreadable::Truncated));
    }

    #[test]
    fn a_stamp_that_is_too_long_is_refused() {
        let header = Header {
            codec: 1,
            absent: true,
            loaded_at: Timestamp::EPOCH,
            fresh_until: Timestamp::EPOCH,
            usable_until: Timestamp::EPOCH,
        };
        let stamp = |length| Stamp { key: "t".repeat(length).into(), epoch: 1 };
        assert!(finish(begin(&header, &[stamp(65_535)], 0)).is_some());
        assert!(finish(begin(&header, &[stamp(65_536)], 0)).is_none());
    }
}
