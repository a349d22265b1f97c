//! What cannot be read is a counted miss, never an error or a panic (semantic 7).

use bytes::Bytes;
use larder_core::codec::{Json, MessagePack};
use larder_core::{Cache, Layout, Lookup, Store, hours};

use super::{Source, User};
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Need};

cases!("cache::unreadable", "6":
    an_entry_cut_short_anywhere_is_a_miss [Need::StrongConsistency],
    an_entry_with_more_behind_it_is_a_miss [Need::StrongConsistency],
    foreign_bytes_are_a_miss [Need::StrongConsistency],
    another_version_is_a_miss [Need::StrongConsistency],
    another_codec_is_a_miss [Need::StrongConsistency],
    another_type_is_a_miss [Need::StrongConsistency],
    a_raw_value_and_a_coded_one_are_not_mixed_up [Need::FramedLayout, Need::StrongConsistency],
    what_cannot_be_read_is_loaded_and_replaced [Need::StrongConsistency],
    frames_of_earlier_versions_are_read,
);

/// Holds every way to read the key `a` against stored bytes that cannot be.
async fn is_a_miss(cache: &Cache, bench: &Bench, stored: Bytes, what: &str) -> CaseResult {
    bench.store().put(&bench.key("a"), stored, hours(1)).await?;
    let before = cache.stats();
    ensure_eq!(cache.get::<User>("a").await?, None, "get of {what}");
    ensure_eq!(cache.get_many::<User>(["a"]).await?, [None], "get_many of {what}");
    ensure_eq!(cache.lookup::<User>("a").await?, Lookup::Miss, "lookup of {what}");
    let after = cache.stats();
    ensure_eq!(after.misses - before.misses, 3, "misses counted for {what}");
    ensure_eq!(after.unreadable - before.unreadable, 3, "unreadable entries counted for {what}");
    Ok(())
}

async fn stored_user(cache: &Cache, bench: &Bench) -> Result<Bytes, crate::conformance::Failure> {
    cache.put("whole", &User::numbered(1)).await?;
    Ok(bench.store().get(&bench.key("whole")).await?.unwrap_or_default())
}

async fn an_entry_cut_short_anywhere_is_a_miss(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let whole = stored_user(&cache, &bench).await?;
    ensure!(whole.len() > 10, "the entry has {} bytes", whole.len());
    for length in 0..whole.len() {
        is_a_miss(&cache, &bench, whole.slice(..length), &format!("{length} bytes")).await?;
    }
    Ok(())
}

async fn an_entry_with_more_behind_it_is_a_miss(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let whole = stored_user(&cache, &bench).await?;
    for more in [&b"x"[..], b"{}", &whole] {
        let stored = [&whole[..], more].concat();
        is_a_miss(&cache, &bench, stored.into(), "an entry with more behind it").await?;
    }
    Ok(())
}

async fn foreign_bytes_are_a_miss(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let foreign: &[&[u8]] = &[
        b"",
        b" ",
        b"hello",
        b"OK",
        b"\xca",
        b"\xca\x01",
        b"\xca\x80 which is text",
        b"\xff\xff\xff\xff",
        b"\x00",
        b"[1,2,3]",
        b"\"text\"",
        b"42",
        b"{",
        b"{\"id\":\"no number\"}",
        b"nullnull",
        &[0xca; 64],
        &[0; 64],
    ];
    for bytes in foreign {
        is_a_miss(&cache, &bench, Bytes::from_static(bytes), &format!("{bytes:?}")).await?;
    }
    Ok(())
}

async fn another_version_is_a_miss(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let framed = bench.cache().layout(Layout::default()).build()?;
    let whole = stored_user(&framed, &bench).await?;
    for version in [0, 3, 4, 127, 255] {
        let mut stored = whole.to_vec();
        stored[1] = version;
        is_a_miss(&cache, &bench, stored.into(), &format!("version {version}")).await?;
    }
    Ok(())
}

async fn another_codec_is_a_miss(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let json = bench.cache().codec(Json).build()?;
    let message_pack = bench.cache().codec(MessagePack).build()?;
    let other = match bench.layout() {
        Layout::Framed(codec) if codec.name() == Json.name() => &message_pack,
        _ => &json,
    };
    let stored = stored_user(other, &bench).await?;
    is_a_miss(&cache, &bench, stored.clone(), "another codec").await?;
    let mut unknown = stored.to_vec();
    unknown[2] = 200;
    is_a_miss(&cache, &bench, unknown.into(), "an unknown codec").await
}

use larder_core::codec::Codec as _;

async fn another_type_is_a_miss(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    for stored in ["text", "42"] {
        cache.put("other", stored).await?;
        let stored = bench.store().get(&bench.key("other")).await?.unwrap_or_default();
        is_a_miss(&cache, &bench, stored, "a text").await?;
    }
    cache.put("other", &[1, 2, 3]).await?;
    let stored = bench.store().get(&bench.key("other")).await?.unwrap_or_default();
    is_a_miss(&cache, &bench, stored, "a list").await
}

async fn a_raw_value_and_a_coded_one_are_not_mixed_up(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    cache.put_raw("a", &Bytes::from_static(b"{\"id\":1,\"name\":\"user 1\"}")).await?;
    ensure_eq!(cache.get::<User>("a").await?, None, "a raw value as a coded one");
    cache.put("a", &User::numbered(1)).await?;
    ensure_eq!(cache.get_raw::<Bytes>("a").await?, None, "a coded value as a raw one");
    ensure_eq!(cache.stats().unreadable, 2, "unreadable entries counted");
    Ok(())
}

async fn what_cannot_be_read_is_loaded_and_replaced(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let source = Source::at_once();
    bench.store().put(&bench.key("a"), Bytes::from_static(b"rubbish"), hours(1)).await?;
    for _ in 0..2 {
        let user = cache.get_or_load("a", || source.user(1)).await?;
        ensure_eq!(*user, User::numbered(1), "the value");
    }
    ensure_eq!(source.loads(), 1, "how often it was loaded");
    Ok(())
}

async fn frames_of_earlier_versions_are_read(bench: Bench) -> CaseResult {
    let store: &dyn Store = &**bench.store();
    let json = bench.cache().codec(Json).build()?;
    let message_pack = bench.cache().codec(MessagePack).build()?;
    let put = async |name: &str, frame: &'static [u8]| {
        store.put(&bench.key(name), Bytes::from_static(frame), hours(1)).await
    };
    put("json", include_bytes!("../../../../core/golden/v1-json.bin")).await?;
    put("msgpack", include_bytes!("../../../../core/golden/v1-msgpack.bin")).await?;
    put("absent", include_bytes!("../../../../core/golden/v1-absent.bin")).await?;
    put("raw", include_bytes!("../../../../core/golden/v1-raw.bin")).await?;
    let user = User { id: 42, name: "Zoë".into() };
    ensure_eq!(json.get("json").await?.as_deref(), Some(&user), "JSON");
    ensure_eq!(message_pack.get("msgpack").await?.as_deref(), Some(&user), "MessagePack");
    ensure_eq!(json.lookup::<User>("absent").await?, Lookup::Absent, "an absence");
    let raw = json.get_raw::<Bytes>("raw").await?;
    ensure_eq!(raw.as_deref().map(|raw| &raw[..]), Some(&b"\x89PNG\r\n"[..]), "raw bytes");
    Ok(())
}
