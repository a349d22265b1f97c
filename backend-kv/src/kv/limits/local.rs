//! What an isolate knows of a key: what it counted itself, and what it has heard.

use std::collections::BTreeMap;
use std::time::Duration;
use std::{mem, slice};

use larder_core::rate_limit::rule::State;
use larder_core::rate_limit::{Check, KeyState, Rule};
use larder_core::{Quota, Timestamp, minutes, seconds};

use super::SHARE_EVERY;
use super::document::{Document, Isolate, Taken};

/// An isolate that has not used a key for so long hears of it first, and tells as another.
const IDLE: Duration = minutes(5);
/// After how long the others drop what one has told. Whoever uses the key tells it again before, and
/// is seen to; who does not, tells as another.
const FORGOTTEN: Duration = minutes(15);
/// Of how many isolates is told, those first that told last.
const MOST: usize = 64;
/// After how long an exchange that has not ended never will: a request's work ends 30 s after its
/// response.
const LOST: Duration = seconds(60);

#[derive(Debug)]
pub(super) struct Local {
    /// Under which it tells what it has taken.
    number: u64,
    pub(super) state: KeyState,
    generation: u64,
    /// Since when, and how much, under this number.
    met: Timestamp,
    taken: Taken,
    /// What of it was told last.
    told: Taken,
    /// Whether it has heard nothing yet, as KV failed when the key was met.
    is_alone: bool,
    /// What the others had taken when it last heard of them.
    heard: BTreeMap<u64, Isolate>,
    used: Timestamp,
    exchanged: Timestamp,
    /// Since when an exchange is on its way.
    exchanging: Option<Timestamp>,
}

impl Local {
    /// Of a key that was just met.
    pub(super) fn met(told: Option<Document>, now: Timestamp) -> Self {
        let (generation, state, heard) = match told {
            Some(told) => (told.generation, told.state, told.isolates),
            None => Default::default(),
        };
        Self {
            number: fastrand::u64(..),
            state,
            generation,
            met: now,
            taken: Taken::new(),
            told: Taken::new(),
            is_alone: false,
            heard,
            used: now,
            exchanged: now,
            exchanging: None,
        }
    }

    /// Of a key that was just met, and of which KV could not be asked.
    pub(super) fn alone(now: Timestamp) -> Self {
        Self { is_alone: true, ..Self::met(None, now) }
    }

    pub(super) fn is_current(&self, now: Timestamp) -> bool {
        now.since(self.used) < IDLE
    }

    /// Of a key that was not used for a while. What was taken here has long been told.
    pub(super) fn return_to(&mut self, told: Option<&Document>, now: Timestamp, quotas: &[Quota]) {
        if self.is_current(now) {
            return;
        }
        (self.number, self.met, self.used) = (fastrand::u64(..), now, now);
        self.taken.clear();
        self.told.clear();
        if let Some(told) = told {
            self.hear(told, now, quotas);
        }
    }

    /// To be told as taken of each of `quotas`, but for leases.
    pub(super) fn took(&mut self, quotas: &[Quota], cost: u64) {
        if cost == 0 {
            return;
        }
        for name in counted(quotas).map(Quota::name) {
            match self.taken.get_mut(name) {
                Some(taken) => *taken = taken.saturating_add(cost),
                None => drop(self.taken.insert(name.to_owned(), cost)),
            }
        }
    }

    pub(super) fn gave_back(&mut self, quotas: &[Quota], cost: u64) {
        for name in counted(quotas).map(Quota::name) {
            if let Some(taken) = self.taken.get_mut(name) {
                *taken = taken.saturating_sub(cost);
            }
        }
    }

    /// To be told that the state is to be taken as it is.
    pub(super) fn decreed(&mut self, now: Timestamp) {
        self.generation = now.as_micros().max(self.generation + 1);
    }

    /// It is used: how long to wait before an exchange, if none is on its way.
    pub(super) fn next_exchange(&mut self, now: Timestamp) -> Option<Duration> {
        self.used = now;
        if self.exchanging.is_some_and(|since| now.since(since) < LOST) {
            return None;
        }
        self.exchanging = Some(now);
        Some(SHARE_EVERY.saturating_sub(now.since(self.exchanged)))
    }

    pub(super) fn exchanged(&mut self, now: Timestamp) {
        (self.exchanged, self.exchanging) = (now, None);
    }

