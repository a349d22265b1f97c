//! The conformance suite of journals: in memory on a virtual clock and on threads, in files, and on real
//! servers, each of which all cases share: Redis, a Redis Cluster, a master behind sentinels, Valkey and
//! a Cluster of it.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow};
use larder_core::{
    Journal, MemoryJournal, Runtime, StoreError, SystemRuntime, VirtualRuntime, seconds,
};
use larder_redis::RedisStore;
use larder_sqlite::SqliteJournal;
use larder_tests::conformance::{JournalCase, OpenJournal, journal_cases, run_journal_case};
use larder_tests::redis_cluster::RedisCluster;
use larder_tests::redis_sentinels::RedisSentinels;
use larder_tests::redis_server::{RedisServer, valkey};
use larder_tests::trials::Trials;

fn main() -> ExitCode {
    let redis = RedisServer::start();
    let cluster = RedisCluster::start();
    let sentinels = RedisSentinels::start();
    let valkey_server = RedisServer::builder().program(valkey()).start();
    let valkey_cluster = RedisCluster::builder().program(valkey()).start();
    let servers = [
        ("redis", redis.url()),
        ("cluster", cluster.url()),
        ("sentinel", sentinels.url()),
        ("valkey", valkey_server.url()),
        ("valkey_cluster", valkey_cluster.url()),
    ];
    let mut trials = Trials::default();
    for case in journal_cases() {
        trials.test(format!("memory::{}", case.name), move || on_virtual_time(case));
        trials.test(format!("threads::{}", case.name), move || {
            on_tokio(in_memory(SystemRuntime::default()), case)
        });
        trials.test(format!("sqlite::{}", case.name), move || {
            let folder = tempfile::tempdir().context("no folder for the file")?;
            let path = folder.path().to_owned();
            let open = move |name: &str, max_writes| {
                let builder = SqliteJournal::builder(path.join(name)).max_writes(max_writes);
                opened(builder.open().map(|journal| Arc::new(journal) as Arc<dyn Journal>))
            };
            on_tokio(Arc::new(open), case)
        });
        for (run, url) in servers.clone() {
            trials.test(format!("{run}::{}", case.name), move || {
                let open = move |name: &str, max_writes| {
                    let (url, name) = (url.clone(), name.to_owned());
                    Box::pin(on_redis(url, name, max_writes)) as _
                };
                on_tokio(Arc::new(open), case)
            });
        }
    }
    let code = trials.run();
    drop((redis, cluster, sentinels, valkey_server, valkey_cluster));
    code
}

/// With time for every command: what a server does that is overloaded is not the question here.
async fn on_redis(
    url: String,
    name: String,
    max_writes: usize,
) -> Result<Arc<dyn Journal>, StoreError> {
    let store = RedisStore::builder().url(url).command_timeout(seconds(30)).connect().await?;
    Ok(Arc::new(store.journal(&name)?.max_writes(max_writes)))
}

fn opened(
    journal: Result<Arc<dyn Journal>, StoreError>,
) -> futures::future::BoxFuture<'static, Result<Arc<dyn Journal>, StoreError>> {
    Box::pin(std::future::ready(journal))
}

/// Journals that are kept by their names, so that whoever opens one again has the same.
fn in_memory(runtime: impl Runtime + Clone) -> Arc<OpenJournal> {
    let journals = Mutex::new(HashMap::<String, MemoryJournal>::new());
    Arc::new(move |name: &str, max_writes| {
        let mut journals = journals.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || MemoryJournal::builder().max_writes(max_writes).on(runtime.clone());
        let journal = journals.entry(name.to_owned()).or_insert_with(new).clone();
        opened(Ok(Arc::new(journal)))
    })
}

fn on_virtual_time(case: &'static JournalCase) -> Result<()> {
    for seed in 0..5 {
        let runtime = VirtualRuntime::seeded(seed);
        let run = run_journal_case(in_memory(runtime.clone()), case);
        runtime.block_on(run).map_err(|failure| anyhow!("with seed {seed}: {failure}"))?;
    }
    Ok(())
}

fn on_tokio(open: Arc<OpenJournal>, case: &'static JournalCase) -> Result<()> {
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("Tokio does not start")?;
    tokio.block_on(run_journal_case(open, case)).map_err(|failure| anyhow!("{failure}"))
}
