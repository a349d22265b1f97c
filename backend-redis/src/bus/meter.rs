//! What a bus counts.

use metrics::{Counter, counter};

#[derive(Clone)]
pub(super) struct BusMeter {
    messages: Counter,
    unreadable: Counter,
    overflows: Counter,
    losses: Counter,
}

impl BusMeter {
    pub(super) fn new(address: &str) -> Self {
        let label = || address.to_owned();
        Self {
            messages: counter!("larder_redis_bus_messages_total", "address" => label()),
            unreadable: counter!("larder_redis_bus_unreadable_total", "address" => label()),
            overflows: counter!("larder_redis_bus_overflows_total", "address" => label()),
            losses: counter!("larder_redis_bus_losses_total", "address" => label()),
        }
    }

    pub(super) fn message(&self) {
        self.messages.increment(1);
    }

    pub(super) fn unreadable(&self) {
        self.unreadable.increment(1);
    }

    pub(super) fn overflow(&self) {
        self.overflows.increment(1);
    }

    pub(super) fn lost(&self) {
        self.losses.increment(1);
    }
}
