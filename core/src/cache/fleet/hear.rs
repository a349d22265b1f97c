//! Heeding others.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::StreamExt;
use futures::future::{Either, select};

use super::Fleet;
use crate::cache::Cache;
use crate::flight::{discredit, overtake};
use crate::glob::Glob;
use crate::invalidation::{Gap, Heard, Notice, Subject};
use crate::sync::lock;
use crate::time::Timestamp;

/// Silence is looked for so often in the time that it may last.
const LOOKS: u32 = 4;

/// Heeds what others tell, until the cache has no handle any more.
pub(super) async fn hear_all(cache: Cache) {
    let Some(fleet) = &cache.shared.fleet else { return };
    let mut heard = fleet.bus.subscribe(&fleet.channel);
    let mut look = cache.runtime.sleep(fleet.silence / LOOKS);
    let mut closed = pin!(fleet.outbox.closed());
    loop {
        match select(heard.next(), select(&mut look, &mut closed)).await {
            Either::Left((Some(heard), _)) => cache.hear(fleet, heard),
            Either::Right((Either::Left(_), _)) => {
                look = cache.runtime.sleep(fleet.silence / LOOKS);
                cache.look_for_silence(fleet);
            }
            Either::Left((None, _)) | Either::Right((Either::Right(_), _)) => break,
        }
    }
    cache.trust_until(fleet, Timestamp::EPOCH);
}

impl Cache {
    fn hear(&self, fleet: &Fleet, heard: Heard) {
        match heard {
            Heard::Connected => {
                let is_first = lock(&fleet.ear).connected();
                match is_first {
                    true => self.doubt(fleet),
                    false => self.missed(fleet, Gap::Reconnected),
                }
                match fleet.channel.is_plain() {
                    // Nothing comes back that could be told from what others say.
                    true => self.trust_until(fleet, Timestamp::MAX),
                    false => fleet.outbox.say_alive(),
                }
            }
            Heard::Lost => {
                lock(&fleet.ear).lost();
                self.trust_until(fleet, Timestamp::EPOCH);
            }
            Heard::Gap(why) => self.missed(fleet, why),
            Heard::Notice(notice) => self.hear_notice(fleet, notice),
        }
    }

    fn hear_notice(&self, fleet: &Fleet, notice: Notice) {
        let Some(origin) = notice.origin else {
            fleet.meter.received();
            return self.heed_plain(fleet, notice.subject);
        };
        let mut ear = lock(&fleet.ear);
        if ear.is_own(&origin) {
            let vouched = ear.own(origin.sequence);
            drop(ear);
            if let Some(until) = vouched {
                self.trust_until(fleet, until);
            }
            return;
        }
        let has_ended = notice.subject == Subject::Farewell;
        let in_order = ear.other(origin, has_ended, self.runtime.now());
        drop(ear);
        fleet.meter.received();
        if let Err(why) = in_order {
            self.missed(fleet, why);
        }
        self.heed(fleet, notice.subject);
    }

    fn heed(&self, fleet: &Fleet, subject: Subject) {
        let flights = &self.shared.flights;
        match subject {
            Subject::Alive | Subject::Farewell => {}
            Subject::Keys(keys) => {
                overtake(flights.of(&keys));
                self.invalidate_local(&keys);
                fleet.withdrawals.add(lock(&fleet.written).take(&keys));
            }
            Subject::Patterns(patterns) => {
                for pattern in &patterns {
                    self.heed_pattern(fleet, pattern);
                }
            }
            Subject::Tags(tags) => {
                // What is tagged and was loaded before is worthless wherever it stands.
                let tags: Vec<Arc<str>> = tags.into_iter().map(Arc::from).collect();
                overtake(flights.tagged(&tags));
                self.invalidate_local(&tags);
            }
            Subject::Withdrawn(keys) => {
                self.invalidate_local(&keys);
                discredit(flights.of(&keys));
            }
            Subject::Everything => self.doubt(fleet),
        }
    }

    fn heed_pattern(&self, fleet: &Fleet, pattern: &Glob) {
        overtake(self.shared.flights.matching(|key| pattern.may_match(key)));
        self.invalidate_local_matching(pattern);
        fleet.withdrawals.add(lock(&fleet.written).take_matching(|key| pattern.may_match(key)));
    }

    /// In the plain form it is for who hears it to remove what is meant, also from the store.
    fn heed_plain(&self, fleet: &Fleet, subject: Subject) {
        let Subject::Patterns(patterns) = subject else { return self.heed(fleet, subject) };
        for pattern in patterns {
            // Whoever else has said the same is heeded, too.
            self.heed_pattern(fleet, &pattern);
            if !fleet.said.take(&pattern) {
                fleet.withdrawals.add_pattern(&pattern);
            }
        }
    }

    fn look_for_silence(&self, fleet: &Fleet) {
        if let Err(why) = lock(&fleet.ear).forget_silent(self.runtime.now()) {
            self.missed(fleet, why);
        }
        fleet.meter.trusts(fleet.is_trusted(&*self.runtime));
    }

    fn missed(&self, fleet: &Fleet, why: Gap) {
        fleet.meter.gap(why);
        self.doubt(fleet);
    }

    /// Anything may have been invalidated before now.
    fn doubt(&self, fleet: &Fleet) {
        overtake(self.shared.flights.every());
        if let Some(local) = &self.shared.local {
            local.suspect();
        }
        fleet.withdrawals.add(lock(&fleet.written).take_all());
        // It may not come back.
        fleet.said.forget();
    }

    /// Nothing was missed up to a moment that vouches for the time until then.
    fn trust_until(&self, fleet: &Fleet, until: Timestamp) {
        let before = fleet.trusted_until();
        let now = self.runtime.now();
        if until > Timestamp::EPOCH && before > Timestamp::EPOCH && now >= before {
            self.missed(fleet, Gap::Silence);
        }
        fleet.trusted_until.store(until.as_micros(), Ordering::SeqCst);
        if let Some(local) = &self.shared.local {
            local.trust_until(until);
        }
        fleet.meter.trusts(now < until);
    }
}
