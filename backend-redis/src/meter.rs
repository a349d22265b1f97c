//! What the crate counts, for the `metrics` facade. The names stand in the crate's documentation.

use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::gate::BreakerState;

/// The handles of one store, labelled with its address.
#[derive(Clone)]
pub(crate) struct Meter(Arc<Handles>);

struct Handles {
    connections: Counter,
    connection_errors: Counter,
    disconnections: Counter,
    connected: Gauge,
    retries: Counter,
    breaker: Gauge,
    refused: Counter,
    overloaded: Counter,
    gathered_reads: Counter,
    batch_keys: Histogram,
    gathered_checks: Counter,
    batch_checks: Histogram,
    gathered_appends: Counter,
    batch_appends: Histogram,
}

impl Meter {
    pub(crate) fn new(address: &str) -> Self {
        let label = || address.to_owned();
        Self(Arc::new(Handles {
            connections: counter!("larder_redis_connections_total", "address" => label()),
            connection_errors: counter!(
                "larder_redis_connection_errors_total", "address" => label()
            ),
            disconnections: counter!("larder_redis_disconnections_total", "address" => label()),
            connected: gauge!("larder_redis_connected", "address" => label()),
            retries: counter!("larder_redis_retries_total", "address" => label()),
            breaker: gauge!("larder_redis_breaker_state", "address" => label()),
            refused: counter!("larder_redis_breaker_refusals_total", "address" => label()),
            overloaded: counter!("larder_redis_overload_refusals_total", "address" => label()),
            gathered_reads: counter!("larder_redis_gathered_reads_total", "address" => label()),
            batch_keys: histogram!("larder_redis_gather_batch_keys", "address" => label()),
            gathered_checks: counter!("larder_redis_gathered_checks_total", "address" => label()),
            batch_checks: histogram!("larder_redis_gather_batch_checks", "address" => label()),
            gathered_appends: counter!("larder_redis_gathered_appends_total", "address" => label()),
            batch_appends: histogram!("larder_redis_gather_batch_appends", "address" => label()),
        }))
    }

    pub(crate) fn connected(&self) {
        self.0.connections.increment(1);
        self.0.connected.set(1);
    }

    pub(crate) fn connection_failed(&self) {
        self.0.connection_errors.increment(1);
    }

    pub(crate) fn disconnected(&self) {
        self.0.disconnections.increment(1);
        self.0.connected.set(0);
    }

    pub(crate) fn retried(&self) {
        self.0.retries.increment(1);
    }

    pub(crate) fn breaker(&self, state: BreakerState) {
        self.0.breaker.set(match state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        });
    }

    pub(crate) fn refused(&self) {
        self.0.refused.increment(1);
    }

    pub(crate) fn overloaded(&self) {
        self.0.overloaded.increment(1);
    }

    pub(crate) fn gathered_reads(&self, keys: usize) {
        self.0.gathered_reads.increment(keys as u64);
        self.0.batch_keys.record(keys as f64);
    }

    pub(crate) fn gathered_checks(&self, checks: usize) {
        self.0.gathered_checks.increment(checks as u64);
        self.0.batch_checks.record(checks as f64);
    }

    pub(crate) fn gathered_appends(&self, appends: usize) {
        self.0.gathered_appends.increment(appends as u64);
        self.0.batch_appends.record(appends as f64);
    }
}
