//! A check of a rate limit through Redis, beside a script called one by one.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use larder_core::{Quota, RateLimiter};
use larder_redis::RedisRateLimits;
use redis::aio::MultiplexedConnection;

use crate::Effort;
use crate::redis_reads::operations_per_second;
use crate::rounds::{self, Turn};
use crate::servers::Redis;
use crate::table::{Figures, Goal, Row};

const KEYS: usize = 10_000;
const TASKS: u64 = 64;

/// GCRA as it is commonly written: 10 a second, and a burst.
const SCRIPT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst = 100000, tonumber(ARGV[1])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + interval
local left = math.floor(burst - (full - now) / interval)
if left < 0 then
    return {0, 0, full - now - burst * interval}
end
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
return {1, left, 0}
";

const RATE: u64 = 10;
/// Never used up.
const BURST: u64 = 100_000_000;

pub(crate) fn compare(effort: Effort, redis: &Redis, mut row: impl FnMut(Row)) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let limits = runtime.block_on(RedisRateLimits::connect(redis.url()))?;
    let peer = runtime.block_on(Peer::connect(redis))?;
    let keys: Arc<[String]> = (0..KEYS).map(|n| format!("user:{n}")).collect();
    let busy =
        RateLimiter::builder(limits.clone()).quota(Quota::per_second(RATE).burst(BURST)).build()?;
    let hour = RateLimiter::builder(limits).namespace("hour").quota(Quota::per_hour(1)).build()?;
    let one: Arc<[String]> = Arc::from([String::from("user:0")]);
    runtime.block_on(hour.check(&one[0]))?;

    for (what, limiter, keys, tasks, burst, goal) in [
        ("rate limit through Redis, 64 tasks", &busy, &keys, TASKS, BURST, Goal::AtLeast(1.5)),
        ("refusal of a key that was just refused, 1 task", &hour, &one, 1, 0, Goal::AtLeast(20.0)),
    ] {
        let allows = burst > 0;
        let contestants: Vec<Turn<'_>> = vec![
            Box::new(|| {
                operations_per_second(&runtime, effort, tasks, |n, stop| {
                    through_larder(limiter.clone(), Arc::clone(keys), allows, n, stop)
                })
            }),
            Box::new(|| {
                operations_per_second(&runtime, effort, tasks, |n, stop| {
                    peer.clone().check(Arc::clone(keys), burst, n, stop)
                })
            }),
        ];
        let results = rounds::play(effort.rounds, contestants)?;
        row(Row {
            what: what.into(),
            peer: "redis-rs EVALSHA of GCRA",
            figures: Figures::Rate {
                ours: results.median(0),
                peers: results.median(1),
                ratio: results.ratio(0, 1),
            },
            goal,
        });
    }
    Ok(())
}

async fn through_larder(
    limiter: RateLimiter,
    keys: Arc<[String]>,
    allows: bool,
    seed: u64,
    stop: Arc<AtomicBool>,
) -> Result<u64> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut checks = 0;
    while !stop.load(Ordering::Relaxed) {
        let decision = black_box(limiter.check(&keys[random.usize(..keys.len())]).await?);
        ensure!(decision.is_allowed() == allows && !decision.is_degraded(), "{decision:?}");
        checks += 1;
    }
    Ok(checks)
}

#[derive(Clone)]
struct Peer {
    connection: MultiplexedConnection,
    script: Arc<str>,
}

impl Peer {
    async fn connect(redis: &Redis) -> Result<Self> {
        let client = redis::Client::open(redis.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let script: String =
            redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(&mut connection).await?;
        Ok(Self { connection, script: script.into() })
    }

    async fn check(
        mut self,
        keys: Arc<[String]>,
        burst: u64,
        seed: u64,
        stop: Arc<AtomicBool>,
    ) -> Result<u64> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut checks = 0;
        while !stop.load(Ordering::Relaxed) {
            let mut call = redis::cmd("EVALSHA");
            call.arg(&*self.script).arg(1).arg(&keys[random.usize(..keys.len())]).arg(burst);
            let (allowed, left, wait): (bool, u64, u64) =
                call.query_async(&mut self.connection).await?;
            ensure!(allowed == (burst > 0), "{left} left, {wait} µs to wait");
            checks += 1;
        }
        Ok(checks)
    }
}
