//! How long a key and how large a value may be.

use bytes::Bytes;
use larder_core::{PutEntry, StoreErrorKind, minutes};

use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult};

cases!("store::limits", "store":
    the_longest_key_is_a_key,
    the_limits_are_worth_having,
    a_value_that_is_too_large_is_refused,
    a_refused_value_leaves_what_stood_there,
);

async fn the_longest_key_is_a_key(bench: Bench) -> CaseResult {
    let store = bench.store();
    let mut key = bench.key("");
    let room = store.capabilities().max_key_bytes - key.len();
    key.extend(std::iter::repeat_n('k', room));
    let mut sibling = key.clone();
    sibling.pop();
    store.put(&key, Bytes::from_static(b"long"), minutes(5)).await?;
    store.put(&sibling, Bytes::from_static(b"shorter"), minutes(5)).await?;
    ensure_eq!(store.get(&key).await?.as_deref(), Some(&b"long"[..]), "the longest key's value");
    ensure_eq!(store.scan(&bench.pattern("k*"), None).await.is_ok(), true, "a scan over it");
    ensure!(store.remove(&key).await?, "remove did not find it");
    Ok(())
}

async fn the_limits_are_worth_having(bench: Bench) -> CaseResult {
    let claimed = bench.store().capabilities();
    ensure!(claimed.max_key_bytes >= 256, "keys of {} bytes", claimed.max_key_bytes);
    ensure!(claimed.max_value_bytes >= 64 << 10, "values of {} bytes", claimed.max_value_bytes);
    Ok(())
}

/// One byte more than the store takes. The pages of zeros are never touched, so that even half a
/// gibibyte costs an address range only; where addresses are scarce, the case keeps to what fits.
fn too_large(bench: &Bench) -> Option<Bytes> {
    let bytes = bench.store().capabilities().max_value_bytes.checked_add(1)?;
    let fits = bytes <= 64 << 20 || usize::BITS >= 64;
    fits.then(|| Bytes::from(vec![0; bytes]))
}

async fn a_value_that_is_too_large_is_refused(bench: Bench) -> CaseResult {
    let (store, key) = (bench.store(), bench.key("a"));
    let Some(value) = too_large(&bench) else { return Ok(()) };
    let Err(error) = store.put(&key, value.clone(), minutes(5)).await else {
        ensure!(false, "put took {} bytes", value.len());
        return Ok(());
    };
    ensure_eq!(error.kind(), StoreErrorKind::TooLarge, "put's answer");
    let entries = [
        PutEntry { key: &bench.key("b"), value: Bytes::from_static(b"fits"), ttl: minutes(5) },
        PutEntry { key: &key, value, ttl: minutes(5) },
    ];
    let error = store.put_many(&entries).await.err().map(|error| error.kind());
    ensure_eq!(error, Some(StoreErrorKind::TooLarge), "put_many's answer");
    ensure_eq!(store.get(&key).await?, None, "the key of the value that was refused");
    store.ready().await?;
    Ok(())
}

async fn a_refused_value_leaves_what_stood_there(bench: Bench) -> CaseResult {
    let (store, key) = (bench.store(), bench.key("a"));
    let Some(value) = too_large(&bench) else { return Ok(()) };
    store.put(&key, Bytes::from_static(b"first"), minutes(5)).await?;
    ensure!(store.put(&key, value, minutes(5)).await.is_err(), "put took it");
    ensure_eq!(store.get(&key).await?.as_deref(), Some(&b"first"[..]), "what stood there");
    Ok(())
}
