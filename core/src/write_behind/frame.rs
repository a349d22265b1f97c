//! The frame around a value in a journal.
//!
//! ```text
//! offset  size  field
//!      0     1  0xCB, which begins no JSON text
//!      1     1  version: 1
//!      2     1  codec
//!      3        the payload
//! ```
//! `core/golden` holds one of every version there was.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::AnyCodec;
use crate::error::SharedError;

const MAGIC: u8 = 0xCB;
const VERSION: u8 = 1;

pub(super) fn write<T: Serialize + ?Sized>(
    codec: &AnyCodec,
    value: &T,
) -> Result<Bytes, SharedError> {
    let mut frame = BytesMut::with_capacity(64);
    frame.put_slice(&[MAGIC, VERSION, codec.number()]);
    let mut writer = frame.writer();
    codec.encode(value, &mut writer)?;
    Ok(writer.into_inner().freeze())
}

/// The value, or why there is none.
pub(super) fn read<T: DeserializeOwned>(codec: &AnyCodec, frame: &[u8]) -> Result<T, String> {
    match frame {
        [MAGIC, VERSION, number, payload @ ..] if *number == codec.number() => {
            let name = codec.name();
            codec.decode(payload).map_err(|error| format!("not readable by {name}: {error}"))
        }
        [MAGIC, VERSION, number, ..] => {
            let (name, own) = (codec.name(), codec.number());
            Err(format!("written by the codec of number {number}, not by {name} ({own})"))
        }
        [MAGIC, version, ..] => Err(format!("of version {version}, this one reads {VERSION}")),
        _ => Err("not a value of a journal".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Json;
    use crate::runtime::test;

    #[test]
    fn version_1() {
        let golden = include_bytes!("../../golden/v1-write.bin");
        let codec = AnyCodec::from(Json);
        assert_eq!(write(&codec, "Zoë").unwrap(), &golden[..]);
        assert_eq!(read::<String>(&codec, golden).unwrap(), "Zoë");
    }

    #[test]
    fn what_is_no_value_says_why() {
        let codec = AnyCodec::from(Json);
        for (bytes, why) in [
            (&b""[..], "not a value of a journal"),
            (b"{}", "not a value of a journal"),
            (&[MAGIC, 2, 1], "of version 2"),
            (&[MAGIC, VERSION, 7, b'1'], "the codec of number 7, not by JSON (1)"),
            (&[MAGIC, VERSION, 1, b'{'], "not readable by JSON"),
        ] {
            let error = read::<String>(&codec, bytes).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
