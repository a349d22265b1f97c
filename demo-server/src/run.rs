use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use larder_core::{MemoryRateLimits, MemoryStore, RateLimiter, RateLimiterBuilder, Store};
use larder_demo::{App, Limits};
use larder_http::rate_limit::ClientIp;
use larder_redis::RedisStore;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::stop::Stop;
use crate::{Args, RateLimitLayout, SqliteDatabase, install_recorder, progress, serve};

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
    let Kept { store, limiter, client, place } = open(&args)?;
    let limits = Limits::new(limiter, args.rate_limit, client)?;
    let listener = listen(&args.host, args.port).await?;
    let (database, _) =
        SqliteDatabase::open(&args.database, progress::report(&args.database)).await?;
    let app = App::new(Arc::new(database), Arc::clone(&store))?.metrics(metrics).limits(limits);

    let address = listener.local_addr().context("the listener has no address")?;
    if !address.ip().is_loopback() {
        tracing::warn!("there is no log-in: whoever can reach {address} can change the users");
    }
    let (mut stop, mut stop_now) = (Stop::listen()?, Stop::listen()?);
    greet(address, &place, &args);
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

/// Where caches and counts are kept.
struct Kept {
    store: Arc<dyn Store>,
    limiter: RateLimiterBuilder,
    /// By what a client is known.
    client: ClientIp,
    /// How to speak of it.
    place: String,
}

fn open(args: &Args) -> anyhow::Result<Kept> {
    let client = ClientIp::behind_proxies(args.trusted_proxies);
    let for_express = args.rate_limit_layout == RateLimitLayout::Express;
    let Some(url) = args.redis.as_deref().filter(|url| !url.is_empty()) else {
        ensure!(
            !for_express,
            "--rate-limit-layout express is for counts in Redis; name it with --redis"
        );
        let limiter = RateLimiter::builder(MemoryRateLimits::new());
        let store = Arc::new(MemoryStore::new());
        return Ok(Kept { store, limiter, client, place: "memory".into() });
    };
    let store = RedisStore::builder()
        .url(url)
        .client_name("larder-demo")
        .lazy()
        .context("--redis (or LARDER_REDIS_URL) cannot be used")?;
    let (counts, place) = (store.rate_limits(), store.address().to_owned());
    let (limiter, client) = if for_express {
        let counts = counts.layout(larder_redis::RateLimitLayout::Express);
        // express-rate-limit counts IPv6 by the first 56 bits.
        (RateLimiter::builder(counts), client.ipv6_prefix(56))
    } else {
        (RateLimiter::builder(counts).namespace("shop"), client)
    };
    Ok(Kept { store: Arc::new(store), limiter, client, place })
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

fn greet(address: SocketAddr, kept_in: &str, args: &Args) {
    let database = args.database.display();
    let limit = match args.rate_limit.0 {
        0 => String::new(),
        limit => format!("   # X-RateLimit-Remaining, of {limit} a minute"),
    };
    // Nobody may be reading, and that is no reason to stop.
    let _ = writeln!(
        stdout(),
        "listening on http://{address}\n\n  \
         Open http://{address}/ and see what is cached (in {kept_in}) and what is not (in \
         {database}), or:\n\n  \
         curl -i 'http://{address}/api/v1/products?page=3&limit=5'   # twice: a MISS, then a HIT\n  \
         curl -i http://{address}/api/v1/users/42{limit}\n  \
         curl http://{address}/readyz\n\n  \
         Ctrl-C ends it."
    );
}
