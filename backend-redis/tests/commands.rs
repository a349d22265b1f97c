//! What the store sends, on a real Redis.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use larder_core::{Glob, PutEntry, Store, StoreErrorKind, millis, seconds};
use larder_redis::RedisStore;
use larder_tests::eventually;
use larder_tests::redis_server::RedisServer;

async fn started() -> (RedisServer, RedisStore) {
    let redis = RedisServer::start();
    // Thousands of keys take an unoptimized build its time.
    let builder = RedisStore::builder().url(redis.url()).command_timeout(seconds(20));
    (redis, builder.connect().await.unwrap())
}

#[tokio::test]
async fn values_are_put_found_and_removed() {
    let (redis, store) = started().await;
    let binary = Bytes::from_static(b"\0\xff\r\n$5");
    store.put("a", binary.clone(), seconds(60)).await.unwrap();
    store.put("ü", Bytes::new(), seconds(60)).await.unwrap();
    assert_eq!(store.get("a").await.unwrap(), Some(binary.clone()));
    assert_eq!(store.get("ü").await.unwrap(), Some(Bytes::new()));
    assert_eq!(store.get("b").await.unwrap(), None);
    let found = store.get_many(&["b", "a", "ü", "a"]).await.unwrap();
    assert_eq!(found, [None, Some(binary.clone()), Some(Bytes::new()), Some(binary)]);
    assert!(store.contains("a").await.unwrap());
    assert!(store.remove("a").await.unwrap());
    assert!(!store.remove("a").await.unwrap());
    assert!(!store.contains("a").await.unwrap());
    assert_eq!(store.remove_many(&["a", "ü", "b"]).await.unwrap(), 1);
    store.ready().await.unwrap();
    assert_eq!(redis.calls_of("DEL"), 0);
    assert_eq!(redis.calls_of("UNLINK"), 3);
}

#[tokio::test]
async fn whole_seconds_are_written_with_setex() {
    let (redis, store) = started().await;
    store.put("a", "1".into(), seconds(300)).await.unwrap();
    assert_eq!((redis.calls_of("SETEX"), redis.calls_of("PSETEX")), (1, 0));
    assert_eq!(redis.command(&["TTL", "a"]), ":300");
    store.put("b", "1".into(), millis(1_500)).await.unwrap();
    assert_eq!((redis.calls_of("SETEX"), redis.calls_of("PSETEX")), (1, 1));
    assert_eq!(redis.calls_of("SET"), 0);
}

#[tokio::test]
async fn every_time_to_live_is_kept_and_told() {
    let (redis, store) = started().await;
    store.put("a", "1".into(), millis(90_500)).await.unwrap();
    let left = store.time_to_live("a").await.unwrap().unwrap();
    assert!(left <= millis(90_500) && left > millis(80_000), "{left:?}");
    assert_eq!(store.time_to_live("b").await.unwrap(), None);
    redis.command(&["SET", "eternal", "1"]);
    assert_eq!(store.time_to_live("eternal").await.unwrap(), Some(Duration::MAX));

    store.put("long", "1".into(), Duration::MAX).await.unwrap();
    assert!(store.time_to_live("long").await.unwrap().unwrap() > seconds(3_000_000_000));
    store.put("short", "1".into(), Duration::from_nanos(1)).await.unwrap();
    eventually("it is gone", async || store.get("short").await.unwrap().is_none()).await;
}

