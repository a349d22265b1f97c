//! The bus of invalidations, by Redis' channels.
//!
//! `docs/decisions/0024-the-bus-is-a-channel-of-redis.md` has the reasons.

mod inbox;
mod listener;
mod meter;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use larder_core::StoreError;
use larder_core::invalidation::{Channel, Heard, Invalidation, Notice};
use redis::{Pipeline, Value};

use crate::batch::KEYS_PER_COMMAND;
use crate::config::LONGEST;
use crate::error::STORE;
use crate::store::RedisStore;
pub(crate) use inbox::Inbox;
use listener::Listener;
use meter::BusMeter;

const PUBLISH: &str = "publish";

/// An [`Invalidation`] bus on the channels of Redis 6 or newer, or Valkey: `PUBLISH` and `SUBSCRIBE`.
///
/// It is made of a [store](RedisStore::bus), and has its address, credentials, TLS and time-outs.
/// What is published goes over the store's connection, behind its circuit breaker and with its
/// retries, so that a notice may arrive twice. Every listener has a connection of its own.
///
/// # What a listener is told
///
/// `Connected` when Redis has confirmed the subscription. When the connection breaks, or the server
/// is mute, it is told `Lost` at once, and subscribes anew, with the store's
/// [`backoff`](crate::RedisStoreBuilder::backoff) and jitter, for as long as it listens.
///
/// A connection that is dead without a word is noticed by a `PING`, which goes out every
/// [`heartbeat`](Self::heartbeat), a second unless told otherwise, and has the store's
/// [`command_timeout`](crate::RedisStoreBuilder::command_timeout) for its answer: so a listener hears
/// `Lost` within the sum of both, two seconds by default. Up to then, and only then, it may miss
/// something without knowing.
///
/// A message that is no notice, or in the [plain](Channel::plain) form no pattern, is a `Gap`, and
/// counted. A listener that is more than 16,384 messages or 16 MiB behind hears of a `Gap` in place
/// of them. Redis itself cuts off who does not read (`client-output-buffer-limit pubsub`), which is
/// `Lost`.
///
/// # On a Cluster
///
/// A channel is published at the master of its name's slot, whose listeners are connected there too;
/// Redis hands the message on to all other nodes. When that master is another, it is found as for any
/// key.
///
/// # Behind sentinels
///
/// Every connection goes to the server that is the master then. What the old master was told during
/// a fail-over may reach nobody.
///
/// # Rights
///
/// A user with ACL rights needs `+publish`, `+subscribe` and the channel (`&name`).
///
/// ```no_run
/// use futures::StreamExt;
/// use larder_core::invalidation::{Channel, Heard, Invalidation, Notice, Subject};
/// use larder_redis::RedisStore;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder_core::StoreError> {
/// let bus = RedisStore::connect("redis://127.0.0.1/").await?.bus();
/// let channel = Channel::plain("cache:invalidate");
/// let mut heard = bus.subscribe(&channel);
/// assert_eq!(heard.next().await, Some(Heard::Connected));
///
/// let users = Notice::anonymous(Subject::Patterns(vec!["users:*".into()]));
/// bus.publish(&channel, &users).await?;
/// assert_eq!(heard.next().await, Some(Heard::Notice(users)));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RedisBus {
    store: RedisStore,
    heartbeat: Duration,
    meter: BusMeter,
}

const HEARTBEAT: Duration = Duration::from_secs(1);

/// More often than this a server is not asked whether it is there.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(10);

impl RedisBus {
    pub(crate) fn on(store: RedisStore) -> Self {
        let meter = BusMeter::new(store.address());
        Self { store, heartbeat: HEARTBEAT, meter }
    }

    /// Sets how often a listener asks the server whether it is there; 10 ms at least.
    ///
    /// ```
    /// use larder_core::millis;
    /// use larder_redis::RedisStore;
    ///
    /// # fn run() -> Result<(), larder_core::StoreError> {
    /// let bus = RedisStore::lazy("redis://127.0.0.1/")?.bus().heartbeat(millis(250));
    /// # Ok(()) }
    /// # run().unwrap();
    /// ```
    #[must_use]
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.heartbeat = every.clamp(SHORTEST_HEARTBEAT, LONGEST);
        self
    }
}

#[async_trait]
impl Invalidation for RedisBus {
    fn name(&self) -> &'static str {
        STORE
    }

    async fn publish(&self, channel: &Channel, notice: &Notice) -> Result<(), StoreError> {
        let inner = self.store.inner();
        let _call = inner.enter(PUBLISH)?;
        let deadline = inner.client.deadline();
        let messages = channel.messages(notice);
        for messages in messages.chunks(KEYS_PER_COMMAND) {
            let mut pipeline = Pipeline::with_capacity(messages.len());
            for message in messages {
                pipeline.cmd("PUBLISH").arg(channel.name()).arg(&message[..]);
            }
            for reply in inner.client.call(PUBLISH, &pipeline, deadline).await? {
                if !matches!(reply, Value::Int(_)) {
                    return Err(inner.client.unexpected(PUBLISH, &reply));
                }
            }
        }
        Ok(())
    }

    fn subscribe(&self, channel: &Channel) -> BoxStream<'static, Heard> {
        let listener = Listener::new(self, channel.clone());
        unfold(listener, |mut listener| async { Some((listener.next().await?, listener)) }).boxed()
    }
}

impl fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBus")
            .field("address", &self.store.address())
            .field("heartbeat", &self.heartbeat)
            .finish_non_exhaustive()
    }
}
