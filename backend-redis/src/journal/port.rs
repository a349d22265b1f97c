//! The port, by scripts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use larder_core::write_behind::{
    Backlog, DeadLetter, JournalCapabilities, Journaled, Room, Sequence, Settled, Term,
};
use larder_core::{Journal, Runtime, Store, StoreError, StoreErrorKind};
use redis::Value;

use super::appends::{APPEND, LARGE, Write};
use super::{RedisJournal, letter};
use crate::error::STORE;
use crate::gather::Gathers;
use crate::script::Script;

impl RedisJournal {
    async fn letters(
        &self,
        operation: &'static str,
        places: &str,
        after: Option<Sequence>,
        room: Room,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let arguments = arguments(after, room);
        let arguments = arguments.each_ref().map(String::as_bytes);
        let keys = [places, &self.shared.keys.dead];
        let reply = self.run(operation, &self.shared.scripts.letters, &keys, &arguments).await?;
        let Value::Array(said) = reply else { return Err(self.unexpected(operation, &reply)) };
        let mut said = said.into_iter();
        let mut letters = Vec::with_capacity(said.len() / 2);
        while let (Some(key), Some(bytes)) = (said.next(), said.next()) {
            let key = text(&key).ok_or_else(|| self.unexpected(operation, &key))?;
            let Value::BulkString(bytes) = bytes else {
                return Err(self.unexpected(operation, &bytes));
            };
            letters.push(letter::read(key, bytes).ok_or_else(|| self.unreadable(operation, key))?);
        }
        Ok(letters)
    }

    fn unexpected(&self, operation: &'static str, reply: &Value) -> StoreError {
        self.shared.store.inner().client.unexpected(operation, reply)
    }

    fn unreadable(&self, operation: &'static str, key: &str) -> StoreError {
        let detail = format!(
            "the dead letter of {key:?} cannot be read; run the version of Larder that wrote it"
        );
        StoreError::new(StoreErrorKind::Other, STORE, operation, detail)
    }

    async fn about(
        &self,
        operation: &'static str,
        script: &Script,
        place: Sequence,
    ) -> Result<bool, StoreError> {
        let keys = &self.shared.keys;
        let keys: [&str; 3] = [&keys.places, &keys.replayed, &keys.dead];
        self.run_if(operation, script, &keys, &[place.to_string().as_bytes()]).await
    }
}

