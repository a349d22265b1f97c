use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use larder_core::{MemoryStore, Store};
use larder_demo::App;
use larder_redis::RedisStore;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::stop::Stop;
use crate::{Args, SqliteDatabase, install_recorder, progress, serve};

/// How long requests may go on after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(10);
const CLOSE: Duration = Duration::from_secs(2);

/// Runs the server until it is told to stop.
///
/// The first line on standard output is `listening on http://<address>`, once requests are served.
///
/// # Errors
///
/// What cannot work, and what to do: a port that is in use, a database that cannot be written, a
/// URL that cannot be read. A Redis that is down is no error.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let metrics = install_recorder()?;
    let (store, kept_in) = store(args.redis.as_deref())?;
    let listener = listen(&args.host, args.port).await?;
    let (database, _) =
        SqliteDatabase::open(&args.database, progress::report(&args.database)).await?;
    let app = App::new(Arc::new(database), Arc::clone(&store))?.metrics(metrics);

    let address = listener.local_addr().context("the listener has no address")?;
    if !address.ip().is_loopback() {
        tracing::warn!("there is no log-in: whoever can reach {address} can change the users");
    }
    let (mut stop, mut stop_now) = (Stop::listen()?, Stop::listen()?);
    greet(address, &kept_in, &args.database);
    let asked = async move { stop.asked().await };
    let asked_twice = async {
        stop_now.asked().await;
        stop_now.asked().await;
    };
    let drained = tokio::select! {
        drained = serve(listener, app.router(), asked, DRAIN) => drained?,
        () = asked_twice => false,
    };
    if !drained {
        tracing::warn!("some requests had not ended and were dropped");
    }
    match timeout(CLOSE, store.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the store was not closed well"),
        Err(_) => tracing::warn!("the store was not closed within {} s", CLOSE.as_secs()),
    }
    Ok(())
}

/// The store for the caches, and how to speak of it.
fn store(redis: Option<&str>) -> anyhow::Result<(Arc<dyn Store>, String)> {
    match redis.filter(|url| !url.is_empty()) {
        Some(url) => {
            let store = RedisStore::builder()
                .url(url)
                .client_name("larder-demo")
                .lazy()
                .context("--redis (or LARDER_REDIS_URL) cannot be used")?;
            let address = store.address().to_owned();
            Ok((Arc::new(store), address))
        }
        None => Ok((Arc::new(MemoryStore::new()), "memory".into())),
    }
}

async fn listen(host: &str, port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind((host, port)).await.map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "something else listens there; choose another with --port, or --port 0 for any"
            }
            std::io::ErrorKind::PermissionDenied => "choose a port from 1024 on with --port",
            _ => "choose an address of this machine with --host",
        };
        anyhow::anyhow!("cannot listen on {host}:{port}: {error}; {advice}")
    })
}

fn greet(address: SocketAddr, kept_in: &str, database: &Path) {
    let database = database.display();
    // Nobody may be reading, and that is no reason to stop.
    let _ = writeln!(
        stdout(),
        "listening on http://{address}\n\n  \
         Open http://{address}/ and see what is cached (in {kept_in}) and what is not (in \
         {database}), or:\n\n  \
         curl -i 'http://{address}/api/v1/products?page=3&limit=5'   # twice: a MISS, then a HIT\n  \
         curl -i http://{address}/api/v1/users/42\n  \
         curl http://{address}/readyz\n\n  \
         Ctrl-C ends it."
    );
}
