//! The bytes of a dead letter.
//!
//! ```text
//! offset  size  field
//!      0     1  version: 1
//!      1     8  place in the journal
//!      9     4  attempts
//!     13     8  when it died, microseconds since the UNIX epoch
//!     21     4  length of the reason, in bytes
//!     25        the reason, in UTF-8; then the value
//! ```
//! Integers are little-endian.

use bytes::{Buf, BufMut, Bytes};
use larder_core::Timestamp;
use larder_core::write_behind::{DeadLetter, Death, Sequence};

const VERSION: u8 = 1;
const HEADER: usize = 25;

pub(super) fn write(place: Sequence, death: &Death) -> Vec<u8> {
    let reason = death.reason.as_bytes();
    let mut letter = Vec::with_capacity(HEADER + reason.len() + death.value.len());
    letter.put_u8(VERSION);
    letter.put_u64_le(place.number());
    letter.put_u32_le(death.attempts);
    letter.put_u64_le(death.died_at.as_micros());
    letter.put_u32_le(u32::try_from(reason.len()).unwrap_or(u32::MAX));
    letter.put_slice(reason);
    letter.put_slice(&death.value);
    letter
}

/// The letter; nothing where the bytes are none, or one of a later version.
pub(super) fn read(key: &str, bytes: Vec<u8>) -> Option<DeadLetter> {
    let mut bytes = Bytes::from(bytes);
    if bytes.len() < HEADER || bytes.get_u8() != VERSION {
        return None;
    }
    let place = Sequence::from_number(bytes.get_u64_le());
    let attempts = bytes.get_u32_le();
    let died_at = Timestamp::from_micros(bytes.get_u64_le());
    let length = usize::try_from(bytes.get_u32_le()).ok()?;
    if bytes.len() < length {
        return None;
    }
    let reason = String::from_utf8_lossy(&bytes.split_to(length)).into_owned();
    Some(DeadLetter::new(place, key, Death::new(bytes, reason, attempts, died_at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> DeadLetter {
        let value = Bytes::from_static(b"\0value");
        let died_at = Timestamp::from_millis(1_767_225_600_000);
        let place = Sequence::from_number(1_767_225_600_000_001);
        DeadLetter::new(place, "Zoë", Death::new(value, "too löng", 7, died_at))
    }

    #[test]
    fn a_letter_is_read_as_it_was_written() {
        let bytes = write(letter().sequence, &letter().death);
        assert_eq!(bytes, include_bytes!("../../golden/v1-letter.bin"));
        assert_eq!(read("Zoë", bytes), Some(letter()));
    }

    #[test]
    fn what_is_no_letter_is_none() {
        let bytes = write(letter().sequence, &letter().death);
        for length in 0..HEADER + letter().death.reason.len() {
            assert_eq!(read("Zoë", bytes[..length].to_vec()), None);
        }
        assert_eq!(read("Zoë", [&[2], &bytes[1..]].concat()), None);
    }
}
