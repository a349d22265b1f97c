//! A Redis Cluster: a server for each master, and a map of who has which slots.
//!
//! Every master has a connection and a circuit breaker of its own, so that one that is down costs
//! the keys of its own slots and no others. The map is read when the first call needs it, and again
//! when a node says that a slot has moved, or cannot be reached; until all masters are reached it is
//! read again and again.
//!
//! `docs/decisions/` has the reasons, under «Larder routes a Cluster itself».

mod apart;
mod map;
mod refresh;
mod scan;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use larder_core::{StoreError, StoreErrorKind};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

pub(crate) use apart::{Apart, split};
use map::Map;
use refresh::Refresher;
use scan::Survey;

use crate::client::timed_out;
use crate::config::{Config, Endpoint, Node, Target};
use crate::connect::CONNECT;
use crate::error::STORE;
use crate::events::Listener;
use crate::gate::BreakerState;
use crate::link::{closed, not_connected};
use crate::server::{Call, Server};

/// Where a request is to go.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    /// To the master of a slot.
    Slot(u16),
    /// To any master.
    Any,
    /// To this one.
    At(&'a Arc<Server>),
}

impl Place<'_> {
    pub(crate) fn of(slot: Option<u16>) -> Self {
        slot.map_or(Self::Any, Self::Slot)
    }
}

pub(crate) struct Cluster(Arc<Shared>);

struct Shared {
    /// For each node but for where it is.
    config: Config,
    seeds: Vec<Node>,
    listener: Listener,
    servers: Mutex<HashMap<Node, Arc<Server>>>,
    known: watch::Sender<Known>,
    refresher: Mutex<Refresher>,
    /// For the scans under way.
    survey: Mutex<Option<Arc<Survey>>>,
}

/// What is known of the Cluster.
#[derive(Default)]
struct Known {
    map: Option<Arc<Map>>,
    /// How often the map was asked for.
    rounds: u64,
    /// Why there was none the last time.
    last: Option<StoreError>,
    is_closed: bool,
}

impl Known {
    fn server(&self, place: Place<'_>) -> Option<&Arc<Server>> {
        let map = self.map.as_ref()?;
        match place {
            Place::Slot(slot) => map.master_of(slot),
            Place::Any => {
                let live = map.masters.iter().filter(|server| server.link.is_live()).count();
                let nth = fastrand::usize(..live.max(1));
                let mut live = map.masters.iter().filter(|server| server.link.is_live());
                live.nth(nth).or_else(|| fastrand::choice(&map.masters))
            }
            Place::At(_) => None,
        }
    }
}

impl Cluster {
    /// Connects to nothing yet.
    pub(crate) fn new(
        config: &Config,
        seeds: &[Node],
        listener: Listener,
    ) -> Result<Self, StoreError> {
        let shared = Shared {
            config: config.clone(),
            seeds: seeds.to_vec(),
            listener,
            servers: Mutex::default(),
            known: watch::Sender::default(),
            refresher: Mutex::default(),
            survey: Mutex::default(),
        };
        // Certificates that cannot be read are told of now.
        if let Some(seed) = seeds.first() {
            shared.server(seed)?;
        }
        Ok(Self(Arc::new(shared)))
    }

    pub(crate) fn is_live(&self) -> bool {
        let known = self.0.known.borrow();
        known.map.as_ref().is_some_and(|it| it.masters.iter().any(|it| it.link.is_live()))
    }

