//! What the layer counts. The names stand in the documentation of the crate.

use std::fmt;
use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

/// What came of an invalidation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// It goes on after the answer.
    Late,
    Failed,
}

impl Outcome {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Late => "late",
            Self::Failed => "failed",
        }
    }
}

pub(super) struct Meter {
    done: Counter,
    failed: Counter,
    late: Counter,
    seconds: Histogram,
}

impl Meter {
    pub(super) fn new(cache: &str) -> Self {
        let ended = |outcome: Outcome| {
            counter!("larder_http_invalidations_total",
                "cache" => cache.to_owned(), "result" => outcome.as_str())
        };
        Self {
            done: ended(Outcome::Done),
            failed: ended(Outcome::Failed),
            late: counter!("larder_http_late_invalidations_total", "cache" => cache.to_owned()),
            seconds: histogram!("larder_http_invalidation_seconds", "cache" => cache.to_owned()),
        }
    }

    pub(super) fn ended(&self, outcome: Outcome, took: Duration) {
        self.seconds.record(took.as_secs_f64());
        match outcome {
            Outcome::Failed => self.failed.increment(1),
            Outcome::Done | Outcome::Late => self.done.increment(1),
        }
    }

    pub(super) fn late(&self) {
        self.late.increment(1);
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").finish_non_exhaustive()
    }
}
