//! The ports [`Store`] and [`Leases`], on objects.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use larder_core::{
    Capabilities, Cursor, Glob, LeaseToken, Leases, PutEntry, Runtime, ScanPage, Store, StoreError,
    StoreErrorKind,
};

use super::protocol::{Put, Reply, Request};
use super::{BATCH_BYTES, BATCH_KEYS, DurableStore, MAX_KEY_BYTES, MAX_VALUE_BYTES, NAME, fleet};
use crate::bounded::{AT_ONCE, Call};

#[async_trait]
impl Store for DurableStore {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::clone(&self.runtime)
    }

    fn bound_to(&self, runtime: &Arc<dyn Runtime>) -> Option<Arc<dyn Store>> {
        Some(Arc::new(self.on(runtime)))
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let call = self.call("get");
        check_key(&call, key)?;
        let mut values =
            self.values(&call, self.shared.fleet.placement().of(key), vec![key]).await?;
        Ok(values.pop().flatten())
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let call = self.call("get_many");
        let reads = self.each(&call, keys, |object, keys| self.values(&call, object, keys)).await?;
        let mut values = vec![None; keys.len()];
        for (places, read) in reads {
            for (place, value) in places.into_iter().zip(read) {
                values[place] = value;
            }
        }
        Ok(values)
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError> {
        let call = self.call("put");
        let entry = PutEntry { key, value, ttl };
        check_entry(&call, &entry)?;
        self.set(&call, self.shared.fleet.placement().of(key), &[&entry]).await
    }

    async fn put_many(&self, entries: &[PutEntry<'_>]) -> Result<(), StoreError> {
        let call = self.call("put_many");
        for entry in entries {
            check_entry(&call, entry)?;
        }
        let groups = self.shared.fleet.placement().group(entries.iter().map(|entry| entry.key));
        let writes: Vec<BoxFuture<'_, Result<(), StoreError>>> = groups
            .into_iter()
            .map(|(object, places)| {
                let entries: Vec<_> = places.into_iter().map(|place| &entries[place]).collect();
                let call = &call;
                // One after another: of two entries with a key, the last is to stand.
                Box::pin(async move {
                    for portion in portions(&entries) {
                        self.set(call, object, portion).await?;
                    }
                    Ok(())
                }) as _
            })
            .collect();
        stream::iter(writes).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        let call = self.call("remove");
        check_key(&call, key)?;
        Ok(self.delete(&call, self.shared.fleet.placement().of(key), vec![key]).await? > 0)
    }

    async fn remove_many(&self, keys: &[&str]) -> Result<u64, StoreError> {
        let call = self.call("remove_many");
        let removed = self.each(&call, keys, |object, keys| self.delete(&call, object, keys));
        Ok(removed.await?.into_iter().map(|(_, removed)| removed).sum())
    }

    async fn contains(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.life(&self.call("contains"), key).await?.is_some())
    }

    async fn time_to_live(&self, key: &str) -> Result<Option<Duration>, StoreError> {
        self.life(&self.call("time_to_live"), key).await
    }

    async fn scan(&self, pattern: &Glob, cursor: Option<Cursor>) -> Result<ScanPage, StoreError> {
        let call = self.call("scan");
        let (object, after) = match &cursor {
            None => (0, None),
            Some(cursor) => read_cursor(cursor.position()).ok_or_else(|| {
                let detail = format!("{cursor:?} is no cursor of this store; scan from the start");
                call.error(StoreErrorKind::Unsupported, detail)
            })?,
        };
        let request = Request::Scan { pattern: pattern.as_str(), after };
        self.shared
            .fleet
            .ask(&call, object, &request, |reply| match reply {
                Reply::Page { keys, next } => {
                    let keys = keys.into_iter().map(str::to_owned).collect();
                    let next = match next {
                        Some(last) => Some(Cursor::new(format!("{object}:{last}"))),
                        None => (object + 1 < self.shared.fleet.placement().objects())
                            .then(|| Cursor::new(format!("{}", object + 1))),
                    };
                    Some(ScanPage { keys, next })
                }
                _ => None,
            })
            .await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.delete(&self.call("ready"), 0, Vec::new()).await.map(drop)
    }
}

#[async_trait]
impl Leases for DurableStore {
    async fn acquire(&self, key: &str, life: Duration) -> Result<Option<LeaseToken>, StoreError> {
        let call = self.call("acquire");
        check_key(&call, key)?;
        let request = Request::Acquire { key, life_ms: millis(life) };
        self.shared
            .fleet
            .ask(&call, self.shared.fleet.placement().of(key), &request, |reply| match reply {
                Reply::Lease(token) => Some(token.map(|token| LeaseToken::new(token.to_string()))),
                _ => None,
            })
            .await
    }

    async fn release(&self, key: &str, token: &LeaseToken) -> Result<(), StoreError> {
        let call = self.call("release");
        let Ok(token) = token.as_str().parse() else {
            let detail = format!("{token:?} is no token of this store's leases");
            return Err(call.error(StoreErrorKind::Unsupported, detail));
        };
        let request = Request::Release { key, token };
        self.shared.fleet.ask(&call, self.shared.fleet.placement().of(key), &request, done).await
    }

