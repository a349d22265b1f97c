//! Eight processes with a tier in front of one Redis each, told of one another's writes by the bus,
//! while connections are cut again and again: how long does anybody see what was replaced?
//!
//! This program starts itself, as one of the processes, by the first of its arguments. Every process
//! writes keys of its own, each value one more than the one before, and reads those of all; it notes
//! when each write was acknowledged, and when each value was last read. A value that a read found which
//! began after the next one had been acknowledged was stale for the time between.

mod proxy;

use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use larder_core::{Cache, Store, hours, millis, seconds};
use larder_redis::RedisStore;
use larder_tests::process::Process;
use larder_tests::redis_server::RedisServer;
use larder_tests::trials::Trials;
use proxy::Proxy;
use tokio::task::JoinSet;

const PROCESSES: usize = 8;
const UPDATES: usize = 100_000;
const KEYS: usize = 512;
/// Tasks that write in a process, each its own keys.
const WRITERS: usize = 8;
/// The first argument of this program where it is no test.
const ROLE: &str = "--node";
const PATIENCE: Duration = Duration::from_secs(600);
/// What a cache promises where a notice is lost without a trace.
const SILENCE: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let [ROLE, number, way, direct, log] = words.as_slice() {
        let node = Node::parse(number, way, direct, log);
        return match node.and_then(|node| on_tokio(node.run())) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let mut trials = Trials::default();
    trials.test("nobody_sees_for_long_what_was_replaced", cut_and_measure);
    trials.run()
}

fn on_tokio(test: impl Future<Output = Result<()>>) -> Result<()> {
    let tokio =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    tokio.block_on(test)
}

fn cut_and_measure() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = RedisServer::start();
    let mut proxies = Vec::new();
    let mut processes = Vec::new();
    for number in 0..PROCESSES {
        let proxy = Proxy::to(server.port())?;
        let mut command = Command::new(std::env::current_exe()?);
        let way = format!("redis://127.0.0.1:{}", proxy.port());
        command.args([ROLE, &number.to_string(), &way, &server.url()]).arg(log(&folder, number));
        processes.push(Process::start(&mut command)?);
        proxies.push(proxy);
    }
    let started = Instant::now();
    let (mut kills, mut cuts) = (0, 0);
    let have_ended = |processes: &[Process]| {
        processes.iter().filter(|process| process.said().contains("written")).count() == PROCESSES
    };
    while !have_ended(&processes) {
        ensure!(started.elapsed() < PATIENCE, "they do not come to an end");
        std::thread::sleep(Duration::from_millis(fastrand::u64(20..400)));
        if fastrand::bool() {
            server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            kills += 1;
        } else {
            proxies[fastrand::usize(..PROCESSES)].cut();
            cuts += 1;
        }
    }
    let took = started.elapsed();
    let mut log_of = Log::default();
    for (number, process) in processes.iter_mut().enumerate() {
        let status = process.wait(PATIENCE)?;
        ensure!(status.success(), "process {number} failed:\n{}", process.said());
        log_of.read(&log(&folder, number))?;
    }
    let said: Vec<String> = processes.iter().map(Process::said).collect();
    let mut stale = log_of.staleness();
    stale.sort_unstable();
    let at = |share: f64| {
        let index = (stale.len() as f64 * share) as usize;
        Duration::from_micros(stale.get(index).or(stale.last()).copied().unwrap_or_default())
    };
    println!(
        "{} updates in {took:.1?} by {PROCESSES} processes; {kills} times every listener was killed, \
         {cuts} times one process was cut off. Of {} values that were read, {} were read after the \
         next was acknowledged: for {:.1?} in the median, {:.1?} at the 99th percentile, {:.1?} at \
         the longest.\n{}",
        log_of.acknowledged.len(),
        log_of.read.len(),
        stale.len(),
        at(0.5),
        at(0.99),
        at(1.0),
        said.join("\n"),
    );
    ensure!(log_of.acknowledged.len() >= UPDATES, "only {} writes", log_of.acknowledged.len());
    ensure!(log_of.read.len() > UPDATES / 10, "hardly anything was read: {}", log_of.read.len());
    ensure!(kills + cuts >= 10, "it was cut only {} times", kills + cuts);
    ensure!(at(1.0) <= SILENCE, "a value was read {:?} after the next was acknowledged", at(1.0));
    Ok(())
}

fn log(folder: &tempfile::TempDir, number: usize) -> PathBuf {
    folder.path().join(number.to_string())
}

fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Of each value, by its key and number: when it was acknowledged, and when it was last read.
#[derive(Default)]
struct Log {
    acknowledged: HashMap<(usize, u64), u64>,
    read: HashMap<(usize, u64), u64>,
}

