//! A real Redis Cluster for a test: on free ports, empty, gone when it is dropped.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::redis_server::{RedisServer, free_port};

/// How long a Cluster has until it is complete, or whole again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Slots of a Cluster.
const SLOTS: usize = 16_384;

/// A Cluster of three masters, each with as many replicas as the test wants.
///
/// ```no_run
/// use larder_tests::redis_cluster::RedisCluster;
///
/// let cluster = RedisCluster::builder().replicas(1).start();
/// println!("{}", cluster.url());
/// ```
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
    masters: usize,
    _dir: TempDir,
}

/// Sets up a [`RedisCluster`].
#[derive(Debug, Clone, Default)]
#[must_use = "call start"]
pub struct RedisClusterBuilder {
    replicas: usize,
    spares: usize,
    program: Option<PathBuf>,
}

impl RedisClusterBuilder {
    /// For each master; none by default.
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// Masters without slots, besides the three; none by default.
    pub fn spares(mut self, spares: usize) -> Self {
        self.spares = spares;
        self
    }

    /// Starts this program instead of `redis-server`.
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// Starts the nodes, and waits until each of them says that the Cluster is complete.
    ///
    /// # Panics
    ///
    /// When that does not come about.
    #[must_use]
    #[allow(clippy::expect_used)]
    pub fn start(self) -> RedisCluster {
        let dir = TempDir::new().expect("a folder for the nodes");
        let masters = 3;
        let count = masters * (1 + self.replicas) + self.spares;
        let nodes: Vec<RedisServer> = (0..count).map(|index| self.node(&dir, index)).collect();
        let cluster = RedisCluster { nodes, masters, _dir: dir };
        let (first, others) = cluster.nodes.split_first().expect("a node");
        for other in others {
            let (port, bus) = (other.port().to_string(), bus_port(other).to_string());
            expect_ok(first, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        for (index, master) in cluster.nodes.iter().take(masters).enumerate() {
            let share = |index: usize| (index * SLOTS / masters).to_string();
            let last = (((index + 1) * SLOTS / masters) - 1).to_string();
            expect_ok(master, &["CLUSTER", "ADDSLOTSRANGE", &share(index), &last]);
        }
        let ids: Vec<String> = cluster.nodes.iter().map(id).collect();
        let replicas = masters * self.replicas;
        for (index, replica) in cluster.nodes.iter().enumerate().skip(masters).take(replicas) {
            let master = &ids[index % masters];
            // It has to have heard of its master first.
            wait("the nodes know each other", || {
                replica.command(&["CLUSTER", "REPLICATE", master]) == "+OK"
            });
        }
        wait("the cluster is complete", || {
            cluster.nodes.iter().all(|node| {
                let info = node.command(&["CLUSTER", "INFO"]);
                let nodes = format!("cluster_known_nodes:{count}\r");
                info.contains("cluster_state:ok") && info.contains(&nodes)
            })
        });
        for replica in cluster.nodes.iter().skip(masters).take(replicas) {
            wait("the replicas follow", || {
                replica.command(&["INFO", "replication"]).contains("master_link_status:up")
            });
        }
        cluster
    }

    #[allow(clippy::expect_used)]
    fn node(&self, dir: &TempDir, index: usize) -> RedisServer {
        let bus = free_port().expect("a free port").to_string();
        let dir = dir.path().join(index.to_string());
        std::fs::create_dir_all(&dir).expect("a folder for a node");
        let dir = dir.display().to_string();
        let arguments = [
            ["--cluster-enabled", "yes"],
            ["--cluster-port", &bus],
            ["--cluster-node-timeout", "1000"],
            // A slot without a master is no reason to refuse all others.
            ["--cluster-require-full-coverage", "no"],
            // A replica takes over however long ago it heard of its master.
            ["--cluster-replica-validity-factor", "0"],
            ["--repl-diskless-sync-delay", "0"],
            ["--dir", &dir],
        ];
        let builder = RedisServer::builder().arguments(arguments.into_iter().flatten());
        match &self.program {
            Some(program) => builder.program(program).start(),
            None => builder.start(),
        }
    }
}

impl RedisCluster {
    /// Starts three masters.
    ///
    /// # Panics
    ///
    /// When they cannot be started; `cargo xtask setup` installs what they need.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Sets up a Cluster in detail.
    pub fn builder() -> RedisClusterBuilder {
        RedisClusterBuilder::default()
    }

    /// `redis-cluster://127.0.0.1:<port of one>?node=…`.
    #[must_use]
    pub fn url(&self) -> String {
        let mut nodes = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port()));
        let first = nodes.next().unwrap_or_default();
        let others: Vec<String> = nodes.map(|node| format!("node={node}")).collect();
        format!("redis-cluster://{first}?{}", others.join("&"))
    }

