use std::io::Write;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Builtin, Codec, shared};
use crate::error::SharedError;

/// MessagePack with field names: smaller than JSON, and as tolerant of added fields.
#[derive(Debug, Clone, Copy, Default)]
pub struct MessagePack;

pub(super) fn encode<T: Serialize + ?Sized>(
    value: &T,
    mut to: impl Write,
) -> Result<(), SharedError> {
    rmp_serde::encode::write_named(&mut to, value).map_err(shared)
}

pub(super) fn decode<T: DeserializeOwned>(from: &[u8]) -> Result<T, SharedError> {
    rmp_serde::from_slice(from).map_err(shared)
}

impl Codec for MessagePack {
    fn number(&self) -> u8 {
        2
    }

    fn name(&self) -> &'static str {
        "MessagePack"
    }

    fn encode(
        &self,
        value: &dyn erased_serde::Serialize,
        to: &mut dyn Write,
    ) -> Result<(), SharedError> {
        encode(&value, to)
    }

    fn decode(
        &self,
        from: &[u8],
        read: &mut dyn FnMut(&mut dyn erased_serde::Deserializer<'_>) -> Result<(), SharedError>,
    ) -> Result<(), SharedError> {
        let mut msgpack = rmp_serde::Deserializer::from_read_ref(from);
        read(&mut <dyn erased_serde::Deserializer<'_>>::erase(&mut msgpack))
    }

    fn builtin(&self) -> Option<Builtin> {
        Some(Builtin::MessagePack)
    }
}