impl Log {
    fn note_read(&mut self, key: usize, value: u64, began: u64) {
        let last = self.read.entry((key, value)).or_default();
        *last = began.max(*last);
    }

    fn write(&self, path: &Path) -> Result<()> {
        let mut file = BufWriter::new(std::fs::File::create(path)?);
        for (kind, of) in [("w", &self.acknowledged), ("r", &self.read)] {
            for ((key, value), at) in of {
                writeln!(file, "{kind} {key} {value} {at}")?;
            }
        }
        Ok(file.flush()?)
    }

    fn read(&mut self, path: &Path) -> Result<()> {
        for line in std::fs::read_to_string(path)?.lines() {
            let mut words = line.split(' ');
            let is_write = words.next() == Some("w");
            let mut number = || words.next()?.parse::<u64>().ok();
            let (key, value, at) = (number(), number(), number());
            let (key, value, at) = key
                .zip(value)
                .zip(at)
                .map(|((k, v), at)| (k, v, at))
                .with_context(|| format!("{line:?} is no line of a log"))?;
            let key = usize::try_from(key)?;
            match is_write {
                true => drop(self.acknowledged.insert((key, value), at)),
                false => self.note_read(key, value, at),
            }
        }
        Ok(())
    }

    /// For how many microseconds each value was read too long, of those that were.
    fn staleness(&self) -> Vec<u64> {
        let late = self.read.iter().filter_map(|((key, value), last)| {
            let replaced = self.acknowledged.get(&(*key, value + 1))?;
            last.checked_sub(*replaced).filter(|late| *late > 0)
        });
        late.collect()
    }
}

/// One of the processes.
struct Node {
    number: usize,
    /// Through the proxy.
    way: String,
    direct: String,
    log: PathBuf,
}

impl Node {
    fn parse(number: &str, way: &str, direct: &str, log: &str) -> Result<Self> {
        let (way, direct, log) = (way.to_owned(), direct.to_owned(), PathBuf::from(log));
        Ok(Self { number: number.parse()?, way, direct, log })
    }

    async fn run(self) -> Result<()> {
        let store = RedisStore::builder()
            .url(&self.way)
            .command_timeout(seconds(20))
            .backoff(millis(5), millis(50))
            .without_circuit_breaker()
            .connect()
            .await?;
        let cache = Cache::builder(store.clone())
            .namespace("fleet")
            .local(10_000)
            .local_ttl(hours(1))
            .invalidation(store.bus())
            .invalidation_silence(SILENCE)
            .build()?;
        let log = Arc::new(Mutex::new(Log::default()));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let keys: Vec<usize> = (0..KEYS)
                .filter(|key| key % PROCESSES == self.number && key / PROCESSES % WRITERS == writer)
                .collect();
            writers.spawn(write(cache.clone(), keys, Arc::clone(&log)));
        }
        let readers = tokio::spawn(read(cache.clone(), Arc::clone(&log)));
        while let Some(ended) = writers.join_next().await {
            ended??;
        }
        println!("written");
        let direct = RedisStore::connect(&self.direct).await?;
        let done: Vec<String> = (0..PROCESSES).map(|number| format!("done:{number}")).collect();
        let done: Vec<&str> = done.iter().map(String::as_str).collect();
        direct.put(done[self.number], "1".into(), hours(1)).await?;
        while direct.get_many(&done).await?.iter().any(Option::is_none) {
            tokio::time::sleep(millis(50)).await;
        }
        // What is stale now stays so until it is noticed.
        tokio::time::sleep(SILENCE).await;
        readers.abort();
        // That it was aborted is all there is to hear.
        let _ = readers.await;
        let log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.write(&self.log)?;
        println!("{:?}", cache.invalidation_stats());
        Ok(())
    }
}

async fn write(cache: Cache, keys: Vec<usize>, log: Arc<Mutex<Log>>) -> Result<()> {
    let rounds = UPDATES.div_ceil(KEYS) as u64;
    for value in 0..rounds {
        for key in &keys {
            // Until it is acknowledged: a call that failed may have done it.
            while let Err(error) = cache.put(key.to_string(), &value).await {
                ensure!(error.to_string().contains("redis"), "{error}");
            }
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.acknowledged.insert((*key, value), micros());
        }
    }
    Ok(())
}

async fn read(cache: Cache, log: Arc<Mutex<Log>>) -> Result<()> {
    loop {
        // Few keys again and again, so that they are found in front of the store.
        let first = fastrand::usize(..KEYS);
        for _ in 0..4 {
            for key in (first..first + 16).map(|key| key % KEYS) {
                let began = micros();
                if let Some(value) = cache.get::<u64>(key.to_string()).await? {
                    log.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .note_read(key, *value, began);
                }
            }
            tokio::task::yield_now().await;
        }
    }
}
