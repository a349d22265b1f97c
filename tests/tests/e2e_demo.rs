//! Every case of the demo, on the native server: with its caches in memory, and in Redis.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use larder_tests::demo_server::DemoServer;
use larder_tests::e2e::{self, Case, Shop, Target};
use larder_tests::redis_server::RedisServer;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

const MEMORY: Target = Target { name: "memory", store: "memory", one_process: true, metrics: true };
const REDIS: Target = Target { name: "redis", store: "redis", one_process: true, metrics: true };

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // A server is used by one case at a time.
    arguments.test_threads = Some(1);
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let runtime = Arc::new(Runtime::new()?);
    let redis = RedisServer::start();
    let memory_server = DemoServer::in_memory()?;
    let redis_server = DemoServer::on_redis(&redis.url())?;
    let servers = [(MEMORY, &memory_server), (REDIS, &redis_server)];
    let trials = servers.into_iter().flat_map(|(target, server)| {
        let shop = Shop::new(server.base(), target);
        e2e::cases_for(target).map(|case| trial(case, &shop, &runtime)).collect::<Vec<_>>()
    });
    Ok(libtest_mimic::run(arguments, trials.collect()).exit_code())
}

fn trial(case: &'static Case, shop: &Shop, runtime: &Arc<Runtime>) -> Trial {
    let (shop, runtime) = (shop.clone(), Arc::clone(runtime));
    Trial::test(format!("{}::{}", shop.target.name, case.name), move || {
        runtime.block_on(e2e::run(case, shop)).map_err(|error| Failed::from(format!("{error:#}")))
    })
}
