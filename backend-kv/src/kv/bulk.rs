//! Reading many keys: 100 a call, as text; and by itself what is none.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use larder_core::{StoreError, StoreErrorKind};

use super::frame::Label;
use super::namespace::HeldText;
use super::{BULK_KEYS, KvStore, check_key};
use crate::bounded::{AT_ONCE, Call};

/// What a bulk read said of a key; nothing where the key is missing.
enum Found {
    Value(Bytes),
    /// It is no text, or too large together with others.
    ReadAlone,
}

impl KvStore {
    pub(super) async fn read_many(
        &self,
        call: &Call<'_>,
        keys: &[&str],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        for key in keys {
            check_key(call, key)?;
        }
        let unique: Vec<&str> = keys.iter().copied().collect::<HashSet<_>>().into_iter().collect();
        let mut found: HashMap<&str, Bytes> = HashMap::with_capacity(unique.len());
        let mut alone = Vec::new();
        if let [key] = *unique {
            alone.push(key);
        } else {
            call.take(unique.len().div_ceil(BULK_KEYS))?;
            for (key, held) in self.read_bulk(call, &unique).await? {
                match self.found(held) {
                    Some(Found::Value(value)) => drop(found.insert(key, value)),
                    Some(Found::ReadAlone) => alone.push(key),
                    None => {}
                }
            }
        }
        call.take(alone.len())?;
        let reads: Vec<BoxFuture<'_, Result<_, StoreError>>> = alone
            .into_iter()
            .map(|key| Box::pin(async move { Ok((key, self.read_alone(call, key).await?)) }) as _)
            .collect();
        let read: Vec<_> = stream::iter(reads).buffer_unordered(AT_ONCE).try_collect().await?;
        found.extend(read.into_iter().filter_map(|(key, value)| Some((key, value?))));
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    /// How many of the keys stand; the calls are taken already.
    pub(super) async fn count(&self, call: &Call<'_>, keys: &[&str]) -> Result<u64, StoreError> {
        let held = self.read_bulk(call, keys).await?;
        Ok(held.into_iter().filter(|(_, held)| self.found_at_all(held)).count() as u64)
    }

    fn found(&self, held: Option<HeldText>) -> Option<Found> {
        let Some(held) = held else { return Some(Found::ReadAlone) };
        // Of another version: missing here, an error where it is read by itself.
        let label = Label::of(held.metadata.as_ref()).ok()?;
        if label.is_over(self.runtime.now()) {
            return None;
        }
        Some(label.open_text(held.text).map_or(Found::ReadAlone, Found::Value))
    }

    fn found_at_all(&self, held: &Option<HeldText>) -> bool {
        let label = held.as_ref().map(|held| Label::of(held.metadata.as_ref()));
        !matches!(label, Some(Ok(label)) if label.is_over(self.runtime.now()))
    }

    async fn read_alone(&self, call: &Call<'_>, key: &str) -> Result<Option<Bytes>, StoreError> {
        match self.read(call, key).await {
            Err(error) if error.kind() == StoreErrorKind::WrongType => Ok(None),
            read => read,
        }
    }

    /// What stands under the keys: as text, or nothing but that it does where it is too large.
    async fn read_bulk<'k>(
        &self,
        call: &Call<'_>,
        keys: &[&'k str],
    ) -> Result<Vec<(&'k str, Option<HeldText>)>, StoreError> {
        let reads: Vec<BoxFuture<'_, Result<_, StoreError>>> =
            keys.chunks(BULK_KEYS).map(|keys| Box::pin(self.read_chunk(call, keys)) as _).collect();
        let read: Vec<Vec<_>> = stream::iter(reads).buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }

    async fn read_chunk<'k>(
        &self,
        call: &Call<'_>,
        keys: &[&'k str],
    ) -> Result<Vec<(&'k str, Option<HeldText>)>, StoreError> {
        let mut read = Vec::with_capacity(keys.len());
        let mut portions = vec![keys];
        while let Some(portion) = portions.pop() {
            match call.run(self.namespace().get_bulk(portion, self.shared.cache_ttl)).await? {
                Ok(mut held) => read.extend(
                    portion.iter().filter_map(|key| Some((*key, Some(held.remove(*key)?)))),
                ),
                // A bulk read takes 25 MiB altogether, as much as one value may have.
                Err(failure) if failure.status() == Some(413) => match portion {
                    [key] => read.push((*key, None)),
                    _ => {
                        let (left, right) = portion.split_at(portion.len() / 2);
                        call.take(2)?;
                        portions.extend([left, right]);
                    }
                },
                Err(failure) => return Err(call.failed(failure)),
            }
        }
        Ok(read)
    }
}
