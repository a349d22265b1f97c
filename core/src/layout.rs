//! How an entry looks inside the store.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, AnyCodec, RAW};
use crate::epoch::Stamp;
use crate::error::SharedError;
use crate::time::Timestamp;
use crate::wire::{self, Header, Stamps};

/// How an entry looks inside the store.
///
/// ```
/// use larder_core::{Cache, Layout, MemoryStore, Store};
/// # #[derive(serde::Serialize)]
/// # struct User { id: u64, name: &'static str }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// // On a Redis store, what a Node.js service reads under `app:user:42`.
/// let store = MemoryStore::new();
/// let cache = Cache::builder(store.clone()).namespace("app").layout(Layout::Plain).build()?;
/// cache.put("user:42", &User { id: 42, name: "Zoë" }).await?;
/// assert_eq!(store.get("app:user:42").await?.unwrap(), r#"{"id":42,"name":"Zoë"}"#);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Layout {
    /// Larder's own: a versioned frame with the entry's life, then the value in a [`Codec`](crate::codec::Codec).
    ///
    /// Lives are exact to the millisecond on every store, «absent» is distinct from every value,
    /// and an entry of another codec or version is a counted miss.
    Framed(AnyCodec),

    /// The value alone, as JSON, with a life of whole seconds (rounded up) that only the store
    /// keeps: on Redis just what a Node.js service writes by `SETEX key ttl JSON.stringify(value)`
    /// and reads by `JSON.parse`, so that both share one Redis.
    ///
    /// `null` stands for «absent»: such services take it for a miss. Numbers are written as
    /// `serde_json` writes them, `1.0` where JavaScript writes `1`: the same number to either reader.
    Plain,
}

