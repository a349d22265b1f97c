//! The one who takes writes from the journal to the sink.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{Either, select};

use super::control::{Over, Phase};
use super::handle::Core;
use super::journal::{Journaled, Room, Sequence, Settled, Term};
use super::pace::Pace;
use super::sink::{BytesSink, Outcome};
use super::window::{Batch, Next, Rules, Window};
use crate::error::StoreError;
use crate::time::Timestamp;

/// The most writes that are read from the journal at a time.
const PAGE: usize = 1_000;

#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) save_timeout: Duration,
    pub(super) lease: Duration,
    pub(super) poll: Duration,
}

pub(super) struct Flusher {
    core: Arc<Core>,
    sink: Arc<dyn BytesSink>,
    rules: Rules,
    settings: Settings,
    /// What tells it from all others: drawn, so that who was paused is no other when it goes on.
    name: String,
    pace: Pace,
    over: Over,
}

/// The time in which nobody else flushes, by this flusher's [`Pace`].
struct Tenure {
    term: Term,
    renew_at: Timestamp,
    until: Timestamp,
}

/// Why a flusher stops to work on the journal.
enum Left {
    /// Another may have taken over.
    Lost,
    /// It is to end, and has given the journal back.
    Ends,
}

impl Flusher {
    pub(super) fn new(
        core: &Arc<Core>,
        sink: Arc<dyn BytesSink>,
        rules: Rules,
        settings: Settings,
    ) -> Self {
        let name = format!("{:032x}", fastrand::u128(..));
        let pace = Pace::new(Arc::clone(&core.runtime));
        let over = Over(Arc::clone(&core.control));
        Self { core: Arc::clone(core), sink, rules, settings, name, pace, over }
    }

    pub(super) async fn run(self) {
        let halted = self.over.0.halted();
        // Dropped in the middle where it is halted: the term then ends by itself, since a save may
        // be under way.
        select(pin!(self.work()), pin!(halted)).await;
        self.core.meter.leads(false);
    }

    async fn work(&self) {
        let mut failures = 0;
        while !self.core.control.is(Phase::Leaving) {
            let (asked_at, urgent) = (self.pace.now(), self.core.control.urgent());
            match self.core.journal.lead(&self.name, self.settings.lease).await {
                Ok(Some(term)) => {
                    failures = 0;
                    tracing::debug!(write_behind = %self.core.meter.name(), term.number, "flushes");
                    self.core.meter.leads(true);
                    let left = self.flush(self.tenure(term, asked_at)).await;
                    self.core.meter.leads(false);
                    if matches!(left, Left::Ends) {
                        return;
                    }
                }
                // Whoever flushes goes on.
                Ok(None) if self.core.control.is(Phase::Draining) => return,
                Ok(None) => self.until(self.settings.lease / 3, urgent).await,
                Err(error) => {
                    failures += 1;
                    self.journal_failed("lead", &error, failures).await;
                }
            }
        }
    }

    fn tenure(&self, term: Term, asked_at: Timestamp) -> Tenure {
        let life = self.settings.lease;
        Tenure { term, renew_at: asked_at + life / 3, until: asked_at + life }
    }

    /// Takes writes to the sink for as long as nobody else does.
    async fn flush(&self, mut tenure: Tenure) -> Left {
        let core = &*self.core;
        let mut window = Window::new(self.rules.clone());
        let mut read_to = None;
        let mut has_caught_up = false;
        let mut look_at = Timestamp::EPOCH;
        let mut failures = 0;
        loop {
            if !self.keep(&mut tenure).await {
                return Left::Lost;
            }
            // Before the journal is read, so that no write is missed.
            let (written, urgent) = (core.control.written(), core.control.urgent());
            if core.control.is(Phase::Leaving) {
                return self.resign(&tenure).await;
            }
            let now = self.pace.now();
            if has_caught_up && (core.control.takes_a_look() || look_at <= now) {
                look_at = now + self.settings.poll;
                self.look(&mut window).await;
            }
            let read = match self.read(&mut window, &mut read_to).await {
                Ok(read) => read,
                Err(error) => {
                    failures += 1;
                    self.journal_failed("read", &error, failures).await;
                    continue;
                }
            };
            failures = 0;
            // Another may have saved the newest write of a key before it was settled. An older one
            // must not follow it, so the first save of a term waits for all that this one may cover:
            // for the end of the journal, or as much as the other, too, had room for.
            if read == 0 && !has_caught_up {
                has_caught_up = true;
                continue;
            }
            let now = self.pace.now();
            if !has_caught_up || tenure.until < now + self.settings.save_timeout {
                continue;
            }
            match window.next(now, core.control.hurries()) {
                Next::Save(batch) => {
                    if !self.save(&mut window, batch, &mut tenure).await {
                        return Left::Lost;
                    }
                }
                _ if read > 0 => {}
                Next::Wait(at) => {
                    let wake_at = at.min(look_at).min(tenure.renew_at);
                    self.until(wake_at.since(now), urgent).await;
                }
                Next::Idle if core.control.is(Phase::Draining) => {
                    return self.resign(&tenure).await;
                }
                Next::Idle => {
                    let woken = async { drop(select(written, urgent).await) };
                    self.until(look_at.min(tenure.renew_at).since(now), woken).await;
                }
            }
        }
    }