#[async_trait]
impl Journal for RedisJournal {
    fn name(&self) -> &'static str {
        STORE
    }

    fn id(&self) -> &str {
        &self.shared.name
    }

    fn capabilities(&self) -> &JournalCapabilities {
        &self.shared.capabilities
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::clone(&self.shared.runtime)
    }

    async fn append(&self, key: &str, value: Bytes) -> Result<Sequence, StoreError> {
        let shared = &*self.shared;
        let _call = shared.calls.enter(APPEND)?;
        let inner = shared.store.inner();
        let deadline = inner.client.deadline();
        let write = Write { key: key.to_owned(), value };
        if inner.config.gather && write.value.len() <= LARGE {
            return shared.appends.ask(write, deadline).await;
        }
        Box::pin(shared.appends.gathers().alone(&inner.client, &write, deadline)).await
    }

    async fn lead(&self, flusher: &str, life: Duration) -> Result<Option<Term>, StoreError> {
        const OPERATION: &str = "lead";
        let (shared, millis) = (&*self.shared, life.as_millis().max(1).to_string());
        let keys: [&str; 2] = [&shared.keys.leader, &shared.keys.terms];
        let arguments = [flusher.as_bytes(), millis.as_bytes()];
        match self.run(OPERATION, &shared.scripts.lead, &keys, &arguments).await? {
            Value::Nil => Ok(None),
            Value::Int(number) => {
                Ok(Some(Term::new(flusher, u64::try_from(number).unwrap_or_default())))
            }
            other => Err(self.unexpected(OPERATION, &other)),
        }
    }

    async fn resign(&self, term: &Term) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let (keys, held) = ([&*shared.keys.leader], held(term));
        self.run("resign", &shared.scripts.resign, &keys, &[held.as_bytes()]).await.map(drop)
    }

    async fn read(
        &self,
        after: Option<Sequence>,
        room: Room,
    ) -> Result<Vec<Journaled>, StoreError> {
        const OPERATION: &str = "read";
        let shared = &*self.shared;
        let arguments = arguments(after, room);
        let arguments = arguments.each_ref().map(String::as_bytes);
        let keys = [&*shared.keys.writes];
        let reply = self.run(OPERATION, &shared.scripts.read, &keys, &arguments).await?;
        let Value::Array(entries) = reply else {
            return Err(self.unexpected(OPERATION, &reply));
        };
        let write = |entry: Value| match journaled(entry) {
            Some(write) => Ok(write),
            None => {
                let detail = format!(
                    "an entry of the stream {} is no write; something else wrote it",
                    shared.keys.writes
                );
                Err(StoreError::new(StoreErrorKind::WrongType, STORE, OPERATION, detail))
            }
        };
        entries.into_iter().map(write).collect()
    }

    async fn settle(&self, term: &Term, settled: &[Settled]) -> Result<bool, StoreError> {
        let shared = &*self.shared;
        let mut arguments: Vec<Vec<u8>> = vec![held(term).into_bytes()];
        for settled in settled {
            let Some(newest) = settled.newest() else { continue };
            arguments.push(settled.key.clone().into_bytes());
            arguments.push(settled.sequences.len().to_string().into_bytes());
            arguments.extend(settled.sequences.iter().map(|it| it.to_string().into_bytes()));
            let letter = settled.death.as_ref().map(|death| letter::write(newest, death));
            arguments.push(letter.unwrap_or_default());
        }
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        let keys = &shared.keys;
        let keys: [&str; 5] =
            [&keys.leader, &keys.writes, &keys.dead, &keys.places, &keys.replayed];
        self.run_if("settle", &shared.scripts.settle, &keys, &arguments).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        const OPERATION: &str = "backlog";
        let keys = &self.shared.keys;
        let keys: [&str; 3] = [&keys.writes, &keys.places, &keys.replayed];
        let reply = self.run(OPERATION, &self.shared.scripts.backlog, &keys, &[]).await?;
        if let Value::Array(said) = &reply
            && let [Value::Int(writes), Value::Int(dead), Value::Int(replayed), first] =
                said.as_slice()
        {
            let count = |count: i64| u64::try_from(count).unwrap_or_default();
            return Ok(Backlog::new(count(writes + replayed), place(first), count(*dead)));
        }
        Err(self.unexpected(OPERATION, &reply))
    }

    async fn dead_letters(
        &self,
        after: Option<Sequence>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let room = Room::of_writes(limit);
        self.letters("dead_letters", &self.shared.keys.places, after, room).await
    }

    async fn replay(&self, sequence: Sequence) -> Result<bool, StoreError> {
        self.about("replay", &self.shared.scripts.replay, sequence).await
    }

    async fn replayed(&self, room: Room) -> Result<Vec<DeadLetter>, StoreError> {
        self.letters("replayed", &self.shared.keys.replayed, None, room).await
    }

    async fn discard(&self, sequence: Sequence) -> Result<bool, StoreError> {
        self.about("discard", &self.shared.scripts.discard, sequence).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.shared.store.ready().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        let shared = &*self.shared;
        shared.store.close_beside(&shared.calls, shared.owns_store).await
    }
}

/// What scripts that read are given: the least place, how many, how many bytes.
fn arguments(after: Option<Sequence>, room: Room) -> [String; 3] {
    let least = after.map_or(0, |after| after.number() + 1);
    // `LIMIT` takes no larger number.
    let writes = i64::try_from(room.writes).unwrap_or(i64::MAX);
    [least.to_string(), writes.to_string(), room.bytes.to_string()]
}

fn held(term: &Term) -> String {
    format!("{}:{}", term.flusher, term.number)
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// The place in the id of an entry.
fn place(id: &Value) -> Option<Sequence> {
    let number = text(id)?.strip_suffix("-0")?.parse().ok()?;
    Some(Sequence::from_number(number))
}

fn journaled(entry: Value) -> Option<Journaled> {
    let Value::Array(entry) = entry else { return None };
    let [id, Value::Array(fields)] = <[Value; 2]>::try_from(entry).ok()? else { return None };
    let [_, key, _, value] = <[Value; 4]>::try_from(fields).ok()?;
    let Value::BulkString(value) = value else { return None };
    Some(Journaled::new(place(&id)?, text(&key)?, value.into()))
}
