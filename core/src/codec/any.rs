use std::io::Write;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Builtin, Codec, Json, json, shared};
#[cfg(feature = "msgpack")]
use super::{MessagePack, msgpack};
use crate::error::SharedError;

/// A codec, whichever it is.
///
/// ```
/// use larder_core::Layout;
/// use larder_core::codec::Json;
///
/// let layout = Layout::Framed(Json.into());
/// # let Layout::Framed(codec) = layout else { panic!() };
/// assert_eq!((codec.name(), codec.number()), ("JSON", 1));
/// ```
#[derive(Debug, Clone)]
pub struct AnyCodec(Chosen);

/// Larder's own codecs are called with the type of the value known, which is faster; and a program
/// that uses no other holds nothing of what it takes to call one without: on Workers, where each
/// byte counts, that is a tenth of a small Worker.
#[derive(Debug, Clone)]
enum Chosen {
    Builtin(Builtin),
    Own(Arc<dyn Codec>),
}

impl<C: Codec> From<C> for AnyCodec {
    fn from(codec: C) -> Self {
        Self(match codec.builtin() {
            Some(builtin) => Chosen::Builtin(builtin),
            None => Chosen::Own(Arc::new(codec)),
        })
    }
}

impl AnyCodec {
    pub(crate) const JSON: Self = Self(Chosen::Builtin(Builtin::Json));

    /// The codec's number in stored entries.
    #[must_use]
    pub fn number(&self) -> u8 {
        match &self.0 {
            Chosen::Builtin(Builtin::Json) => Json.number(),
            #[cfg(feature = "msgpack")]
            Chosen::Builtin(Builtin::MessagePack) => MessagePack.number(),
            Chosen::Own(codec) => codec.number(),
        }
    }

    /// The codec's name in errors.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match &self.0 {
            Chosen::Builtin(Builtin::Json) => Json.name(),
            #[cfg(feature = "msgpack")]
            Chosen::Builtin(Builtin::MessagePack) => MessagePack.name(),
            Chosen::Own(codec) => codec.name(),
        }
    }

    pub(crate) fn encode<T: Serialize + ?Sized>(
        &self,
        value: &T,
        mut to: impl Write,
    ) -> Result<(), SharedError> {
        match &self.0 {
            Chosen::Builtin(Builtin::Json) => json::encode(value, to),
            #[cfg(feature = "msgpack")]
            Chosen::Builtin(Builtin::MessagePack) => msgpack::encode(value, to),
            Chosen::Own(codec) => codec.encode(&value, &mut to),
        }
    }

    pub(crate) fn decode<T: DeserializeOwned>(&self, from: &[u8]) -> Result<T, SharedError> {
        match &self.0 {
            Chosen::Builtin(Builtin::Json) => json::decode(from),
            #[cfg(feature = "msgpack")]
            Chosen::Builtin(Builtin::MessagePack) => msgpack::decode(from),
            Chosen::Own(codec) => {
                let mut value = None;
                codec.decode(from, &mut |deserializer| {
                    value = Some(erased_serde::deserialize(deserializer).map_err(shared)?);
                    Ok(())
                })?;
                value.ok_or_else(|| shared(std::io::Error::other("the codec read no value")))
            }
        }
    }
}
