//! The bytes of every version of the wire format there was: read still, and of the newest version
//! written exactly so.
//!
//! `core/golden/<version>-<what>.bin` are promises. A change of the format adds files of a new
//! version; those that stand are never touched.

use std::io;

use bytes::Bytes;
use larder_core::codec::{Codec, Json, MessagePack};
use larder_core::{Cache, Lookup, MemoryStore, Store, VirtualRuntime, days};
use serde::{Deserialize, Serialize};

use crate::harness::test;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
}

const RAW: &[u8] = b"\x89PNG\r\n";

fn zoe() -> User {
    User { id: 42, name: "Zoë".into() }
}

/// Its clock stands at 2026-01-01T00:00:00Z, where the golden entries were written, to live for
/// 365,000 days.
fn cache(codec: impl Codec) -> (VirtualRuntime, Cache) {
    let runtime = VirtualRuntime::seeded(0);
    let store = MemoryStore::builder().on(runtime.clone());
    let life = days(365_000);
    let cache = Cache::builder(store).codec(codec).ttl(life).absent_ttl(life).build().unwrap();
    (runtime, cache)
}

async fn stored(cache: &Cache) -> Vec<u8> {
    cache.store().get("key").await.unwrap().unwrap().to_vec()
}

async fn store(cache: &Cache, frame: &'static [u8]) {
    cache.store().put("key", Bytes::from_static(frame), days(1)).await.unwrap();
}

/// A frame of the value, in its codec, that is read and, where it is of the newest version, written.
macro_rules! golden {
    ($name:ident: $file:literal, $codec:expr, $check:ident) => {
        #[test]
        fn $name() {
            $check(include_bytes!(concat!("../../golden/", $file)), $codec);
        }
    };
}

golden!(version_1_with_json: "v1-json.bin", Json, is_read);
golden!(version_1_with_messagepack: "v1-msgpack.bin", MessagePack, is_read);
golden!(version_1_of_an_absence: "v1-absent.bin", Json, is_read_as_an_absence);
golden!(version_1_of_a_raw_value: "v1-raw.bin", Json, is_read_raw);
golden!(version_2_with_json: "v2-json.bin", Json, is_read_and_written);
golden!(version_2_with_messagepack: "v2-msgpack.bin", MessagePack, is_read_and_written);
golden!(version_2_of_an_absence: "v2-absent.bin", Json, is_read_and_written_as_an_absence);
golden!(version_2_of_a_raw_value: "v2-raw.bin", Json, is_read_and_written_raw);

fn is_read(golden: &'static [u8], codec: impl Codec) {
    let (runtime, cache) = cache(codec);
    runtime.block_on(async {
        store(&cache, golden).await;
        assert_eq!(cache.get::<User>("key").await.unwrap().as_deref(), Some(&zoe()));
        assert_eq!(cache.stats().unreadable, 0);
    });
}

fn is_read_and_written(golden: &'static [u8], codec: impl Codec + Copy) {
    is_read(golden, codec);
    let (runtime, cache) = cache(codec);
    runtime.block_on(async {
        cache.put("key", &zoe()).await.unwrap();
        assert_eq!(stored(&cache).await, golden);
    });
}

fn is_read_as_an_absence(golden: &'static [u8], codec: impl Codec) {
    let (runtime, cache) = cache(codec);
    runtime.block_on(async {
        store(&cache, golden).await;
        assert_eq!(cache.lookup::<User>("key").await.unwrap(), Lookup::Absent);
    });
}

fn is_read_and_written_as_an_absence(golden: &'static [u8], codec: impl Codec + Copy) {
    is_read_as_an_absence(golden, codec);
    let (runtime, cache) = cache(codec);
    runtime.block_on(async {
        let nobody = || async { Ok::<Option<User>, io::Error>(None) };
        cache.get_or_find("key", nobody).await.unwrap();
        assert_eq!(stored(&cache).await, golden);
    });
}

fn is_read_raw(golden: &'static [u8], codec: impl Codec) {
    let (runtime, cache) = cache(codec);
    runtime.block_on(async {
        store(&cache, golden).await;
        let found = cache.get_raw::<Bytes>("key").await.unwrap();
        assert_eq!(found.as_deref().map(|raw| &raw[..]), Some(RAW));
    });
}

fn is_read_and_written_raw(golden: &'static [u8], codec: impl Codec + Copy) {
    is_read_raw(golden, codec);
    let (runtime, cache) = cache(codec);
    runtime.block_on(async {
        cache.put_raw("key", &Bytes::from_static(RAW)).await.unwrap();
        assert_eq!(stored(&cache).await, golden);
    });
}

const TAGGED: &[u8] = include_bytes!("../../golden/v2-tagged.bin");

/// Epochs stand in decimal digits.
#[test]
fn version_2_with_tags() {
    let runtime = VirtualRuntime::seeded(0);
    let backing = MemoryStore::builder().on(runtime.clone());
    let cache =
        Cache::builder(backing).ttl(days(365_000)).instant_clear().build().expect("a cache");
    runtime.block_on(async {
        let epoch = async |key: &'static str, digits: &'static str| {
            cache.store().put(key, digits.into(), days(1)).await.unwrap();
        };
        epoch("larder-clear", "7").await;
        epoch("larder-tag:users", "8").await;
        cache.entry("key").tag("users").put(&zoe()).await.unwrap();
        assert_eq!(stored(&cache).await, TAGGED);
        assert_eq!(cache.get::<User>("key").await.unwrap().as_deref(), Some(&zoe()));
        epoch("larder-tag:users", "9").await;
        assert_eq!(cache.get::<User>("key").await.unwrap(), None);
        assert_eq!(cache.stats().unreadable, 0);
    });
}

/// Where in the frame each field stands, by the table in `core/src/wire.rs`.
#[test]
fn version_2_is_laid_out_as_documented() {
    let number = |at: usize| u64::from_le_bytes(TAGGED[at..at + 8].try_into().unwrap());
    let new_year = 1_767_225_600_000;
    let end = new_year + 365_000 * 86_400_000;
    assert_eq!(TAGGED[..4], [0xCA, 2, 1, 0]);
    assert_eq!([number(4), number(12), number(20)], [new_year, end, end]);
    assert_eq!(TAGGED[28..32], u32::to_le_bytes(23));
    assert_eq!(TAGGED[32..36], u32::to_le_bytes(10 + 12 + 10 + 16));
    assert_eq!((number(36), &TAGGED[44..46]), (7, &u16::to_le_bytes(12)[..]));
    assert_eq!(&TAGGED[46..58], b"larder-clear");
    assert_eq!((number(58), &TAGGED[66..68]), (8, &u16::to_le_bytes(16)[..]));
    assert_eq!(&TAGGED[68..84], b"larder-tag:users");
    assert_eq!(&TAGGED[84..], r#"{"id":42,"name":"Zoë"}"#.as_bytes());
}
