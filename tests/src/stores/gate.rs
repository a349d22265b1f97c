use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use event_listener::Event;
use larder_core::StoreError;

use super::{Call, Tap, When};

/// Holds up the calls that are chosen, until they are let through.
pub struct Gate {
    when: When,
    chosen: fn(Call) -> bool,
    /// How many calls may pass.
    tickets: Mutex<usize>,
    arrived: AtomicUsize,
    changed: Event,
}

impl Gate {
    /// A closed gate in front of the store, or behind it, for the calls that `chosen` picks.
    pub fn closed(when: When, chosen: fn(Call) -> bool) -> Self {
        Self {
            when,
            chosen,
            tickets: Mutex::new(0),
            arrived: AtomicUsize::new(0),
            changed: Event::new(),
        }
    }

    /// Lets everything pass from now on.
    pub fn open(&self) {
        self.let_through(usize::MAX);
    }

    /// Lets `n` calls pass.
    pub fn let_through(&self, n: usize) {
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        *tickets = tickets.saturating_add(n);
        drop(tickets);
        self.changed.notify(usize::MAX);
    }

    /// Waits until `n` calls have come to the gate since it was made.
    pub async fn arrivals(&self, n: usize) {
        self.wait_until(|| self.arrived.load(Ordering::SeqCst) >= n).await;
    }

    async fn wait_until(&self, holds: impl Fn() -> bool) {
        loop {
            let changed = self.changed.listen();
            if holds() {
                return;
            }
            changed.await;
        }
    }

    fn take_ticket(&self) -> bool {
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        let may_pass = *tickets > 0;
        if may_pass && *tickets < usize::MAX {
            *tickets -= 1;
        }
        may_pass
    }

    async fn pass(&self, call: Call, when: When) {
        if self.when == when && (self.chosen)(call) {
            self.arrived.fetch_add(1, Ordering::SeqCst);
            self.changed.notify(usize::MAX);
            self.wait_until(|| self.take_ticket()).await;
        }
    }
}

#[async_trait]
impl Tap for Gate {
    async fn before(&self, call: Call) -> Result<(), StoreError> {
        self.pass(call, When::Before).await;
        Ok(())
    }

    async fn after(&self, call: Call) -> Result<(), StoreError> {
        self.pass(call, When::After).await;
        Ok(())
    }
}
