//! One listener: subscribed, cut off, and subscribed again.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use larder_core::StoreError;
use larder_core::invalidation::{Channel, Gap, Heard};
use tokio::time::{Instant, sleep, timeout};

use super::RedisBus;
use super::inbox::{Arrived, Inbox};
use crate::client::timed_out;
use crate::connect::{Connector, ping};
use crate::connection::Connection;
use crate::error::from_redis;

const SUBSCRIBE: &str = "subscribe";

pub(super) struct Listener {
    bus: RedisBus,
    channel: Channel,
    standing: Option<Standing>,
    /// Attempts since it was subscribed, or since it began.
    attempts: u32,
    outage: Option<Instant>,
}

/// A subscription that Redis has confirmed.
struct Standing {
    inbox: Arc<Inbox>,
    connection: Connection,
    /// Ends with an answer of the server's, a while from now; or without one.
    heartbeat: BoxFuture<'static, Result<(), &'static str>>,
}

impl Listener {
    pub(super) fn new(bus: &RedisBus, channel: Channel) -> Self {
        Self { bus: bus.clone(), channel, standing: None, attempts: 0, outage: None }
    }

    /// What it hears next; nothing more where the store was closed.
    pub(super) async fn next(&mut self) -> Option<Heard> {
        let store = self.bus.store.clone();
        tokio::select! {
            biased;
            () = store.inner().calls.closed() => None,
            heard = self.hear() => Some(heard),
        }
    }

    async fn hear(&mut self) -> Heard {
        let (every, patience) = (self.bus.heartbeat, self.patience());
        match &mut self.standing {
            Some(standing) => match standing.next(every, patience).await {
                Ok(Some(message)) => self.told(&message),
                Ok(None) => self.overflowed(),
                Err(why) => self.lose(why),
            },
            None => {
                self.subscribe_at_last().await;
                Heard::Connected
            }
        }
    }
}

impl Listener {
    fn patience(&self) -> Duration {
        self.bus.store.inner().config.command_timeout
    }

    fn told(&self, message: &[u8]) -> Heard {
        let meter = &self.bus.meter;
        meter.message();
        let heard = self.channel.heard(message);
        if matches!(heard, Heard::Gap(_)) {
            meter.unreadable();
            let (channel, bytes) = (self.channel.name(), message.len());
            tracing::debug!(channel, bytes, "a message on the bus cannot be read");
        }
        heard
    }

    fn overflowed(&self) -> Heard {
        self.bus.meter.overflow();
        tracing::warn!(
            channel = self.channel.name(),
            "messages on the bus were dropped, as they are not taken as fast as they come"
        );
        Heard::Gap(Gap::Overflow)
    }

    fn lose(&mut self, why: &str) -> Heard {
        self.standing = None;
        self.attempts = 1;
        self.outage = Some(Instant::now());
        self.bus.meter.lost();
        let (address, channel) = (self.bus.store.address(), self.channel.name());
        tracing::warn!(address, channel, why, "the bus is lost; it is subscribed to again");
        Heard::Lost
    }

    /// Tries until it is subscribed.
    async fn subscribe_at_last(&mut self) {
        loop {
            if self.attempts > 0 {
                sleep(self.bus.store.inner().config.backoff.draw(self.attempts)).await;
            }
            let subscribed = self.subscribe().await;
            let (address, channel) = (self.bus.store.address(), self.channel.name());
            match subscribed {
                Ok(standing) => {
                    let outage = self.outage.take().map(|since| since.elapsed());
                    tracing::info!(address, channel, ?outage, "listening to the bus");
                    self.standing = Some(standing);
                    return;
                }
                Err(error) => {
                    self.outage.get_or_insert_with(Instant::now);
                    if self.attempts == 0 {
                        tracing::warn!(%error, channel, "the bus cannot be reached");
                    } else {
                        tracing::debug!(%error, channel, "the bus cannot be reached yet");
                    }
                    self.attempts = self.attempts.saturating_add(1);
                }
            }
        }
    }

    /// One attempt.
    async fn subscribe(&mut self) -> Result<Standing, StoreError> {
        let inner = self.bus.store.inner();
        let deadline = Instant::now() + inner.config.connect_timeout;
        let (channel, patience) = (self.channel.name(), self.patience());
        let config = inner.client.config_for(SUBSCRIBE, channel, &inner.config, deadline).await?;
        let address = config.target.address();
        let inbox = Arc::new(Inbox::default());
        let subscribed = async {
            let mut connection = Connector::new(&config)?.open_hearing(&inbox).await?;
            match timeout(patience, connection.subscribe(channel)).await {
                Ok(Ok(())) => Ok(connection),
                Ok(Err(error)) => Err(from_redis(SUBSCRIBE, &address, &error)),
                Err(_) => Err(timed_out(SUBSCRIBE, &address, patience)),
            }
        };
        let connection = subscribed.await.inspect_err(|_| inner.client.look_anew(SUBSCRIBE))?;
        let heartbeat = heartbeat(connection.clone(), self.bus.heartbeat, patience);
        Ok(Standing { inbox, connection, heartbeat })
    }
}

impl Standing {
    /// The message that arrives next, `None` where some were dropped; or why nothing will arrive.
    async fn next(
        &mut self,
        every: Duration,
        patience: Duration,
    ) -> Result<Option<Vec<u8>>, &'static str> {
        loop {
            tokio::select! {
                biased;
                arrived = self.inbox.next() => return match arrived {
                    Arrived::Message(message) => Ok(Some(message)),
                    Arrived::Overflow => Ok(None),
                    Arrived::End => Err("the connection broke"),
                },
                answered = &mut self.heartbeat => {
                    answered?;
                    self.heartbeat = heartbeat(self.connection.clone(), every, patience);
                }
            }
        }
    }
}

/// Asks the server whether it is there, a while from now.
fn heartbeat(
    mut connection: Connection,
    every: Duration,
    patience: Duration,
) -> BoxFuture<'static, Result<(), &'static str>> {
    Box::pin(async move {
        sleep(every).await;
        match timeout(patience, ping(&mut connection)).await {
            // An error of the server's is an answer, too; a broken connection is told of elsewhere.
            Ok(_) => Ok(()),
            Err(_) => Err("the server did not answer PING"),
        }
    })
}