#[tokio::test]
async fn the_many_forms_take_few_commands_and_any_number_of_keys() {
    let (redis, store) = started().await;
    let keys: Vec<String> = (0..1_300).map(|i| format!("k{i}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let entries: Vec<_> = keys
        .iter()
        .map(|key| PutEntry { key, value: Bytes::from(key.to_string()), ttl: seconds(60) })
        .collect();
    store.put_many(&entries).await.unwrap();
    let found = store.get_many(&keys).await.unwrap();
    assert!(found.iter().zip(&keys).all(|(value, key)| value.as_deref() == Some(key.as_bytes())));
    assert_eq!(redis.calls_of("MGET"), 3);
    assert_eq!(store.remove_many(&keys).await.unwrap(), 1_300);
    assert_eq!(redis.calls_of("UNLINK"), 3);
    assert_eq!(redis.calls_of("GET") + redis.calls_of("DEL"), 0);

    store.put_many(&[]).await.unwrap();
    assert!(store.get_many(&[]).await.unwrap().is_empty());
    assert_eq!(store.remove_many(&[]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_key_of_another_type_is_an_error_alone_and_a_miss_among_many() {
    let (redis, store) = started().await;
    redis.command(&["RPUSH", "list", "1"]);
    let error = store.get("list").await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::WrongType);
    assert_eq!(error.operation(), "get");
    assert_eq!(store.get_many(&["list"]).await.unwrap(), [None]);
    // A cache's write takes the key over.
    store.put("list", "1".into(), seconds(1)).await.unwrap();
    assert_eq!(store.get("list").await.unwrap().as_deref(), Some(&b"1"[..]));
}

#[tokio::test]
async fn a_scan_finds_ten_thousand_keys_without_keys() {
    let (redis, store) = started().await;
    let keys: Vec<String> = (0..10_000).map(|i| format!("users:{i}")).collect();
    let others: Vec<String> = (0..1_000).map(|i| format!("user:{i}")).collect();
    let entries: Vec<_> = keys
        .iter()
        .chain(&others)
        .map(|key| PutEntry { key, value: Bytes::from_static(b"1"), ttl: seconds(60) })
        .collect();
    store.put_many(&entries).await.unwrap();

    let (mut found, mut cursor, mut pages) = (HashSet::new(), None, 0);
    loop {
        let page = store.scan(&Glob::new("users:*"), cursor).await.unwrap();
        assert!(page.keys.len() < 2_000, "a page is bounded");
        found.extend(page.keys);
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found, keys.into_iter().collect());
    assert!(pages > 5, "{pages}");
    assert_eq!(redis.calls_of("KEYS"), 0);
    assert_eq!(redis.calls_of("SCAN"), pages);
}

#[tokio::test]
async fn a_scan_passes_by_keys_that_are_no_text() {
    let (redis, store) = started().await;
    redis.command(&["EVAL", "return redis.call('SET', '\\255', '1')", "0"]);
    store.put("a", "1".into(), seconds(60)).await.unwrap();
    let page = store.scan(&Glob::new("*"), None).await.unwrap();
    assert_eq!((page.keys, page.next), (vec![String::from("a")], None));
}

#[tokio::test]
async fn what_is_too_large_is_not_sent() {
    let redis = RedisServer::start();
    let store = RedisStore::builder()
        .url(redis.url())
        .max_key_bytes(8)
        .max_value_bytes(16)
        .connect()
        .await
        .unwrap();
    assert_eq!(store.capabilities().max_key_bytes, 8);
    assert_eq!(store.capabilities().max_value_bytes, 16);
    let (key, value) = ("k".repeat(9), Bytes::from(vec![0; 17]));
    let entry = PutEntry { key: "k", value: value.clone(), ttl: seconds(1) };
    let errors = [
        store.get(&key).await.unwrap_err(),
        store.get_many(&["a", &key]).await.unwrap_err(),
        store.put(&key, Bytes::new(), seconds(1)).await.unwrap_err(),
        store.put("k", value, seconds(1)).await.unwrap_err(),
        store.put_many(&[entry]).await.unwrap_err(),
        store.remove(&key).await.unwrap_err(),
        store.remove_many(&[&key]).await.unwrap_err(),
        store.contains(&key).await.unwrap_err(),
        store.time_to_live(&key).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), StoreErrorKind::TooLarge, "{error}");
        assert!(error.to_string().contains("RedisStoreBuilder::max_"), "{error}");
    }
    for command in ["GET", "MGET", "SETEX", "UNLINK", "EXISTS", "PTTL"] {
        assert_eq!(redis.calls_of(command), 0, "{command}");
    }
    store.put(&"k".repeat(8), Bytes::from(vec![0; 16]), seconds(1)).await.unwrap();
}

#[tokio::test]
async fn a_full_redis_is_an_error_that_says_so() {
    let redis = RedisServer::builder().arguments(["--maxmemory", "1mb"]).start();
    let store = RedisStore::connect(redis.url()).await.unwrap();
    let value = Bytes::from(vec![0; 100_000]);
    let mut refused = None;
    for i in 0..50 {
        if let Err(error) = store.put(&i.to_string(), value.clone(), seconds(60)).await {
            refused = Some(error);
            break;
        }
    }
    let error = refused.unwrap();
    assert_eq!(error.kind(), StoreErrorKind::Other);
    assert!(error.to_string().contains("maxmemory-policy"), "{error}");
}
