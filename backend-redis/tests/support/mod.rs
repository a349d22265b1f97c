//! What the tests share: a network that fails on purpose, events as they come, and a Cluster.
#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(feature = "tls")]
pub mod pki;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder_redis::{ConnectionEvent, RedisStoreBuilder};
use larder_tests::eventually;
use larder_tests::redis_server::RedisServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What a [`FakeServer`] does with a command.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Writes this, in Redis' protocol.
    Say(String),
    /// Says nothing, ever.
    Silence,
    /// Drops the connection.
    HangUp,
}

type Script = dyn Fn(&[String]) -> Answer + Send + Sync;

/// A server that answers as a script says, for what no real Redis does when it is asked to.
pub struct FakeServer {
    pub port: u16,
    seen: Arc<Mutex<Vec<String>>>,
    script: Arc<Mutex<Arc<Script>>>,
    task: tokio::task::JoinHandle<()>,
}

impl FakeServer {
    pub async fn start(script: impl Fn(&[String]) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Mutex<Arc<Script>>> = Arc::new(Mutex::new(Arc::new(script)));
        let task = tokio::spawn({
            let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    seen.lock().unwrap().push(String::from("(connection)"));
                    tokio::spawn(serve(stream, Arc::clone(&seen), Arc::clone(&script)));
                }
            }
        });
        Self { port, seen, script, task }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on answers as this script says.
    pub fn follow(&self, script: impl Fn(&[String]) -> Answer + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(script);
    }

    /// How often a command came, or `(connection)`.
    pub fn count(&self, name: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| *seen == name).count()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a healthy server says to the handshake and to PING.
pub fn handshake(command: &[String]) -> Option<Answer> {
    let said = match command[0].as_str() {
        "HELLO" => "%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n",
        "CLIENT" | "SELECT" => "+OK\r\n",
        "PING" => "+PONG\r\n",
        _ => return None,
    };
    Some(Answer::Say(said.into()))
}

/// A healthy server where nothing is stored.
pub fn empty(command: &[String]) -> Answer {
    handshake(command).unwrap_or_else(|| Answer::Say("_\r\n".into()))
}

async fn serve(stream: TcpStream, seen: Arc<Mutex<Vec<String>>>, script: Arc<Mutex<Arc<Script>>>) {
    let mut stream = tokio::io::BufReader::new(stream);
    while let Ok(command) = read_command(&mut stream).await {
        seen.lock().unwrap().push(command[0].clone());
        let script = Arc::clone(&script.lock().unwrap());
        match script(&command) {
            Answer::Say(text) => {
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
            Answer::Silence => {}
            Answer::HangUp => return,
        }
    }
}

async fn read_command(stream: &mut tokio::io::BufReader<TcpStream>) -> io::Result<Vec<String>> {
    let words = read_number(stream).await?;
    let mut command = Vec::new();
    for _ in 0..words {
        let length = read_number(stream).await?;
        let mut word = vec![0; length + 2];
        stream.read_exact(&mut word).await?;
        word.truncate(length);
        command.push(String::from_utf8_lossy(&word).into_owned());
    }
    Ok(command)
}

async fn read_number(stream: &mut tokio::io::BufReader<TcpStream>) -> io::Result<usize> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await?);
    }
    let text = String::from_utf8_lossy(&line[1..line.len() - 2]).into_owned();
    text.parse().map_err(io::Error::other)
}

/// The events of a store, one after the other.
pub struct Events(mpsc::UnboundedReceiver<ConnectionEvent>);

impl Events {
    pub fn of(builder: RedisStoreBuilder) -> (RedisStoreBuilder, Self) {
        let (send, events) = mpsc::unbounded_channel();
        (builder.on_event(move |event| drop(send.send(event.clone()))), Self(events))
    }

    /// The next event, as a word.
    pub async fn next(&mut self) -> String {
        let event = tokio::time::timeout(Duration::from_secs(10), self.0.recv()).await;
        word(&event.expect("an event within 10 s").expect("an event"))
    }

    /// Skips events until this one.
    pub async fn until(&mut self, wanted: &str) {
        while self.next().await != wanted {}
    }
}

fn word(event: &ConnectionEvent) -> String {
    match event {
        ConnectionEvent::Connected { .. } => "connected".into(),
        ConnectionEvent::Ready { .. } => "ready".into(),
        ConnectionEvent::Error { .. } => "error".into(),
        ConnectionEvent::Closed { .. } => "closed".into(),
        ConnectionEvent::Reconnecting { attempt, .. } => format!("reconnecting {attempt}"),
        other => format!("{other:?}"),
    }
}

/// A Cluster of one node, which refuses keys of different slots as every other.
pub async fn cluster() -> RedisServer {
    let file = format!("larder-test-{:016x}.conf", fastrand::u64(..));
    let arguments = ["--cluster-enabled", "yes", "--cluster-config-file", &file];
    let server = RedisServer::builder().arguments(arguments).start();
    // It is read at the start only, and a test never starts it again.
    std::fs::remove_file(std::env::temp_dir().join(file)).unwrap();
    let slots: Vec<String> = (0..16_384).map(|slot| slot.to_string()).collect();
    let mut add = vec!["CLUSTER", "ADDSLOTS"];
    add.extend(slots.iter().map(String::as_str));
    assert_eq!(server.command(&add), "+OK");
    eventually("the cluster is complete", async || {
        server.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
    })
    .await;
    server
}

/// How often Redis read from a connection since its statistics were reset: commands that arrive
/// together are one read.
pub fn reads(server: &RedisServer) -> u64 {
    let stats = server.command(&["INFO", "stats"]);
    let reads = stats.lines().find_map(|line| line.strip_prefix("total_reads_processed:"));
    reads.and_then(|reads| reads.trim().parse().ok()).unwrap()
}
