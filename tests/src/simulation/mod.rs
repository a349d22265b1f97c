//! A simulation of callers over a database whose rows change: what they may see of the past.
//!
//! A [`Plan`] is drawn from a seed: some callers read, load, write and invalidate a few keys
//! through one cache, over a store with delays; some leave in the middle of a call, and where the
//! plan says so, loaders fail, panic or hang, and the store loses calls and answers. On a
//! [`VirtualRuntime`] the seed decides every order of events.
//!
//! What must hold, however the events fall:
//!
//! 1. Who begins to read after an invalidation has returned sees nothing older than what the
//!    database held when the invalidation was called.
//! 2. Two loads of a key overlap only if an invalidation came between their beginnings.
//! 3. Nothing is read that the database did not hold within the life of an entry.
//! 4. Every call ends, with an answer or an error that was provoked.
//! 5. In the end no load is under way, and the cache agrees with the database.

mod caller;
mod database;
mod isolated;
mod leases;
mod plan;

use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::oneshot;
use larder_core::{
    Cache, Error, MemoryStore, Runtime, Store, VirtualRuntime, hours, millis, seconds,
};

use crate::seeds::{Outcome, Simulated};
use crate::stores::{Delays, Tapped};
use caller::Caller;
use database::Database;
pub use isolated::Isolated;
use leases::LocalLeases;

pub use plan::{Flaky, Plan};

/// How long a load may take. Loads that do not hang are much shorter.
const LOAD_TIMEOUT: Duration = millis(400);

/// What is counted in a simulation.
#[derive(Debug, Default)]
pub struct Figures {
    /// How many calls ended by themselves.
    pub calls: u64,
    /// How many loads began.
    pub loads: u64,
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.loads += other.loads;
    }
}

impl Simulated for Plan {
    type Figures = Figures;
    const LONGEST: Duration = hours(1);

    fn drawn(seed: u64, traced: bool) -> Self {
        Self { traced, ..Self::of(seed) }
    }

    async fn run(&self, runtime: &VirtualRuntime) -> Result<Outcome<Figures>, Error> {
        let store = MemoryStore::builder().capacity_bytes(1 << 20).on(runtime.clone());
        run(self, Arc::new(store), Arc::new(runtime.clone())).await
    }
}

/// Runs `plan` over `store`, which is empty.
///
/// # Errors
///
/// Where the cache cannot be built or its store fails after the faults have been turned off.
pub async fn run(
    plan: &Plan,
    store: Arc<dyn Store>,
    runtime: Arc<dyn Runtime>,
) -> Result<Outcome<Figures>, Error> {
    let flaky = Arc::new(Flaky::new(plan.store_faults, plan.seed));
    let store = Tapped::new(store, flaky.clone());
    let delays = Delays::up_to(plan.latency, Arc::clone(&runtime), plan.seed);
    let store = Tapped::new(Arc::new(store), Arc::new(delays));
    let caches: Arc<dyn Runtime> = match plan.isolated {
        true => Arc::new(Isolated(Arc::clone(&runtime))),
        false => Arc::clone(&runtime),
    };
    let mut builder = Cache::builder(store);
    if plan.leases {
        builder = builder.leases(LocalLeases::on(Arc::clone(&runtime)));
    }
    if plan.local {
        builder = builder.local(64).local_ttl(plan.ttl / 2);
    }
    if plan.instant_clear {
        builder = builder.instant_clear();
    }
    let cache = builder
        .runtime(caches)
        .namespace("simulation")
        .ttl(plan.ttl)
        .absent_ttl(plan.ttl / 2)
        .load_timeout(LOAD_TIMEOUT)
        .build()?;
    let database = Arc::new(Database::new(plan, Arc::clone(&runtime)));

    let mut callers = Vec::new();
    for number in 0..plan.callers {
        let caller = Caller::new(plan, number, &cache, &database, &runtime);
        let (done, wait) = oneshot::channel();
        runtime.spawn(Box::pin(async move {
            caller.run().await;
            let _ = done.send(());
        }));
        callers.push(wait);
    }
    for (number, caller) in callers.into_iter().enumerate() {
        if caller.await.is_err() {
            database.record.violation(format!("caller {number} panicked"));
        }
    }

    // Writes that their callers have left behind come to an end.
    runtime.sleep(seconds(2)).await;
    if cache.loads_under_way() > 0 {
        database.record.violation(format!("{} loads are still under way", cache.loads_under_way()));
    }
    flaky.stop();
    for key in 0..plan.keys {
        cache.remove_many(database::names(key)).await?;
        database.check_end(key, &cache).await?;
    }
    Ok(database.record.outcome())
}
