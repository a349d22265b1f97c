//! The conformance suite on a real Redis Cluster of three masters, which all cases share.

use std::process::ExitCode;
use std::sync::Arc;

use larder_core::{Layout, RateLimitStore, SessionStore, Store, StoreError, seconds};
use larder_redis::RedisStore;
use larder_tests::conformance::{self, Backend, Claims};
use larder_tests::redis_cluster::RedisCluster;
use larder_tests::trials::{self, Trials};

fn main() -> ExitCode {
    let server = RedisCluster::start();
    let url = server.url();
    let mut trials = Trials::default();
    for case in conformance::cases() {
        for (name, layout) in [("json", Layout::default()), ("plain", Layout::Plain)] {
            let url = url.clone();
            let run = trials::on_tokio(move || {
                let (counts, sessions) = (url.clone(), url.clone());
                Backend::new("redis-cluster", move || Box::pin(open(url.clone())))
                    .counting(move || Box::pin(open_limits(counts.clone())))
                    .keeping(move || Box::pin(open_sessions(sessions.clone())))
                    .layout(layout)
                    .run_name(name)
            });
            trials.add(name, case, run);
        }
    }
    trials.record("json", "redis-cluster", move || {
        let store = RedisStore::lazy(&url)?;
        let claims = Claims::from(store.capabilities());
        let claims = claims.counting(store.rate_limits().capabilities());
        Ok(claims.keeping(store.sessions().capabilities()))
    });
    let code = trials.run();
    drop(server);
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
