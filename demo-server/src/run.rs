use std::io::{Write, stdout};
use std::net::SocketAddr;

use anyhow::Context;
use data_encoding::BASE64URL_NOPAD;
use tokio::net::TcpListener;

use crate::kept::{self, InMemory};
use crate::shop::Shop;
use crate::{Args, Cookies, install_recorder, nodes};

/// Runs the server, or the servers, until it is told to stop.
///
/// The first line on standard output is `listening on http://<address>`, once requests are served; with
/// several servers there is one such line for each.
///
/// # Errors
///
/// What cannot work, and what to do: a port that is in use, a database that cannot be written, a
/// URL that cannot be read. A Redis that is down is no error.
pub async fn run(args: Args) -> anyhow::Result<()> {
    if args.nodes > 1 {
        return nodes::run(args).await;
    }
    let metrics = install_recorder()?;
    let kept = kept::open(&args, &InMemory::new())?;
    let place = kept.place.clone();
    let secrets = session_secrets(&args)?;
    let listener = listen(&args.host, args.port).await?;
    let shop = Shop::open(&args, kept, None, secrets, listener, metrics).await?;
    warn_of_strangers(shop.address());
    greet(&[shop.address()], &place, &args);
    let router = shop.app().router();
    shop.serve(router).await
}

/// Whoever can reach it can change the users.
pub(crate) fn warn_of_strangers(address: SocketAddr) {
    if !address.ip().is_loopback() {
        tracing::warn!(
            "nobody has to sign in for it: who can reach {address} can change the users"
        );
    }
}

/// Those that are given, or one for this process alone.
pub(crate) fn session_secrets(args: &Args) -> anyhow::Result<Vec<String>> {
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

/// Whether a server there is for its own machine alone, as far as it was told.
pub(crate) fn is_near(args: &Args, address: SocketAddr) -> bool {
    address.ip().is_loopback() && args.trusted_proxies == 0
}

pub(crate) fn cookies_over_http(args: &Args, address: SocketAddr) -> bool {
    let is_near = is_near(args, address);
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

pub(crate) async fn listen(host: &str, port: u16) -> anyhow::Result<TcpListener> {
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

/// Says where the servers listen, and what to try at the first.
pub(crate) fn greet(addresses: &[SocketAddr], kept_in: &str, args: &Args) {
    let database = args.database.display();
    let limit = match args.rate_limit.0 {
        0 => String::new(),
        limit => format!("   # X-RateLimit-Remaining, of {limit} a minute"),
    };
    let lines: Vec<_> =
        addresses.iter().map(|address| format!("listening on http://{address}\n")).collect();
    let (Some(address), lines) = (addresses.first(), lines.concat()) else { return };
    let together = match addresses.len() {
        1 => "",
        _ => {
            "What one of them changes all of them show: the page says how soon, and breaks a \
             node's bus.\n\n  "
        }
    };
    // Nobody may be reading, and that is no reason to stop.
    let _ = writeln!(
        stdout(),
        "{lines}\n  \
         Open http://{address}/ and see what is cached (in {kept_in}) and what is not (in \
         {database}), or:\n\n  \
         curl -i 'http://{address}/api/v1/products?page=3&limit=5'   # twice: a MISS, then a HIT\n  \
         curl -i http://{address}/api/v1/users/42{limit}\n  \
         curl http://{address}/readyz\n\n  \
         {together}Sign up, fill a cart and sign out everywhere at http://{address}/account\n\n  \
         Ctrl-C ends it."
    );
}
