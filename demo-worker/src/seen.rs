//! When users were last seen: through a queue into the database.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;

use async_trait::async_trait;
use larder_core::Timestamp;
use larder_core::write_behind::Sequence;
use larder_demo::model::Seen;
use larder_demo::{Database, LastSeen};
use serde::{Deserialize, Serialize};
use worker::send::SendFuture;
use worker::{Env, Message, MessageBatch, MessageExt, Queue, QueueRetryOptionsBuilder, Result};

use crate::d1::D1;

/// How long a batch waits that D1 did not take, in seconds.
const BACK_OFF: u32 = 10;

/// A message: the account's id, and when, in microseconds since the epoch. Of two times of an account
/// the later one stands, so that it is the number of the write too.
#[derive(Serialize, Deserialize)]
pub(crate) struct Note {
    account: i64,
    at: u64,
}

/// The queue of a binding.
pub(crate) struct SeenQueue(Queue);

impl SeenQueue {
    pub(crate) fn new(queue: Queue) -> Self {
        Self(queue)
    }
}

#[async_trait]
impl LastSeen for SeenQueue {
    /// When this ends well, the queue has stored it.
    async fn saw(
        &self,
        account: i64,
        now: Timestamp,
    ) -> std::result::Result<(), Box<dyn StdError + Send + Sync>> {
        let note = Note { account, at: now.as_micros() };
        let sent = SendFuture::new(async {
            // The error is an object of JavaScript, which must not leave here.
            self.0.send(note).await.map_err(|error| error.to_string())
        });
        Ok(sent.await?)
    }
}

impl fmt::Debug for SeenQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SeenQueue")
    }
}

/// Saves a batch. What comes twice or late changes nothing. A batch that D1 does not take comes again,
/// and in the end lies in the dead-letter queue, as wrangler.toml says.
pub(crate) async fn save(batch: &MessageBatch<Note>, env: &Env) -> Result<()> {
    let mut newest = HashMap::<i64, u64>::new();
    for message in batch.raw_iter() {
        let id = message.id();
        match Message::<Note>::try_from(message) {
            Ok(message) => {
                let Note { account, at } = *message.body();
                let last = newest.entry(account).or_default();
                *last = at.max(*last);
            }
            // Whatever sent it, it is not one of these; it goes with the batch.
            Err(error) => tracing::error!(%error, %id, "a message is no note that a user was seen"),
        }
    }
    let seen = |(account, at)| {
        let (at, write) = (Timestamp::from_micros(at), Sequence::from_number(at));
        Seen { account, at, write }
    };
    let seen: Vec<_> = newest.into_iter().map(seen).collect();
    if seen.is_empty() {
        return Ok(());
    }
    if let Err(error) = D1::new(env.d1("DATABASE")?).save_last_seen(&seen).await {
        tracing::warn!(%error, writes = seen.len(), "a batch was not saved");
        let later = QueueRetryOptionsBuilder::new().with_delay_seconds(BACK_OFF).build();
        batch.retry_all_with_options(&later);
    }
    Ok(())
}
