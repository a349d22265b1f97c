//! How an entry looks inside the store.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, Codec, Json, RAW};
use crate::error::SharedError;
use crate::time::Timestamp;
use crate::wire::{self, HEADER_BYTES, Header};

/// How an entry looks inside the store.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Layout {
    /// Larder's own: a versioned frame with the entry's life, then the value in a [`Codec`].
    ///
    /// Lives are exact to the millisecond on every store, «absent» is distinct from every value,
    /// and an entry of another codec or version is a counted miss.
    Framed(Arc<dyn Codec>),

    /// The value alone, as JSON, with a life of whole seconds (rounded up) that only the store
    /// keeps: on Redis just what a Node.js service writes by `SETEX key ttl JSON.stringify(value)`
    /// and reads by `JSON.parse`, so that both share one Redis.
    ///
    /// `null` stands for «absent»: such services take it for a miss.
    Plain,
}

impl Default for Layout {
    fn default() -> Self {
        Self::Framed(Arc::new(Json))
    }
}

/// A value, or the knowledge that there is none.
pub(crate) type Presence<T> = Option<T>;

/// What stored bytes turned out to be.
pub(crate) enum Stored<T> {
    Fresh(Presence<T>, Life),
    /// The store still holds it, but its life is over.
    Expired,
    /// The word that metrics label it with.
    Unreadable(&'static str),
}

/// When an entry was loaded, and until when it may be used. Unknown in the layout `Plain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) loaded_at: Timestamp,
    pub(crate) fresh_until: Timestamp,
}

impl Life {
    /// The life that an entry begins when its load does.
    pub(crate) fn starting(loaded_at: Timestamp, ttl: Duration) -> Self {
        Self { loaded_at, fresh_until: loaded_at + ttl }
    }
}

const NULL: &[u8] = b"null";

impl Layout {
    /// The name of its codec, for errors.
    pub(crate) fn codec_name(&self) -> &'static str {
        match self {
            Self::Framed(codec) => codec.name(),
            Self::Plain => Json.name(),
        }
    }

    pub(crate) fn encode<T: Serialize + ?Sized>(
        &self,
        value: Presence<&T>,
        life: Life,
    ) -> Result<Bytes, SharedError> {
        match self {
            Self::Framed(codec) => {
                let frame = wire::begin(&header(codec.number(), value.is_none(), life), 224);
                let frame = match value {
                    Some(value) => {
                        let mut payload = frame.writer();
                        codec::encode(&**codec, value, &mut payload)?;
                        payload.into_inner()
                    }
                    None => frame,
                };
                finish(frame)
            }
            Self::Plain => match value {
                Some(value) => {
                    let mut json = BytesMut::with_capacity(256).writer();
                    codec::encode(&Json, value, &mut json)?;
                    Ok(json.into_inner().freeze())
                }
                None => Ok(Bytes::from_static(NULL)),
            },
        }
    }

    pub(crate) fn decode<T: DeserializeOwned>(
        &self,
        stored: &[u8],
        has_passed: impl FnOnce(Timestamp) -> bool,
    ) -> Stored<T> {
        match self {
            Self::Framed(codec) => match open(stored, codec.number(), has_passed) {
                Opened::Payload(None, life) => Stored::Fresh(None, life),
                Opened::Payload(Some(payload), life) => match codec::decode(&**codec, payload) {
                    Ok(value) => Stored::Fresh(Some(value), life),
                    Err(_) => Stored::Unreadable("decode"),
                },
                Opened::Expired => Stored::Expired,
                Opened::Unreadable(why) => Stored::Unreadable(why),
            },
            Self::Plain if stored == NULL => Stored::Fresh(None, UNKNOWN),
            Self::Plain => match codec::decode(&Json, stored) {
                Ok(value) => Stored::Fresh(Some(value), UNKNOWN),
                Err(_) => Stored::Unreadable("decode"),
            },
        }
    }

    /// The value's own bytes in place of an encoding.
    pub(crate) fn encode_raw(&self, value: &[u8], life: Life) -> Result<Bytes, SharedError> {
        match self {
            Self::Framed(_) => {
                let mut frame = wire::begin(&header(RAW, false, life), value.len());
                frame.put_slice(value);
                finish(frame)
            }
            Self::Plain => Ok(Bytes::copy_from_slice(value)),
        }
    }

    pub(crate) fn decode_raw(
        &self,
        stored: &Bytes,
        has_passed: impl FnOnce(Timestamp) -> bool,
    ) -> Stored<Bytes> {
        match self {
            Self::Framed(_) => match open(stored, RAW, has_passed) {
                Opened::Payload(Some(_), life) => {
                    Stored::Fresh(Some(stored.slice(HEADER_BYTES..)), life)
                }
                Opened::Payload(None, life) => Stored::Fresh(None, life),
                Opened::Expired => Stored::Expired,
                Opened::Unreadable(why) => Stored::Unreadable(why),
            },
            Self::Plain => Stored::Fresh(Some(stored.clone()), UNKNOWN),
        }
    }

    /// Whether stored bytes are a live value, without a look into it.
    pub(crate) fn holds_value(
        &self,
        stored: &[u8],
        has_passed: impl FnOnce(Timestamp) -> bool,
    ) -> bool {
        match self {
            Self::Framed(_) => wire::read(stored)
                .is_ok_and(|header| !header.absent && !has_passed(header.usable_until)),
            Self::Plain => stored != NULL,
        }
    }

    /// How long the store is to keep an entry that lives for `ttl`.
    pub(crate) fn store_ttl(&self, ttl: Duration) -> Duration {
        match self {
            Self::Framed(_) => ttl,
            Self::Plain => {
                let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
                Duration::from_secs(seconds.max(1))
            }
        }
    }
}

const UNKNOWN: Life = Life { loaded_at: Timestamp::EPOCH, fresh_until: Timestamp::MAX };

fn header(codec: u8, absent: bool, life: Life) -> Header {
    Header {
        codec,
        absent,
        loaded_at: life.loaded_at,
        fresh_until: life.fresh_until,
        usable_until: life.fresh_until,
    }
}

fn finish(frame: BytesMut) -> Result<Bytes, SharedError> {
    wire::finish(frame)
        .ok_or_else(|| codec::shared(std::io::Error::other("the value has more than 4 GiB")))
}

enum Opened<'a> {
    Payload(Presence<&'a [u8]>, Life),
    Expired,
    Unreadable(&'static str),
}

fn open(stored: &[u8], codec: u8, has_passed: impl FnOnce(Timestamp) -> bool) -> Opened<'_> {
    let header = match wire::read(stored) {
        Ok(header) => header,
        Err(why) => return Opened::Unreadable(why.as_str()),
    };
    if has_passed(header.usable_until) {
        return Opened::Expired;
    }
    let life = Life { loaded_at: header.loaded_at, fresh_until: header.fresh_until };
    if header.absent {
        return Opened::Payload(None, life);
    }
    if header.codec != codec {
        return Opened::Unreadable("codec");
    }
    Opened::Payload(stored.get(HEADER_BYTES..), life)
}
