//! Keys and namespaces.

use std::sync::Arc;

use larder_core::{Cache, Error, KeyError};

use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult};
use crate::stores::{Call, Tally, Tapped};

cases!("cache::keys", "keys":
    namespaces_do_not_collide,
    a_complete_key_is_the_namespace_and_the_key,
    bad_keys_are_refused_before_the_store_is_asked,
    the_longest_key_is_taken,
);

async fn namespaces_do_not_collide(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let names = ["a", "ab", "A", "a b", "ä", "a*", "a%3A"];
    for (i, name) in names.iter().enumerate() {
        cache.in_namespace(name)?.put("key", &i).await?;
    }
    for (i, name) in names.iter().enumerate() {
        let found = cache.in_namespace(name)?.get::<usize>("key").await?;
        ensure_eq!(found.as_deref(), Some(&i), "the value in {name:?}");
    }
    ensure_eq!(cache.get::<usize>("key").await?, None, "the value outside");
    Ok(())
}

async fn a_complete_key_is_the_namespace_and_the_key(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?.in_namespace("app")?.in_namespace("v2")?;
    cache.put("user:42", &1).await?;
    ensure!(bench.store().contains(&bench.key("app:v2:user:42")).await?, "it stands elsewhere");
    let bare = Cache::builder(Arc::clone(bench.store())).layout(bench.layout().clone()).build()?;
    let found = bare.get::<u32>(bench.key("app:v2:user:42")).await?;
    ensure_eq!(found.as_deref(), Some(&1), "the value by its complete key");
    Ok(())
}

async fn bad_keys_are_refused_before_the_store_is_asked(bench: Bench) -> CaseResult {
    let tally = Arc::new(Tally::default());
    let store = Tapped::new(Arc::clone(bench.store()), tally.clone());
    let cache = bench.cache_on(Arc::new(store)).build()?;
    let long = "k".repeat(bench.store().capabilities().max_key_bytes);
    for bad in ["", "a\nb", "a\0", "\u{7f}", "\u{85}", &long] {
        let refused = [
            cache.get::<u32>(bad).await.map(drop),
            cache.get_many::<u32>(["good", bad]).await.map(drop),
            cache.get_or_load(bad, async || Ok::<u32, Error>(1)).await.map(drop),
            cache.put(bad, &1).await,
            cache.put_many([("good", 1), (bad, 1)]).await,
            cache.remove(bad).await.map(drop),
            cache.remove_many(["good", bad]).await.map(drop),
            cache.contains(bad).await.map(drop),
            cache.time_to_live(bad).await.map(drop),
        ];
        for (index, refused) in refused.into_iter().enumerate() {
            let start: String = bad.chars().take(5).collect();
            ensure!(
                matches!(refused, Err(Error::Key(_))),
                "call {index} takes the key {start:?}: {refused:?}"
            );
        }
    }
    for bad in ["", "a\n*"] {
        let refused = cache.remove_matching(bad).await;
        ensure!(matches!(refused, Err(Error::Key(_))), "the pattern {bad:?} is taken");
    }
    let Err(Error::Key(KeyError::TooLong { bytes, max, .. })) = cache.get::<u32>(&long).await
    else {
        ensure!(false, "the long key's error is of another kind");
        return Ok(());
    };
    ensure!(bytes > max, "{bytes} bytes, at most {max}");
    for call in [Call::Get, Call::GetMany, Call::Put, Call::PutMany, Call::Remove, Call::Scan] {
        ensure_eq!(tally.of(call), 0, "how often the store was asked to {call:?}");
    }
    Ok(())
}

async fn the_longest_key_is_taken(bench: Bench) -> CaseResult {
    let cache = bench.cache().build()?;
    let room = bench.store().capabilities().max_key_bytes - bench.key("").len();
    let key = "ö".repeat(room / 2);
    cache.put(&key, &1).await?;
    ensure_eq!(cache.get::<u32>(&key).await?.as_deref(), Some(&1), "the value");
    ensure!(cache.remove(&key).await?, "remove did not find it");
    Ok(())
}
