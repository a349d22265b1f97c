//! When somebody was last seen: written behind, as it is written with every request of theirs and
//! hardly ever read.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use larder_core::write_behind::{Backlog, DurableJournal, Sink, SinkError, WhenFull, Write};
use larder_core::{Error, Timestamp, WriteBehind, seconds};
use larder_http::Session;

use crate::app::App;
use crate::database::Database;
use crate::model::Seen;

/// What is written meanwhile is covered by the last of it.
const LINGER: Duration = seconds(1);
const SAVE_TIMEOUT: Duration = seconds(2);
/// After a crash another process goes on so much later, and up to a third of it.
const LEASE: Duration = seconds(5);

/// Where it is noted that users were seen, before their requests are answered: what comes to the
/// database later, also after a crash.
#[async_trait]
pub trait LastSeen: fmt::Debug + Send + Sync + 'static {
    /// Notes that somebody was seen now, by the id of their account.
    ///
    /// # Errors
    ///
    /// Where it is not known whether it is noted.
    async fn saw(
        &self,
        account: i64,
        now: Timestamp,
    ) -> Result<(), Box<dyn StdError + Send + Sync>>;

    /// What is noted and has not come to the database, for those who run the shop; `None`, as by
    /// default, where that is not known.
    ///
    /// # Errors
    ///
    /// Where what is noted cannot be reached.
    async fn backlog(&self) -> Result<Option<Backlog>, Box<dyn StdError + Send + Sync>> {
        Ok(None)
    }
}

/// [`LastSeen`] in a journal of Larder's, from which it comes to the database about a second later, with
/// that of others.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use larder_core::DurableJournal;
/// use larder_demo::{Database, JournaledLastSeen};
///
/// # fn open(journal: impl DurableJournal, database: Arc<dyn Database>) -> Result<(), larder_core::Error> {
/// let last_seen = JournaledLastSeen::new(journal, database)?;
/// # let _ = last_seen;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct JournaledLastSeen {
    /// Milliseconds since the epoch, by the account's id.
    times: WriteBehind<u64>,
}

impl JournaledLastSeen {
    /// From `journal` into `database`. Begins to save what the journal holds, on the journal's
    /// runtime.
    ///
    /// Metrics are bound to the recorder that is installed at this moment.
    ///
    /// # Errors
    ///
    /// Where the journal cannot be used.
    pub fn new(journal: impl DurableJournal, database: Arc<dyn Database>) -> Result<Self, Error> {
        let times = WriteBehind::builder(journal, Table(database))
            .name("last_seen")
            .linger(LINGER)
            .save_timeout(SAVE_TIMEOUT)
            .lease(LEASE)
            // A request is not to wait for the database, of all things.
            .when_full(WhenFull::Refuse)
            .build()?;
        Ok(Self { times })
    }

    /// Takes no more, and saves what there is, for `patience` at most; what is left.
    ///
    /// # Errors
    ///
    /// Where the journal fails.
    pub async fn stop(&self, patience: Duration) -> Result<Backlog, Error> {
        self.times.stop(patience).await
    }
}

#[async_trait]
impl LastSeen for JournaledLastSeen {
    async fn saw(
        &self,
        account: i64,
        now: Timestamp,
    ) -> Result<(), Box<dyn StdError + Send + Sync>> {
        self.times.write(account.to_string(), &now.as_millis()).await?;
        Ok(())
    }

    async fn backlog(&self) -> Result<Option<Backlog>, Box<dyn StdError + Send + Sync>> {
        Ok(Some(self.times.backlog().await?))
    }
}

/// Notes that who asks was seen, where they are signed in: also who has just signed in.
pub(crate) async fn note(app: App, session: Session, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if let Some(last_seen) = &app.shared.last_seen
        && let Ok(Some(user)) = session.user().await
        && let Ok(account) = user.parse()
        && let Err(error) = last_seen.saw(account, app.shared.database.now()).await
    {
        // Nobody is refused because of that.
        tracing::warn!(%error, "that a user was seen is not kept");
    }
    response
}

/// The accounts' table.
struct Table(Arc<dyn Database>);

#[async_trait]
impl Sink<u64> for Table {
    async fn save(&self, writes: Vec<Write<u64>>) -> Result<(), SinkError> {
        let seen: Result<Vec<_>, _> = writes.iter().map(seen).collect();
        let seen = seen.map_err(SinkError::permanent)?;
        Ok(self.0.save_last_seen(&seen).await?)
    }
}

fn seen(write: &Write<u64>) -> Result<Seen, std::num::ParseIntError> {
    let at = Timestamp::from_millis(write.value);
    Ok(Seen { account: write.key.parse()?, at, write: write.id.sequence() })
}
