//! One value under one key.

use bytes::Bytes;
use larder_core::minutes;

use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Need};

cases!("store::values", "store":
    nothing_stands_under_a_new_key,
    a_value_comes_back,
    put_takes_the_place_of_what_stood_there,
    a_shorter_value_leaves_nothing_of_the_longer,
    an_empty_value_is_a_value,
    every_byte_is_kept,
    a_value_of_a_mebibyte_is_kept [Need::ValueBytes(1 << 20)],
    keys_are_told_apart_by_every_character,
    remove_says_whether_something_stood_there [Need::StrongConsistency],
    contains_follows_put_and_remove [Need::StrongConsistency],
    another_handle_sees_what_was_written [Need::StrongConsistency],
    concurrent_calls_get_their_own_answers,
);

async fn nothing_stands_under_a_new_key(bench: Bench) -> CaseResult {
    let (store, key) = (bench.store(), bench.key("a"));
    ensure_eq!(store.get(&key).await?, None, "get");
    ensure!(!store.contains(&key).await?, "contains");
    ensure_eq!(store.time_to_live(&key).await?, None, "time to live");
    ensure!(!store.remove(&key).await?, "remove found something");
    Ok(())
}

async fn a_value_comes_back(bench: Bench) -> CaseResult {
    let (store, key) = (bench.store(), bench.key("a"));
    store.put(&key, Bytes::from_static(b"one"), minutes(5)).await?;
    ensure_eq!(store.get(&key).await?.as_deref(), Some(&b"one"[..]), "get");
    ensure_eq!(store.get(&key).await?.as_deref(), Some(&b"one"[..]), "get again");
    Ok(())
}

async fn put_takes_the_place_of_what_stood_there(bench: Bench) -> CaseResult {
    let (store, key) = (bench.store(), bench.key("a"));
    for value in ["one", "two", "two", "one"] {
        store.put(&key, Bytes::from(value), minutes(5)).await?;
        ensure_eq!(store.get(&key).await?.as_deref(), Some(value.as_bytes()), "get");
    }
    Ok(())
}

async fn a_shorter_value_leaves_nothing_of_the_longer(bench: Bench) -> CaseResult {
    let (store, key) = (bench.store(), bench.key("a"));
    store.put(&key, Bytes::from(vec![b'x'; 10_000]), minutes(5)).await?;
    store.put(&key, Bytes::from_static(b"y"), minutes(5)).await?;
    ensure_eq!(store.get(&key).await?.as_deref(), Some(&b"y"[..]), "get");
    Ok(())
}

async fn an_empty_value_is_a_value(bench: Bench) -> CaseResult {
    let (store, key) = (bench.store(), bench.key("a"));
    store.put(&key, Bytes::new(), minutes(5)).await?;
    ensure_eq!(store.get(&key).await?.as_deref(), Some(&b""[..]), "get");
    ensure_eq!(store.get_many(&[&key]).await?, [Some(Bytes::new())], "get_many");
    ensure!(store.contains(&key).await?, "contains");
    ensure!(store.remove(&key).await?, "remove found nothing");
    Ok(())
}

async fn every_byte_is_kept(bench: Bench) -> CaseResult {
    let (store, key) = (bench.store(), bench.key("a"));
    let value: Vec<u8> = (0..=255).chain((0..=255).rev()).chain(*b"\r\n$-1\r\n").collect();
    store.put(&key, Bytes::from(value.clone()), minutes(5)).await?;
    ensure_eq!(store.get(&key).await?.as_deref(), Some(&value[..]), "get");
    Ok(())
}

async fn a_value_of_a_mebibyte_is_kept(bench: Bench) -> CaseResult {
    let (store, key) = (bench.store(), bench.key("a"));
    let value: Vec<u8> = (0..1_u32 << 20).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    let value = Bytes::from(value);
    store.put(&key, value.clone(), minutes(5)).await?;
    ensure!(store.get(&key).await?.as_ref() == Some(&value), "get gave other bytes");
    let both = store.get_many(&[&key, &key]).await?;
    ensure!(both == [Some(value.clone()), Some(value)], "get_many gave other bytes");
    Ok(())
}

async fn keys_are_told_apart_by_every_character(bench: Bench) -> CaseResult {
    let store = bench.store();
    let names = [
        "a", "A", "a ", " a", "a:", ":a", "a::a", "a/b", "../a", "a%20", "a+", "a*", "a?", "[a]",
        "{a}", "{a}b", "a\\", "a\"", "a'", "ä", "a\u{308}", "日本", "🦀", "é", "ʀ",
    ];
    for name in names {
        store.put(&bench.key(name), Bytes::from(name), minutes(5)).await?;
    }
    for name in names {
        let found = store.get(&bench.key(name)).await?;
        ensure_eq!(found.as_deref(), Some(name.as_bytes()), "the value of {name:?}");
    }
    Ok(())
}

async fn remove_says_whether_something_stood_there(bench: Bench) -> CaseResult {
    let (store, key) = (bench.store(), bench.key("a"));
    store.put(&key, Bytes::from_static(b"one"), minutes(5)).await?;
    ensure!(store.remove(&key).await?, "remove found nothing");
    ensure_eq!(store.get(&key).await?, None, "get after remove");
    ensure!(!store.remove(&key).await?, "the second remove found something");
    store.put(&key, Bytes::from_static(b"two"), minutes(5)).await?;
    ensure_eq!(store.get(&key).await?.as_deref(), Some(&b"two"[..]), "get after another put");
    Ok(())
}

async fn contains_follows_put_and_remove(bench: Bench) -> CaseResult {
    let (store, key) = (bench.store(), bench.key("a"));
    store.put(&key, Bytes::from_static(b"one"), minutes(5)).await?;
    ensure!(store.contains(&key).await?, "contains after put");
    store.remove(&key).await?;
    ensure!(!store.contains(&key).await?, "contains after remove");
    Ok(())
}

async fn another_handle_sees_what_was_written(bench: Bench) -> CaseResult {
    let (here, there) = (bench.store(), bench.another_handle().await?);
    let key = bench.key("a");
    ensure_eq!(there.get(&key).await?, None, "get before put");
    for value in ["one", "two"] {
        here.put(&key, Bytes::from(value), minutes(5)).await?;
        ensure_eq!(there.get(&key).await?.as_deref(), Some(value.as_bytes()), "get after put");
    }
    here.remove(&key).await?;
    ensure_eq!(there.get(&key).await?, None, "get after remove");
    Ok(())
}

/// Answers that share a connection, or are gathered into one request, must not be mixed up.
async fn concurrent_calls_get_their_own_answers(bench: Bench) -> CaseResult {
    let keys = bench.keys(300);
    for key in keys.iter().step_by(2) {
        bench.store().put(key, Bytes::from(key.clone()), minutes(5)).await?;
    }
    let tasks = keys.into_iter().enumerate().cycle().take(1_500).map(|(i, key)| {
        let store = bench.store().clone();
        async move {
            let found = store.get(&key).await?;
            let expected = (i % 2 == 0).then_some(key.as_bytes());
            ensure_eq!(found.as_deref(), expected, "the value of {key}");
            Ok(())
        }
    });
    bench.together(tasks).await?.into_iter().collect()
}
