//! Every case of the demo, on the native server: with its caches in memory, and in Redis.

use std::process::ExitCode;

use anyhow::Result;
use larder_tests::demo_server::DemoServer;
use larder_tests::e2e::{Serves, Target, run_trials, trials};
use larder_tests::redis_server::RedisServer;

const MEMORY: Target = Target { name: "memory", store: "memory", one_process: true, metrics: true };
const REDIS: Target = Target { name: "redis", store: "redis", one_process: true, metrics: true };

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

fn main() -> ExitCode {
    let mut all = trials(MEMORY, DemoServer::in_memory);
    all.extend(trials(REDIS, on_redis));
    run_trials(all)
}
