//! Telling others.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;
use std::time::Duration;

use futures::future::{Either, select};

use super::{Fleet, Membership};
use crate::cache::Cache;
use crate::error::{StoreError, StoreErrorKind};
use crate::glob::Glob;
use crate::invalidation::{Notice, Round, Subject};
use crate::sync::lock;

/// How long the bus may take for a notice.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(1);

/// Between two attempts to publish.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often a notice is tried when the cache has no handle any more.
const LAST_ATTEMPTS: u32 = 3;

/// A cache is heard so often in the time that it may be silent.
const HEARTBEATS: u32 = 3;

impl Cache {
    /// Tells others, and waits until the bus has taken it or fails; then it is told later.
    pub(in crate::cache) async fn tell(&self, subject: impl FnOnce() -> Subject) {
        let Some(fleet) = &self.shared.fleet else { return };
        fleet.outbox.tried(fleet.enter(subject())).await;
    }

    pub(in crate::cache) fn tell_keys(
        &self,
        keys: &[impl AsRef<str>],
    ) -> impl Future<Output = ()> + Send {
        let subject =
            |_: &Fleet| Subject::Keys(keys.iter().map(|key| key.as_ref().to_owned()).collect());
        let fleet = self.shared.fleet.as_ref();
        let told = fleet.map(|fleet| (fleet, fleet.enter(subject(fleet))));
        async move {
            if let Some((fleet, ticket)) = told {
                fleet.outbox.tried(ticket).await;
            }
        }
    }
}

impl Fleet {
    /// Puts it into the outbox; its ticket.
    pub(super) fn enter(&self, subject: Subject) -> u64 {
        let (ticket, has_collapsed) = self.outbox.push(subject);
        if has_collapsed {
            self.meter.collapsed();
        }
        self.meter.waiting(self.outbox.len());
        ticket
    }
}

/// Tells what waits, and now and then that the cache is alive, until it has no handle any more.
pub(super) async fn tell_all(cache: Cache, _end: Membership) {
    let Some(fleet) = &cache.shared.fleet else { return };
    loop {
        let quiet = cache.runtime.sleep(fleet.silence / HEARTBEATS);
        let Round { ticket, subjects, is_last } =
            match select(pin!(fleet.outbox.next()), quiet).await {
                Either::Left((round, _)) => round,
                Either::Right(_) => {
                    fleet.outbox.say_alive();
                    continue;
                }
            };
        for subject in subjects {
            cache.publish(fleet, subject).await;
        }
        fleet.outbox.sent(ticket);
        fleet.meter.waiting(fleet.outbox.len());
        if is_last {
            cache.publish(fleet, Subject::Farewell).await;
            return;
        }
    }
}

impl Cache {
    /// Publishes until the bus has taken it.
    async fn publish(&self, fleet: &Fleet, subject: Subject) {
        let origin = lock(&fleet.ear).next_origin(self.runtime.now());
        let notice = Notice::new(origin, subject);
        fleet.said.note(fleet, &notice);
        let (mut pause, mut last_attempts) = (SHORTEST_PAUSE, 0);
        while let Err(error) = self.try_to_publish(fleet, &notice).await {
            tracing::debug!(cache = self.name(), %error, "an invalidation waits to be told");
            fleet.meter.publish_failed();
            fleet.outbox.failing();
            last_attempts += u32::from(fleet.outbox.is_closed());
            if last_attempts == LAST_ATTEMPTS {
                return;
            }
            self.runtime.sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        fleet.meter.published();
    }

    async fn try_to_publish(&self, fleet: &Fleet, notice: &Notice) -> Result<(), StoreError> {
        let publishing = fleet.bus.publish(&fleet.channel, notice);
        match select(publishing, self.runtime.sleep(PUBLISH_TIMEOUT)).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => {
                let detail = format!("no answer within {PUBLISH_TIMEOUT:?}");
                Err(StoreError::new(StoreErrorKind::Timeout, fleet.bus.name(), "publish", detail))
            }
        }
    }
}

/// What was said last in the plain form, which does not tell whose it is.
#[derive(Default)]
pub(super) struct Said(Mutex<VecDeque<String>>);

const MOST_SAID: usize = 4_096;

impl Said {
    fn note(&self, fleet: &Fleet, notice: &Notice) {
        if !fleet.channel.is_plain() {
            return;
        }
        let mut said = lock(&self.0);
        for message in fleet.channel.messages(notice) {
            if said.len() == MOST_SAID {
                said.pop_front();
            }
            said.push_back(String::from_utf8_lossy(&message).into_owned());
        }
    }

    pub(super) fn forget(&self) {
        lock(&self.0).clear();
    }

    /// Whether this was said here, and has not come back yet.
    pub(super) fn take(&self, pattern: &Glob) -> bool {
        let mut said = lock(&self.0);
        let place = said.iter().position(|said| said == pattern.as_str());
        place.and_then(|place| said.remove(place)).is_some()
    }
}
