//! How a value becomes bytes: JSON, MessagePack, or a codec of the caller's.
//!
//! ```
//! # #[cfg(feature = "msgpack")] {
//! use larder_core::{Cache, Layout, MemoryStore, codec::MessagePack};
//!
//! let cache = Cache::builder(MemoryStore::new()).codec(MessagePack).build()?;
//! # let _ = cache;
//! # }
//! # Ok::<(), larder_core::Error>(())
//! ```

mod any;
mod json;
#[cfg(feature = "msgpack")]
mod msgpack;

use std::fmt;

use crate::error::SharedError;

pub use any::AnyCodec;
pub use json::Json;
#[cfg(feature = "msgpack")]
pub use msgpack::MessagePack;

/// The number of the codec that leaves bytes as they are.
pub(crate) const RAW: u8 = 0;

/// How a value becomes bytes.
///
/// Its number stands in every entry: an entry of another codec is a counted miss, so a cache may
/// change its codec at any time.
///
/// Values come and go through [`erased_serde`], which keeps the trait object-safe. [`Json`] and
/// [`MessagePack`] are called without that detour.
///
/// ```
/// use larder_core::{Cache, MemoryStore, SharedError, codec::Codec};
///
/// /// JSON with line breaks, for those who read their Redis by hand.
/// #[derive(Debug)]
/// struct PrettyJson;
///
/// impl Codec for PrettyJson {
///     fn number(&self) -> u8 { 128 }
///     fn name(&self) -> &'static str { "pretty-json" }
///     fn encode(
///         &self,
///         value: &dyn erased_serde::Serialize,
///         to: &mut dyn std::io::Write,
///     ) -> Result<(), SharedError> {
///         serde_json::to_writer_pretty(to, value).map_err(larder_core::codec::shared)
///     }
///     fn decode(
///         &self,
///         from: &[u8],
///         read: &mut dyn FnMut(&mut dyn erased_serde::Deserializer<'_>) -> Result<(), SharedError>,
///     ) -> Result<(), SharedError> {
///         let mut json = serde_json::Deserializer::from_slice(from);
///         read(&mut <dyn erased_serde::Deserializer<'_>>::erase(&mut json))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let cache = Cache::builder(MemoryStore::new()).codec(PrettyJson).build()?;
/// cache.put("pair", &(1, 2)).await?;
/// assert_eq!(cache.get::<(u8, u8)>("pair").await?.as_deref(), Some(&(1, 2)));
/// # Ok(()) }
/// ```
pub trait Codec: fmt::Debug + Send + Sync + 'static {
    /// The codec's number in stored entries: 128 to 255 for codecs of your own.
    fn number(&self) -> u8;

    /// The codec's name in errors.
    fn name(&self) -> &'static str;

    /// Writes `value` into `to`.
    ///
    /// # Errors
    ///
    /// When the format cannot express the value.
    fn encode(
        &self,
        value: &dyn erased_serde::Serialize,
        to: &mut dyn std::io::Write,
    ) -> Result<(), SharedError>;

    /// Hands a deserializer of `from` to `read`.
    ///
    /// # Errors
    ///
    /// When `from` is not of the format.
    fn decode(
        &self,
        from: &[u8],
        read: &mut dyn FnMut(&mut dyn erased_serde::Deserializer<'_>) -> Result<(), SharedError>,
    ) -> Result<(), SharedError>;

    /// Which of Larder's own codecs this is. Not for implementations elsewhere.
    #[doc(hidden)]
    fn builtin(&self) -> Option<Builtin> {
        None
    }
}

/// Larder's own codecs.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Builtin {
    Json,
    #[cfg(feature = "msgpack")]
    MessagePack,
}

/// Wraps an error of a format for [`Codec`]'s methods.
pub fn shared(error: impl std::error::Error + Send + Sync + 'static) -> SharedError {
    std::sync::Arc::new(error)
}