    /// Whether the journal is still its own, for as long as a save may take. Prolongs that in time.
    async fn keep(&self, tenure: &mut Tenure) -> bool {
        let asked_at = self.pace.now();
        if tenure.renew_at <= asked_at {
            match self.core.journal.lead(&self.name, self.settings.lease).await {
                Ok(Some(term)) if term == tenure.term => *tenure = self.tenure(term, asked_at),
                Ok(_) => return false,
                Err(error) => {
                    self.core.meter.journal_failed("lead", &error);
                    tenure.renew_at = asked_at + self.settings.lease / 12;
                }
            }
        }
        self.pace.now() + self.settings.save_timeout <= tenure.until
    }

    async fn resign(&self, tenure: &Tenure) -> Left {
        if let Err(error) = self.core.journal.resign(&tenure.term).await {
            self.core.meter.journal_failed("resign", &error);
        }
        Left::Ends
    }

    /// Reads on; how many it read.
    async fn read(
        &self,
        window: &mut Window,
        read_to: &mut Option<Sequence>,
    ) -> Result<usize, StoreError> {
        let room = self.room(window);
        if room.is_full() {
            return Ok(0);
        }
        let writes = self.core.journal.read(*read_to, room).await?;
        let (read, now) = (writes.len(), self.pace.now());
        *read_to = writes.last().map(|last| last.sequence).or(*read_to);
        writes.into_iter().for_each(|write| window.admit(now, write));
        Ok(read)
    }

    fn room(&self, window: &Window) -> Room {
        let room = window.room();
        Room::new(room.writes.min(PAGE), room.bytes)
    }

    /// Takes dead letters in that are to be tried again, and says how much waits.
    async fn look(&self, window: &mut Window) {
        let core = &*self.core;
        match core.journal.backlog().await {
            Ok(backlog) => {
                core.meter.waiting(&backlog, core.runtime.now());
                if backlog.dead == 0 {
                    return;
                }
            }
            Err(error) => return core.meter.journal_failed("backlog", &error),
        }
        let room = self.room(window);
        if room.is_full() {
            return;
        }
        match core.journal.replayed(room).await {
            Ok(letters) => {
                let now = self.pace.now();
                for letter in letters {
                    let value = letter.death.value;
                    window.admit(now, Journaled::new(letter.sequence, letter.key, value));
                }
            }
            Err(error) => core.meter.journal_failed("replayed", &error),
        }
    }

    /// Saves a batch and settles what came of it; `false` where another flusher may have taken over.
    async fn save(&self, window: &mut Window, batch: Batch, tenure: &mut Tenure) -> bool {
        let core = &*self.core;
        let writes = batch.writes();
        let (sent, sent_at) = (writes.len(), self.pace.now());
        let saving = AssertUnwindSafe(self.sink.save(writes)).catch_unwind();
        let timeout = core.runtime.sleep(self.settings.save_timeout);
        let outcome = match select(saving, timeout).await {
            Either::Left((Ok(outcome), _)) => outcome,
            Either::Left((Err(_), _)) => Outcome::failed("the sink panicked"),
            Either::Right(_) => {
                let after = self.settings.save_timeout;
                Outcome::failed(format!("the sink did not end within {after:?}"))
            }
        };
        let (now, died_at) = (self.pace.now(), core.runtime.now());
        self.tell(sent, now.since(sent_at), &outcome);
        let conclusion = window.conclude(now, died_at, batch, outcome, fastrand::f64());
        self.settle(&conclusion.settled, tenure).await
    }

    fn tell(&self, sent: usize, took: Duration, outcome: &Outcome) {
        let name = self.core.meter.name();
        let is_failed = outcome.rest.is_err() || !outcome.rejected.is_empty();
        self.core.meter.sent(sent, took, is_failed);
        if let Err(failure) = &outcome.rest {
            let reason = &failure.reason;
            tracing::warn!(write_behind = %name, writes = sent, %reason, "a batch was not saved");
        }
    }

    async fn settle(&self, settled: &[Settled], tenure: &mut Tenure) -> bool {
        if settled.is_empty() {
            return true;
        }
        let core = &*self.core;
        let mut failures = 0;
        loop {
            match core.journal.settle(&tenure.term, settled).await {
                Ok(true) => break,
                Ok(false) => return false,
                Err(error) => {
                    failures += 1;
                    self.journal_failed("settle", &error, failures).await;
                    // What is saved and not settled is saved again by whoever flushes next.
                    if core.control.is(Phase::Leaving) || !self.keep(tenure).await {
                        return false;
                    }
                }
            }
        }
        let (mut saved, mut coalesced, mut dead) = (0, 0, 0);
        for settled in settled {
            coalesced += settled.sequences.len() as u64 - 1;
            let Some(death) = &settled.death else {
                saved += 1;
                continue;
            };
            dead += 1;
            tracing::error!(
                write_behind = %core.meter.name(), key = %settled.key, reason = %death.reason,
                "a write is given up, and is a dead letter now"
            );
        }
        core.meter.saved(saved, coalesced, dead);
        core.control.has_settled();
        true
    }

    async fn journal_failed(&self, operation: &'static str, error: &StoreError, failures: u32) {
        let urgent = self.core.control.urgent();
        self.core.meter.journal_failed(operation, error);
        if !self.core.control.is(Phase::Leaving) {
            self.until(self.rules.backoff.after(failures, fastrand::f64()), urgent).await;
        }
    }

    async fn until(&self, time: Duration, woken: impl Future) {
        select(self.core.runtime.sleep(time), pin!(woken)).await;
    }
}
