//! The bus, and what goes wrong with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::stream::BoxStream;
use larder_core::invalidation::{Channel, Gap, Heard, Invalidation, Notice};
use larder_core::{Runtime, StoreError, Timestamp, millis};

use super::Plan;
use super::database::Database;
use super::plan::{FAILING_IN_A_ROW, LONGEST_PAUSE, LOST_IN_A_ROW, PUBLISHING};
use crate::stores::failed_on_purpose;

pub(super) struct Network {
    plan: Plan,
    database: Arc<Database>,
    runtime: Arc<dyn Runtime>,
    state: Mutex<State>,
}

struct State {
    random: fastrand::Rng,
    listeners: Vec<Listener>,
    /// How many messages were lost in a row from a sender to a listener.
    lost: HashMap<(usize, usize), u32>,
    failed: HashMap<usize, u32>,
    is_whole: bool,
}

struct Listener {
    node: usize,
    channel: Channel,
    heard: UnboundedSender<Heard>,
    /// How often its connection was made.
    connection: u32,
    is_connected: bool,
    /// When it hears what was sent last.
    latest: Timestamp,
}

/// The bus as one process has it.
#[derive(Clone)]
pub(super) struct NodeBus {
    pub(super) network: Arc<Network>,
    pub(super) node: usize,
}

impl Network {
    pub(super) fn new(plan: &Plan, database: &Arc<Database>, runtime: Arc<dyn Runtime>) -> Self {
        let state = State {
            random: fastrand::Rng::with_seed(plan.seed ^ 0xb5),
            listeners: Vec::new(),
            lost: HashMap::new(),
            failed: HashMap::new(),
            is_whole: false,
        };
        let (plan, database) = (plan.clone(), Arc::clone(database));
        Self { plan, database, runtime, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it only takes its time.
    pub(super) fn heal(&self) {
        self.state().is_whole = true;
    }

    /// Hands a message to every listener, sooner or later, or not.
    fn send(self: &Arc<Self>, from: usize, message: &Bytes) {
        let mut state = self.state();
        let State { random, listeners, lost, is_whole, .. } = &mut *state;
        listeners.retain(|listener| !listener.heard.is_closed());
        let goes_wrong = |random: &mut fastrand::Rng, may: bool, of: u8| {
            may && !*is_whole && random.u8(..of) == 0
        };
        for listener in listeners.iter_mut() {
            let to = listener.node;
            if !listener.is_connected {
                continue;
            }
            let in_a_row = lost.entry((from, to)).or_default();
            if *in_a_row < LOST_IN_A_ROW && goes_wrong(random, self.plan.loses, 3) {
                *in_a_row += 1;
                self.database.note(|| format!("a message of {from} to {to} is lost"));
                continue;
            }
            *in_a_row = 0;
            let heard = if goes_wrong(random, self.plan.drops, 8) {
                Heard::Gap(Gap::Overflow)
            } else if goes_wrong(random, self.plan.drops, 8) {
                listener.channel.heard(&[&message[..], &[0]].concat())
            } else {
                listener.channel.heard(message)
            };
            let twice = goes_wrong(random, self.plan.disorder, 4);
            for _ in 0..=u8::from(twice) {
                let way = Duration::from_micros(
                    random.u64(..=u64::try_from(self.plan.delay.as_micros()).unwrap_or(0)),
                );
                let mut at = self.runtime.now() + way;
                if !self.plan.disorder {
                    at = at.max(listener.latest + Duration::from_micros(1));
                }
                listener.latest = listener.latest.max(at);
                self.arrive((to, listener.connection), heard.clone(), at);
            }
        }
    }

    /// Lets a listener hear something then, unless its connection breaks before.
    fn arrive(self: &Arc<Self>, to: (usize, u32), heard: Heard, at: Timestamp) {
        let network = Arc::clone(self);
        let wait = self.runtime.sleep(at.since(self.runtime.now()));
        self.runtime.spawn(Box::pin(async move {
            wait.await;
            let state = network.state();
            let (node, connection) = to;
            let listener = state.listeners.iter().rfind(|listener| listener.node == node);
            if let Some(listener) = listener
                && listener.connection == connection
            {
                network.database.note(|| format!("node {node} is to hear {heard:?}"));
                let _ = listener.heard.unbounded_send(heard);
            }
        }));
    }

    /// Breaks the connection of a node for a while, if it has one.
    pub(super) async fn break_of(self: &Arc<Self>, node: usize) {
        let (lasts, told_after) = {
            let mut state = self.state();
            let Some(listener) = state.listeners.iter_mut().rfind(|one| one.node == node) else {
                return;
            };
            listener.is_connected = false;
            listener.connection += 1;
            let lasts = millis(state.random.u64(..LONGEST_PAUSE.as_millis() as u64));
            let told = self.plan.delay.as_micros() as u64;
            (lasts, Duration::from_micros(state.random.u64(..=told)))
        };
        self.database.note(|| format!("the connection of {node} is broken"));
        self.runtime.sleep(told_after).await;
        self.tell(node, Heard::Lost);
        self.runtime.sleep(lasts).await;
        self.tell(node, Heard::Connected);
    }

    fn tell(&self, node: usize, heard: Heard) {
        let mut state = self.state();
        if let Some(listener) = state.listeners.iter_mut().rfind(|one| one.node == node) {
            listener.is_connected |= heard == Heard::Connected;
            self.database.note(|| format!("node {node} is to hear {heard:?}"));
            let _ = listener.heard.unbounded_send(heard);
        }
    }

    /// Whether the next publication of a node fails; and if so, after it was sent.
    fn fault(&self, node: usize) -> Option<bool> {
        let mut state = self.state();
        let may = self.plan.publish_faults && !state.is_whole;
        let fails = may && state.random.u8(..4) == 0;
        let failed = state.failed.entry(node).or_default();
        if fails && *failed < FAILING_IN_A_ROW {
            *failed += 1;
            return Some(state.random.bool());
        }
        *failed = 0;
        None
    }
}

impl std::fmt::Debug for NodeBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeBus").field("node", &self.node).finish_non_exhaustive()
    }
}

#[async_trait]
impl Invalidation for NodeBus {
    fn name(&self) -> &'static str {
        "simulated"
    }

    async fn publish(&self, channel: &Channel, notice: &Notice) -> Result<(), StoreError> {
        let (network, node) = (&self.network, self.node);
        let way = || {
            let micros = PUBLISHING.as_micros() as u64 / 2;
            Duration::from_micros(network.state().random.u64(..=micros))
        };
        network.runtime.sleep(way()).await;
        let fault = network.fault(node);
        if fault != Some(false) {
            network.database.note(|| format!("node {node} says {notice:?}"));
            channel.messages(notice).iter().for_each(|message| network.send(node, message));
        }
        network.runtime.sleep(way()).await;
        fault.map_or(Ok(()), |_| Err(failed_on_purpose()))
    }

    fn subscribe(&self, channel: &Channel) -> BoxStream<'static, Heard> {
        let (heard, stream) = unbounded();
        let _ = heard.unbounded_send(Heard::Connected);
        let mut state = self.network.state();
        state.listeners.retain(|listener| listener.node != self.node);
        state.listeners.push(Listener {
            node: self.node,
            channel: channel.clone(),
            heard,
            connection: 0,
            is_connected: true,
            latest: self.network.runtime.now(),
        });
        stream.boxed()
    }
}
