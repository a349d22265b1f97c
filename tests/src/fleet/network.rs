//! The bus, and what goes wrong with it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::stream::BoxStream;
use larder_core::invalidation::{Channel, Gap, Heard, Invalidation, Notice};
use larder_core::{Runtime, StoreError, Timestamp};

use super::Plan;
use super::database::Database;
use super::plan::{FAILING_IN_A_ROW, LOST_IN_A_ROW, PUBLISHING};
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
    /// In which of its lives each node is.
    lives: HashMap<usize, u32>,
    /// Those whom nobody hears any more, but themselves.
    cut_off: HashSet<(usize, u32)>,
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
    /// When each node, in that life of it, was heard last.
    known: HashMap<(usize, u32), Timestamp>,
}

/// The bus as one process has it.
#[derive(Clone)]
pub(super) struct NodeBus {
    network: Arc<Network>,
    node: usize,
    life: u32,
}

impl Network {
    pub(super) fn new(plan: &Plan, database: &Arc<Database>, runtime: Arc<dyn Runtime>) -> Self {
        let state = State {
            random: fastrand::Rng::with_seed(plan.seed ^ 0xb5),
            listeners: Vec::new(),
            lost: HashMap::new(),
            failed: HashMap::new(),
            lives: HashMap::new(),
            cut_off: HashSet::new(),
            is_whole: false,
        };
        let (plan, database) = (plan.clone(), Arc::clone(database));
        Self { plan, database, runtime, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bus as a node has it that begins to live, or begins anew.
    pub(super) fn bus_of(self: &Arc<Self>, node: usize) -> NodeBus {
        let mut state = self.state();
        let life = state.lives.entry(node).or_default();
        *life += 1;
        NodeBus { network: Arc::clone(self), node, life: *life }
    }

    /// Nobody else hears this node any more, in this life of it.
    pub(super) fn cut_off(&self, node: usize) {
        self.database.record.note(|| format!("node {node} is cut off"));
        let mut state = self.state();
        let life = state.lives.get(&node).copied().unwrap_or_default();
        state.cut_off.insert((node, life));
    }

    /// Whether all others have heard that node so lately that they miss it if it is not heard again.
    pub(super) fn is_known(&self, node: usize) -> bool {
        let state = self.state();
        let now = self.runtime.now();
        let life = state.lives.get(&node).copied().unwrap_or_default();
        let mut others = state.listeners.iter().filter(|listener| listener.node != node);
        others.all(|listener| {
            let heard_at = listener.known.get(&(node, life));
            heard_at.is_some_and(|at| now.since(*at) <= self.plan.silence)
        })
    }

    /// From now on it only takes its time.
    pub(super) fn heal(&self) {
        self.state().is_whole = true;
    }

    /// Hands a message to every listener, sooner or later, or not.
    fn send(self: &Arc<Self>, sender: (usize, u32), message: &Bytes) {
        let (from, _) = sender;
        let mut state = self.state();
        let State { random, listeners, lost, is_whole, cut_off, .. } = &mut *state;
        listeners.retain(|listener| !listener.heard.is_closed());
        let goes_wrong = |random: &mut fastrand::Rng, may: bool, of: u8| {
            may && !*is_whole && random.u8(..of) == 0
        };
        for listener in listeners.iter_mut() {
            let to = listener.node;
            if !listener.is_connected || (cut_off.contains(&sender) && to != from) {
                continue;
            }
            let in_a_row = lost.entry((from, to)).or_default();
            if *in_a_row < LOST_IN_A_ROW && goes_wrong(random, self.plan.loses, 3) {
                *in_a_row += 1;
                self.database.record.note(|| format!("a message of {from} to {to} is lost"));
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
                self.arrive(sender, (to, listener.connection), heard.clone(), at);
            }
        }
    }

    /// Lets a listener hear something then, unless its connection breaks before.
    fn arrive(
        self: &Arc<Self>,
        sender: (usize, u32),
        to: (usize, u32),
        heard: Heard,
        at: Timestamp,
    ) {
        let network = Arc::clone(self);
        let wait = self.runtime.sleep(at.since(self.runtime.now()));
        self.runtime.spawn(Box::pin(async move {
            wait.await;
            let mut state = network.state();
            let (node, connection) = to;
            let listener = state.listeners.iter_mut().rfind(|listener| listener.node == node);
            if let Some(listener) = listener
                && listener.connection == connection
            {
                network.database.record.note(|| format!("node {node} is to hear {heard:?}"));
                if matches!(heard, Heard::Notice(_)) {
                    listener.known.insert(sender, network.runtime.now());
                }
                let _ = listener.heard.unbounded_send(heard);
            }
        }));
    }

    /// Breaks the connection of a node, if it has one, and tells it so later; after that it is broken
    /// for as long as `lasts`. If there is no such time, it goes on and nothing is told.
    pub(super) async fn break_of(
        &self,
        node: usize,
        told_after: Duration,
        lasts: Option<Duration>,
    ) {
        let is_there = self.with_last(node, |listener| {
            listener.is_connected = false;
            listener.connection += 1;
        });
        if !is_there {
            return;
        }
        self.database.record.note(|| format!("the connection of {node} is broken"));
        self.runtime.sleep(told_after).await;
        let Some(lasts) = lasts else {
            self.database.record.note(|| format!("the connection of {node} goes on"));
            self.with_last(node, |listener| listener.is_connected = true);
            return;
        };
        self.tell(node, Heard::Lost);
        self.runtime.sleep(lasts).await;
        self.tell(node, Heard::Connected);
    }

    /// Whether there is one.
    fn with_last(&self, node: usize, change: impl FnOnce(&mut Listener)) -> bool {
        let mut state = self.state();
        state.listeners.iter_mut().rfind(|one| one.node == node).map(change).is_some()
    }

    fn tell(&self, node: usize, heard: Heard) {
        self.database.record.note(|| format!("node {node} is to hear {heard:?}"));
        self.with_last(node, |listener| {
            listener.is_connected |= heard == Heard::Connected;
            let _ = listener.heard.unbounded_send(heard);
        });
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
        let (network, node, sender) = (&self.network, self.node, (self.node, self.life));
        let way = || {
            let micros = PUBLISHING.as_micros() as u64 / 2;
            Duration::from_micros(network.state().random.u64(..=micros))
        };
        network.runtime.sleep(way()).await;
        let fault = network.fault(node);
        if fault != Some(false) {
            network.database.record.note(|| format!("node {node} says {notice:?}"));
            channel.messages(notice).iter().for_each(|message| network.send(sender, message));
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
            known: HashMap::new(),
        });
        stream.boxed()
    }
}
