//! Objects in real SQLite databases, behind a network on a virtual clock.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, mem};

use async_trait::async_trait;
use bytes::Bytes;
use larder_core::{Runtime, VirtualRuntime, millis};

use super::super::super::engine::Engine;
use super::super::super::fleet::{Fleet, Transport};
use super::super::super::placement::Placement;
use super::super::super::tests::{Sqlite, engine};
use super::super::{DurableSessions, FAMILY};
use crate::error::Failure;

/// Objects, each with a database of its own, and the way to them, which takes a random time in both
/// directions.
#[derive(Clone)]
pub(super) struct Network(Arc<Shared>);

struct Shared {
    runtime: VirtualRuntime,
    slowest: u64,
    state: Mutex<State>,
}

struct State {
    objects: HashMap<String, Engine<Sqlite>>,
    random: fastrand::Rng,
    calls: usize,
    loses_every: Option<usize>,
    lost: HashSet<Vec<u8>>,
}

impl Network {
    pub(super) fn new(runtime: &VirtualRuntime, seed: u64, slowest: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let (objects, lost) = (HashMap::new(), HashSet::new());
        let state = State { objects, random, calls: 0, loses_every: None, lost };
        let runtime = runtime.clone();
        Self(Arc::new(Shared { runtime, slowest, state: Mutex::new(state) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sessions(&self) -> DurableSessions {
        self.sessions_of("")
    }

    /// Those of a service with users of its own.
    pub(super) fn sessions_of(&self, prefix: &'static str) -> DurableSessions {
        let fleet = Fleet::new(self.clone(), Placement::new(FAMILY, 4));
        let settings = DurableSessions::builder().index_prefix(prefix);
        settings.over(fleet, Arc::new(self.0.runtime.clone()))
    }

    /// From now on of every so many requests one is carried out, and its answer lost. Where it is made
    /// again it is answered.
    pub(super) fn lose_every(&self, requests: Option<usize>) {
        self.state().loses_every = requests;
    }

    /// How many requests there were since it was asked last.
    pub(super) fn calls(&self) -> usize {
        mem::take(&mut self.state().calls)
    }

    pub(super) fn rows(&self) -> u64 {
        self.state().objects.values().map(|object| object.rows().unwrap()).sum()
    }

    pub(super) fn sweep(&self) {
        let now = self.0.runtime.now().as_millis();
        for object in self.state().objects.values() {
            assert!(!object.sweep(now, 1_000).unwrap().is_partial);
        }
    }

    async fn way(&self) {
        if self.0.slowest > 0 {
            let time = self.state().random.u64(0..=self.0.slowest);
            self.0.runtime.sleep(millis(time)).await;
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

#[async_trait]
impl Transport for Network {
    async fn call(&self, name: &str, message: &[u8]) -> Result<Bytes, Failure> {
        self.way().await;
        let (reply, is_lost) = {
            let mut state = self.state();
            state.calls += 1;
            let is_lost = state.loses_every.is_some_and(|n| state.calls.is_multiple_of(n))
                && state.lost.insert(message.to_vec());
            let object = state.objects.entry(name.to_owned()).or_insert_with(engine);
            (object.handle(message, self.0.runtime.now().as_millis()).reply, is_lost)
        };
        self.way().await;
        if is_lost {
            return Err(Failure { retryable: true, ..Failure::new("the object moved") });
        }
        Ok(reply.into())
    }
}
