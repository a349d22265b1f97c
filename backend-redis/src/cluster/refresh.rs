//! Reading the map.

use std::sync::{Arc, Weak};

use larder_core::{StoreError, StoreErrorKind};
use redis::Value;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::Shared;
use super::map::{Map, Range, ranges};
use crate::config::Node;
use crate::connect::CONNECT;
use crate::error::{STORE, from_redis};
use crate::link::closed;
use crate::server::Server;

/// The wait between two attempts grows with what was tried in vain, but not for longer: a fail-over
/// is to be noticed soon.
const MOST_IN_VAIN: u32 = 9;

/// Who reads the map, and whether it is to be read once more.
#[derive(Default)]
pub(super) struct Refresher {
    task: Option<AbortHandle>,
    is_wanted: bool,
    is_closed: bool,
}

impl Refresher {
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Shared {
    /// Has the map read soon, on a task of its own.
    pub(super) fn refresh(self: &Arc<Self>, operation: &'static str) -> Result<(), StoreError> {
        let mut refresher = self.lock_refresher();
        if refresher.is_closed {
            return Err(closed(operation));
        }
        refresher.is_wanted = true;
        if refresher.task.as_ref().is_some_and(|task| !task.is_finished()) {
            return Ok(());
        }
        let runtime = Handle::try_current().map_err(|error| {
            let detail = "a Redis store needs a running Tokio runtime";
            StoreError::new(StoreErrorKind::Config, STORE, operation, detail).with_source(error)
        })?;
        let task = runtime.spawn(read_until_well(Arc::downgrade(self)));
        refresher.task = Some(task.abort_handle());
        Ok(())
    }

    /// Whether nothing more is to be read. Nobody asks for it between this and the task's end.
    fn rests(&self) -> bool {
        let mut refresher = self.lock_refresher();
        let rests = !refresher.is_wanted && self.is_well();
        if rests {
            refresher.task = None;
        }
        rests
    }

    /// Whether there is a map, whose masters are all reached as far as they were needed.
    fn is_well(&self) -> bool {
        let known = self.known.borrow();
        known.map.as_ref().is_some_and(|map| map.masters.iter().all(|it| !it.link.is_down()))
    }

    /// Whether the map is another now.
    async fn read(&self) -> Result<bool, StoreError> {
        let mut last = None;
        for (node, server) in self.candidates()? {
            match self.ask(&node, &server).await {
                Ok(ranges) => return self.learn(&ranges),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| unknown("there is nobody to ask")))
    }

    /// Whom to ask, those that are connected first.
    fn candidates(&self) -> Result<Vec<(Node, Arc<Server>)>, StoreError> {
        let mut nodes: Vec<Node> = self.lock_servers().keys().cloned().collect();
        fastrand::shuffle(&mut nodes);
        nodes.extend(
            self.seeds.iter().filter(|seed| !nodes.contains(seed)).cloned().collect::<Vec<_>>(),
        );
        let servers = nodes.into_iter().map(|node| {
            let server = self.server(&node)?;
            Ok((node, server))
        });
        let mut servers: Vec<_> = servers.collect::<Result<_, StoreError>>()?;
        servers.sort_by_key(|(_, server)| !server.link.is_live());
        Ok(servers)
    }

    async fn ask(&self, node: &Node, server: &Server) -> Result<Vec<Range>, StoreError> {
        let patience = self.config.connect_timeout;
        let address = &server.address;
        let asked = async {
            let mut live = server.link.live(CONNECT, &mut 1).await?;
            let mut command = redis::cmd("CLUSTER");
            let reply = live.connection.ask(command.arg("SLOTS")).await;
            reply.map_err(|error| match error.code() {
                Some("ERR") => {
                    let detail = format!(
                        "{address} is no node of a Cluster ({error}); connect to one server with \
                         redis://, or RedisStoreBuilder::host"
                    );
                    StoreError::new(StoreErrorKind::Config, STORE, CONNECT, detail)
                }
                _ => from_redis(CONNECT, address, &error),
            })
        };
        let reply: Value = match timeout(patience, asked).await {
            Ok(reply) => reply?,
            Err(_) => {
                let detail = format!("{address}: no answer to CLUSTER SLOTS within {patience:?}");
                return Err(StoreError::new(StoreErrorKind::Timeout, STORE, CONNECT, detail));
            }
        };
        match ranges(&reply, node) {
            Some(ranges) if !ranges.is_empty() => Ok(ranges),
            Some(_) => Err(unknown(format!("{address}: the Cluster has no master with slots yet"))),
            None => Err(unknown(format!("{address}: the answer to CLUSTER SLOTS is not one"))),
        }
    }

    fn learn(&self, ranges: &[Range]) -> Result<bool, StoreError> {
        let masters = super::map::masters(ranges);
        for master in &masters {
            self.server(master)?;
        }
        let mut servers = self.lock_servers();
        // A server of the old map ends with the last call on it.
        let gone: Vec<_> = servers.extract_if(|node, _| !masters.contains(node)).collect();
        let map = Map::new(ranges, |node| servers.get(node).cloned());
        drop(servers);
        let mut is_another = false;
        self.known.send_modify(|known| {
            let before = known.map.as_ref().map(|map| map.fingerprint);
            is_another = before != Some(map.fingerprint);
            if is_another {
                tracing::debug!(masters = map.masters.len(), "the Cluster's slots are known");
                known.map = Some(Arc::new(map));
            }
            known.rounds += 1;
            known.last = None;
        });
        drop(gone);
        Ok(is_another)
    }
}

/// Reads the map until all is well, and nobody wants it once more.
async fn read_until_well(shared: Weak<Shared>) {
    let mut in_vain = 0;
    loop {
        let Some(shared) = shared.upgrade() else { return };
        shared.lock_refresher().is_wanted = false;
        let outcome = shared.read().await;
        // A master that is down is still in the map, until another has its slots.
        let helps = matches!(outcome, Ok(true)) || (outcome.is_ok() && shared.is_well());
        in_vain = if helps { 0 } else { (in_vain + 1).min(MOST_IN_VAIN) };
        if let Err(error) = outcome {
            tracing::debug!(%error, "the Cluster's slots are not known");
            shared.known.send_modify(|known| {
                known.rounds += 1;
                known.last = Some(error);
            });
        }
        let backoff = shared.config.backoff;
        // However often it is asked for, it is read some times a second.
        tokio::time::sleep(backoff.draw(in_vain + 1)).await;
        if shared.rests() {
            return;
        }
    }
}

fn unknown(detail: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, STORE, CONNECT, detail)
}
