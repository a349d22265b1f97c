//! Rate limits of several processes on one Redis, and of one whose Redis is killed under load.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use larder_core::rate_limit::{Decision, FailurePolicy, Reason};
use larder_core::{Quota, RateLimiter, days, millis, seconds};
use larder_redis::RedisStore;
use larder_tests::eventually;
use larder_tests::redis_server::RedisServer;
use larder_tests::trials::Trials;
use tokio::task::{JoinSet, spawn_blocking};

/// Where a process of the fleet finds Redis; tells it that it is one.
const FLEET: &str = "LARDER_TEST_FLEET";

const PROCESSES: usize = 8;
const TASKS: u64 = 64;
const ROUNDS: usize = 10;
const LIMIT: u64 = 1_000;

fn main() -> ExitCode {
    if let Ok(url) = std::env::var(FLEET) {
        return match on_tokio(take_part(url)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let mut trials = Trials::default();
    trials.test("eight_processes_are_allowed_what_the_quota_says", eight_processes);
    for (name, policy) in [
        ("allow", FailurePolicy::Allow),
        ("deny", FailurePolicy::Deny),
        ("local", FailurePolicy::local(4)),
    ] {
        let name = format!("while_redis_is_killed_under_load_its_policy_decides::{name}");
        trials.test(name, move || on_tokio(under_load(policy)));
    }
    trials.run()
}

fn on_tokio(test: impl Future<Output = Result<()>>) -> Result<()> {
    let tokio =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    tokio.block_on(test)
}

/// A limit of each rule, which brings nothing back while a test runs.
fn quota(round: usize) -> Quota {
    let quota = Quota::new(LIMIT, days(30)).named("fleet");
    match round % 4 {
        0 => quota.gcra(),
        1 => quota,
        2 => quota.sliding_window(),
        _ => Quota::concurrent(LIMIT, days(30)),
    }
}

struct Member {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Member {
    fn start(url: &str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .env(FLEET, url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().context("no standard input")?;
        let output = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { child, input, output })
    }

    fn answer(&mut self) -> Result<u64> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        line.trim().parse().with_context(|| format!("a process said {line:?}"))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn eight_processes() -> Result<()> {
    let server = RedisServer::start();
    let mut fleet =
        (0..PROCESSES).map(|_| Member::start(&server.url())).collect::<Result<Vec<_>>>()?;
    for member in &mut fleet {
        ensure!(member.answer()? == 0, "a process did not start");
    }
    let mut shared = 0;
    for round in 0..ROUNDS {
        for member in &mut fleet {
            writeln!(member.input, "{round}")?;
        }
        let mut shares = Vec::new();
        for member in &mut fleet {
            shares.push(member.answer()?);
        }
        let allowed: u64 = shares.iter().sum();
        ensure!(allowed == LIMIT, "round {round}: {allowed} were allowed: {shares:?}");
        shared += u32::from(shares.iter().filter(|share| **share > 0).count() > 1);
    }
    ensure!(shared > 0, "in every round one process had all of it, which proves nothing");
    Ok(())
}

/// What a process of the fleet does: in each round it takes as much as it gets, and says how much.
async fn take_part(url: String) -> Result<()> {
    let store = RedisStore::builder().url(url).command_timeout(seconds(60)).connect().await?;
    let limiter = RateLimiter::builder(store.rate_limits())
        .quota(Quota::per_second(1))
        .on_failure(FailurePolicy::Deny)
        .timeout(seconds(60))
        .build()?;
    println!("0");
    for round in std::io::stdin().lines() {
        let round = round?;
        let limiter = limiter.with_quotas([quota(round.parse()?)])?;
        let allowed = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let (limiter, allowed) = (limiter.clone(), Arc::clone(&allowed));
            let key = format!("round {round}");
            tasks.spawn(async move {
                loop {
                    let decision = limiter.check(&key).await?;
                    ensure!(!decision.is_degraded(), "Redis failed: {decision:?}");
                    if !decision.is_allowed() {
                        return Ok(());
                    }
                    allowed.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while let Some(task) = tasks.join_next().await {
            task??;
        }
        println!("{}", allowed.load(Ordering::Relaxed));
    }
    Ok(())
}

/// What callers are told while Redis comes and goes.
#[derive(Default)]
struct Told {
    by_redis: AtomicU64,
    degraded: AtomicU64,
    /// By the key, how many were allowed: with Redis and without.
    allowed: Mutex<HashMap<usize, (u64, u64)>>,
    over: AtomicBool,
}

const KEYS: usize = 20;
const CLIENTS: usize = 32;
/// Of which the local policy shares a quarter.
const SMALL: u64 = 40;

impl Told {
    fn check(&self, key: usize, decision: &Decision, policy: FailurePolicy) -> Result<()> {
        let mut allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        let (with, without) = allowed.entry(key).or_default();
        if decision.is_degraded() {
            let expected = match policy {
                FailurePolicy::Allow => decision.is_allowed(),
                FailurePolicy::Deny => !decision.is_allowed(),
                _ => decision.limit() == Some(SMALL / 4),
            };
            ensure!(expected, "{policy:?} said {decision:?}");
            let reason = decision.reason();
            let is_local = matches!(policy, FailurePolicy::Local { .. });
            ensure!(is_local || reason == Reason::StoreFailed, "{policy:?} said {decision:?}");
            *without += u64::from(decision.is_allowed());
            self.degraded.fetch_add(1, Ordering::Relaxed);
        } else {
            let reason = decision.reason();
            ensure!(
                matches!(reason, Reason::WithinQuotas | Reason::OverQuota),
                "Redis said {decision:?}"
            );
            ensure!(decision.limit() == Some(SMALL), "Redis said {decision:?}");
            *with += u64::from(decision.is_allowed());
            self.by_redis.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn another(&self, what: &str, count: &AtomicU64, more: u64) {
        let before = count.load(Ordering::Relaxed);
        eventually(what, async || {
            count.load(Ordering::Relaxed) >= before + more || self.over.load(Ordering::Relaxed)
        })
        .await;
    }
}

/// Whether all of Redis' keys expire, of which there has to be one.
fn expire(server: &RedisServer) -> Result<()> {
    let script = "local keys, lives = redis.call('KEYS', '*'), 0 for _, key in ipairs(keys) do \
                  if redis.call('PTTL', key) > 0 then lives = lives + 1 end end \
                  return #keys .. ' ' .. lives";
    let said = server.command(&["EVAL", script, "0"]);
    let (keys, lives) = said.split_once(' ').context("no two numbers")?;
    ensure!(keys == lives && keys != "0", "of {keys} keys {lives} expire");
    Ok(())
}

async fn under_load(policy: FailurePolicy) -> Result<()> {
    let mut server = RedisServer::start();
    let store = RedisStore::builder()
        .url(server.url())
        .backoff(millis(5), millis(20))
        .circuit_breaker(5, millis(50))
        .connect()
        .await?;
    let limiter = RateLimiter::builder(store.rate_limits())
        .quota(Quota::new(SMALL, days(30)).gcra())
        // Or most refusals would not get as far as Redis.
        .remember_refusals(0, Duration::ZERO)
        .on_failure(policy)
        .timeout(seconds(2))
        .build()?;
    let told = Arc::new(Told::default());
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (limiter, told) = (limiter.clone(), Arc::clone(&told));
        clients.spawn(async move {
            let mut slowest = Duration::ZERO;
            for n in client.. {
                let (key, asked) = (n % KEYS, Instant::now());
                let checked = match limiter.check(format!("{key}")).await {
                    Ok(decision) => told.check(key, &decision, policy),
                    Err(error) => Err(error.into()),
                };
                slowest = slowest.max(asked.elapsed());
                if checked.is_err() || told.over.load(Ordering::Relaxed) {
                    told.over.store(true, Ordering::Relaxed);
                    return checked.map(|()| slowest);
                }
                // Decisions without Redis take no waiting, and there are others to run.
                tokio::task::yield_now().await;
            }
            Ok(slowest)
        });
    }
    told.another("Redis decides", &told.by_redis, 2_000).await;
    let outages = 3;
    for _ in 0..outages {
        if told.over.load(Ordering::Relaxed) {
            // A client has something to say, below.
            break;
        }
        expire(&server)?;
        server.kill();
        told.another("the policy decides", &told.degraded, 2_000).await;
        server = spawn_blocking(move || {
            server.restart();
            server
        })
        .await?;
        told.another("Redis decides again", &told.by_redis, 2_000).await;
    }
    told.over.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        let slowest = client??;
        ensure!(slowest < seconds(4), "a decision took {slowest:?}");
    }
    expire(&server)?;
    let allowed = told.allowed.lock().unwrap_or_else(PoisonError::into_inner);
    for (key, (with, without)) in allowed.iter() {
        // A Redis that was killed has forgotten what it allowed; this process has not.
        ensure!(*with <= SMALL * (outages + 1), "of {key} Redis allowed {with}");
        match policy {
            FailurePolicy::Local { .. } => {
                ensure!(*without <= SMALL / 4, "of {key} {without} were allowed without Redis");
            }
            FailurePolicy::Deny => ensure!(*without == 0),
            _ => {}
        }
    }
    Ok(())
}
