//! A simulation of processes that share a journal, crash and come back, over a sink that fails.
//!
//! A [`Plan`] is drawn from a seed. Each process has writers, which write growing numbers under keys of
//! their own, and a flusher; it is killed at random moments, whatever it is at, and another begins
//! after a while. The sink is slow, fails before and after it saved, hangs, and cannot bear some of the
//! numbers; the journal loses calls and answers. Where the plan says so, a save takes effect long
//! after its process gave it up or died, and the sink takes nothing that is older than what it has.
//!
//! What must hold, however the events fall:
//!
//! 1. In the end the sink has the last number of each key that was acknowledged, or a later one that
//!    was not; or that number is a dead letter, which the sink takes when it is replayed.
//! 2. Nothing older is saved after what is newer, and no two flushers save at a time.
//! 3. A write comes with the same id and value in every attempt, and each key once in a batch.
//! 4. Nothing dies but what the sink cannot bear, unless it fails at random besides.
//! 5. A dead letter that a later saved write made obsolete is gone.
//! 6. No more is read from the journal than the window has room for.
//! 7. Every write ends, and in the end nothing is left in the journal.

mod database;
mod journal;
mod plan;
mod process;

use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use larder_core::write_behind::{Backlog, MemoryJournal, WhenFull, WriteBehind};
use larder_core::{Error, Journal, Runtime, VirtualRuntime, hours, millis, seconds};

use crate::seeds::{Outcome, Simulated};
use crate::simulation::Flaky;
use crate::stores::Delays;
use database::Database;
use journal::TappedJournal;
use process::Process;

pub use plan::{Plan, Poison};

/// What is counted in a simulation.
#[derive(Debug, Default)]
pub struct Figures {
    /// How many writes were acknowledged.
    pub written: u64,
    /// How many writes the sink was given.
    pub saved: u64,
    /// How many processes were killed.
    pub killed: u64,
    /// How many writes died.
    pub dead: u64,
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.written += other.written;
        self.saved += other.saved;
        self.killed += other.killed;
        self.dead += other.dead;
    }
}

impl Simulated for Plan {
    type Figures = Figures;
    const LONGEST: Duration = hours(5);

    fn drawn(seed: u64, traced: bool) -> Self {
        Self { traced, ..Self::of(seed) }
    }

    async fn run(&self, runtime: &VirtualRuntime) -> Result<Outcome<Figures>, Error> {
        run(self, runtime).await
    }
}

async fn run(plan: &Plan, runtime: &VirtualRuntime) -> Result<Outcome<Figures>, Error> {
    let memory = MemoryJournal::builder().max_writes(plan.max_writes).on(runtime.clone());
    let shared: Arc<dyn Runtime> = Arc::new(runtime.clone());
    let flaky = Arc::new(Flaky::new(plan.journal_faults, plan.seed));
    let delays = Arc::new(Delays::up_to(plan.latency, Arc::clone(&shared), plan.seed));
    let journal: Arc<dyn Journal> = Arc::new(memory);
    let journal = TappedJournal::new(journal, vec![delays, Arc::clone(&flaky) as _], plan.window);
    let database = Arc::new(Database::new(plan, Arc::clone(&shared)));

    let processes: Vec<_> = (0..plan.processes)
        .map(|number| Process::new(plan, number, &journal, &database, &shared))
        .collect();
    futures::future::join_all(processes.into_iter().map(Process::run)).await;

    flaky.stop();
    database.stop_faults();
    let last = build(plan, &journal, &database, Arc::clone(&shared))?;
    let left = drained(&last, &database).await?;
    // What was given up long ago has taken effect by then.
    runtime.sleep(seconds(10)).await;
    if left.writes > 0 {
        database.record.violation(format!("{} writes are left in the journal", left.writes));
    }
    let dead = last.dead_letters(None, usize::MAX).await?;
    database.check_dead(&dead);
    database.heal();
    for dead in &dead {
        last.replay(dead.id.sequence()).await?;
    }
    let left = last.drain(seconds(60)).await?;
    runtime.sleep(seconds(10)).await;
    if left.writes + left.dead > 0 {
        database.record.violation(format!("after all was replayed, there is left {left:?}"));
    }
    database.check_end();
    Ok(database.record.outcome())
}

/// Waits for an empty journal. What the sink cannot bear dies only while it saves other writes.
async fn drained(last: &WriteBehind<u64>, database: &Database) -> Result<Backlog, Error> {
    let mut left = last.drain(millis(300)).await?;
    for number in 0..100 {
        if left.writes == 0 {
            break;
        }
        // None of those that it cannot bear.
        let (key, number) = (format!("other{number}"), 7 * number);
        if let Err(error) = last.write(&key, &number).await {
            database.refused(&key, number, &error);
        }
        left = last.drain(millis(300)).await?;
    }
    Ok(left)
}

/// Write-behind as each process has it.
fn build(
    plan: &Plan,
    journal: &TappedJournal,
    database: &Arc<Database>,
    runtime: Arc<dyn Runtime>,
) -> Result<WriteBehind<u64>, Error> {
    WriteBehind::volatile(journal.clone(), database.sink())
        .runtime(runtime)
        .batch(plan.batch)
        .window(plan.window, 1 << 20)
        .linger(plan.linger)
        .attempts(3)
        .backoff(millis(10), millis(200))
        .save_timeout(millis(200))
        .lease(millis(500))
        .poll(millis(50))
        .when_full(WhenFull::Wait(millis(300)))
        .build()
}
