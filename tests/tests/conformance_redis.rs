//! The conformance suite on a real Redis, which all cases share.

use std::process::ExitCode;
use std::sync::Arc;

use larder_core::{Layout, RateLimitStore, SessionStore, Store, StoreError, seconds};
use larder_redis::RedisStore;
use larder_tests::conformance::{self, Backend, Claims};
use larder_tests::redis_server::RedisServer;
use larder_tests::trials::{self, Trials};

fn main() -> ExitCode {
    let server = RedisServer::start();
    let url = server.url();
    let mut trials = Trials::default();
    for case in conformance::cases() {
        for (name, layout) in [("json", Layout::default()), ("plain", Layout::Plain)] {
            let url = url.clone();
            let run = trials::on_tokio(move || {
                let (counts, sessions) = (url.clone(), url.clone());
                Backend::new("redis", move || Box::pin(open(url.clone())))
                    .counting(move || Box::pin(open_limits(counts.clone())))
                    .keeping(move || Box::pin(open_sessions(sessions.clone())))
                    .layout(layout)
                    .run_name(name)
            });
            trials.add(name, case, run);
        }
        if case.name.starts_with("sessions::") {
            let url = url.clone();
            let run = trials::on_tokio(move || {
                let sessions = url.clone();
                Backend::new("redis", move || Box::pin(open(url.clone())))
                    .keeping(move || Box::pin(open_express_sessions(sessions.clone())))
                    .run_name("express")
            });
            trials.add("express", case, run);
        }
    }
    trials.record("json", "redis", move || {
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

async fn open_express_sessions(url: String) -> Result<Arc<dyn SessionStore>, StoreError> {
    Ok(Arc::new(connect(url).await?.express_sessions()))
}
