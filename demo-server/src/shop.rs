//! One server of the shop, from what it is made of to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use larder_core::invalidation::Invalidation;
use larder_core::{DurableJournal, Store};
use larder_demo::{Accounts, App, Database, JournaledLastSeen, Limits, SignInLimits, Stores};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::kept::{Kept, journal_in_a_file};
use crate::run::cookies_over_http;
use crate::stop::Stop;
use crate::{Args, SqliteDatabase, Threads, progress, serve};

/// How long requests may go on after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// How long what the journal holds may take to come to the database.
const FLUSH: Duration = Duration::from_secs(5);
const CLOSE: Duration = Duration::from_secs(2);

/// A server that is ready to serve. From now on it hears that it is told to stop.
pub(crate) struct Shop {
    app: App,
    listener: TcpListener,
    address: SocketAddr,
    store: Arc<dyn Store>,
    journal: Arc<dyn DurableJournal>,
    last_seen: JournaledLastSeen,
    stop: Stop,
    stop_now: Stop,
}

impl Shop {
    /// A server on this listener; with `bus` one of several, with users in its own memory too.
    pub(crate) async fn open(
        args: &Args,
        kept: Kept,
        bus: Option<Arc<dyn Invalidation>>,
        secrets: Vec<String>,
        listener: TcpListener,
        metrics: impl Fn() -> String + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let Kept { store, sessions, journal, limiter, sign_in, client, .. } = kept;
        let limits = Limits::new(limiter, args.rate_limit, client.clone())?;
        let sign_in = SignInLimits::new(sign_in, args.sign_in_limit, client.clone())?;
        let address = listener.local_addr().context("the listener has no address")?;
        let mut accounts = Accounts::new(sessions, secrets)
            .client(client)
            .heavy_work(Threads::new())
            .limits(sign_in);
        if cookies_over_http(args, address) {
            accounts = accounts.plain_http();
        }
        let (database, _) =
            SqliteDatabase::open(&args.database, progress::report(&args.database)).await?;
        let database: Arc<dyn Database> = Arc::new(database);
        let stores = Stores::new(Arc::clone(&store));
        let (stores, is_one_of) = match bus {
            Some(bus) => (stores.bus(bus), true),
            None => (stores, false),
        };
        let mut app = App::new(Arc::clone(&database), stores, accounts)
            .context("--session-secret (or LARDER_SESSION_SECRET) cannot be used")?;
        if is_one_of {
            app = app.nodes(args.nodes.into());
        }
        let journal = match journal {
            Some(journal) => journal,
            None => journal_in_a_file(args)?,
        };
        let last_seen = JournaledLastSeen::new(Arc::clone(&journal), database)?;
        let app = app.metrics(metrics).last_seen(last_seen.clone()).limits(limits);
        let (stop, stop_now) = (Stop::listen()?, Stop::listen()?);
        Ok(Self { app, listener, address, store, journal, last_seen, stop, stop_now })
    }

    pub(crate) fn app(&self) -> App {
        self.app.clone()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` until it is told to stop, and ends well; at once where it is told twice.
    pub(crate) async fn serve(self, router: Router) -> anyhow::Result<()> {
        let Self { app, listener, store, journal, last_seen, mut stop, mut stop_now, .. } = self;
        // The caches end with the last who uses them, and say so on their bus.
        drop(app);
        let asked = async move { stop.asked().await };
        let asked_twice = async {
            stop_now.asked().await;
            stop_now.asked().await;
        };
        let to_the_end = async {
            let drained = serve(listener, router, asked, DRAIN).await?;
            if !drained {
                tracing::warn!("some requests had not ended and were dropped");
            }
            flush(&last_seen).await;
            std::io::Result::Ok(())
        };
        tokio::select! {
            ended = to_the_end => ended?,
            () = asked_twice => tracing::warn!("told twice to stop: what had not ended was dropped"),
        }
        match timeout(CLOSE, journal.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the journal was not closed well"),
            Err(_) => tracing::warn!("the journal was not closed within {} s", CLOSE.as_secs()),
        }
        match timeout(CLOSE, store.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the store was not closed well"),
            Err(_) => tracing::warn!("the store was not closed within {} s", CLOSE.as_secs()),
        }
        Ok(())
    }
}

/// Saves when users were last seen, as far as it is not saved.
async fn flush(last_seen: &JournaledLastSeen) {
    match last_seen.stop(FLUSH).await {
        Ok(left) if left.writes == 0 => {}
        Ok(left) => tracing::warn!(
            "{} writes wait in the journal for the next start, or for another server",
            left.writes
        ),
        Err(error) => tracing::warn!(%error, "what waits in the journal is not known"),
    }
}