    /// The worst of all masters'.
    pub(crate) fn breaker(&self) -> BreakerState {
        let known = self.0.known.borrow();
        let states = known.map.iter().flat_map(|map| &map.masters).map(|it| it.gate.state());
        let badness = |state: &BreakerState| match state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        };
        states.max_by_key(badness).unwrap_or(BreakerState::Closed)
    }

    /// Waits for the first attempt to read the map, and for no other; and for one connection.
    pub(crate) async fn first_connection(&self) -> Result<(), StoreError> {
        let deadline = Instant::now() + self.0.config.connect_timeout;
        let mut call = Call { operation: CONNECT, deadline, tries: 1, asking: false };
        let server = self.server(Place::Any, &mut call).await?;
        server.link.live(CONNECT, &mut 1).await.map(drop)
    }

    /// The masters that have slots.
    async fn masters(&self, call: &mut Call) -> Result<Arc<Map>, StoreError> {
        self.wait(call, |known| known.map.clone()).await
    }

    /// The server for this place.
    async fn server(&self, place: Place<'_>, call: &mut Call) -> Result<Arc<Server>, StoreError> {
        if let Place::At(server) = place {
            return Ok(Arc::clone(server));
        }
        self.wait(call, |known| known.server(place).cloned()).await
    }

    /// What leads to the master of a slot alone.
    pub(crate) async fn config_for(
        &self,
        slot: u16,
        call: &mut Call,
    ) -> Result<Config, StoreError> {
        let server = self.server(Place::Slot(slot), call).await?;
        let shared = &self.0;
        let node = shared.node_of(&server);
        let node = node.ok_or_else(|| {
            let detail = "the Cluster's masters change; a fail-over may be under way";
            StoreError::new(StoreErrorKind::Unavailable, STORE, call.operation, detail)
        })?;
        Ok(shared.config_of(&node))
    }

    /// Has the map read soon.
    pub(crate) fn refresh(&self, operation: &'static str) -> Result<(), StoreError> {
        self.0.refresh(operation)
    }

    /// What `found` finds, as soon as it does. Every map without it takes one of the call's tries.
    async fn wait<T>(
        &self,
        call: &mut Call,
        found: impl Fn(&Known) -> Option<T>,
    ) -> Result<T, StoreError> {
        let shared = &self.0;
        if let Some(found) = found(&shared.known.borrow()) {
            return Ok(found);
        }
        let mut known = shared.known.subscribe();
        let mut seen = None;
        loop {
            // Before anything else: who was to read it may have gone with its runtime.
            shared.refresh(call.operation)?;
            {
                let now = known.borrow_and_update();
                if now.is_closed {
                    return Err(closed(call.operation));
                }
                if let Some(found) = found(&now) {
                    return Ok(found);
                }
                let before = *seen.get_or_insert(now.rounds);
                let rounds = u32::try_from(now.rounds.saturating_sub(before)).unwrap_or(u32::MAX);
                seen = Some(now.rounds);
                call.tries = call.tries.saturating_sub(rounds);
                if let Some(last) = &now.last
                    && (call.tries == 0 || !last.is_retryable())
                {
                    return Err(not_connected(call.operation, last));
                }
            }
            let Ok(changed) = timeout_at(call.deadline, known.changed()).await else {
                let now = known.borrow();
                let address = shared.config.target.address();
                return Err(match &now.last {
                    Some(last) => not_connected(call.operation, last),
                    None => timed_out(call.operation, &address, shared.config.command_timeout),
                });
            };
            if changed.is_err() {
                return Err(closed(call.operation));
            }
        }
    }

    /// Completes when `server` is no longer the one for this place.
    async fn left(&self, place: Place<'_>, server: &Arc<Server>) {
        let mut known = self.0.known.subscribe();
        let Place::Slot(slot) = place else { return std::future::pending().await };
        let is_another = |known: &Known| {
            let master = known.map.as_ref().and_then(|map| map.master_of(slot));
            master.is_some_and(|it| !Arc::ptr_eq(it, server))
        };
        // The store holds the sender for as long as there are calls.
        if known.wait_for(is_another).await.is_err() {
            std::future::pending().await
        }
    }

    /// The node under an address of a redirection; one without a host is where `server` is.
    fn redirected(&self, address: &str, asked: &Server) -> Result<Arc<Server>, StoreError> {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let host = match host {
            "" => self.0.node_of(asked).map(|node| node.host).unwrap_or_default(),
            host => host.to_owned(),
        };
        let node = Node { host, port: port.parse().unwrap_or_default() };
        self.0.server(&node)
    }

    /// The server of a node that has no slots.
    fn node(&self, node: &Node) -> Result<Arc<Server>, StoreError> {
        self.0.server(node)
    }

    /// Has the map read once more, and waits for that.
    async fn reread(&self, call: &mut Call) -> Result<(), StoreError> {
        let rounds = self.0.known.borrow().rounds;
        self.0.refresh(call.operation)?;
        self.wait(call, |known| (known.rounds > rounds && known.map.is_some()).then_some(())).await
    }

    fn lock_survey(&self) -> MutexGuard<'_, Option<Arc<Survey>>> {
        self.0.survey.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn close(&self) {
        self.0.lock_refresher().close();
        self.0.known.send_modify(|known| known.is_closed = true);
        let servers: Vec<_> = self.0.lock_servers().values().cloned().collect();
        for server in servers {
            server.link.close().await;
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.0.lock_refresher().close();
    }
}

impl Shared {
    /// The server of a node, which is made where there is none.
    fn server(&self, node: &Node) -> Result<Arc<Server>, StoreError> {
        if let Some(server) = self.lock_servers().get(node) {
            return Ok(Arc::clone(server));
        }
        let server = Arc::new(Server::new(&self.config_of(node), self.listener.clone())?);
        Ok(Arc::clone(self.lock_servers().entry(node.clone()).or_insert(server)))
    }

    fn config_of(&self, node: &Node) -> Config {
        let endpoint = Endpoint::from(node.clone());
        let target = Target { endpoint, ..self.config.target.clone() };
        Config { target, ..self.config.clone() }
    }

    /// The node of a server, as long as it is one of those in use.
    fn node_of(&self, server: &Server) -> Option<Node> {
        let servers = self.lock_servers();
        let node = servers.iter().find(|(_, it)| std::ptr::eq(&***it, server));
        node.map(|(node, _)| node.clone())
    }

    fn lock_servers(&self) -> MutexGuard<'_, HashMap<Node, Arc<Server>>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_refresher(&self) -> MutexGuard<'_, Refresher> {
        self.refresher.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
