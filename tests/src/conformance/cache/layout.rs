//! What enters the store, and comes back (the layouts).

use std::collections::BTreeMap;

use bytes::Bytes;
use larder_core::{Layout, Lookup, millis, seconds};
use serde::{Deserialize, Serialize};

use super::User;
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Failure, Need};

cases!("cache::layout", "layout":
    values_of_every_shape_come_back,
    raw_values_come_back_as_they_are,
    plain_is_what_a_node_service_writes,
    plain_reads_what_a_node_service_writes,
    plain_keeps_whole_seconds [Need::TimeToLive(seconds(1))],
    framed_and_plain_do_not_take_each_other_for_values [Need::StrongConsistency],
);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Circle(f64),
    Square { side: u8 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Everything {
    small: i8,
    large: u64,
    negative: i64,
    real: f64,
    text: String,
    some: Option<u32>,
    none: Option<u32>,
    list: Vec<Shape>,
    map: BTreeMap<String, Vec<u8>>,
    nested: Box<Option<Everything>>,
    #[serde(default)]
    newer: bool,
}

fn everything() -> Everything {
    Everything {
        small: -128,
        large: u64::MAX,
        negative: i64::MIN,
        real: 0.1 + 0.2,
        text: "größe \u{0}\u{1F980}\" \\ \r\n".into(),
        some: Some(7),
        none: None,
        list: vec![Shape::Nothing, Shape::Circle(1e300), Shape::Square { side: 255 }],
        map: BTreeMap::from([("bytes".into(), (0..=255).collect()), (String::new(), vec![])]),
        nested: Box::new(None),
        newer: true,
    }
}

async fn values_of_every_shape_come_back(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let value = Everything { nested: Box::new(Some(everything())), ..everything() };
    cache.put("a", &value).await?;
    ensure_eq!(cache.get("a").await?.as_deref(), Some(&value), "a struct");
    cache.put("a", "text").await?;
    ensure_eq!(
        cache.get::<String>("a").await?.as_deref().map(String::as_str),
        Some("text"),
        "text"
    );
    cache.put("a", &vec![Some(1.5), None]).await?;
    ensure_eq!(cache.get("a").await?.as_deref(), Some(&vec![Some(1.5), None]), "a list");
    cache.put("a", &true).await?;
    ensure_eq!(cache.get("a").await?.as_deref(), Some(&true), "a boolean");
    cache.put("a", &String::new()).await?;
    ensure_eq!(cache.get("a").await?.as_deref(), Some(&String::new()), "an empty text");
    // Fields may be added, as a new release of a service does.
    #[derive(Serialize)]
    struct Older {
        id: u64,
        name: &'static str,
        dropped: u8,
    }
    cache.put("a", &Older { id: 1, name: "user 1", dropped: 1 }).await?;
    ensure_eq!(cache.get("a").await?.as_deref(), Some(&User::numbered(1)), "an older struct");
    Ok(())
}

async fn raw_values_come_back_as_they_are(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let values: [&[u8]; 4] = [b"", b"<!doctype html>", b"\xca\x01\x00", b"\x00\xff\r\n"];
    for value in values {
        cache.put_raw("a", &Bytes::from_static(value)).await?;
        let found = cache.get_raw::<Bytes>("a").await?;
        ensure_eq!(found.as_deref().map(|found| &found[..]), Some(value), "a raw value");
        ensure!(cache.contains("a").await?, "a raw value is not contained");
    }
    Ok(())
}

async fn plain_is_what_a_node_service_writes(bench: Bench) -> CaseResult {
    let cache = bench.cache().layout(Layout::Plain).build()?;
    let stored = async |key: &str| {
        let bytes = bench.store().get(&bench.key(key)).await?;
        Ok::<_, Failure>(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    };
    cache.put("user:42", &User { id: 42, name: "Zoë".into() }).await?;
    let json = stored("user:42").await?;
    ensure_eq!(json.as_deref(), Some(r#"{"id":42,"name":"Zoë"}"#), "a put value");
    cache.get_or_load("loaded", async || Ok::<_, std::io::Error>(vec![1, 2])).await?;
    ensure_eq!(stored("loaded").await?.as_deref(), Some("[1,2]"), "a loaded value");
    cache.get_or_find("none", async || Ok::<Option<User>, std::io::Error>(None)).await?;
    ensure_eq!(stored("none").await?.as_deref(), Some("null"), "an absence");
    cache.put_raw("raw", &Bytes::from_static(br#"{"data":1}"#)).await?;
    ensure_eq!(stored("raw").await?.as_deref(), Some(r#"{"data":1}"#), "a raw value");
    Ok(())
}

async fn plain_reads_what_a_node_service_writes(bench: Bench) -> CaseResult {
    let cache = bench.cache().layout(Layout::Plain).build()?;
    let write = async |json: &'static str| {
        bench.store().put(&bench.key("a"), Bytes::from_static(json.as_bytes()), seconds(300)).await
    };
    for json in [
        r#"{"id":42,"name":"Zoë"}"#,
        r#"{"name":"Zo\u00eb","id":42,"email":"zoe@example.com"}"#,
        "{ \"id\" : 42,\n\t\"name\" : \"Zoë\" }",
    ] {
        write(json).await?;
        let user = User { id: 42, name: "Zoë".into() };
        ensure_eq!(cache.get("a").await?.as_deref(), Some(&user), "{json}");
    }
    Ok(())
}

async fn plain_keeps_whole_seconds(bench: Bench) -> CaseResult {
    let cache = bench.cache().layout(Layout::Plain).build()?;
    for (ttl, least, most) in [(millis(1), 0, 1), (millis(59_001), 58, 60), (seconds(60), 58, 60)] {
        cache.entry("a").ttl(ttl).put(&1).await?;
        let left = cache.time_to_live("a").await?.unwrap_or_default();
        // Two seconds for a slow machine.
        ensure!(
            left <= seconds(most) && left + seconds(2) > seconds(least),
            "of {ttl:?} {left:?} are left"
        );
    }
    cache.entry("b").ttl(millis(1)).put(&1).await?;
    let left = cache.time_to_live("b").await?.unwrap_or_default();
    ensure!(left > millis(100), "a millisecond is not rounded up to a second: {left:?} are left");
    Ok(())
}

async fn framed_and_plain_do_not_take_each_other_for_values(bench: Bench) -> CaseResult {
    let framed = bench.cache().layout(Layout::default()).build()?;
    let plain = bench.cache().layout(Layout::Plain).build()?;
    framed.put("a", &User::numbered(1)).await?;
    ensure_eq!(plain.lookup::<User>("a").await?, Lookup::Miss, "a framed value, read as plain");
    plain.put("a", &User::numbered(1)).await?;
    ensure_eq!(framed.lookup::<User>("a").await?, Lookup::Miss, "a plain value, read as framed");
    ensure_eq!(framed.stats().unreadable + plain.stats().unreadable, 2, "unreadable entries");
    Ok(())
}
