//! The store as a whole.

use bytes::Bytes;
use larder_core::{StoreErrorKind, minutes};

use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult};

cases!("store::service", "store":
    it_has_a_name_and_is_ready,
    close_may_be_called_twice_and_closes_one_handle,
    close_lets_what_is_in_flight_finish,
);

async fn it_has_a_name_and_is_ready(bench: Bench) -> CaseResult {
    let store = bench.store();
    ensure!(!store.name().is_empty(), "the name is empty");
    ensure!(store.name().chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", store.name());
    store.ready().await?;
    Ok(())
}

async fn close_may_be_called_twice_and_closes_one_handle(bench: Bench) -> CaseResult {
    let (store, key) = (bench.store(), bench.key("a"));
    store.put(&key, Bytes::from_static(b"one"), minutes(5)).await?;
    let closed = bench.another_handle().await?;
    closed.ready().await?;
    closed.close().await?;
    closed.close().await?;
    // A store without connections may go on; one that has closed them says so.
    if let Err(error) = closed.get(&key).await {
        ensure_eq!(error.kind(), StoreErrorKind::Closed, "a call after close");
    }
    ensure_eq!(store.get(&key).await?.as_deref(), Some(&b"one"[..]), "through the other handle");
    Ok(())
}

async fn close_lets_what_is_in_flight_finish(bench: Bench) -> CaseResult {
    let handle = bench.another_handle().await?;
    handle.ready().await?;
    let calls = bench.keys(100).into_iter().map(|key| {
        let handle = handle.clone();
        async move { (handle.put(&key, Bytes::from_static(b"v"), minutes(5)).await, key) }
    });
    let calls = bench.together(calls);
    let (calls, closed) = futures::join!(calls, handle.close());
    closed?;
    for (result, key) in calls? {
        match result {
            Ok(()) => ensure!(bench.store().get(&key).await?.is_some(), "{key} was lost"),
            Err(error) => ensure_eq!(error.kind(), StoreErrorKind::Closed, "a call at close"),
        }
    }
    Ok(())
}
