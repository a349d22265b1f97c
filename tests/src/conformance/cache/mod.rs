//! What a `Cache` promises over any store.

mod absence;
mod claims;
mod coalescing;
mod events;
mod failing;
mod invalidation;
mod keys;
mod layout;
mod lives;
mod local;
mod many;
mod tags;
mod unreadable;
mod write_through;

use std::io;
use std::sync::Arc;

use larder_core::{Cache, Error};
use serde::{Deserialize, Serialize};

use super::{Bench, Case, Signal};

pub(super) const CASES: &[&[Case]] = &[
    coalescing::CASES,
    claims::CASES,
    many::CASES,
    invalidation::CASES,
    tags::CASES,
    events::CASES,
    local::CASES,
    write_through::CASES,
    lives::CASES,
    failing::CASES,
    absence::CASES,
    unreadable::CASES,
    layout::CASES,
    keys::CASES,
];

/// What the cases cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
}

impl User {
    fn numbered(id: u64) -> Self {
        Self { id, name: format!("user {id}") }
    }
}

/// A database that counts how often it is asked, and answers when it is let.
#[derive(Clone, Default)]
struct Source {
    /// Raised by every load as it begins.
    begun: Signal,
    /// Every load waits for it.
    answer: Signal,
}

impl Source {
    /// Answers at once.
    fn at_once() -> Self {
        let source = Self::default();
        source.answer.raise();
        source
    }

    fn loads(&self) -> usize {
        self.begun.count()
    }

    async fn ask(&self) {
        self.begun.raise();
        self.answer.raised().await;
    }

    async fn user(&self, id: u64) -> io::Result<User> {
        self.ask().await;
        Ok(User::numbered(id))
    }

    async fn nobody(&self) -> io::Result<Option<User>> {
        self.ask().await;
        Ok(None)
    }

    async fn fail(&self) -> io::Result<User> {
        self.ask().await;
        Err(io::Error::other("the database is down"))
    }
}

/// Starts a load of `key` beside the case, and waits until its loader runs.
async fn under_way(
    bench: &Bench,
    cache: &Cache,
    key: &'static str,
    id: u64,
    source: &Source,
) -> futures::channel::oneshot::Receiver<Result<Arc<User>, Error>> {
    let (cache, loader) = (cache.clone(), source.clone());
    let load = bench.start(async move { cache.get_or_load(key, || loader.user(id)).await });
    source.begun.raised().await;
    load
}
