//! What the trait `Invalidation` promises.

mod listening;
mod notices;

use std::sync::Arc;

use futures::StreamExt;
use futures::future::{Either, select};
use futures::stream::BoxStream;
use larder_core::invalidation::{Channel, Heard, NodeId, Notice, Origin, Subject};
use larder_core::{Invalidation, seconds};

use super::{Bench, Case, Failure};

pub(super) const CASES: &[&[Case]] = &[listening::CASES, notices::CASES];

/// One channel of a bus, and somebody who publishes there.
struct Line {
    bench: Bench,
    bus: Arc<dyn Invalidation>,
    channel: Channel,
    origin: Origin,
}

impl Line {
    fn on(bench: &Bench, channel: Channel) -> Result<Self, Failure> {
        let bus = bench.bus().ok_or_else(|| Failure::new("it has no bus"))?;
        let origin = Origin { node: NodeId::random(), epoch: 1_767_225_600_000, sequence: 0 };
        Ok(Self { bench: bench.clone(), bus: Arc::clone(bus), channel, origin })
    }

    fn larder(bench: &Bench) -> Result<Self, Failure> {
        Self::on(bench, Channel::larder(bench.key("larder:invalidate")))
    }

    /// Publishes a notice with the next number.
    async fn say(&mut self, subject: Subject) -> Result<Notice, Failure> {
        self.origin.sequence += 1;
        let notice = Notice::new(self.origin, subject);
        self.bus.publish(&self.channel, &notice).await?;
        Ok(notice)
    }

    /// Somebody who listens, and is connected.
    async fn listener(&self) -> Result<Listener, Failure> {
        self.listener_on(&*self.bus).await
    }

    async fn listener_on(&self, bus: &dyn Invalidation) -> Result<Listener, Failure> {
        let heard = bus.subscribe(&self.channel);
        let mut listener = Listener { bench: self.bench.clone(), heard };
        match listener.next().await? {
            Heard::Connected => Ok(listener),
            other => Err(Failure::new(format!("the first it hears is {other:?}"))),
        }
    }
}

struct Listener {
    bench: Bench,
    heard: BoxStream<'static, Heard>,
}

impl Listener {
    async fn next(&mut self) -> Result<Heard, Failure> {
        match select(self.heard.next(), self.bench.runtime().sleep(seconds(60))).await {
            Either::Left((Some(heard), _)) => Ok(heard),
            Either::Left((None, _)) => Err(Failure::new("the stream has ended")),
            Either::Right(_) => Err(Failure::new("it hears nothing for a minute")),
        }
    }

    async fn notice(&mut self) -> Result<Notice, Failure> {
        match self.next().await? {
            Heard::Notice(notice) => Ok(notice),
            other => Err(Failure::new(format!("it hears {other:?} where it was told something"))),
        }
    }
}

fn keys(keys: &[&str]) -> Subject {
    Subject::Keys(keys.iter().map(|key| (*key).to_owned()).collect())
}
