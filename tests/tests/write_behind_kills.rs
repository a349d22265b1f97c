//! Processes that write and flush, killed at random moments: what was acknowledged is in the
//! database, in order.
//!
//! This program starts itself, as a writer or as a flusher, by the first of its arguments.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use larder_core::write_behind::{DurableJournal, Sink, SinkError, Write, WriteBehind};
use larder_core::{millis, seconds};
use larder_redis::RedisJournal;
use larder_sqlite::SqliteJournal;
use larder_tests::process::Process;
use larder_tests::redis_server::RedisServer;
use larder_tests::trials::Trials;
use rusqlite::{Connection, TransactionBehavior, params};

/// How often processes are killed.
const KILLS: usize = 100;
/// How many tasks write in a writer, each under a key of its own.
const WRITERS: u64 = 4;
/// The first argument of this program where it is no test.
const ROLE: &str = "--process";
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let [ROLE, role, journal, database, rest @ ..] = words.as_slice() {
        return match play(role, journal, Path::new(database), rest) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let mut trials = Trials::default();
    trials.test("sqlite", || {
        let folder = tempfile::tempdir()?;
        let journal = folder.path().join("journal");
        kill_and_look(&format!("file:{}", journal.display()), &folder.path().join("database"))
    });
    trials.test("redis", || {
        let folder = tempfile::tempdir()?;
        let server = RedisServer::start();
        kill_and_look(&format!("redis:{}", server.url()), &folder.path().join("database"))
    });
    trials.run()
}

/// Kills writers and flushers, and holds what is in the database against what was acknowledged.
fn kill_and_look(journal: &str, database: &Path) -> Result<()> {
    Table::open(database)?;
    let start = |role: &str, rest: &[String]| {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([ROLE, role, journal]).arg(database).args(rest);
        Process::start(&mut command)
    };
    let mut acknowledged = Acknowledged::default();
    // Each beyond what the last may have written without telling.
    let mut firsts = (1_u64..).map(|life| (life * 100_000).to_string());
    let mut write = || start("write", &firsts.next().into_iter().collect::<Vec<_>>());
    let mut writer = write()?;
    let mut flusher = start("flush", &[])?;
    let mut killed = [0, 0];
    for _ in 0..KILLS {
        // At any moment: from before it has opened its journal to its being in full swing.
        std::thread::sleep(Duration::from_millis(fastrand::u64(..200)));
        if fastrand::bool() {
            killed[0] += 1;
            acknowledged.note(writer.killed()?)?;
            writer = write()?;
        } else {
            killed[1] += 1;
            flusher.killed()?;
            flusher = start("flush", &[])?;
        }
    }
    writer.wait_for(PATIENCE, |line| line.starts_with("acknowledged").then_some(()))?;
    acknowledged.note(writer.killed()?)?;
    flusher.killed()?;
    let mut last = start("drain", &[])?;
    let ended = last.wait(PATIENCE)?;
    ensure!(ended.success(), "the last flusher ended with {ended}:\n{}", last.said());

    let saved = Table::open(database)?.look()?;
    let of = |key: &str| saved.get(key).copied().unwrap_or_default();
    let lost: Vec<_> = acknowledged.0.iter().filter(|(key, number)| of(key) < **number).collect();
    ensure!(lost.is_empty(), "acknowledged, but lost: {lost:?} of {saved:?}");
    let [writers, flushers] = killed;
    let writes: u64 = acknowledged.1;
    println!("{writers} writers and {flushers} flushers killed, {writes} writes acknowledged");
    ensure!(writes > 500 && !saved.is_empty(), "the processes did too little: {writes} writes");
    Ok(())
}

/// The last number of each key that a writer said was acknowledged, and how many there were.
#[derive(Debug, Default)]
struct Acknowledged(BTreeMap<String, u64>, u64);

impl Acknowledged {
    fn note(&mut self, said: String) -> Result<()> {
        for line in said.lines() {
            // The last line may have been cut off.
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["acknowledged", key, number, "."] => {
                    self.0.insert(key.to_owned(), number.parse()?);
                    self.1 += 1;
                }
                ["acknowledged", ..] => {}
                _ => bail!("a writer said: {line}"),
            }
        }
        Ok(())
    }
}