impl Default for Layout {
    fn default() -> Self {
        Self::Framed(AnyCodec::JSON)
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
            Self::Plain => AnyCodec::JSON.name(),
        }
    }

    pub(crate) fn encode<T: Serialize + ?Sized>(
        &self,
        value: &T,
        life: Life,
        stamps: &[Stamp],
    ) -> Result<Bytes, SharedError> {
        match self {
            Self::Framed(codec) => {
                let frame = wire::begin(&header(codec.number(), false, life), stamps, 220);
                let mut payload = frame.writer();
                codec.encode(value, &mut payload)?;
                finish(payload.into_inner())
            }
            Self::Plain => {
                let mut json = BytesMut::with_capacity(256).writer();
                AnyCodec::JSON.encode(value, &mut json)?;
                Ok(json.into_inner().freeze())
            }
        }
    }

    /// That there is no value.
    pub(crate) fn encode_absence(
        &self,
        life: Life,
        stamps: &[Stamp],
    ) -> Result<Bytes, SharedError> {
        match self {
            Self::Framed(codec) => {
                finish(wire::begin(&header(codec.number(), true, life), stamps, 0))
            }
            Self::Plain => Ok(Bytes::from_static(NULL)),
        }
    }

    pub(crate) fn decode<T: DeserializeOwned>(
        &self,
        stored: &[u8],
        has_passed: impl FnOnce(Timestamp) -> bool,
    ) -> Stored<T> {
        match self {
            Self::Framed(codec) => match open(stored, codec.number(), has_passed) {
                Opened::Absence(life) => Stored::Fresh(None, life),
                Opened::Payload(at, life) => {
                    match codec.decode(stored.get(at..).unwrap_or_default()) {
                        Ok(value) => Stored::Fresh(Some(value), life),
                        Err(_) => Stored::Unreadable("decode"),
                    }
                }
                Opened::Expired => Stored::Expired,
                Opened::Unreadable(why) => Stored::Unreadable(why),
            },
            Self::Plain if stored == NULL => Stored::Fresh(None, UNKNOWN),
            Self::Plain => match AnyCodec::JSON.decode(stored) {
                Ok(value) => Stored::Fresh(Some(value), UNKNOWN),
                Err(_) => Stored::Unreadable("decode"),
            },
        }
    }

    /// The value's own bytes in place of an encoding.
    pub(crate) fn encode_raw(
        &self,
        value: &[u8],
        life: Life,
        stamps: &[Stamp],
    ) -> Result<Bytes, SharedError> {
        match self {
            Self::Framed(_) => {
                let mut frame = wire::begin(&header(RAW, false, life), stamps, value.len());
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
                Opened::Payload(at, life) => Stored::Fresh(Some(stored.slice(at..)), life),
                Opened::Absence(life) => Stored::Fresh(None, life),
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
            Self::Framed(_) => wire::read(stored).is_ok_and(|wire::Frame { header, .. }| {
                !header.absent && !has_passed(header.usable_until)
            }),
            Self::Plain => stored != NULL,
        }
    }

    /// The stamps that stored bytes carry: none where they are unreadable.
    pub(crate) fn stamps<'a>(&self, stored: &'a [u8]) -> Stamps<'a> {
        match self {
            Self::Framed(_) => wire::read(stored).map(|frame| frame.stamps).unwrap_or_default(),
            Self::Plain => Stamps::default(),
        }
    }

    /// How long the store is to keep an entry that lives for `ttl`.
    pub(crate) fn store_ttl(&self, ttl: Duration) -> Duration {
        match self {
            Self::Framed(_) => ttl,
            Self::Plain => {
                let begun = u64::from(ttl.subsec_nanos() > 0);
                Duration::from_secs(ttl.as_secs().saturating_add(begun).max(1))
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

enum Opened {
    Absence(Life),
    /// And where it begins.
    Payload(usize, Life),
    Expired,
    Unreadable(&'static str),
}

fn open(stored: &[u8], codec: u8, has_passed: impl FnOnce(Timestamp) -> bool) -> Opened {
    let wire::Frame { header, payload_at, .. } = match wire::read(stored) {
        Ok(frame) => frame,
        Err(why) => return Opened::Unreadable(why.as_str()),
    };
    if has_passed(header.usable_until) {
        return Opened::Expired;
    }
    let life = Life { loaded_at: header.loaded_at, fresh_until: header.fresh_until };
    if header.absent {
        return Opened::Absence(life);
    }
    if header.codec != codec {
        return Opened::Unreadable("codec");
    }
    Opened::Payload(payload_at, life)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::runtime::test;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Kind {
        Unit,
        Text(String),
        Pair { small: i8, large: u64 },
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Thing {
        text: String,
        number: i64,
        real: f64,
        bytes: Vec<u8>,
        maybe: Option<bool>,
        kinds: Vec<Kind>,
        map: BTreeMap<String, u32>,
    }

    fn kind() -> impl Strategy<Value = Kind> {
        prop_oneof![
            Just(Kind::Unit),
            any::<String>().prop_map(Kind::Text),
            any::<(i8, u64)>().prop_map(|(small, large)| Kind::Pair { small, large }),
        ]
    }

    prop_compose! {
        fn thing()(
            text: String,
            number: i64,
            real in prop::num::f64::NORMAL | prop::num::f64::ZERO,
            bytes: Vec<u8>,
            maybe: Option<bool>,
            kinds in prop::collection::vec(kind(), 0..5),
            map in prop::collection::btree_map(any::<String>(), any::<u32>(), 0..5),
        ) -> Thing {
            Thing { text, number, real, bytes, maybe, kinds, map }
        }
    }

    fn layouts() -> Vec<Layout> {
        vec![
            Layout::default(),
            #[cfg(feature = "msgpack")]
            Layout::Framed(crate::codec::MessagePack.into()),
            Layout::Plain,
        ]
    }

    fn life() -> Life {
        Life::starting(Timestamp::from_millis(1_000), Duration::from_secs(60))
    }

    fn alive(_: Timestamp) -> bool {
        false
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(thing in thing(), raw: Vec<u8>) {
            for layout in layouts() {
                let stored = layout.encode(&thing, life(), &[]).unwrap();
                prop_assert!(layout.holds_value(&stored, alive));
                match layout.decode::<Thing>(&stored, alive) {
                    Stored::Fresh(found, _) => prop_assert_eq!(found.as_ref(), Some(&thing)),
                    _ => prop_assert!(false, "{:?} does not read what it wrote", layout),
                }
                let stored = layout.encode_raw(&raw, life(), &[]).unwrap();
                match layout.decode_raw(&stored, alive) {
                    Stored::Fresh(found, _) => prop_assert_eq!(found.as_deref(), Some(&raw[..])),
                    _ => prop_assert!(false, "{:?} does not read what it wrote raw", layout),
                }
            }
        }

        #[test]
        fn any_bytes_can_be_tried(mut bytes: Vec<u8>, version in 0..3_u8) {
            if version > 0 {
                bytes.splice(..bytes.len().min(2), [0xCA, version]);
            }
            let stored = Bytes::from(bytes);
            for layout in layouts() {
                layout.decode::<Thing>(&stored, alive);
                layout.decode::<Vec<Kind>>(&stored, alive);
                layout.decode::<String>(&stored, alive);
                layout.decode_raw(&stored, alive);
                layout.holds_value(&stored, alive);
                layout.stamps(&stored);
            }
        }

        /// Bytes that a codec cannot know to be wrong are the caller's type to refuse; they must
        /// not panic.
        #[test]
        fn a_frame_with_any_payload_can_be_tried(payload: Vec<u8>, flip in 0..64_usize) {
            for layout in layouts() {
                let mut stored = layout.encode_raw(&payload, life(), &[]).unwrap().to_vec();
                if let (Layout::Framed(codec), Some(at)) = (&layout, stored.get_mut(2)) {
                    *at = codec.number();
                }
                layout.decode::<Thing>(&stored, alive);
                if let Some(byte) = stored.get_mut(flip) {
                    *byte ^= 0x55;
                }
                layout.decode::<Thing>(&stored, alive);
            }
        }
    }

    #[test]
    fn an_entry_is_over_at_its_time_and_not_before() {
        let end = life().fresh_until;
        let layout = Layout::default();
        let stored = layout.encode(&1, life(), &[]).unwrap();
        let at = |now: Timestamp| layout.decode::<u8>(&stored, |until| now >= until);
        assert!(matches!(at(end - Duration::from_micros(1)), Stored::Fresh(Some(1), _)));
        assert!(matches!(at(end), Stored::Expired));
    }

    #[test]
    fn plain_rounds_lives_up_to_seconds() {
        let rounded = |millis| Layout::Plain.store_ttl(Duration::from_millis(millis)).as_millis();
        assert_eq!([1, 999, 1_000, 1_001].map(rounded), [1_000, 1_000, 1_000, 2_000]);
        let endless = Layout::Plain.store_ttl(Duration::MAX);
        assert_eq!(endless, Duration::from_secs(u64::MAX));
    }
}
