//! Listing keys by pattern.

use std::collections::BTreeSet;

use bytes::Bytes;
use larder_core::{Glob, PutEntry, Store, StoreError, minutes};

use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Failure, Need};

cases!("store::scan", "store":
    a_pattern_finds_what_it_matches [Need::StrongConsistency],
    special_characters_can_be_escaped [Need::StrongConsistency],
    a_prefix_is_taken_literally [Need::StrongConsistency],
    unicode_keys_are_found [Need::StrongConsistency],
    nothing_is_found_where_nothing_matches,
    thousands_of_keys_come_page_by_page [Need::StrongConsistency],
    what_stands_all_the_time_is_found_while_others_change [Need::StrongConsistency],
    what_was_removed_is_not_found [Need::StrongConsistency],
);

/// More pages than any store needs for the keys of a case.
const MOST_PAGES: usize = 100_000;

/// Every key that a whole scan finds.
pub(super) async fn scan(store: &dyn Store, pattern: &Glob) -> Result<BTreeSet<String>, Failure> {
    let mut found = BTreeSet::new();
    let mut cursor = None;
    for _ in 0..MOST_PAGES {
        let page = store.scan(pattern, cursor).await?;
        found.extend(page.keys);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(found);
        }
    }
    Err(Failure::new("the scan does not end"))
}

async fn put(store: &dyn Store, keys: &[String]) -> Result<(), StoreError> {
    let entry = |key| PutEntry { key, value: Bytes::from_static(b"v"), ttl: minutes(5) };
    let entries: Vec<PutEntry<'_>> = keys.iter().map(|key| entry(key.as_str())).collect();
    store.put_many(&entries).await
}

/// Holds a scan for `pattern` over the keys `names` against `expected`.
async fn finds(bench: &Bench, names: &[&str], pattern: &str, expected: &[&str]) -> CaseResult {
    let keys: Vec<String> = names.iter().map(|name| bench.key(name)).collect();
    put(&**bench.store(), &keys).await?;
    let expected: BTreeSet<String> = expected.iter().map(|name| bench.key(name)).collect();
    let found = scan(&**bench.store(), &bench.pattern(pattern)).await?;
    ensure_eq!(found, expected, "the keys that match {pattern:?}");
    Ok(())
}

async fn a_pattern_finds_what_it_matches(bench: Bench) -> CaseResult {
    let names = [
        "user:1",
        "user:2",
        "user:10",
        "users:page:1",
        "users:page:2:limit:20",
        "order:1",
        "usher",
        "use-",
        "use]",
    ];
    for (pattern, expected) in [
        ("user:*", &["user:1", "user:2", "user:10"][..]),
        ("user:?", &["user:1", "user:2"]),
        ("users:*", &["users:page:1", "users:page:2:limit:20"]),
        ("*:1", &["user:1", "users:page:1", "order:1"]),
        ("*page*20", &["users:page:2:limit:20"]),
        ("user:[1-3]", &["user:1", "user:2"]),
        ("user:[^1]", &["user:2"]),
        ("us[eh]er", &["usher"]),
        ("us[^a-h]er", &[]),
        (
            "us[eh]*",
            &[
                "user:1",
                "user:2",
                "user:10",
                "users:page:1",
                "users:page:2:limit:20",
                "usher",
                "use-",
                "use]",
            ],
        ),
        (r"use[\]x-]", &["use]"]),
        (r"use[\]-]", &["use-", "use]"]),
        (r"use[^\-]", &["use]"]),
        ("*", &names),
        ("**", &names),
        ("user:1", &["user:1"]),
    ] {
        finds(&bench, &names, pattern, expected).await?;
    }
    Ok(())
}

async fn special_characters_can_be_escaped(bench: Bench) -> CaseResult {
    let names = ["a*b", "a?b", "a[b", "a]b", r"a\b", "a^b", "a-b", "axb"];
    for (pattern, expected) in [
        (r"a\*b", "a*b"),
        (r"a\?b", "a?b"),
        (r"a\[b", "a[b"),
        (r"a\]b", "a]b"),
        (r"a\\b", r"a\b"),
        (r"a\^b", "a^b"),
        (r"a\-b", "a-b"),
        (r"a\xb", "axb"),
    ] {
        finds(&bench, &names, pattern, &[expected]).await?;
    }
    finds(&bench, &names, "a?b", &names).await
}