    /// The nodes: first those that had slots from the beginning, then their replicas, in the same
    /// order, then those without slots.
    pub fn nodes(&mut self) -> &mut [RedisServer] {
        &mut self.nodes
    }

    /// A node by its place.
    ///
    /// # Panics
    ///
    /// When there are not so many.
    #[must_use]
    pub fn node(&self, index: usize) -> &RedisServer {
        &self.nodes[index]
    }

    /// The place of the node that has had this slot from the beginning.
    #[must_use]
    pub fn first_owner_of(&self, slot: u16) -> usize {
        let slot = usize::from(slot);
        (0..self.masters).rfind(|index| index * SLOTS / self.masters <= slot).unwrap_or_default()
    }

    /// The slot of a key, as the Cluster has it.
    ///
    /// # Panics
    ///
    /// When the first node does not answer.
    #[must_use]
    #[allow(clippy::expect_used)]
    pub fn slot_of(&self, key: &str) -> u16 {
        let reply = self.nodes[0].command(&["CLUSTER", "KEYSLOT", key]);
        reply.trim_start_matches(':').parse().expect("a slot")
    }

    /// A key that begins so and is in the slots that the node at this place began with.
    ///
    /// # Panics
    ///
    /// When the first node does not answer.
    #[must_use]
    pub fn key_at(&self, index: usize, prefix: &str) -> String {
        let mut keys = (0_u32..).map(|number| format!("{prefix}{number}"));
        keys.find(|key| self.first_owner_of(self.slot_of(key)) == index).unwrap_or_default()
    }

    /// Says that `slot` is on its way from one node to another: its keys may be in either.
    ///
    /// # Panics
    ///
    /// When a node refuses.
    pub fn begin_move(&self, slot: u16, from: usize, to: usize) {
        let slot = slot.to_string();
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        expect_ok(target, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(source)]);
        expect_ok(source, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(target)]);
    }

    /// Moves one key of a slot that is on its way.
    ///
    /// # Panics
    ///
    /// When a node refuses.
    pub fn move_key(&self, key: &str, from: usize, to: usize) {
        let port = self.nodes[to].port().to_string();
        expect_ok(&self.nodes[from], &["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
    }

    /// Gives the slot to its new node, and tells all others.
    ///
    /// # Panics
    ///
    /// When a node refuses.
    pub fn end_move(&self, slot: u16, to: usize) {
        let (slot, id) = (slot.to_string(), id(&self.nodes[to]));
        expect_ok(&self.nodes[to], &["CLUSTER", "SETSLOT", &slot, "NODE", &id]);
        for node in self.nodes.iter().take(self.masters) {
            // One that learnt of it by gossip agrees anyway.
            node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]);
        }
    }

    /// Waits until the replica at this place is a master.
    ///
    /// # Panics
    ///
    /// When it does not become one.
    pub fn wait_for_promotion(&self, index: usize) {
        wait("the replica is promoted", || {
            self.nodes[index].command(&["INFO", "replication"]).contains("role:master")
        });
    }
}

fn id(node: &RedisServer) -> String {
    node.command(&["CLUSTER", "MYID"])
}

#[allow(clippy::expect_used)]
fn bus_port(node: &RedisServer) -> u16 {
    let nodes = node.command(&["CLUSTER", "NODES"]);
    let bus = nodes.split_once('@').and_then(|(_, rest)| rest.split([' ', ',']).next());
    bus.and_then(|port| port.parse().ok()).expect("the port of the bus")
}

fn expect_ok(node: &RedisServer, command: &[&str]) {
    assert_eq!(node.command(command), "+OK", "{command:?} on port {}", node.port());
}

/// Waits for what no node tells by itself.
#[allow(clippy::panic)]
fn wait(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        if started.elapsed() > PATIENCE {
            panic!("waited for {PATIENCE:?} in vain until {what}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
