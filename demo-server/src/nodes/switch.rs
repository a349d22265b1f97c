//! A bus that can be broken.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use larder_core::invalidation::{Channel, Heard, Invalidation, Notice};
use larder_core::{StoreError, StoreErrorKind};
use tokio::sync::watch;

/// What a node's bus does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Way {
    /// It carries.
    #[default]
    Whole,
    /// It carries nothing, and its listeners know it, as when a connection is closed.
    Broken,
    /// It carries nothing, and says nothing of it: what is published is taken and lost.
    Silent,
}

impl Way {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Broken => "broken",
            Self::Silent => "silent",
        }
    }
}

/// The way of one node to the bus, which can be broken. Clones are the same way.
#[derive(Debug, Clone)]
pub(crate) struct Switch {
    bus: Arc<dyn Invalidation>,
    way: Arc<watch::Sender<Way>>,
}

impl Switch {
    pub(crate) fn on(bus: Arc<dyn Invalidation>) -> Self {
        Self { bus, way: Arc::default() }
    }

    pub(crate) fn way(&self) -> Way {
        *self.way.borrow()
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

#[async_trait]
impl Invalidation for Switch {
    fn name(&self) -> &'static str {
        self.bus.name()
    }

    async fn publish(&self, channel: &Channel, notice: &Notice) -> Result<(), StoreError> {
        match self.way() {
            Way::Whole => self.bus.publish(channel, notice).await,
            Way::Silent => Ok(()),
            Way::Broken => {
                let detail = "the node's way to the bus was broken on purpose";
                Err(StoreError::new(StoreErrorKind::Unavailable, self.name(), "publish", detail))
            }
        }
    }

    fn subscribe(&self, channel: &Channel) -> BoxStream<'static, Heard> {
        let listener = Listener {
            bus: self.bus.subscribe(channel),
            way: self.way.subscribe(),
            is_connected: false,
            was_told: None,
        };
        unfold(listener, async |mut listener| Some((listener.next().await?, listener))).boxed()
    }
}

struct Listener {
    bus: BoxStream<'static, Heard>,
    way: watch::Receiver<Way>,
    /// Whether the bus itself is.
    is_connected: bool,
    /// That it is connected, or not.
    was_told: Option<bool>,
}

impl Listener {
    async fn next(&mut self) -> Option<Heard> {
        loop {
            let way = *self.way.borrow_and_update();
            let is_connected = self.is_connected && way != Way::Broken;
            let tells = match self.was_told {
                None => is_connected,
                Some(told) => told != is_connected,
            };
            if tells && way != Way::Silent {
                self.was_told = Some(is_connected);
                return Some(if is_connected { Heard::Connected } else { Heard::Lost });
            }
            let heard = tokio::select! {
                changed = self.way.changed() => {
                    changed.ok()?;
                    continue;
                }
                heard = self.bus.next() => heard?,
            };
            match heard {
                Heard::Connected => self.is_connected = true,
                Heard::Lost => self.is_connected = false,
                heard if *self.way.borrow() == Way::Whole => return Some(heard),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use larder_core::LocalBus;
    use larder_core::invalidation::Subject;

    use super::*;

    struct Case {
        bus: LocalBus,
        switch: Switch,
        channel: Channel,
        heard: BoxStream<'static, Heard>,
    }

    impl Case {
        fn new() -> Self {
            let (bus, channel) = (LocalBus::new(), Channel::larder("c"));
            let switch = Switch::on(Arc::new(bus.clone()));
            let heard = switch.subscribe(&channel);
            Self { bus, switch, channel, heard }
        }

        fn next(&mut self) -> Option<Heard> {
            self.heard.next().now_or_never().map(|heard| heard.expect("it does not end"))
        }

        fn notice() -> Notice {
            Notice::anonymous(Subject::Everything)
        }

        fn publish(&self, over: &dyn Invalidation) -> Result<(), StoreError> {
            over.publish(&self.channel, &Self::notice()).now_or_never().expect("it is at once")
        }
    }

    #[test]
    fn a_whole_way_carries() {
        let mut case = Case::new();
        assert_eq!(case.next(), Some(Heard::Connected));
        case.publish(&case.switch).unwrap();
        assert_eq!(case.next(), Some(Heard::Notice(Case::notice())));
        assert_eq!(case.next(), None);
    }

    #[test]
    fn a_broken_way_says_so_and_carries_nothing_until_it_is_whole() {
        let mut case = Case::new();
        assert_eq!(case.next(), Some(Heard::Connected));
        case.switch.set(Way::Broken);
        assert_eq!(case.next(), Some(Heard::Lost));
        case.publish(&case.bus).unwrap();
        assert_eq!(case.next(), None);
        assert!(case.publish(&case.switch).is_err());
        case.switch.set(Way::Whole);
        assert_eq!(case.next(), Some(Heard::Connected));
        assert_eq!(case.next(), None);
    }

    #[test]
    fn a_silent_way_loses_what_it_takes_and_says_nothing() {
        let mut case = Case::new();
        assert_eq!(case.next(), Some(Heard::Connected));
        case.switch.set(Way::Silent);
        let mut others = case.bus.subscribe(&case.channel);
        case.publish(&case.switch).unwrap();
        assert_eq!(others.next().now_or_never(), Some(Some(Heard::Connected)));
        assert_eq!(others.next().now_or_never(), None);
        case.publish(&case.bus).unwrap();
        assert_eq!(case.next(), None);
        case.switch.set(Way::Whole);
        assert_eq!(case.next(), None);
    }
}
