//! What simulations share: runs with thousands of seeds on virtual time, and a record of each.
//!
//! A seed that fails is printed with what happened. `LARDER_SIMULATION_SEED=<seed>` runs it alone,
//! `LARDER_SIMULATION_SEEDS=<number>` runs more or fewer than usual.

use std::fmt::Debug;
use std::ops::{AddAssign, Range};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use futures::future::{Either, select};
use larder_core::{Error, Runtime, Timestamp, VirtualRuntime};

/// What a simulation does, drawn from a seed.
pub trait Simulated: Debug {
    /// What is counted in it.
    type Figures: AddAssign + Debug + Default + Send;

    /// What takes longer, in virtual time, does not end.
    const LONGEST: Duration;

    /// The one of a seed; where it is `traced`, every event is noted.
    fn drawn(seed: u64, traced: bool) -> Self;

    /// Runs it.
    ///
    /// # Errors
    ///
    /// Where what is simulated fails although nothing is to go wrong.
    fn run(
        &self,
        runtime: &VirtualRuntime,
    ) -> impl Future<Output = Result<Outcome<Self::Figures>, Error>>;
}

/// What a simulation came to.
#[derive(Debug, Default)]
pub struct Outcome<F> {
    /// What should not have happened.
    pub violations: Vec<String>,
    /// What happened, event by event, where that was asked for.
    pub trace: Vec<String>,
    /// What was counted.
    pub figures: F,
}

/// Takes down what happens in a simulation.
pub(crate) struct Record<F> {
    runtime: Arc<dyn Runtime>,
    start: Timestamp,
    is_traced: bool,
    outcome: Mutex<Outcome<F>>,
}

impl<F: Default> Record<F> {
    pub(crate) fn new(runtime: &Arc<dyn Runtime>, is_traced: bool) -> Self {
        let (runtime, start) = (Arc::clone(runtime), runtime.now());
        Self { runtime, start, is_traced, outcome: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Outcome<F>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        if self.is_traced {
            let at = self.runtime.now().since(self.start);
            let event = format!("{at:>12?} {}", what());
            self.lock().trace.push(event);
        }
    }

    pub(crate) fn violation(&self, what: String) {
        self.note(|| format!("VIOLATION: {what}"));
        self.lock().violations.push(what);
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut F)) {
        count(&mut self.lock().figures);
    }

    pub(crate) fn outcome(&self) -> Outcome<F> {
        std::mem::take(&mut self.lock())
    }
}

/// Runs a simulation with as many seeds as usual, on all cores, and prints what was counted. After so
/// many or more, `check` is given the sums: what is to happen, happens.
///
/// # Panics
///
/// Where a seed fails.
#[allow(clippy::panic)]
pub fn simulate<S: Simulated>(usual: u64, check: impl FnOnce(&S::Figures)) {
    let seeds = match number_from("LARDER_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number_from("LARDER_SIMULATION_SEEDS").unwrap_or(usual),
    };
    let count = seeds.end - seeds.start;
    let (figures, failed) = simulate_all::<S>(seeds);
    println!("{count} seeds: {figures:?}; failing seeds: {failed:?}");
    if let Some(seed) = failed.first() {
        panic!("{} seeds fail, the first of them so:\n{}", failed.len(), explain::<S>(*seed));
    }
    if count >= usual {
        check(&figures);
    }
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// Seeds are taken one by one by as many threads as there are cores.
fn simulate_all<S: Simulated>(seeds: Range<u64>) -> (S::Figures, Vec<u64>) {
    let (next, end) = (AtomicU64::new(seeds.start), seeds.end);
    let work = || {
        let (mut figures, mut failed) = (S::Figures::default(), Vec::new());
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= end {
                return (figures, failed);
            }
            let outcome = run_of(seed, &S::drawn(seed, false));
            figures += outcome.figures;
            if !outcome.violations.is_empty() {
                failed.push(seed);
            }
        }
    };
    let (mut figures, mut failed) = (S::Figures::default(), Vec::new());
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            match thread.join() {
                Ok((some, seeds)) => {
                    figures += some;
                    failed.extend(seeds);
                }
                Err(panic) => resume_unwind(panic),
            }
        }
    });
    failed.sort_unstable();
    (figures, failed)
}

fn run_of<S: Simulated>(seed: u64, plan: &S) -> Outcome<S::Figures> {
    // What the code under test draws, it draws here, as a simulation has one thread.
    fastrand::seed(seed);
    let runtime = VirtualRuntime::seeded(seed);
    let run = Box::pin(plan.run(&runtime));
    let limit = runtime.sleep(S::LONGEST);
    let result = catch_unwind(AssertUnwindSafe(|| runtime.block_on(select(run, limit))));
    let problem = match result {
        Ok(Either::Left((Ok(outcome), _))) => return outcome,
        Ok(Either::Left((Err(error), _))) => error.to_string(),
        Ok(Either::Right(_)) => "it does not end".into(),
        Err(_) => "it panicked".into(),
    };
    Outcome { violations: vec![problem], ..Outcome::default() }
}

/// Runs a seed again to tell what happened.
fn explain<S: Simulated>(seed: u64) -> String {
    let plan = S::drawn(seed, true);
    // Keys share their places by chance, so that now and then a run takes another path.
    let outcome = (0..20)
        .map(|_| run_of(seed, &plan))
        .find(|outcome| !outcome.violations.is_empty())
        .unwrap_or_default();
    format!(
        "{plan:#?}\n{}\nseed {seed} (LARDER_SIMULATION_SEED={seed}): {:#?}",
        outcome.trace.join("\n"),
        outcome.violations
    )
}