    fn bound_to(&self, runtime: &Arc<dyn Runtime>) -> Option<Arc<dyn Leases>> {
        Some(Arc::new(self.on(runtime)))
    }
}

impl DurableStore {
    fn on(&self, runtime: &Arc<dyn Runtime>) -> Self {
        Self { shared: Arc::clone(&self.shared), runtime: Arc::clone(runtime) }
    }

    /// The values under keys of one object.
    async fn values(
        &self,
        call: &Call<'_>,
        object: u16,
        keys: Vec<&str>,
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let mut values = Vec::with_capacity(keys.len());
        // The object answers as many as fit into a reply.
        while let Some(rest) = keys.get(values.len()..).filter(|rest| !rest.is_empty()) {
            let request = Request::Get(rest.iter().take(BATCH_KEYS).copied().collect());
            let read = self.shared.fleet.ask(call, object, &request, |reply| match reply {
                Reply::Values(values) if !values.is_empty() => Some(
                    values
                        .into_iter()
                        .map(|value| value.map(|value| Bytes::copy_from_slice(value)))
                        .collect::<Vec<_>>(),
                ),
                _ => None,
            });
            values.extend(read.await?);
        }
        values.truncate(keys.len());
        Ok(values)
    }

    async fn set(
        &self,
        call: &Call<'_>,
        object: u16,
        entries: &[&PutEntry<'_>],
    ) -> Result<(), StoreError> {
        let entries = entries.iter().map(|entry| Put {
            key: entry.key,
            life_ms: millis(entry.ttl),
            value: serde_bytes::Bytes::new(&entry.value),
        });
        let request = Request::Put(entries.collect());
        self.shared.fleet.ask(call, object, &request, done).await
    }

    async fn delete(
        &self,
        call: &Call<'_>,
        object: u16,
        keys: Vec<&str>,
    ) -> Result<u64, StoreError> {
        let count = |reply: Reply<'_>| match reply {
            Reply::Count(count) => Some(count),
            _ => None,
        };
        self.shared.fleet.ask(call, object, &Request::Remove(keys), count).await
    }

    async fn life(&self, call: &Call<'_>, key: &str) -> Result<Option<Duration>, StoreError> {
        check_key(call, key)?;
        let request = Request::Lives(vec![key]);
        let life =
            self.shared.fleet.ask(call, self.shared.fleet.placement().of(key), &request, |reply| {
                match reply {
                    Reply::Lives(lives) => lives.first().copied(),
                    _ => None,
                }
            });
        Ok(life.await?.map(Duration::from_millis))
    }

    /// Asks every object for its part of the keys, concurrently.
    async fn each<'k, T: Send, F>(
        &self,
        call: &Call<'_>,
        keys: &[&'k str],
        ask: impl Fn(u16, Vec<&'k str>) -> F,
    ) -> Result<Vec<(Vec<usize>, T)>, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        for key in keys {
            check_key(call, key)?;
        }
        self.shared.fleet.each(keys, ask).await
    }
}

fn done(reply: Reply<'_>) -> Option<()> {
    matches!(reply, Reply::Done).then_some(())
}

/// Up to the next millisecond: a life must not end before its time.
fn millis(life: Duration) -> u64 {
    u64::try_from(life.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Entries in portions of what one request carries.
fn portions<'a, 'e>(mut entries: &'a [&'e PutEntry<'e>]) -> Vec<&'a [&'e PutEntry<'e>]> {
    let mut portions = Vec::new();
    while !entries.is_empty() {
        let mut bytes = 0;
        let fits = |entry: &&&PutEntry<'_>| {
            bytes += entry.key.len() + entry.value.len();
            bytes <= BATCH_BYTES
        };
        let count = entries.iter().take(BATCH_KEYS).take_while(fits).count().max(1);
        let (portion, rest) = entries.split_at(count);
        portions.push(portion);
        entries = rest;
    }
    portions
}

/// The object and the key that a cursor goes on after.
fn read_cursor(position: &str) -> Option<(u16, Option<&str>)> {
    match position.split_once(':') {
        Some((object, after)) => Some((object.parse().ok()?, Some(after))),
        None => Some((position.parse().ok()?, None)),
    }
}

fn check_key(call: &Call<'_>, key: &str) -> Result<(), StoreError> {
    fleet::check_key(call, key, MAX_KEY_BYTES)
}

fn check_entry(call: &Call<'_>, entry: &PutEntry<'_>) -> Result<(), StoreError> {
    check_key(call, entry.key)?;
    if entry.value.len() <= MAX_VALUE_BYTES {
        return Ok(());
    }
    let detail = format!(
        "the value for {:?} has {} bytes, an object takes at most {MAX_VALUE_BYTES}; store less of \
         it, or put it into KV or R2",
        entry.key,
        entry.value.len()
    );
    Err(call.error(StoreErrorKind::TooLarge, detail))
}
