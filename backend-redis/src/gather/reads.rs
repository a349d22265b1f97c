//! Reads, gathered into `MGET`s.

use bytes::{Bytes, BytesMut};
use larder_core::{StoreError, StoreErrorKind};
use redis::{Cmd, Pipeline, Value};
use tokio::time::Instant;

use super::{Gathers, Waiting};
use crate::client::Client;

/// Values up to this size, in bytes, travel to their readers in the batch's allocation. To copy a
/// larger one costs more than it spares.
const SMALL: usize = 4 << 10;

const GET: &str = "get";

type Answer = Result<Option<Bytes>, StoreError>;

/// Questions are keys, and answers their values.
pub(crate) struct Reads;

impl Gathers for Reads {
    type Question = String;
    type Answer = Option<Bytes>;

    const OPERATION: &'static str = GET;

    fn count(&self, client: &Client, questions: usize) {
        client.meter.gathered_reads(questions);
    }

    async fn together(
        &self,
        client: &Client,
        calls: &[Waiting<Self>],
        deadline: Instant,
    ) -> Vec<Answer> {
        let bytes = keys(calls).map(str::len).sum::<usize>();
        let mut command = Cmd::with_capacity(1 + calls.len(), 4 + bytes);
        command.arg("MGET");
        for key in keys(calls) {
            command.arg(key);
        }
        match client.call(GET, &command, deadline).await {
            Ok(Value::Array(values)) if values.len() == calls.len() => in_one(client, values),
            Ok(other) => all(calls, &client.unexpected(GET, &other)),
            Err(error) if error.is_retryable() || error.kind() == StoreErrorKind::Closed => {
                all(calls, &error)
            }
            // Redis refused the command, be it for one of the keys only, such as one that this user
            // may not read.
            Err(_) => one_by_one(client, calls, deadline).await,
        }
    }

    async fn alone(&self, client: &Client, key: &String, deadline: Instant) -> Answer {
        get(client, key, deadline).await
    }

    /// A small value shares its allocation with the rest of the batch.
    fn own(found: Option<Bytes>) -> Option<Bytes> {
        found.map(|value| match value.len() {
            ..=SMALL => Bytes::copy_from_slice(&value),
            _ => value,
        })
    }
}

/// A plain `GET`.
pub(crate) async fn get(client: &Client, key: &str, deadline: Instant) -> Answer {
    let mut command = Cmd::with_capacity(2, GET.len() + key.len());
    command.arg("GET").arg(key);
    let value = client.call(GET, &command, deadline).await?;
    client.bytes(GET, value)
}

fn keys(calls: &[Waiting<Reads>]) -> impl Iterator<Item = &str> {
    calls.iter().map(|call| call.question.as_str())
}

fn all(calls: &[Waiting<Reads>], error: &StoreError) -> Vec<Answer> {
    calls.iter().map(|_| Err(error.clone())).collect()
}

async fn one_by_one(client: &Client, calls: &[Waiting<Reads>], deadline: Instant) -> Vec<Answer> {
    let mut pipeline = Pipeline::with_capacity(calls.len());
    for key in keys(calls) {
        pipeline.cmd("GET").arg(key);
    }
    match client.call(GET, &pipeline, deadline).await {
        Ok(values) => values.into_iter().map(|value| client.bytes(GET, value)).collect(),
        Err(error) => all(calls, &error),
    }
}

/// What was found, the small values in one allocation.
fn in_one(client: &Client, values: Vec<Value>) -> Vec<Answer> {
    let mut shared =
        BytesMut::with_capacity(values.iter().filter_map(small).map(<[u8]>::len).sum());
    values.iter().filter_map(small).for_each(|value| shared.extend_from_slice(value));
    let mut shared = shared.freeze();
    let answer = |value| match small(&value) {
        Some(small) => Ok(Some(shared.split_to(small.len()))),
        None => client.bytes(GET, value),
    };
    values.into_iter().map(answer).collect()
}

fn small(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) if bytes.len() <= SMALL => Some(bytes),
        _ => None,
    }
}
