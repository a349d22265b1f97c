//! What the demo application has to answer over HTTP, as one list of cases.
//!
//! A case is an async function over a [`Shop`]: the address of a running server, and what is to be
//! known of it. The list runs against every server that serves the demo, whatever it runs on.
//! Nothing in a case reaches into the server's process; what only some servers can show is a
//! [`Need`] of the case.
//!
//! A server is used by one case at a time, as cases count what happens. Each keeps to users,
//! products and pages of its own, so that their order does not matter; a server is started on a
//! newly filled database and an empty store.
//!
//! [`Load`] keeps a shop busy while a test breaks something.

mod accounts;
mod case;
mod config;
mod limits;
mod load;
mod operations;
mod page;
mod products;
mod shop;
mod trials;
mod users;

use std::time::Duration;

use anyhow::{Context, Result};

pub use case::{Case, Need};
pub use load::{Load, Outcome};
pub use shop::{Limit, Shop, Target};
pub use trials::{Serves, run_trials, trials};

/// No case takes this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Every case.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    [
        products::CASES,
        users::CASES,
        accounts::CASES,
        config::CASES,
        operations::CASES,
        limits::CASES,
        page::CASES,
    ]
    .into_iter()
    .flatten()
}

/// The cases that a server of this kind is held to.
pub fn cases_for(target: Target) -> impl Iterator<Item = &'static Case> {
    let is_limited = target.limit.is_some();
    cases().filter(move |case| {
        case.needs.contains(&Need::Limit) == is_limited
            && case.needs.iter().all(|need| need.is_met_by(target))
    })
}

/// Runs a case.
///
/// # Errors
///
/// What the server did wrong.
pub async fn run(case: &Case, shop: Shop) -> Result<()> {
    let ended = tokio::time::timeout(PATIENCE, (case.run)(shop)).await;
    ended.with_context(|| format!("it did not end within {PATIENCE:?}"))?
}
