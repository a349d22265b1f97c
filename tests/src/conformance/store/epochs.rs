//! Epochs: numbers of the store's that stand until they are ended, and never come back.

use larder_core::{hours, millis};

use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Need};

cases!("store::epochs", "store":
    one_stands_until_it_is_ended [Need::StrongConsistency],
    every_handle_is_told_the_same [Need::StrongConsistency],
    they_are_read_as_values [Need::StrongConsistency],
    those_that_begin_together_agree_in_the_end [Need::StrongConsistency],
    one_outlives_its_life_only_if_it_is_asked_for [Need::StrongConsistency, Need::TimeToLive(millis(60))],
);

async fn one_stands_until_it_is_ended(bench: Bench) -> CaseResult {
    let store = bench.store();
    let key = bench.key("a");
    let mut seen = Vec::new();
    for _ in 0..20 {
        let begun = store.epochs(&[&key], hours(1)).await?;
        ensure_eq!(store.epochs(&[&key], hours(2)).await?, begun, "an epoch that stands");
        ensure!(!seen.contains(&begun[0]), "{begun:?} has stood before");
        seen.extend(begun);
        ensure!(store.remove(&key).await?, "the epoch does not stand");
    }
    Ok(())
}

async fn every_handle_is_told_the_same(bench: Bench) -> CaseResult {
    let other = bench.another_handle().await?;
    let keys = bench.keys(3);
    let (one, two) = ([&*keys[0], &*keys[1]], [&*keys[2], &*keys[1], &*keys[0]]);
    let here = bench.store().epochs(&one, hours(1)).await?;
    let there = other.epochs(&two, hours(1)).await?;
    ensure_eq!([there[2], there[1]], [here[0], here[1]], "what stands");
    bench.store().remove(&keys[1]).await?;
    let later = other.epochs(&two, hours(1)).await?;
    ensure_eq!([later[0], later[2]], [there[0], there[2]], "what was not ended");
    ensure!(later[1] != there[1], "what was ended");
    Ok(())
}

async fn they_are_read_as_values(bench: Bench) -> CaseResult {
    let (key, none) = (bench.key("a"), bench.key("b"));
    let epochs = bench.store().epochs(&[&key], hours(1)).await?;
    let read = bench.store().get_many(&[&key, &none]).await?;
    let digits = epochs[0].to_string();
    ensure_eq!(read[0].as_deref(), Some(digits.as_bytes()), "an epoch as a value");
    ensure_eq!(read[1], None, "what never began");
    let life = bench.store().time_to_live(&key).await?;
    ensure!(life >= Some(hours(1) - millis(60_000)), "its life: {life:?}");
    Ok(())
}

async fn those_that_begin_together_agree_in_the_end(bench: Bench) -> CaseResult {
    let key = bench.key("a");
    let mut handles = Vec::new();
    for _ in 0..8 {
        handles.push(bench.another_handle().await?);
    }
    let asked = handles.into_iter().map(|store| {
        let key = key.clone();
        async move { store.epochs(&[&key], hours(1)).await }
    });
    for told in bench.together(asked).await? {
        told?;
    }
    let stands = bench.store().epochs(&[&key], hours(1)).await?;
    ensure_eq!(bench.store().epochs(&[&key], hours(1)).await?, stands, "what stands in the end");
    Ok(())
}

async fn one_outlives_its_life_only_if_it_is_asked_for(bench: Bench) -> CaseResult {
    let key = bench.key("a");
    let begun = bench.store().epochs(&[&key], millis(60)).await?;
    bench.pass(millis(240)).await;
    let next = bench.store().epochs(&[&key], millis(60)).await?;
    ensure!(next != begun, "it stands beyond its life, and twice that");
    Ok(())
}
