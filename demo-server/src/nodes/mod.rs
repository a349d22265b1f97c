//! Several servers in one process, that share a store and tell each other over a bus what they change.
//!
//! Each has what a server of its own would have: a port, a runtime with threads, metrics, connections to
//! Redis and to the database, and users in its own memory. They share what servers of one shop share:
//! Redis, or a store in memory where there is none; the database; the secret of sessions.

mod api;
mod near;
mod ports;
mod switch;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use futures::future::try_join_all;
use larder_demo::App;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use crate::kept::{self, InMemory};
use crate::recorder::{kept_up, recorder};
use crate::run::{greet, is_near, listen, session_secrets, warn_of_strangers};
use crate::shop::Shop;
use crate::{Args, SqliteDatabase, progress};
use switch::Switch;

/// All servers, as one asks another.
pub(crate) struct Nodes {
    nodes: Vec<Node>,
    /// How to speak of the store.
    place: String,
    /// Whether they are for their own machine alone.
    are_near: bool,
}

/// One of them.
struct Node {
    address: SocketAddr,
    app: App,
    bus: Switch,
    /// Where its work is done.
    runtime: Handle,
}

/// Runs the servers until they are told to stop.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let args = Arc::new(args);
    let memory = InMemory::new();
    let (mut runtimes, mut all) = (Vec::new(), Vec::new());
    for number in 1..=args.nodes {
        let runtime = Own::new(number)?;
        let (args, memory) = (Arc::clone(&args), memory.clone());
        // There, as its connections and metrics are the node's own.
        let kept = runtime.handle.spawn(async move { kept::open(&args, &memory) });
        all.push(kept.await.context("a server did not start")??);
        runtimes.push(runtime);
    }
    let place = all.first().map(|kept| kept.place.clone()).unwrap_or_default();
    let secrets = session_secrets(&args)?;
    let mut listeners = Vec::new();
    for port in ports::from(args.port, args.nodes)? {
        listeners.push(listen(&args.host, port).await?.into_std()?);
    }
    // Filled once, and not by all at a time.
    SqliteDatabase::open(&args.database, progress::report(&args.database)).await?;

    let (mut nodes, mut shops) = (Vec::new(), Vec::new());
    for (runtime, (kept, listener)) in runtimes.iter().zip(all.into_iter().zip(listeners)) {
        let bus = Switch::on(Arc::clone(&kept.bus));
        let (args, way, secrets) = (Arc::clone(&args), Arc::new(bus.clone()), secrets.clone());
        let metrics = runtime.metrics.clone();
        let shop = runtime.handle.spawn(async move {
            let listener = TcpListener::from_std(listener)?;
            Shop::open(&args, kept, Some(way), secrets, listener, kept_up(metrics)).await
        });
        let shop = shop.await.context("a server did not start")??;
        let (address, app) = (shop.address(), shop.app());
        nodes.push(Node { address, app, bus, runtime: runtime.handle.clone() });
        shops.push(shop);
    }
    let addresses: Vec<_> = nodes.iter().map(|node| node.address).collect();
    let are_near = addresses.iter().all(|address| is_near(&args, *address));
    let nodes = Arc::new(Nodes { nodes, place, are_near });
    if let Some(first) = addresses.first() {
        warn_of_strangers(*first);
    }
    let serving: Vec<JoinHandle<_>> = (1..)
        .zip(shops.into_iter().zip(&runtimes))
        .map(|(number, (shop, runtime))| {
            let router = shop.app().router_with(api::routes(Arc::clone(&nodes), number));
            runtime.handle.spawn(shop.serve(router))
        })
        .collect();
    greet(&addresses, &nodes.place, &args);
    drop(nodes);
    let ended = serving.into_iter().map(async |server| server.await.context("a server failed")?);
    try_join_all(ended).await?;
    Ok(())
}

/// A node's own threads, and the metrics of what they do.
struct Own {
    handle: Handle,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
    /// `None` while it is dropped.
    runtime: Option<Runtime>,
}

impl Own {
    fn new(number: u16) -> anyhow::Result<Self> {
        let recorder = recorder()?;
        let metrics = recorder.handle();
        // There are a few, and each is used until the process ends.
        let recorder: &'static _ = Box::leak(Box::new(recorder));
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .thread_name(format!("node-{number}"))
            // A thread belongs to its node to its end, with what it counts and logs.
            .on_thread_start(move || {
                std::mem::forget(::metrics::set_default_local_recorder(recorder));
                // Of the highest level, as it is to name the node in every line that is let through.
                std::mem::forget(tracing::error_span!("node", number).entered());
            })
            .build()
            .context("a server has no threads")?;
        Ok(Self { handle: runtime.handle().clone(), metrics, runtime: Some(runtime) })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // What still runs was given its time. To wait is not for a task.
            runtime.shutdown_background();
        }
    }
}