    /// Counts what others have counted since, against those of their quotas that are known here.
    pub(super) fn hear(&mut self, told: &Document, now: Timestamp, quotas: &[Quota]) {
        let was_alone = mem::take(&mut self.is_alone);
        if told.generation > self.generation || (was_alone && told.generation == self.generation) {
            return self.obey(told, now, quotas);
        }
        for (number, isolate) in &told.isolates {
            if *number == self.number {
                continue;
            }
            let known = self.heard.get(number);
            if known.is_some_and(|known| isolate.told <= known.told) {
                // KV may show what it showed before.
                continue;
            }
            for quota in counted(quotas) {
                match known.map(|known| taken_of(&known.taken, quota)) {
                    Some(before) => {
                        let taken = taken_of(&isolate.taken, quota);
                        count(&mut self.state, now, quota, before, taken);
                    }
                    None => count(&mut self.state, now, quota, 0, isolate.lately(quota)),
                }
            }
            self.heard.insert(*number, isolate.clone());
        }
    }

    /// Takes the state that was told as it is, with what was taken here since and is not in it.
    fn obey(&mut self, told: &Document, now: Timestamp, quotas: &[Quota]) {
        let leases = self.state.counts().filter(is_of_leases).map(owned);
        let counts = told.state.counts().map(owned).chain(leases);
        self.state = KeyState::restore(told.state.blocked_until(), counts.collect::<Vec<_>>());
        self.generation = told.generation;
        self.heard = told.isolates.clone();
        let own = self.heard.remove(&self.number);
        let in_it = own.as_ref().map_or(&self.told, |isolate| &isolate.taken);
        for quota in counted(quotas) {
            let (before, taken) = (taken_of(in_it, quota), taken_of(&self.taken, quota));
            count(&mut self.state, now, quota, before, taken);
        }
    }

    /// Whether others do not know yet what is known here; or not any more, as one of them wrote what
    /// it had read before; or they are about to drop it.
    pub(super) fn has_news(&self, told: Option<&Document>, now: Timestamp) -> bool {
        let generation = told.map_or(0, |told| told.generation);
        let is_told = |isolate: &Isolate| {
            let age = now.since(Timestamp::from_millis(isolate.told));
            age < IDLE && isolate.taken == self.taken
        };
        let own = told.and_then(|told| told.isolates.get(&self.number));
        generation < self.generation || !(self.taken.is_empty() || own.is_some_and(is_told))
    }

    /// What is to be told, and how long it is worth keeping.
    pub(super) fn tell(&mut self, now: Timestamp) -> (Document, Duration) {
        let oldest = (now - FORGOTTEN).as_millis();
        self.heard.retain(|_, isolate| isolate.told >= oldest);
        while self.heard.len() >= MOST {
            let longest_ago = self.heard.iter().min_by_key(|(_, isolate)| isolate.told);
            let Some((&number, _)) = longest_ago else { break };
            self.heard.remove(&number);
        }
        let counts = self.state.counts().filter(|counted| !is_of_leases(counted)).map(owned);
        let state = KeyState::restore(self.state.blocked_until(), counts);
        let mut isolates = self.heard.clone();
        self.told = self.taken.clone();
        let (met, told) = (self.met.as_millis(), now.as_millis());
        isolates.insert(self.number, Isolate { met, told, taken: self.taken.clone() });
        let life = state.forgotten_at().since(now).max(FORGOTTEN);
        (Document { generation: self.generation, state, isolates }, life)
    }
}

type CountOf<'a> = (&'a str, &'a State, Timestamp);

fn is_of_leases((_, state, _): &CountOf<'_>) -> bool {
    matches!(state, State::Concurrency(_))
}

fn owned((quota, state, until): CountOf<'_>) -> (String, State, Timestamp) {
    (quota.to_owned(), state.clone(), until)
}

fn counted(quotas: &[Quota]) -> impl Iterator<Item = &Quota> {
    quotas.iter().filter(|quota| quota.rule() != Rule::Concurrency)
}

fn taken_of(taken: &Taken, quota: &Quota) -> u64 {
    taken.get(quota.name()).copied().unwrap_or(0)
}

/// Brings what another took, or gave back, into a state; no more than there is to take.
fn count(state: &mut KeyState, now: Timestamp, quota: &Quota, before: u64, taken: u64) {
    let quotas = slice::from_ref(quota);
    if taken < before {
        return state.refund(now, quotas, before - taken);
    }
    let check = Check::new("", quotas);
    let left = state.check(now, &check.peek()).remaining().unwrap_or(0);
    state.check(now, &check.cost(left.min(taken - before)));
}
