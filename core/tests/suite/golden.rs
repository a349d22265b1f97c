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

#[test]
fn version_1_with_json() {
    let golden = include_bytes!("../../golden/v1-json.bin");
    let (runtime, cache) = cache(Json);
    runtime.block_on(async {
        cache.put("key", &zoe()).await.unwrap();
        assert_eq!(stored(&cache).await, golden);
        store(&cache, golden).await;
        assert_eq!(cache.get::<User>("key").await.unwrap().as_deref(), Some(&zoe()));
        assert_eq!(cache.stats().unreadable, 0);
    });
}

#[test]
fn version_1_with_messagepack() {
    let golden = include_bytes!("../../golden/v1-msgpack.bin");
    let (runtime, cache) = cache(MessagePack);
    runtime.block_on(async {
        cache.put("key", &zoe()).await.unwrap();
        assert_eq!(stored(&cache).await, golden);
        store(&cache, golden).await;
        assert_eq!(cache.get::<User>("key").await.unwrap().as_deref(), Some(&zoe()));
        assert_eq!(cache.stats().unreadable, 0);
    });
}

#[test]
fn version_1_of_an_absence() {
    let golden = include_bytes!("../../golden/v1-absent.bin");
    let (runtime, cache) = cache(Json);
    runtime.block_on(async {
        let nobody = || async { Ok::<Option<User>, io::Error>(None) };
        cache.get_or_find("key", nobody).await.unwrap();
        assert_eq!(stored(&cache).await, golden);
        store(&cache, golden).await;
        assert_eq!(cache.lookup::<User>("key").await.unwrap(), Lookup::Absent);
    });
}

#[test]
fn version_1_of_a_raw_value() {
    let golden = include_bytes!("../../golden/v1-raw.bin");
    let (runtime, cache) = cache(Json);
    runtime.block_on(async {
        cache.put_raw("key", &Bytes::from_static(RAW)).await.unwrap();
        assert_eq!(stored(&cache).await, golden);
        store(&cache, golden).await;
        let found = cache.get_raw::<Bytes>("key").await.unwrap();
        assert_eq!(found.as_deref().map(|raw| &raw[..]), Some(RAW));
    });
}

/// Where in the frame each field stands, by the table in `core/src/wire.rs`.
#[test]
fn version_1_is_laid_out_as_documented() {
    let golden = include_bytes!("../../golden/v1-json.bin");
    let number = |at: usize| u64::from_le_bytes(golden[at..at + 8].try_into().unwrap());
    let new_year = 1_767_225_600_000;
    let end = new_year + 365_000 * 86_400_000;
    assert_eq!(golden[..4], [0xCA, 1, 1, 0]);
    assert_eq!([number(4), number(12), number(20)], [new_year, end, end]);
    assert_eq!(golden[28..32], u32::to_le_bytes(23));
    assert_eq!(&golden[32..], r#"{"id":42,"name":"Zoë"}"#.as_bytes());
}
