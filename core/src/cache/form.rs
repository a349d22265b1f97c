//! The two forms in which values enter a store: encoded by the codec, or as they are.

use std::marker::PhantomData;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::epoch::Stamp;
use crate::error::SharedError;
use crate::layout::{Layout, Life, Presence, Stored};
use crate::time::Timestamp;

/// What a cache can hold through its codec: every type of serde's that can be shared.
pub trait Cacheable: Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Cacheable for T {}

/// A value with a byte form of its own, which no codec touches: an image, a rendered page, a
/// protobuf message.
///
/// ```
/// use bytes::Bytes;
/// use larder_core::RawValue;
///
/// struct Page(String);
///
/// impl RawValue for Page {
///     fn to_bytes(&self) -> Bytes {
///         Bytes::copy_from_slice(self.0.as_bytes())
///     }
///     fn from_bytes(bytes: Bytes) -> Option<Self> {
///         String::from_utf8(bytes.to_vec()).ok().map(Page)
///     }
/// }
/// ```
pub trait RawValue: Sized + Send + Sync + 'static {
    /// The value's bytes.
    fn to_bytes(&self) -> Bytes;

    /// The value of `bytes`; `None`, a counted miss, where they are not one.
    fn from_bytes(bytes: Bytes) -> Option<Self>;
}

impl RawValue for Bytes {
    fn to_bytes(&self) -> Bytes {
        self.clone()
    }

    fn from_bytes(bytes: Bytes) -> Option<Self> {
        Some(bytes)
    }
}

impl RawValue for Vec<u8> {
    fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self)
    }

    fn from_bytes(bytes: Bytes) -> Option<Self> {
        Some(bytes.into())
    }
}

/// Bytes that are no UTF-8 are a counted miss.
impl RawValue for String {
    fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }

    fn from_bytes(bytes: Bytes) -> Option<Self> {
        Self::from_utf8(bytes.into()).ok()
    }
}

/// How values of a type enter and leave a layout.
pub(crate) trait Form: 'static {
    type Value: Send + Sync + 'static;

    fn encode(
        layout: &Layout,
        value: Presence<&Self::Value>,
        life: Life,
        stamps: &[Stamp],
    ) -> Result<Bytes, SharedError>;

    fn decode(
        layout: &Layout,
        stored: &Bytes,
        has_passed: impl FnOnce(Timestamp) -> bool,
    ) -> Stored<Self::Value>;
}

/// Through the codec.
pub(crate) struct Coded<T>(PhantomData<fn() -> T>);

impl<T: Cacheable> Form for Coded<T> {
    type Value = T;

    fn encode(
        layout: &Layout,
        value: Presence<&T>,
        life: Life,
        stamps: &[Stamp],
    ) -> Result<Bytes, SharedError> {
        match value {
            Some(value) => layout.encode(value, life, stamps),
            None => layout.encode_absence(life, stamps),
        }
    }

    fn decode(
        layout: &Layout,
        stored: &Bytes,
        has_passed: impl FnOnce(Timestamp) -> bool,
    ) -> Stored<T> {
        layout.decode(stored, has_passed)
    }
}

/// As they are.
pub(crate) struct Raw<V>(PhantomData<fn() -> V>);

impl<V: RawValue> Form for Raw<V> {
    type Value = V;

    fn encode(
        layout: &Layout,
        value: Presence<&V>,
        life: Life,
        stamps: &[Stamp],
    ) -> Result<Bytes, SharedError> {
        match value {
            Some(value) => layout.encode_raw(&value.to_bytes(), life, stamps),
            None => layout.encode_absence(life, stamps),
        }
    }

    fn decode(
        layout: &Layout,
        stored: &Bytes,
        has_passed: impl FnOnce(Timestamp) -> bool,
    ) -> Stored<V> {
        match layout.decode_raw(stored, has_passed) {
            Stored::Fresh(None, life) => Stored::Fresh(None, life),
            Stored::Fresh(Some(bytes), life) => match V::from_bytes(bytes) {
                Some(value) => Stored::Fresh(Some(value), life),
                None => Stored::Unreadable("decode"),
            },
            Stored::Expired => Stored::Expired,
            Stored::Unreadable(why) => Stored::Unreadable(why),
        }
    }
}
