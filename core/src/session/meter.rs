//! What sessions count: for [`SessionStats`], and for the `metrics` facade.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Histogram, counter, histogram};

use crate::error::StoreError;
use crate::meter::Tally;

/// What [`Sessions`](super::Sessions) have counted since they were built, all their clones together.
///
/// The same figures go to the `metrics` facade, see `docs/metrics.md`.
///
/// ```
/// # use larder_core::{MemorySessions, Sessions};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let sessions = Sessions::builder(MemorySessions::new()).build()?;
/// let visit = sessions.open(None);
/// visit.insert("theme", "dark").await?;
/// visit.save().await?;
/// assert_eq!(sessions.stats().begun, 1);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStats {
    /// Looks for a session that found it.
    pub found: u64,
    /// Looks that found none: an id that was invented, or is of a session that ended.
    pub not_found: u64,
    /// Sessions that began.
    pub begun: u64,
    /// Those among them in place of one that ended while its visitor signed in.
    pub replaced: u64,
    /// Sessions whose changes were written.
    pub written: u64,
    /// Those among them that moved to a new id.
    pub renewed: u64,
    /// Saves that were tried again, as another request had changed the session.
    pub conflicts: u64,
    /// Saves whose changes were dropped, as the session had ended.
    pub lost: u64,
    /// Uses that were noted, where nothing was changed.
    pub touched: u64,
    /// Sessions that were ended, by themselves or with all of their user.
    pub ended: u64,
    /// Calls of the store that failed.
    pub store_errors: u64,
}

/// What the store was asked to do, as errors and metrics name it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operation {
    Load,
    Create,
    Update,
    Touch,
    Renew,
    Remove,
    OfUser,
    RemoveOfUser,
}

impl Operation {
    /// In the order in which they are declared.
    const ALL: [Self; 8] = [
        Self::Load,
        Self::Create,
        Self::Update,
        Self::Touch,
        Self::Renew,
        Self::Remove,
        Self::OfUser,
        Self::RemoveOfUser,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Create => "create",
            Self::Update => "update",
            Self::Touch => "touch",
            Self::Renew => "renew",
            Self::Remove => "remove",
            Self::OfUser => "of_user",
            Self::RemoveOfUser => "remove_of_user",
        }
    }
}

pub(super) struct Meter {
    sessions: String,
    found: Tally,
    not_found: Tally,
    begun: Tally,
    replaced: Tally,
    written: Tally,
    renewed: Tally,
    conflicts: Tally,
    lost: Tally,
    touched: Tally,
    logged_out: Tally,
    ended_of_users: Tally,
    store_errors: AtomicU64,
    /// By the operation.
    store_seconds: [Histogram; Operation::ALL.len()],
}

impl Meter {
    pub(super) fn new(sessions: String) -> Self {
        let tally = |name| Tally::new(counter!(name, "sessions" => sessions.clone()));
        let loads = |result: &'static str| {
            Tally::new(counter!("larder_session_loads_total",
                "sessions" => sessions.clone(), "result" => result))
        };
        let saves = |result: &'static str| {
            Tally::new(counter!("larder_session_saves_total",
                "sessions" => sessions.clone(), "result" => result))
        };
        let ended = |by: &'static str| {
            Tally::new(counter!("larder_session_ended_total",
                "sessions" => sessions.clone(), "by" => by))
        };
        Self {
            found: loads("found"),
            not_found: loads("none"),
            begun: saves("begun"),
            replaced: saves("replaced"),
            written: saves("written"),
            renewed: saves("renewed"),
            lost: saves("lost"),
            conflicts: tally("larder_session_conflicts_total"),
            touched: tally("larder_session_touches_total"),
            logged_out: ended("itself"),
            ended_of_users: ended("user"),
            store_errors: AtomicU64::new(0),
            store_seconds: Operation::ALL.map(|operation| {
                histogram!("larder_session_store_seconds",
                    "sessions" => sessions.clone(), "operation" => operation.as_str())
            }),
            sessions,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.sessions
    }

    #[inline]
    pub(super) fn looked(&self, is_found: bool) {
        if is_found { &self.found } else { &self.not_found }.add(1);
    }

    pub(super) fn begun(&self, in_place_of_another: bool) {
        if in_place_of_another { &self.replaced } else { &self.begun }.add(1);
    }

    pub(super) fn written(&self, is_moved: bool) {
        if is_moved { &self.renewed } else { &self.written }.add(1);
    }

    pub(super) fn conflict(&self) {
        self.conflicts.add(1);
    }

    pub(super) fn lost(&self) {
        self.lost.add(1);
    }

    pub(super) fn touched(&self) {
        self.touched.add(1);
    }

    pub(super) fn logged_out(&self) {
        self.logged_out.add(1);
    }

    pub(super) fn ended_of_user(&self, sessions: u64) {
        self.ended_of_users.add(sessions);
    }

    /// How long a call took that had to be waited for.
    pub(super) fn store_took(&self, operation: Operation, took: Duration) {
        self.store_seconds[operation as usize].record(took.as_secs_f64());
    }

    pub(super) fn store_failed(&self, operation: Operation, error: &StoreError) {
        let operation = operation.as_str();
        self.store_errors.fetch_add(1, Ordering::Relaxed);
        counter!("larder_session_store_errors_total",
            "sessions" => self.sessions.clone(), "operation" => operation,
            "kind" => error.kind().as_str())
        .increment(1);
        tracing::debug!(sessions = %self.sessions, operation, %error,
            "the store of sessions failed");
    }

    pub(super) fn stats(&self) -> SessionStats {
        let (replaced, renewed) = (self.replaced.get(), self.renewed.get());
        SessionStats {
            found: self.found.get(),
            not_found: self.not_found.get(),
            begun: self.begun.get() + replaced,
            replaced,
            written: self.written.get() + renewed,
            renewed,
            conflicts: self.conflicts.get(),
            lost: self.lost.get(),
            touched: self.touched.get(),
            ended: self.logged_out.get() + self.ended_of_users.get(),
            store_errors: self.store_errors.load(Ordering::Relaxed),
        }
    }
}
