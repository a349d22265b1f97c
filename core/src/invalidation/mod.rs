//! Telling other processes what was invalidated: the port for buses, what goes over them, and a bus
//! within the process.
//!
//! - [`Invalidation`], the port that a bus implements; [`LocalBus`] is one.
//! - [`Channel`]: a bus' channel, and the form in which notices go over it.
//! - [`Notice`]: who says what was invalidated. [`Heard`]: what a listener hears, the bus' own troubles
//!   among it.
//!
//! A cache is given a bus by [`CacheBuilder::invalidation`](crate::CacheBuilder::invalidation). It numbers
//! its notices and tells by the numbers of the others whether it has missed any, so that
//! a bus may lose, repeat, hold up and reorder what it is given.

mod channel;
mod ear;
mod local_bus;
mod meter;
mod notice;
mod outbox;
mod wire;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::error::StoreError;

pub use channel::Channel;
pub use local_bus::LocalBus;
pub use meter::InvalidationStats;
pub use notice::{NodeId, Notice, Origin, Subject};

pub(crate) use ear::Ear;
pub(crate) use meter::Meter;
pub(crate) use outbox::{Outbox, Round};

/// A bus that carries notices of invalidations between processes.
///
/// # How to implement it
///
/// Over anything that hands bytes to many: publish the [messages](Channel::messages) of a notice, and
/// turn what arrives into what was [heard](Channel::heard). Neither can fail or panic, whatever the
/// bytes are. A transport that tells keys in a way of its own makes a [`Notice`] of them itself.
///
/// Nothing is promised about delivery, but one thing: **what may have been missed is said**. A listener
/// is told
///
/// - [`Heard::Connected`] first, when everything that is published from now on will reach it;
/// - [`Heard::Lost`] as soon as that may not be so, such as when the connection has broken or an answer
///   to a ping is overdue; and [`Heard::Connected`] again when it is;
/// - [`Heard::Gap`] where something was missed and all is well again: messages that were dropped
///   because the listener was slow, or that could not be read.
///
/// A bus connects again by itself, with a back-off, for as long as somebody listens.
///
/// **Who publishes hears it too**, on the same channel and in the same order as the others do: by that
/// a cache knows that the bus is alive.
///
/// ```
/// use std::collections::VecDeque;
/// use std::sync::{Arc, Mutex};
///
/// use bytes::Bytes;
/// use futures::StreamExt;
/// use futures::channel::mpsc::{UnboundedSender, unbounded};
/// use futures::stream::BoxStream;
/// use larder_core::StoreError;
/// use larder_core::invalidation::{Channel, Heard, Invalidation, Notice};
///
/// /// Bytes from hand to hand. It never loses any, and has one channel.
/// #[derive(Debug, Default)]
/// struct Hands(Mutex<Vec<UnboundedSender<Bytes>>>);
///
/// #[async_trait::async_trait]
/// impl Invalidation for Hands {
///     fn name(&self) -> &'static str {
///         "hands"
///     }
///
///     async fn publish(&self, channel: &Channel, notice: &Notice) -> Result<(), StoreError> {
///         for message in channel.messages(notice) {
///             self.0.lock().unwrap().retain(|hand| hand.unbounded_send(message.clone()).is_ok());
///         }
///         Ok(())
///     }
///
///     fn subscribe(&self, channel: &Channel) -> BoxStream<'static, Heard> {
///         let (hand, messages) = unbounded();
///         self.0.lock().unwrap().push(hand);
///         let channel = channel.clone();
///         let heard = messages.map(move |message| channel.heard(&message));
///         futures::stream::once(async { Heard::Connected }).chain(heard).boxed()
///     }
/// }
/// ```
#[async_trait]
pub trait Invalidation: fmt::Debug + Send + Sync + 'static {
    /// A short name for logs and errors: `local`, `redis`.
    fn name(&self) -> &'static str;

    /// Hands `notice` to all who listen to `channel`. Ends within a bounded time.
    ///
    /// # Errors
    ///
    /// Where the bus cannot be reached, or does not say that it has taken the notice: it may have
    /// nevertheless. The caller keeps it and tries again.
    async fn publish(&self, channel: &Channel, notice: &Notice) -> Result<(), StoreError>;

    /// Begins to listen to `channel`: at once, and until the stream is dropped. The stream ends where
    /// the bus was closed for good.
    ///
    /// Called where the cache's runtime runs, so that an implementation may start tasks.
    fn subscribe(&self, channel: &Channel) -> BoxStream<'static, Heard>;
}

#[async_trait]
impl<I: Invalidation + ?Sized> Invalidation for Arc<I> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    async fn publish(&self, channel: &Channel, notice: &Notice) -> Result<(), StoreError> {
        (**self).publish(channel, notice).await
    }

    fn subscribe(&self, channel: &Channel) -> BoxStream<'static, Heard> {
        (**self).subscribe(channel)
    }
}

/// What a listener hears.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heard {
    /// Something was invalidated, or somebody says that it is alive.
    Notice(Notice),
    /// Something was missed: whatever the listener holds may have been invalidated.
    Gap(Gap),
    /// From now on nothing is missed.
    Connected,
    /// From now on, and possibly for a while before, notices are missed; until
    /// [`Connected`](Self::Connected) is heard.
    Lost,
}

/// Why something was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Gap {
    /// The connection broke and was made anew.
    Reconnected,
    /// A message could not be read: it is foreign, damaged, or of a newer version.
    Unreadable,
    /// More arrived than the listener took.
    Overflow,
    /// A sender's numbers have a hole.
    Sequence,
    /// A sender, or the bus, was silent for too long.
    Silence,
}

impl Gap {
    /// The reason in a word, as metrics label it.
    ///
    /// ```
    /// use larder_core::invalidation::Gap;
    ///
    /// assert_eq!(Gap::Unreadable.as_str(), "unreadable");
    /// ```
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reconnected => "reconnected",
            Self::Unreadable => "unreadable",
            Self::Overflow => "overflow",
            Self::Sequence => "sequence",
            Self::Silence => "silence",
        }
    }
}
