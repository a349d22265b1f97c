//! The conformance suite on real servers, which all cases share: Redis, a Redis Cluster, a master
//! behind sentinels, Valkey and a Cluster of it.

use std::process::ExitCode;
use std::sync::Arc;

use larder_core::{Invalidation, Layout, RateLimitStore, SessionStore, Store, StoreError, seconds};
use larder_redis::RedisStore;
use larder_tests::conformance::{self, Backend, Claims};
use larder_tests::redis_cluster::RedisCluster;
use larder_tests::redis_sentinels::RedisSentinels;
use larder_tests::redis_server::{RedisServer, valkey};
use larder_tests::trials::{self, Trials};

fn main() -> ExitCode {
    let redis = RedisServer::start();
    let cluster = RedisCluster::start();
    let sentinels = RedisSentinels::start();
    let valkey_server = RedisServer::builder().program(valkey()).start();
    let valkey_cluster = RedisCluster::builder().program(valkey()).start();
    let runs = [
        ("json", redis.url(), Layout::default()),
        ("plain", redis.url(), Layout::Plain),
        ("cluster", cluster.url(), Layout::default()),
        ("sentinel", sentinels.url(), Layout::default()),
        ("valkey", valkey_server.url(), Layout::default()),
        ("valkey_cluster", valkey_cluster.url(), Layout::default()),
    ];
    let mut trials = Trials::default();
    for case in conformance::cases() {
        for (name, url, layout) in &runs {
            let (name, layout, url) = (*name, layout.clone(), url.clone());
            let run = trials::on_tokio(move || {
                let [counts, sessions, bus] = [(); 3].map(|()| url.clone());
                Backend::new(name, move || Box::pin(open(url.clone())))
                    .counting(move || Box::pin(open_limits(counts.clone())))
                    .keeping(move || Box::pin(open_sessions(sessions.clone())))
                    .carrying(move || Box::pin(open_bus(bus.clone())))
                    .layout(layout)
                    .run_name(name)
            });
            trials.add(name, case, run);
        }
        if case.name.starts_with("sessions::") {
            for (name, url) in [("express", redis.url()), ("express_cluster", cluster.url())] {
                let run = trials::on_tokio(move || {
                    let sessions = url.clone();
                    Backend::new(name, move || Box::pin(open(url.clone())))
                        .keeping(move || Box::pin(open_express_sessions(sessions.clone())))
                        .run_name(name)
                });
                trials.add(name, case, run);
            }
        }
    }
    for (run, backend, url) in
        [("json", "redis", redis.url()), ("cluster", "redis-cluster", cluster.url())]
    {
        trials.record(run, backend, move || {
            let store = RedisStore::lazy(&url)?;
            let claims = Claims::from(store.capabilities());
            let claims = claims.counting(store.rate_limits().capabilities());
            Ok(claims.keeping(store.sessions().capabilities()))
        });
    }
    let code = trials.run();
    drop((redis, cluster, sentinels, valkey_server, valkey_cluster));
    code
}

/// With time for every command: what a store does that is overloaded is not the question here.
async fn connect(url: String) -> Result<RedisStore, StoreError> {
    RedisStore::builder().url(url).command_timeout(seconds(30)).connect().await
}

async fn open(url: String) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(connect(url).await?))
}

async fn open_limits(url: String) -> Result<Arc<dyn RateLimitStore>, StoreError> {
    Ok(Arc::new(connect(url).await?.rate_limits()))
}

async fn open_sessions(url: String) -> Result<Arc<dyn SessionStore>, StoreError> {
    Ok(Arc::new(connect(url).await?.sessions()))
}

async fn open_bus(url: String) -> Result<Arc<dyn Invalidation>, StoreError> {
    Ok(Arc::new(connect(url).await?.bus()))
}

async fn open_express_sessions(url: String) -> Result<Arc<dyn SessionStore>, StoreError> {
    Ok(Arc::new(connect(url).await?.express_sessions()))
}
