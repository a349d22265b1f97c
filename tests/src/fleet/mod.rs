//! A simulation of processes that share a store and a bus, and of what each may see of the past.
//!
//! A [`Plan`] is drawn from a seed. Each process has a cache of its own with a tier in front of the
//! store, and callers that read, load and invalidate a few rows. The bus holds up what it is given;
//! where the plan says so it loses, repeats, reorders and damages it, and its connections break, or hang
//! and say nothing. The processes are paused, killed and begun anew.
//!
//! What must hold, however the events fall:
//!
//! 1. Who begins to read later than the documented bound after an invalidation has returned sees
//!    nothing older than what the database held when it was called, in any process.
//! 2. Where the bus only takes its time, that bound is a few of its ways and of the store's; and where
//!    the store held the new at once, as no load was too late, what stands in front of it is old for
//!    no longer than it takes to notice what went wrong.
//! 3. Loads that began before an invalidation leave nothing behind: when all is quiet, the store holds
//!    what the database holds, or nothing.
//! 4. In the end the caches are told of by a bus that they hear, and nothing waits to be told.
//!
//! A process that is killed cannot take back what its last loads have stored, and nobody misses one
//! that was never heard: that is not held against the others.

mod database;
mod network;
mod node;
mod plan;
mod process;

use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use larder_core::{
    Cache, Error, Layout, MemoryStore, Runtime, Store, VirtualRuntime, hours, seconds,
};

use crate::seeds::{Outcome, Simulated};
use crate::stores::{Delays, Tapped};
use database::Database;
use network::Network;
use node::Node;
use process::Process;

pub use plan::Plan;

/// What is counted in a simulation.
#[derive(Debug, Default)]
pub struct Figures {
    /// How many values were read.
    pub reads: u64,
    /// How many of them had been invalidated, but not for longer than the bound.
    pub late: u64,
    /// How many invalidations have returned.
    pub invalidations: u64,
    /// How often a cache has missed something, checked a value, and taken one back.
    pub gaps: u64,
    /// See there.
    pub checks: u64,
    /// See there.
    pub withdrawn: u64,
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.reads += other.reads;
        self.late += other.late;
        self.invalidations += other.invalidations;
        self.gaps += other.gaps;
        self.checks += other.checks;
        self.withdrawn += other.withdrawn;
    }
}

impl Simulated for Plan {
    type Figures = Figures;
    const LONGEST: Duration = hours(1);

    fn drawn(seed: u64, traced: bool) -> Self {
        Self { traced, ..Self::of(seed) }
    }

    async fn run(&self, runtime: &VirtualRuntime) -> Result<Outcome<Figures>, Error> {
        run(self, runtime).await
    }
}

async fn run(plan: &Plan, runtime: &VirtualRuntime) -> Result<Outcome<Figures>, Error> {
    let memory = MemoryStore::builder().capacity_bytes(1 << 16).on(runtime.clone());
    let shared: Arc<dyn Runtime> = Arc::new(runtime.clone());
    let memory: Arc<dyn Store> = Arc::new(memory);
    let delays = Delays::up_to(plan.latency, Arc::clone(&shared), plan.seed);
    let store: Arc<dyn Store> = Arc::new(Tapped::new(memory, Arc::new(delays)));
    let database = Arc::new(Database::new(plan, Arc::clone(&shared)));
    let network = Arc::new(Network::new(plan, &database, Arc::clone(&shared)));

    let nodes = (0..plan.nodes).map(|number| Node {
        number,
        plan: plan.clone(),
        store: Arc::clone(&store),
        network: Arc::clone(&network),
        database: Arc::clone(&database),
        runtime: Arc::clone(&shared),
    });
    let last = futures::future::try_join_all(nodes.map(Node::run)).await?;

    network.heal();
    runtime.sleep(plan.bound() + 2 * plan.silence).await;
    let living =
        last.iter().enumerate().filter_map(|(number, last)| Some((number, last.as_ref()?)));
    for (number, (cache, _)) in living {
        let stats = cache.invalidation_stats();
        if !stats.trusted || stats.waiting > 0 {
            database.record.violation(format!("in the end node {number} has {stats:?}"));
        }
        for key in 0..plan.keys {
            let seen = database.look();
            if let Some(row) = cache.get::<(usize, usize)>(database::name(key)).await? {
                database.check(number, key, seen, *row);
            }
        }
    }
    let bare = cache_of(plan, store).build()?;
    for key in 0..plan.keys {
        let seen = database.look();
        if let Some(row) = bare.get::<(usize, usize)>(database::name(key)).await? {
            database.check(plan.nodes, key, seen, *row);
        }
    }
    Ok(database.record.outcome())
}

/// A cache of the plan's layout, without a bus.
fn cache_of(plan: &Plan, store: Arc<dyn Store>) -> larder_core::CacheBuilder {
    let layout = if plan.plain { Layout::Plain } else { Layout::default() };
    let builder = Cache::builder(store).namespace("fleet").layout(layout).ttl(plan.ttl);
    let builder = builder.load_timeout(seconds(60));
    if plan.instant_clear { builder.instant_clear() } else { builder }
}
