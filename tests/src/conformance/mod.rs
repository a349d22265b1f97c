//! What every backend has to do, as one list of cases.
//!
//! A case is an async function over a [`Bench`]: a store, its clock, and a prefix of its own for
//! the keys, so that all cases can share one server. Nothing here knows a runtime, an operating
//! system or a target: the same list runs natively, inside a Worker and in a browser.
//!
//! [`store_cases`] hold a [`Store`](larder_core::Store) against what the trait promises,
//! [`cache_cases`] hold a [`Cache`](larder_core::Cache) over that store against its semantics, and
//! [`limit_cases`] a [`RateLimitStore`](larder_core::RateLimitStore) against what its trait promises,
//! [`session_cases`] a [`SessionStore`](larder_core::SessionStore) and [`bus_cases`] an
//! [`Invalidation`](larder_core::Invalidation) against what theirs do.
//! [`journal_cases`] are a list of their own, for what keeps writes and is no store.
//! Where a store's [`Capabilities`](larder_core::Capabilities) do not claim what a case needs, the
//! case is reported as not claimed, with the reason; there is no other way to be excused from one.
//!
//! ```
//! use larder_core::{MemoryStore, VirtualRuntime};
//! use larder_tests::conformance::{self, Backend};
//!
//! let runtime = VirtualRuntime::seeded(1);
//! let backend = Backend::of("memory", MemoryStore::builder().on(runtime.clone()));
//! let report = runtime.block_on(conformance::run_all(&backend, conformance::cases()));
//! assert_eq!(report.failed(), 0, "{report}");
//! ```

mod bench;
mod buses;
mod cache;
mod case;
mod claims;
mod journals;
mod limits;
mod page;
mod report;
mod sessions;
mod store;

use futures::future::{Either, select};
use larder_core::codec::MessagePack;
use larder_core::{Layout, VirtualRuntime, seconds};

pub use bench::{Backend, Bench, Signal};
pub use case::{Case, CaseResult, Failure, Need};
pub use claims::{Claims, CountingClaim};
pub use journals::{JournalBench, JournalCase, OpenJournal, journal_cases, run_journal_case};
pub use page::page;
pub use report::{CaseReport, Outcome, Record, Report, markdown};

/// What the trait `Store` promises.
pub fn store_cases() -> impl Iterator<Item = &'static Case> {
    store::CASES.iter().copied().flatten()
}

/// What a `Cache` promises over any store.
pub fn cache_cases() -> impl Iterator<Item = &'static Case> {
    cache::CASES.iter().copied().flatten()
}

/// What the trait `RateLimitStore` promises.
pub fn limit_cases() -> impl Iterator<Item = &'static Case> {
    limits::CASES.iter().copied().flatten()
}

/// What the trait `SessionStore` promises.
pub fn session_cases() -> impl Iterator<Item = &'static Case> {
    sessions::CASES.iter().copied().flatten()
}

/// What the trait `Invalidation` promises.
pub fn bus_cases() -> impl Iterator<Item = &'static Case> {
    buses::CASES.iter().copied().flatten()
}

/// Every layout of a cache, with a name for it.
#[must_use]
pub fn layouts() -> [(&'static str, Layout); 3] {
    [
        ("json", Layout::default()),
        ("msgpack", Layout::Framed(MessagePack.into())),
        ("plain", Layout::Plain),
    ]
}

/// Every case.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    store_cases()
        .chain(cache_cases())
        .chain(limit_cases())
        .chain(session_cases())
        .chain(bus_cases())
}

/// Runs `case` on `backend`.
pub async fn run(backend: &Backend, case: &'static Case) -> CaseReport {
    let outcome = match Bench::new(backend, case.name).await {
        Ok(bench) => judge(case, bench).await,
        Err(error) => Outcome::Failed(format!("the store cannot be opened: {error}")),
    };
    CaseReport { case: case.name.into(), semantic: case.semantic.into(), outcome }
}

async fn judge(case: &'static Case, bench: Bench) -> Outcome {
    if let Some(reason) = case.needs.iter().find_map(|need| need.unmet(&bench)) {
        return Outcome::NotClaimed(reason);
    }
    let runtime = bench.runtime();
    match select((case.run)(bench), runtime.sleep(seconds(120))).await {
        Either::Left((Ok(()), _)) => Outcome::Passed,
        Either::Left((Err(failure), _)) => Outcome::Failed(failure.to_string()),
        Either::Right(_) => Outcome::Failed("it did not end within two minutes".into()),
    }
}

/// Runs `case` on a virtual clock, once for every seed on a backend made for it, until it does not
/// pass.
pub fn run_on_virtual_time(
    case: &'static Case,
    seeds: std::ops::Range<u64>,
    backend: impl Fn(&VirtualRuntime) -> Backend,
) -> CaseReport {
    let run_with = |seed| {
        let runtime = VirtualRuntime::seeded(seed);
        let backend = backend(&runtime).seed(seed);
        let mut report = runtime.block_on(run(&backend, case));
        if let Outcome::Failed(why) = &mut report.outcome {
            *why = format!("with seed {seed}: {why}");
        }
        report
    };
    let mut report = run_with(seeds.start);
    for seed in seeds.skip(1) {
        if report.outcome != Outcome::Passed {
            break;
        }
        report = run_with(seed);
    }
    report
}

/// Runs `cases` on `backend`, one after the other.
pub async fn run_all(backend: &Backend, cases: impl IntoIterator<Item = &'static Case>) -> Report {
    let mut reports = Vec::new();
    for case in cases {
        reports.push(run(backend, case).await);
    }
    Report { backend: backend.name().into(), cases: reports }
}
