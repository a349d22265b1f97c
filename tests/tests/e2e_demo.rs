//! Every case of the demo, on the native server: with its caches and counts in memory, and in Redis.

use std::process::ExitCode;

use anyhow::Result;
use larder_tests::demo_server::DemoServer;
use larder_tests::e2e::{Limit, Serves, Target, run_trials, trials};
use larder_tests::redis_server::RedisServer;

const MEMORY: Target =
    Target { name: "memory", store: "memory", one_process: true, metrics: true, limit: None };
const REDIS: Target = Target { name: "redis", store: "redis", ..MEMORY };

/// Behind a proxy, which the cases stand for. The limit is the one that it has unless told.
const LIMIT: Option<Limit> = Some(Limit { requests: 100, client: "x-forwarded-for" });
const BEHIND_A_PROXY: [&str; 2] = ["--trusted-proxies", "1"];

struct OnRedis {
    server: DemoServer,
    _redis: RedisServer,
}

impl Serves for OnRedis {
    fn base(&self) -> &str {
        self.server.base()
    }

    fn said(&self) -> String {
        self.server.said()
    }
}

fn on_redis() -> Result<OnRedis> {
    let redis = RedisServer::start();
    Ok(OnRedis { server: DemoServer::on_redis(&redis.url())?, _redis: redis })
}

fn limited_in_memory() -> Result<DemoServer> {
    DemoServer::start(&BEHIND_A_PROXY)
}

fn limited_on_redis() -> Result<OnRedis> {
    let redis = RedisServer::start();
    let url = redis.url();
    let arguments = [&["--redis", &url], &BEHIND_A_PROXY[..]].concat();
    Ok(OnRedis { server: DemoServer::start(&arguments)?, _redis: redis })
}

fn main() -> ExitCode {
    let mut all = trials(MEMORY, DemoServer::in_memory);
    all.extend(trials(REDIS, on_redis));
    all.extend(trials(Target { limit: LIMIT, ..MEMORY }, limited_in_memory));
    all.extend(trials(Target { limit: LIMIT, ..REDIS }, limited_on_redis));
    run_trials(all)
}
