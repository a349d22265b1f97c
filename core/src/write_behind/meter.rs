//! What write-behind counts: for [`WriteBehindStats`], and for the `metrics` facade.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Gauge, Histogram, counter, gauge, histogram};

use super::Backlog;
use crate::error::{StoreError, StoreErrorKind};
use crate::meter::Tally;
use crate::time::Timestamp;

/// What a [`WriteBehind`](super::WriteBehind) has counted since it was built, all its clones
/// together. Other processes on the same journal count for themselves.
///
/// The same figures go to the `metrics` facade, see `docs/metrics.md`.
///
/// ```
/// # use larder_core::write_behind::{MemoryJournal, Write, WriteBehind};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let save = async |_: Vec<Write<String>>| Ok::<_, std::io::Error>(());
/// let names = WriteBehind::volatile(MemoryJournal::new(), save).build()?;
/// names.write("user:42", &"Zoë".into()).await?;
/// assert_eq!(names.stats().written, 1);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteBehindStats {
    /// Writes that the journal acknowledged.
    pub written: u64,
    /// Writes that were refused, as the journal was full.
    pub refused: u64,
    /// Writes that the sink saved.
    pub saved: u64,
    /// Writes that a later write of their key covered, and that went along with it.
    pub coalesced: u64,
    /// Batches of which nothing, or not all, was saved.
    pub failed_batches: u64,
    /// Writes that became dead letters.
    pub dead: u64,
    /// Calls of the journal that failed.
    pub journal_errors: u64,
}

pub(super) struct Meter {
    name: String,
    written: Tally,
    refused: Tally,
    saved: Tally,
    coalesced: Tally,
    failed_batches: Tally,
    dead: Tally,
    journal_errors: AtomicU64,
    batch_writes: Histogram,
    save_seconds: Histogram,
    append_seconds: Histogram,
    pending: Gauge,
    lag: Gauge,
    dead_letters: Gauge,
    leading: Gauge,
}

impl Meter {
    pub(super) fn new(name: String) -> Self {
        let tally = |metric| Tally::new(counter!(metric, "write_behind" => name.clone()));
        let gauge = |metric| gauge!(metric, "write_behind" => name.clone());
        let histogram = |metric| histogram!(metric, "write_behind" => name.clone());
        Self {
            written: tally("larder_write_behind_written_total"),
            refused: tally("larder_write_behind_refused_total"),
            saved: tally("larder_write_behind_saved_total"),
            coalesced: tally("larder_write_behind_coalesced_total"),
            failed_batches: tally("larder_write_behind_failed_batches_total"),
            dead: tally("larder_write_behind_dead_total"),
            journal_errors: AtomicU64::new(0),
            batch_writes: histogram("larder_write_behind_batch_writes"),
            save_seconds: histogram("larder_write_behind_save_seconds"),
            append_seconds: histogram("larder_write_behind_append_seconds"),
            pending: gauge("larder_write_behind_pending"),
            lag: gauge("larder_write_behind_lag_seconds"),
            dead_letters: gauge("larder_write_behind_dead_letters"),
            leading: gauge("larder_write_behind_leading"),
            name,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn written(&self, took: Duration) {
        self.written.add(1);
        self.append_seconds.record(took.as_secs_f64());
    }

    pub(super) fn not_written(&self, error: &StoreError) {
        if error.kind() == StoreErrorKind::Full {
            self.refused.add(1);
        }
        self.journal_failed("append", error);
    }

    pub(super) fn sent(&self, writes: usize, took: Duration, is_failed: bool) {
        self.batch_writes.record(writes as f64);
        self.save_seconds.record(took.as_secs_f64());
        self.failed_batches.add(u64::from(is_failed));
    }

    pub(super) fn saved(&self, saved: u64, coalesced: u64, dead: u64) {
        self.saved.add(saved);
        self.coalesced.add(coalesced);
        self.dead.add(dead);
    }

    pub(super) fn leads(&self, leads: bool) {
        self.leading.set(u8::from(leads));
    }

    pub(super) fn waiting(&self, backlog: &Backlog, now: Timestamp) {
        self.pending.set(backlog.writes as f64);
        self.lag.set(backlog.lag(now).as_secs_f64());
        self.dead_letters.set(backlog.dead as f64);
    }

    pub(super) fn journal_failed(&self, operation: &'static str, error: &StoreError) {
        self.journal_errors.fetch_add(1, Ordering::Relaxed);
        counter!("larder_write_behind_journal_errors_total",
            "write_behind" => self.name.clone(), "operation" => operation,
            "kind" => error.kind().as_str())
        .increment(1);
        tracing::warn!(write_behind = %self.name, operation, %error, "the journal failed");
    }

    pub(super) fn stats(&self) -> WriteBehindStats {
        WriteBehindStats {
            written: self.written.get(),
            refused: self.refused.get(),
            saved: self.saved.get(),
            coalesced: self.coalesced.get(),
            failed_batches: self.failed_batches.get(),
            dead: self.dead.get(),
            journal_errors: self.journal_errors.load(Ordering::Relaxed),
        }
    }
}
