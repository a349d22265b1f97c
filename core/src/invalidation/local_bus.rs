//! A bus within the process.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use async_trait::async_trait;
use event_listener::Event;
use futures::StreamExt;
use futures::stream::{BoxStream, once, unfold};

use super::{Channel, Gap, Heard, Invalidation, Notice};
use crate::error::StoreError;
use crate::sync::lock;

/// A bus for the caches of one process: for several of them over one store, and for tests.
///
/// Nothing is lost on the way. A listener that is more than 1,024 notices behind hears of a
/// [`Gap`](Heard::Gap) in place of them.
///
/// Clones are the same bus.
///
/// ```
/// use futures::StreamExt;
/// use larder_core::invalidation::{Channel, Heard, Invalidation, LocalBus, Notice, Subject};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let (bus, channel) = (LocalBus::new(), Channel::larder("larder:invalidate"));
/// let mut listener = bus.subscribe(&channel);
/// bus.publish(&channel, &Notice::anonymous(Subject::Everything)).await?;
///
/// assert_eq!(listener.next().await, Some(Heard::Connected));
/// assert!(matches!(listener.next().await, Some(Heard::Notice(_))));
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct LocalBus {
    listeners: Arc<Mutex<HashMap<String, Vec<Weak<Listener>>>>>,
}

#[derive(Default)]
struct Listener {
    heard: Mutex<VecDeque<Heard>>,
    arrived: Event,
}

const MOST_WAITING: usize = 1_024;

impl LocalBus {
    /// A bus that nobody listens to yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Listener {
    fn hear(&self, heard: Heard) {
        let mut waiting = lock(&self.heard);
        if waiting.len() >= MOST_WAITING {
            // Whoever hears of a gap trusts nothing that it has, whatever else was said.
            waiting.clear();
            waiting.push_back(Heard::Gap(Gap::Overflow));
        }
        waiting.push_back(heard);
        drop(waiting);
        self.arrived.notify(usize::MAX);
    }

    async fn next(&self) -> Heard {
        loop {
            let arrived = self.arrived.listen();
            if let Some(heard) = lock(&self.heard).pop_front() {
                return heard;
            }
            arrived.await;
        }
    }
}

#[async_trait]
impl Invalidation for LocalBus {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn publish(&self, channel: &Channel, notice: &Notice) -> Result<(), StoreError> {
        if let Some(listeners) = lock(&self.listeners).get_mut(channel.name()) {
            listeners.retain(|listener| {
                let listener = listener.upgrade();
                listener.is_some_and(|listener| {
                    listener.hear(Heard::Notice(notice.clone()));
                    true
                })
            });
        }
        Ok(())
    }

    fn subscribe(&self, channel: &Channel) -> BoxStream<'static, Heard> {
        let listener = Arc::new(Listener::default());
        let mut channels = lock(&self.listeners);
        let listeners = channels.entry(channel.name().to_owned()).or_default();
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Arc::downgrade(&listener));
        let heard = unfold(listener, |listener| async { Some((listener.next().await, listener)) });
        once(async { Heard::Connected }).chain(heard).boxed()
    }
}

impl fmt::Debug for LocalBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listeners: usize = lock(&self.listeners).values().map(Vec::len).sum();
        f.debug_struct("LocalBus").field("listeners", &listeners).finish()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::super::Subject;
    use super::*;
    use crate::runtime::test;

    const CHANNEL: &str = "c";

    fn everything() -> Notice {
        Notice::anonymous(Subject::Everything)
    }

    fn publish(bus: &LocalBus) {
        let channel = Channel::larder(CHANNEL);
        bus.publish(&channel, &everything()).now_or_never().unwrap().unwrap();
    }

    fn next(listener: &mut BoxStream<'static, Heard>) -> Option<Heard> {
        listener.next().now_or_never().map(Option::unwrap)
    }

    #[test]
    fn all_of_a_channel_hear_what_comes_after_they_began() {
        let bus = LocalBus::new();
        publish(&bus);
        let mut listeners =
            [CHANNEL, CHANNEL, "other"].map(|name| bus.subscribe(&Channel::larder(name)));
        publish(&bus);
        for (listener, hears) in listeners.iter_mut().zip([true, true, false]) {
            assert_eq!(next(listener), Some(Heard::Connected));
            assert_eq!(next(listener), hears.then(|| Heard::Notice(everything())));
            assert_eq!(next(listener), None);
        }
    }

    #[test]
    fn a_slow_listener_hears_of_a_gap() {
        let bus = LocalBus::new();
        let mut listener = bus.subscribe(&Channel::larder(CHANNEL));
        assert_eq!(next(&mut listener), Some(Heard::Connected));
        (0..MOST_WAITING).for_each(|_| publish(&bus));
        assert_eq!(next(&mut listener), Some(Heard::Notice(everything())), "there was room");
        (0..2).for_each(|_| publish(&bus));
        assert_eq!(next(&mut listener), Some(Heard::Gap(Gap::Overflow)));
        assert_eq!(next(&mut listener), Some(Heard::Notice(everything())));
        assert_eq!(next(&mut listener), None);
    }

    #[test]
    fn nobody_is_kept_who_does_not_listen_any_more() {
        let bus = LocalBus::new();
        drop(bus.subscribe(&Channel::larder(CHANNEL)));
        publish(&bus);
        assert_eq!(format!("{bus:?}"), "LocalBus { listeners: 0 }");
    }
}
