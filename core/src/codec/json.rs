use std::io::Write;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Builtin, Codec, shared};
use crate::error::SharedError;

/// JSON (RFC 8259), the default: readable in the store, and what other services read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json;

pub(super) fn encode<T: Serialize + ?Sized>(value: &T, to: impl Write) -> Result<(), SharedError> {
    serde_json::to_writer(to, value).map_err(shared)
}

pub(super) fn decode<T: DeserializeOwned>(from: &[u8]) -> Result<T, SharedError> {
    serde_json::from_slice(from).map_err(shared)
}

impl Codec for Json {
    fn number(&self) -> u8 {
        1
    }

    fn name(&self) -> &'static str {
        "JSON"
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
        let mut json = serde_json::Deserializer::from_slice(from);
        read(&mut <dyn erased_serde::Deserializer<'_>>::erase(&mut json))
    }

    fn builtin(&self) -> Option<Builtin> {
        Some(Builtin::Json)
    }
}
