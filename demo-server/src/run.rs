use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use data_encoding::BASE64URL_NOPAD;
use larder_core::{
    DurableJournal, MemoryRateLimits, MemorySessions, MemoryStore, RateLimiter, RateLimiterBuilder,
    Store, StrongSessionStore,
};
use larder_demo::{Accounts, App, Database, JournaledLastSeen, Limits, SignInLimits};
use larder_http::rate_limit::ClientIp;
use larder_redis::RedisStore;
use larder_sqlite::SqliteJournal;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::stop::Stop;
use crate::{
    Args, Cookies, RateLimitLayout, SqliteDatabase, Threads, install_recorder, progress, serve,
};

/// How long requests may go on after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// How long what the journal holds may take to come to the database.
const FLUSH: Duration = Duration::from_secs(5);
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
    let Kept { store, sessions, journal, limiter, sign_in, client, place } = open(&args)?;
    let limits = Limits::new(limiter, args.rate_limit, client.clone())?;
    let sign_in = SignInLimits::new(sign_in, args.sign_in_limit, client.clone())?;
    let secrets = session_secrets(&args)?;
    let listener = listen(&args.host, args.port).await?;
    let address = listener.local_addr().context("the listener has no address")?;
    let mut accounts =
        Accounts::new(sessions, secrets).client(client).heavy_work(Threads::new()).limits(sign_in);
    if cookies_over_http(&args, address) {
        accounts = accounts.plain_http();
    }
    let (database, _) =
        SqliteDatabase::open(&args.database, progress::report(&args.database)).await?;
    let database: Arc<dyn Database> = Arc::new(database);
    let app = App::new(Arc::clone(&database), Arc::clone(&store), accounts)
        .context("--session-secret (or LARDER_SESSION_SECRET) cannot be used")?;
    let journal = match journal {
        Some(journal) => journal,
        None => journal_in_a_file(&args)?,
    };
    let last_seen = JournaledLastSeen::new(Arc::clone(&journal), database)?;
    let app = app.metrics(metrics).last_seen(last_seen.clone()).limits(limits);

    if !address.ip().is_loopback() {
        tracing::warn!(
            "nobody has to sign in for it: who can reach {address} can change the users"
        );
    }
    let (mut stop, mut stop_now) = (Stop::listen()?, Stop::listen()?);
    greet(address, &place, &args);
    let asked = async move { stop.asked().await };
    let asked_twice = async {
        stop_now.asked().await;
        stop_now.asked().await;
    };
    let to_the_end = async {
        let drained = serve(listener, app.router(), asked, DRAIN).await?;
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

/// Where caches, sessions and counts are kept.
struct Kept {
    store: Arc<dyn Store>,
    sessions: Arc<dyn StrongSessionStore>,
    /// One in a file where there is none.
    journal: Option<Arc<dyn DurableJournal>>,
    /// Of requests, and of attempts to sign in.
    limiter: RateLimiterBuilder,
    sign_in: RateLimiterBuilder,
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
        let counts = MemoryRateLimits::new();
        return Ok(Kept {
            store: Arc::new(MemoryStore::new()),
            sessions: Arc::new(MemorySessions::new()),
            journal: None,
            limiter: RateLimiter::builder(counts.clone()),
            sign_in: RateLimiter::builder(counts),
            client,
            place: "memory".into(),
        });
    };
    let store = RedisStore::builder()
        .url(url)
        .client_name("larder-demo")
        .lazy()
        .context("--redis (or LARDER_REDIS_URL) cannot be used")?;
    let (counts, place) = (store.rate_limits(), store.address().to_owned());
    let (sessions, sign_in) = (Arc::new(store.sessions()), counts.clone());
    let sign_in = RateLimiter::builder(sign_in).namespace("shop");
    let (limiter, client) = if for_express {
        let counts = counts.layout(larder_redis::RateLimitLayout::Express);
        // express-rate-limit counts IPv6 by the first 56 bits.
        (RateLimiter::builder(counts), client.ipv6_prefix(56))
    } else {
        (RateLimiter::builder(counts).namespace("shop"), client)
    };
    let journal = store.journal("shop:last-seen")?;
    let journal: Option<Arc<dyn DurableJournal>> = Some(Arc::new(journal));
    Ok(Kept { store: Arc::new(store), sessions, journal, limiter, sign_in, client, place })
}

fn journal_in_a_file(args: &Args) -> anyhow::Result<Arc<dyn DurableJournal>> {
    let path = args.journal.clone().unwrap_or_else(|| {
        let mut name = args.database.clone().into_os_string();
        name.push(".journal");
        name.into()
    });
    let journal = SqliteJournal::open(&path).with_context(|| {
        format!("the journal {} cannot be used; name another file (--journal)", path.display())
    })?;
    Ok(Arc::new(journal))
}

/// Those that are given, or one for this process alone.
fn session_secrets(args: &Args) -> anyhow::Result<Vec<String>> {
    if args.session_secret.iter().any(|secret| !secret.is_empty()) {
        return Ok(args.session_secret.clone());
    }
    if args.redis.as_ref().is_some_and(|url| !url.is_empty()) {
        tracing::warn!(
            "the sessions in Redis are for this process alone, and end with it: give all servers \
             one secret, as LARDER_SESSION_SECRET or --session-secret"
        );
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).context("no random numbers for the secret of sessions")?;
    Ok(vec![BASE64URL_NOPAD.encode(&secret)])
}

fn cookies_over_http(args: &Args, address: SocketAddr) -> bool {
    let is_near = address.ip().is_loopback() && args.trusted_proxies == 0;
    match args.cookies {
        Cookies::Https => false,
        Cookies::Auto => is_near,
        Cookies::Http => {
            if !is_near {
                tracing::warn!("the cookies of sessions go over http, where they can be taken");
            }
            true
        }
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
         Sign up, fill a cart and sign out everywhere at http://{address}/account\n\n  \
         Ctrl-C ends it."
    );
}
