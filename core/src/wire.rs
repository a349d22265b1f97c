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
