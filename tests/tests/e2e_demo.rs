//! Every case of the demo, on the native server: with its caches in memory, and in Redis.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use anyhow::Result;
use larder_tests::demo_server::DemoServer;
use larder_tests::e2e::{self, Case, Shop, Target};
use larder_tests::redis_server::RedisServer;
use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;

const MEMORY: Target = Target { name: "memory", store: "memory", one_process: true, metrics: true };
const REDIS: Target = Target { name: "redis", store: "redis", one_process: true, metrics: true };

/// A server that the first case starts.
struct Server {
    target: Target,
    start: fn() -> Result<Running>,
    running: OnceLock<Result<Running, String>>,
}

struct Running {
    server: DemoServer,
    _redis: Option<RedisServer>,
}

impl Server {
    fn new(target: Target, start: fn() -> Result<Running>) -> Arc<Self> {
        Arc::new(Self { target, start, running: OnceLock::new() })
    }

    fn run(&self, case: &Case) -> Result<()> {
        let start = || (self.start)().map_err(|error| format!("{error:#}"));
        let running = self.running.get_or_init(start).as_ref();
        let running = running.map_err(|error| anyhow::anyhow!("{error}"))?;
        let shop = Shop::new(running.server.base(), self.target);
        // Of its own, as connections belong to the runtime that opened them.
        let runtime = Runtime::new()?;
        let result = runtime.block_on(e2e::run(case, shop));
        result.map_err(|error| {
            anyhow::anyhow!("{error:#}\nthe server said:\n{}", running.server.said())
        })
    }
}

fn in_memory() -> Result<Running> {
    Ok(Running { server: DemoServer::in_memory()?, _redis: None })
}

fn on_redis() -> Result<Running> {
    let redis = RedisServer::start();
    Ok(Running { server: DemoServer::on_redis(&redis.url())?, _redis: Some(redis) })
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // A server is used by one case at a time.
    arguments.test_threads = Some(1);
    let servers = [Server::new(MEMORY, in_memory), Server::new(REDIS, on_redis)];
    let trials = servers.iter().flat_map(|server| {
        e2e::cases_for(server.target).map(|case| {
            let server = Arc::clone(server);
            Trial::test(format!("{}::{}", server.target.name, case.name), move || {
                server.run(case).map_err(|error| format!("{error:#}").into())
            })
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
