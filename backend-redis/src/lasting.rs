//! Values, and how long each will stay.

use std::time::Duration;

use bytes::Bytes;
use larder_core::StoreError;
use redis::{Pipeline, Value};
use tokio::time::Instant;

use crate::batch::KEYS_PER_COMMAND;
use crate::client::Client;
use crate::ttl;

pub(crate) const OPERATION: &str = "get_many_with_ttl";

/// The value comes first: its life may be that of a successor then, and of none before it.
pub(crate) async fn get(
    client: &Client,
    keys: &[&str],
    deadline: Instant,
) -> Result<Vec<Option<(Bytes, Duration)>>, StoreError> {
    let mut found = Vec::with_capacity(keys.len());
    for keys in keys.chunks(KEYS_PER_COMMAND / 2) {
        let mut both = Pipeline::with_capacity(2 * keys.len());
        for key in keys {
            both.cmd("GET").arg(key).cmd("PTTL").arg(key);
        }
        let mut replies = client.call(OPERATION, &both, deadline).await?.into_iter();
        for _ in keys {
            let value = match replies.next().unwrap_or(Value::Nil) {
                // As in an MGET.
                Value::ServerError(error) if error.code() == "WRONGTYPE" => None,
                reply => client.bytes(OPERATION, reply)?,
            };
            let left = client.integer(OPERATION, &replies.next().unwrap_or(Value::Nil))?;
            found.push(value.zip(ttl::from_pttl(left)));
        }
    }
    Ok(found)
}
