//! Many keys at once.

use bytes::Bytes;
use larder_core::{PutEntry, minutes};

use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Need};

cases!("store::many", "store":
    get_many_keeps_order_and_duplicates,
    put_many_sets_every_entry,
    of_two_entries_with_a_key_the_later_stays,
    remove_many_counts_what_stood_there [Need::StrongConsistency],
    nothing_asked_is_nothing_done,
    one_key_is_many_enough,
    a_thousand_keys_at_once,
);

fn borrowed(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}

fn entry<'a>(key: &'a str, value: &str) -> PutEntry<'a> {
    PutEntry { key, value: Bytes::copy_from_slice(value.as_bytes()), ttl: minutes(5) }
}

async fn get_many_keeps_order_and_duplicates(bench: Bench) -> CaseResult {
    let store = bench.store();
    let (a, b, c) = (bench.key("a"), bench.key("b"), bench.key("c"));
    store.put(&a, Bytes::from_static(b"A"), minutes(5)).await?;
    store.put(&c, Bytes::from_static(b"C"), minutes(5)).await?;
    let found = store.get_many(&[&c, &b, &a, &c, &b, &a, &a]).await?;
    let (a, c) = (Some(Bytes::from_static(b"A")), Some(Bytes::from_static(b"C")));
    ensure_eq!(found, [c.clone(), None, a.clone(), c, None, a.clone(), a], "get_many");
    Ok(())
}

async fn put_many_sets_every_entry(bench: Bench) -> CaseResult {
    let store = bench.store();
    let (a, b) = (bench.key("a"), bench.key("b"));
    store.put(&b, Bytes::from_static(b"old"), minutes(5)).await?;
    store.put_many(&[entry(&a, "A"), entry(&b, "B")]).await?;
    ensure_eq!(store.get(&a).await?.as_deref(), Some(&b"A"[..]), "the new key");
    ensure_eq!(store.get(&b).await?.as_deref(), Some(&b"B"[..]), "the key with a value");
    Ok(())
}

async fn of_two_entries_with_a_key_the_later_stays(bench: Bench) -> CaseResult {
    let (store, a) = (bench.store(), bench.key("a"));
    store.put_many(&[entry(&a, "first"), entry(&a, "second")]).await?;
    ensure_eq!(store.get(&a).await?.as_deref(), Some(&b"second"[..]), "get");
    Ok(())
}

async fn remove_many_counts_what_stood_there(bench: Bench) -> CaseResult {
    let store = bench.store();
    let (a, b, c) = (bench.key("a"), bench.key("b"), bench.key("c"));
    store.put_many(&[entry(&a, "A"), entry(&b, "B"), entry(&c, "C")]).await?;
    ensure_eq!(store.remove_many(&[&a, &bench.key("d"), &b, &a]).await?, 2, "how many stood there");
    ensure_eq!(store.get_many(&[&a, &b]).await?, [None, None], "the removed keys");
    ensure_eq!(store.get(&c).await?.as_deref(), Some(&b"C"[..]), "the key that was not named");
    ensure_eq!(store.remove_many(&[&a, &b]).await?, 0, "how many stood there still");
    Ok(())
}

async fn nothing_asked_is_nothing_done(bench: Bench) -> CaseResult {
    let store = bench.store();
    ensure_eq!(store.get_many(&[]).await?, [], "get_many");
    store.put_many(&[]).await?;
    ensure_eq!(store.remove_many(&[]).await?, 0, "remove_many");
    Ok(())
}

async fn one_key_is_many_enough(bench: Bench) -> CaseResult {
    let (store, a) = (bench.store(), bench.key("a"));
    ensure_eq!(store.get_many(&[&a]).await?, [None], "get_many before put");
    store.put_many(&[entry(&a, "A")]).await?;
    ensure_eq!(store.get_many(&[&a]).await?, [Some(Bytes::from_static(b"A"))], "get_many");
    Ok(())
}

async fn a_thousand_keys_at_once(bench: Bench) -> CaseResult {
    let store = bench.store();
    let keys = bench.keys(1_000);
    let entries: Vec<PutEntry<'_>> = keys.iter().map(|key| entry(key, key)).collect();
    store.put_many(&entries).await?;
    let found = store.get_many(&borrowed(&keys)).await?;
    ensure_eq!(found.len(), keys.len(), "how many answers there are");
    for (key, found) in keys.iter().zip(found) {
        ensure_eq!(found.as_deref(), Some(key.as_bytes()), "the value of {key}");
    }
    ensure_eq!(store.remove_many(&borrowed(&keys)).await?, 1_000, "how many stood there");
    let left = store.get_many(&borrowed(&keys)).await?.into_iter().flatten().count();
    ensure!(
        left == 0 || store.capabilities().consistency != larder_core::Consistency::Strong,
        "{left} are left"
    );
    Ok(())
}