fn play(role: &str, journal: &str, database: &Path, rest: &[&str]) -> Result<()> {
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("Tokio does not start")?;
    tokio.block_on(async {
        match journal.split_once(':').context("journals have a kind")? {
            ("file", path) => act(SqliteJournal::open(path)?, role, database, rest).await,
            ("redis", url) => {
                let journal = RedisJournal::connect(url, "numbers").await?;
                act(journal, role, database, rest).await
            }
            (kind, _) => bail!("there are no journals of the kind {kind}"),
        }
    })
}

async fn act(
    journal: impl DurableJournal,
    role: &str,
    database: &Path,
    rest: &[&str],
) -> Result<()> {
    let table = Table::open(database)?;
    let numbers = WriteBehind::builder(journal, table)
        .lease(millis(500))
        .save_timeout(millis(250))
        .poll(millis(20))
        .batch(10)
        .flushes(role != "write")
        .build()?;
    match (role, rest) {
        ("write", [first]) => write(numbers, first.parse()?).await,
        ("flush", []) => std::future::pending().await,
        ("drain", []) => {
            let left = numbers.drain(PATIENCE).await?;
            ensure!(left.writes == 0 && left.dead == 0, "left: {left:?}");
            Ok(())
        }
        _ => bail!("no role {role} with {rest:?}"),
    }
}

/// Writes numbers from `first` on, and says of each that it was acknowledged, before the next.
async fn write(numbers: WriteBehind<u64>, first: u64) -> Result<()> {
    let tasks = (0..WRITERS).map(|writer| {
        let numbers = numbers.clone();
        tokio::spawn(async move {
            for number in first.. {
                // Of this life alone: what another acknowledged is not covered by it.
                let key = format!("key{first}-{writer}");
                numbers.write(&key, &number).await?;
                println!("acknowledged {key} {number} .");
                // So that the flusher keeps up with it.
                tokio::time::sleep(millis(2)).await;
            }
            Ok::<_, larder_core::Error>(())
        })
    });
    for task in futures::future::join_all(tasks.collect::<Vec<_>>()).await {
        task??;
    }
    Ok(())
}

/// The sink: a table that takes whatever comes, and notes in which order it came.
#[derive(Clone)]
struct Table(Arc<Mutex<Connection>>);

impl Table {
    fn open(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(seconds(30))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // A killed process loses nothing that was committed, though a power cut might.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS numbers (key TEXT PRIMARY KEY, number INTEGER NOT NULL);
             CREATE TABLE IF NOT EXISTS history (
                 at INTEGER PRIMARY KEY AUTOINCREMENT,
                 key TEXT NOT NULL, number INTEGER NOT NULL, sequence INTEGER NOT NULL);",
        )?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    fn save(&self, writes: &[Write<u64>]) -> rusqlite::Result<()> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for write in writes {
            let (number, sequence) = (write.value as i64, write.id.sequence().number() as i64);
            transaction.execute(
                "INSERT OR REPLACE INTO numbers VALUES (?1, ?2)",
                params![write.key, number],
            )?;
            transaction.execute(
                "INSERT INTO history (key, number, sequence) VALUES (?1, ?2, ?3)",
                params![write.key, number, sequence],
            )?;
        }
        transaction.commit()
    }

    /// What stands there; an error where a key ever went back.
    fn look(&self) -> Result<BTreeMap<String, u64>> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = BTreeMap::<String, (i64, i64)>::new();
        let mut history =
            connection.prepare("SELECT key, number, sequence FROM history ORDER BY at")?;
        let rows = history.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?;
        for row in rows {
            let (key, (number, sequence)): (String, (i64, i64)) = row?;
            if let Some((last, place)) = last.get(&key) {
                ensure!(
                    *last <= number
                        && *place <= sequence
                        && (*last == number) == (*place == sequence),
                    "{key}={number} at {sequence} was saved after {last} at {place}"
                );
            }
            last.insert(key, (number, sequence));
        }
        let mut numbers = connection.prepare("SELECT key, number FROM numbers")?;
        let rows = numbers.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

#[async_trait::async_trait]
impl Sink<u64> for Table {
    async fn save(&self, writes: Vec<Write<u64>>) -> Result<(), SinkError> {
        let table = self.clone();
        tokio::task::spawn_blocking(move || Self::save(&table, &writes)).await??;
        Ok(())
    }
}
