//! What those who write and the one who flushes tell each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use event_listener::{Event, EventListener};

/// How near a flusher is to its end. It only ever comes nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Phase {
    /// It ends when nothing is left.
    Draining = 1,
    /// It ends after what it is at.
    Leaving,
    /// It ends where it is.
    Halted,
}

#[derive(Default)]
pub(super) struct Control {
    phase: AtomicU8,
    is_over: AtomicBool,
    /// Those who wait for an empty journal.
    hurried_by: AtomicUsize,
    looks: AtomicBool,
    /// That there is something new to save.
    written: Event,
    /// That the flusher is to look up now, whatever it waits for.
    urgent: Event,
    /// That something was settled, or the flusher ended.
    settled: Event,
}

impl Control {
    pub(super) fn is(&self, least: Phase) -> bool {
        self.phase.load(Ordering::SeqCst) >= least as u8
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::SeqCst);
        self.hurry_up();
    }

    pub(super) async fn halted(&self) {
        while !self.is(Phase::Halted) {
            let urgent = self.urgent.listen();
            if !self.is(Phase::Halted) {
                urgent.await;
            }
        }
    }

    /// Whether nothing is to wait for others in a batch.
    pub(super) fn hurries(&self) -> bool {
        self.is(Phase::Draining) || self.hurried_by.load(Ordering::SeqCst) > 0
    }

    pub(super) fn hurried(self: &Arc<Self>) -> Hurried {
        self.hurried_by.fetch_add(1, Ordering::SeqCst);
        self.hurry_up();
        Hurried(Arc::clone(self))
    }

    /// Makes the flusher look for dead letters to try again.
    pub(super) fn look(&self) {
        self.looks.store(true, Ordering::SeqCst);
        self.hurry_up();
    }

    pub(super) fn takes_a_look(&self) -> bool {
        self.looks.swap(false, Ordering::SeqCst)
    }

    fn hurry_up(&self) {
        self.urgent.notify(usize::MAX);
    }

    pub(super) fn urgent(&self) -> EventListener {
        self.urgent.listen()
    }

    pub(super) fn has_written(&self) {
        self.written.notify(1);
    }

    pub(super) fn written(&self) -> EventListener {
        self.written.listen()
    }

    pub(super) fn has_settled(&self) {
        self.settled.notify(usize::MAX);
    }

    pub(super) fn settled(&self) -> EventListener {
        self.settled.listen()
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }
}

/// Somebody who waits for an empty journal.
pub(super) struct Hurried(Arc<Control>);

impl Drop for Hurried {
    fn drop(&mut self) {
        self.0.hurried_by.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Says that the flusher is over, however it came to that.
pub(super) struct Over(pub(super) Arc<Control>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
        self.0.has_settled();
    }
}

/// Held by all handles together: the flusher leaves with the last of them.
pub(super) struct Handles(pub(super) Arc<Control>);

impl Drop for Handles {
    fn drop(&mut self) {
        self.0.enter(Phase::Leaving);
    }
}