async fn a_prefix_is_taken_literally(bench: Bench) -> CaseResult {
    let store = bench.store();
    let inside = [bench.key("n*[a]?:1"), bench.key("n*[a]?:2")];
    let outside = [bench.key("nnna?:1"), bench.key("nxab:1")];
    put(&**store, &inside).await?;
    put(&**store, &outside).await?;
    let found = scan(&**store, &Glob::new("*").within(&bench.key("n*[a]?:"))).await?;
    ensure_eq!(found, BTreeSet::from(inside.clone()), "within a prefix");
    let found = scan(&**store, &Glob::prefix(&bench.key("n*[a]?:"))).await?;
    ensure_eq!(found, BTreeSet::from(inside), "by a prefix");
    Ok(())
}

async fn unicode_keys_are_found(bench: Bench) -> CaseResult {
    let names = ["größe:1", "größe:2", "日本:1", "🦀", "grosse:1"];
    finds(&bench, &names, "größe:*", &["größe:1", "größe:2"]).await?;
    finds(&bench, &names, "日*", &["日本:1"]).await?;
    finds(&bench, &names, "🦀", &["🦀"]).await
}

async fn nothing_is_found_where_nothing_matches(bench: Bench) -> CaseResult {
    finds(&bench, &["a", "b"], "c*", &[]).await?;
    finds(&bench, &["a", "b"], "A", &[]).await
}

async fn thousands_of_keys_come_page_by_page(bench: Bench) -> CaseResult {
    let store = bench.store();
    let keys = bench.keys(3_000);
    for some in keys.chunks(500) {
        put(&**store, some).await?;
    }
    let all: BTreeSet<String> = keys.iter().cloned().collect();
    let found = scan(&**store, &bench.pattern("*")).await?;
    ensure!(found == all, "{} of 3000 keys are found", found.intersection(&all).count());
    let found = scan(&**store, &bench.pattern("*7")).await?;
    ensure_eq!(found.len(), 300, "how many keys end with 7");
    Ok(())
}

async fn what_stands_all_the_time_is_found_while_others_change(bench: Bench) -> CaseResult {
    let store = bench.store();
    let stay: Vec<String> = (0..1_000).map(|i| bench.key(&format!("stay:{i}"))).collect();
    let go: Vec<String> = (0..1_000).map(|i| bench.key(&format!("go:{i}"))).collect();
    put(&**store, &stay).await?;
    put(&**store, &go).await?;
    let pattern = bench.pattern("*");
    let mut found = BTreeSet::new();
    let mut cursor = None;
    for round in 0..MOST_PAGES {
        let page = store.scan(&pattern, cursor).await?;
        found.extend(page.keys);
        // Enough of both to make a hash table grow, or shrink, under the cursor.
        if round < 20 {
            let come: Vec<String> =
                (0..400).map(|i| bench.key(&format!("come:{round}:{i}"))).collect();
            put(&**store, &come).await?;
            let gone: Vec<&str> = go.iter().skip(round * 50).take(50).map(String::as_str).collect();
            store.remove_many(&gone).await?;
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let missed = stay.iter().filter(|key| !found.contains(*key)).count();
    ensure_eq!(missed, 0, "how many of the keys that stood all the time were missed");
    Ok(())
}

async fn what_was_removed_is_not_found(bench: Bench) -> CaseResult {
    let store = bench.store();
    let keys = bench.keys(10);
    put(&**store, &keys).await?;
    for key in &keys[..9] {
        store.remove(key).await?;
    }
    let found = scan(&**store, &bench.pattern("*")).await?;
    ensure_eq!(found, BTreeSet::from([keys[9].clone()]), "what is left");
    Ok(())
}
