//! Taking out of the store what should not stand there.

use std::collections::BTreeSet;
use std::mem::take;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_listener::Event;
use futures::future::{Either, select};

use super::Fleet;
use super::written::Leavings;
use crate::cache::Cache;
use crate::error::StoreError;
use crate::flight::{discredit, written};
use crate::glob::Glob;
use crate::invalidation::Subject;
use crate::meter::Operation;
use crate::store::Cursor;
use crate::sync::lock;

/// Between two attempts, where the store fails.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// More keys than this are not remembered while the store fails; more patterns become one.
const MOST_KEYS: usize = 4_096;
const MOST_PATTERNS: usize = 256;

/// What is to be taken out of the store.
#[derive(Default)]
pub(super) struct Withdrawals {
    due: Mutex<Due>,
    changed: Event,
}

#[derive(Default)]
struct Due {
    /// What loads have left, if it stands there still.
    leavings: Leavings,
    /// What others have asked to remove.
    patterns: BTreeSet<String>,
}

impl Withdrawals {
    pub(super) fn add(&self, leavings: Leavings) {
        if leavings.is_empty() {
            return;
        }
        let mut due = lock(&self.due);
        due.leavings.extend(leavings);
        while due.leavings.len() > MOST_KEYS {
            due.leavings.pop_first();
        }
        drop(due);
        self.changed.notify(usize::MAX);
    }

    pub(super) fn add_pattern(&self, pattern: &Glob) {
        let mut due = lock(&self.due);
        due.patterns.insert(pattern.to_string());
        if due.patterns.len() > MOST_PATTERNS {
            due.patterns = BTreeSet::from(["*".to_owned()]);
        }
        drop(due);
        self.changed.notify(usize::MAX);
    }

    async fn next(&self) -> Due {
        loop {
            let changed = self.changed.listen();
            let due = take(&mut *lock(&self.due));
            if !due.leavings.is_empty() || !due.patterns.is_empty() {
                return due;
            }
            changed.await;
        }
    }
}

/// Takes out of the store what is due, until the cache has no handle any more.
pub(super) async fn withdraw_all(cache: Cache) {
    let Some(fleet) = &cache.shared.fleet else { return };
    let mut pause = SHORTEST_PAUSE;
    while let Either::Left((mut due, _)) =
        select(pin!(fleet.withdrawals.next()), pin!(fleet.outbox.closed())).await
    {
        let done = cache.withdraw(fleet, &mut due.leavings).await;
        let done = match done {
            Ok(()) => cache.obey(&mut due.patterns).await,
            failed => failed,
        };
        if done.is_ok() {
            pause = SHORTEST_PAUSE;
            continue;
        }
        // Counted and logged there.
        due.patterns.iter().for_each(|pattern| fleet.withdrawals.add_pattern(&Glob::new(pattern)));
        fleet.withdrawals.add(due.leavings);
        cache.runtime.sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Cache {
    /// Removes what stands in the store as it was left there. What was done is taken out.
    async fn withdraw(&self, fleet: &Fleet, leavings: &mut Leavings) -> Result<(), StoreError> {
        let flights = leavings.values().map(|left| Arc::clone(&left.flight)).collect();
        written(flights, &*self.runtime).await;
        let batch = self.store.capabilities().max_batch_keys.max(1);
        while !leavings.is_empty() {
            let keys: Vec<Arc<str>> = leavings.keys().take(batch).cloned().collect();
            let borrowed: Vec<&str> = keys.iter().map(|key| &**key).collect();
            let stored = self.metered(Operation::Read, self.store.get_many(&borrowed)).await?;
            let stands = |(key, stored): &(&str, Option<bytes::Bytes>)| {
                leavings.get(*key).zip(stored.as_ref()).is_some_and(|(left, now)| left.is(now))
            };
            let left: Vec<&str> =
                borrowed.into_iter().zip(stored).filter(stands).map(|(key, _)| key).collect();
            if !left.is_empty() {
                self.metered(Operation::Remove, self.store.remove_many(&left)).await?;
                self.invalidate_local(&left);
                discredit(self.shared.flights.of(&left));
                fleet.meter.withdrawn(left.len() as u64);
                let left = left.into_iter().map(str::to_owned).collect();
                fleet.enter(Subject::Withdrawn(left));
            }
            keys.iter().for_each(|key| drop(leavings.remove(key)));
        }
        Ok(())
    }

    /// Removes from the store what matches, in this cache's namespace. What was done is taken out.
    async fn obey(&self, patterns: &mut BTreeSet<String>) -> Result<(), StoreError> {
        while let Some(pattern) = patterns.first().map(Glob::new) {
            match pattern.only_match() {
                Some(key) if key.starts_with(self.namespace.prefix()) => {
                    self.metered(Operation::Remove, self.store.remove(&key)).await?;
                }
                Some(_) => {}
                None => self.remove_own(&pattern).await?,
            }
            self.invalidate_local_matching(&pattern);
            discredit(self.shared.flights.matching(|key| pattern.may_match(key)));
            patterns.pop_first();
        }
        Ok(())
    }

    async fn remove_own(&self, pattern: &Glob) -> Result<(), StoreError> {
        let prefix = self.namespace.prefix();
        let literal = pattern.literal_prefix();
        if !literal.starts_with(prefix) && !prefix.starts_with(&literal) {
            return Ok(());
        }
        let mut cursor: Option<Cursor> = None;
        loop {
            let page = self.metered(Operation::Remove, self.store.scan(pattern, cursor)).await?;
            let own = page.keys.iter().map(String::as_str).filter(|key| key.starts_with(prefix));
            let own: Vec<&str> = own.collect();
            for keys in own.chunks(self.store.capabilities().max_batch_keys.max(1)) {
                self.metered(Operation::Remove, self.store.remove_many(keys)).await?;
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
    }
}
