//! Several servers of the demo in one process: what one changes all of them show, and what a broken bus
//! does.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use larder_tests::demo_server::{command, program};
use larder_tests::eventually;
use larder_tests::http_client::HttpClient;
use larder_tests::process::Process;
use larder_tests::redis_server::RedisServer;
use serde_json::{Value, json};
use tempfile::TempDir;

const START: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a silence goes unnoticed, and a quarter of it; see `docs/consistency.md`.
const SILENCE: Duration = Duration::from_millis(3_750);
/// Between what a test asks for and what a busy machine does.
const SLACK: Duration = Duration::from_secs(2);

struct Fleet {
    process: Process,
    nodes: Vec<HttpClient>,
    _folder: TempDir,
    _redis: Option<RedisServer>,
}

impl Fleet {
    fn start(redis: Option<RedisServer>) -> Result<Self> {
        Self::start_with(redis, &["--rate-limit", "0"])
    }

    fn start_with(redis: Option<RedisServer>, arguments: &[&str]) -> Result<Self> {
        let folder = TempDir::new()?;
        let mut command = command(&folder.path().join("shop.db"))?;
        command.args(["--nodes", "3"]).args(arguments);
        if let Some(redis) = &redis {
            command.args(["--redis", &redis.url()]);
        }
        let process = Process::start(&mut command)?;
        // The last word of the greeting, after every address.
        process.wait_for(START, |line| line.contains("Ctrl-C ends it").then_some(()))?;
        let said = process.said();
        let addresses = said.lines().filter_map(|line| line.strip_prefix("listening on "));
        let nodes: Vec<_> = addresses.map(HttpClient::new).collect();
        ensure!(nodes.len() == 3, "three nodes do not listen: {said}");
        Ok(Self { process, nodes, _folder: folder, _redis: redis })
    }

    fn on_redis() -> Result<Self> {
        Self::start(Some(RedisServer::start()))
    }

    /// Waits until every node hears the bus.
    async fn until_all_hear(&self) {
        for number in 1..=self.nodes.len() {
            self.until_it_hears(number, true).await;
        }
    }

    async fn until_it_hears(&self, number: usize, hears: bool) {
        let what = format!("node {number} trusts its bus: {hears}");
        let is_so = async || {
            let node = self.node(number).await;
            node.is_ok_and(|node| node["bus"]["trusted"] == hears)
        };
        eventually(&what, is_so).await;
    }

    /// What the first node tells of one.
    async fn node(&self, number: usize) -> Result<Value> {
        let all = self.nodes[0].get("/api/v1/nodes").await?.json()?;
        Ok(all["nodes"][number - 1].clone())
    }

    /// What each node answers for the user, and where from.
    async fn answers(&self, user: i64) -> Result<Vec<(String, String)>> {
        let all = self.nodes[0].get(&format!("/api/v1/nodes/users/{user}")).await?.json()?;
        let answers = all["answers"].as_array().context("no answers")?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("no text");
        answers.iter().map(|it| Ok((text(&it["name"])?, text(&it["from"])?))).collect()
    }

    async fn name_at(&self, number: usize, user: i64) -> Result<String> {
        let user = self.nodes[number - 1].get(&format!("/api/v1/users/{user}")).await?.json()?;
        Ok(user["name"].as_str().context("no name")?.to_owned())
    }

    async fn rename(&self, number: usize, user: i64, name: &str) -> Result<()> {
        let path = format!("/api/v1/users/{user}");
        let answer = self.nodes[number - 1].put(&path, &json!({ "name": name })).await?;
        answer.expect_status(StatusCode::OK)?.expect_header("x-invalidation", "done")?;
        Ok(())
    }

    async fn set_bus(&self, number: usize, way: &str) -> Result<()> {
        let path = format!("/api/v1/nodes/{number}/bus/{way}");
        let node = self.nodes[0].post(&path, &json!({})).await?.json()?;
        ensure!(node["bus"]["way"] == way, "{node}");
        Ok(())
    }

    fn stop(mut self) -> Result<()> {
        self.process.interrupt()?;
        let status = self.process.wait(PATIENCE)?;
        ensure!(status.success(), "it ended with {status}: {}", self.process.said());
        ensure!(!self.process.said().contains("panicked"), "{}", self.process.said());
        Ok(())
    }
}

#[tokio::test]
async fn what_one_node_changes_all_of_them_show() -> Result<()> {
    for fleet in [Fleet::on_redis()?, Fleet::start(None)?] {
        fleet.until_all_hear().await;
        for number in 1..=3 {
            fleet.name_at(number, 42).await?;
        }
        let sources: Vec<_> = fleet.answers(42).await?.into_iter().map(|(_, from)| from).collect();
        ensure!(sources == ["local"; 3], "they answer from {sources:?}");

        for (writer, name) in [(1, "Ada at One"), (2, "Ada at Two"), (3, "Ada at Three")] {
            fleet.rename(writer, 42, name).await?;
            ensure!(
                fleet.name_at(writer, 42).await? == name,
                "node {writer} forgot its own change"
            );
            for number in 1..=3 {
                let shows = async || fleet.name_at(number, 42).await.is_ok_and(|it| it == name);
                eventually(&format!("node {number} shows {name}"), shows).await;
            }
        }

        // As the page has it done.
        let told = fleet.nodes[2].post("/api/v1/nodes/1/users/42", &json!({})).await?.json()?;
        for seen in told["seen"].as_array().context("no nodes")? {
            ensure!(seen["ms"].as_f64().is_some_and(|ms| ms < 10_000.0), "{told}");
        }
        for (name, _) in fleet.answers(42).await? {
            ensure!(told["name"] == name, "{name} after {told}");
        }
        fleet.stop()?;
    }
    Ok(())
}

#[tokio::test]
async fn a_node_that_knows_its_bus_is_broken_never_shows_what_is_old() -> Result<()> {
    let fleet = Fleet::on_redis()?;
    fleet.until_all_hear().await;
    fleet.name_at(2, 43).await?;
    ensure!(fleet.answers(43).await?[1].1 == "local", "node 2 does not have the user");

    fleet.set_bus(2, "broken").await?;
    let broken_since = Instant::now();
    fleet.until_it_hears(2, false).await;
    // At once: that it hears nothing any more would take it twice as long to find out.
    let took = broken_since.elapsed();
    ensure!(took < Duration::from_millis(1_500), "it was not told, and took {took:?}");
    for n in 0..50 {
        let name = format!("Unheard {n}");
        fleet.rename(1, 43, &name).await?;
        let shown = fleet.name_at(2, 43).await?;
        ensure!(shown == name, "{name} was acknowledged, and node 2 shows {shown}");
        // Without a change it is checked too, and comes from the store.
        let (shown, from) = fleet.answers(43).await?.swap_remove(1);
        ensure!((shown, &*from) == (name, "store"), "it is not held against the store: {from}");
    }
    ensure!(fleet.node(2).await?["bus"]["checks"].as_u64() > Some(0), "nothing was checked");

    let said = fleet.process.said();
    let lost: Vec<_> = said.lines().filter(|line| line.contains("is not heard")).collect();
    ensure!(!lost.is_empty() && lost.iter().all(|it| it.contains("node{number=2}")), "{lost:#?}");

    // What it changes itself, it tells when it can.
    fleet.name_at(1, 44).await?;
    fleet.rename(2, 44, "Told Later").await?;
    ensure!(fleet.node(2).await?["bus"]["waiting"].as_u64() > Some(0), "nothing waits to be told");
    fleet.set_bus(2, "whole").await?;
    fleet.until_it_hears(2, true).await;
    let is_told = async || fleet.name_at(1, 44).await.is_ok_and(|it| it == "Told Later");
    eventually("node 1 is told", is_told).await;
    fleet.name_at(2, 43).await?;
    ensure!(fleet.answers(43).await?[1].1 == "local", "its own memory is not used again");
    fleet.stop()
}

#[tokio::test]
async fn a_node_whose_bus_is_silent_shows_what_is_old_for_no_longer_than_its_bound() -> Result<()> {
    let fleet = Fleet::on_redis()?;
    fleet.until_all_hear().await;
    fleet.name_at(2, 45).await?;
    fleet.set_bus(2, "silent").await?;
    let silent_since = Instant::now();
    fleet.rename(1, 45, "In Silence").await?;
    let shows_it = async || fleet.name_at(2, 45).await.is_ok_and(|it| it == "In Silence");
    eventually("node 2 finds out", shows_it).await;
    let took = silent_since.elapsed();
    ensure!(took < SILENCE + SLACK, "it took {took:?}");

    fleet.until_it_hears(2, false).await;
    for n in 0..20 {
        let name = format!("Still Unheard {n}");
        fleet.rename(3, 45, &name).await?;
        let shown = fleet.name_at(2, 45).await?;
        ensure!(shown == name, "{name} was acknowledged, and node 2 shows {shown}");
    }
    fleet.set_bus(2, "whole").await?;
    fleet.until_it_hears(2, true).await;
    fleet.stop()
}

#[tokio::test]
async fn each_node_is_ready_and_counts_for_itself() -> Result<()> {
    let fleet = Fleet::on_redis()?;
    for _ in 0..4 {
        fleet.name_at(2, 46).await?;
    }
    let mut hits = Vec::new();
    for node in &fleet.nodes {
        let ready = node.get("/readyz").await?.json()?;
        ensure!(ready["status"] == "ok", "{ready}");
        ensure!(node.get("/api/v1/stats").await?.json()?["nodes"] == 3, "it is alone");
        let metrics = node.get("/metrics").await?.text();
        for name in ["larder_invalidation_trusted", "larder_redis_connected"] {
            ensure!(metrics.contains(name), "no {name} in: {metrics}");
        }
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("larder_cache_hits_total{cache=\"users\"} "));
        hits.push(line.context("no hits are counted")?.to_owned());
    }
    ensure!(hits == ["0", "3", "0"], "they have counted {hits:?}");
    fleet.stop()
}

#[tokio::test]
async fn what_cannot_be_done_to_a_node_is_named() -> Result<()> {
    let fleet = Fleet::start(None)?;
    let node = &fleet.nodes[0];
    for path in
        ["/api/v1/nodes/4/bus/broken", "/api/v1/nodes/0/users/42", "/api/v1/nodes/1/bus/bent"]
    {
        node.post(path, &json!({})).await?.problem(StatusCode::NOT_FOUND, &[])?;
    }
    for path in ["/api/v1/nodes/users/nobody", "/api/v1/nodes/users/0"] {
        node.get(path).await?.problem(StatusCode::BAD_REQUEST, &["user"])?;
    }
    let path = "/api/v1/nodes/1/bus/broken";
    node.get(path).await?.problem(StatusCode::METHOD_NOT_ALLOWED, &[])?;
    for foreign in [
        ("sec-fetch-site", "cross-site"),
        ("origin", "http://shop.example"),
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("host", "shop.example"),
    ] {
        for path in [path, "/api/v1/nodes/1/users/42"] {
            let refused = node.send(http::Method::POST, path, &[foreign], None).await?;
            refused.problem(StatusCode::FORBIDDEN, &[])?;
        }
    }
    ensure!(fleet.node(1).await?["bus"]["way"] == "whole", "it was broken all the same");
    let own = [("origin", node.base()), ("sec-fetch-site", "same-origin")];
    node.send(http::Method::POST, path, &own, None).await?.expect_status(StatusCode::OK)?;
    fleet.stop()
}

#[tokio::test]
async fn behind_a_proxy_nobody_breaks_a_node() -> Result<()> {
    let fleet = Fleet::start_with(None, &["--trusted-proxies", "1", "--rate-limit", "0"])?;
    // Also where it says nothing of it.
    let refused = fleet.nodes[0].post("/api/v1/nodes/1/bus/broken", &json!({})).await?;
    refused.problem(StatusCode::FORBIDDEN, &[])?;
    ensure!(fleet.node(1).await?["bus"]["way"] == "whole", "it was broken all the same");
    fleet.stop()
}

#[tokio::test]
async fn what_asks_the_database_is_limited_and_what_the_page_shows_is_not() -> Result<()> {
    let fleet = Fleet::start_with(None, &["--rate-limit", "2"])?;
    let [one, two, three] = &fleet.nodes[..] else { anyhow::bail!("no three nodes") };
    one.get("/api/v1/nodes/users/42").await?.expect_status(StatusCode::OK)?;
    two.post("/api/v1/nodes/1/bus/whole", &json!({})).await?.expect_status(StatusCode::OK)?;
    let limited = StatusCode::TOO_MANY_REQUESTS;
    three.get("/api/v1/nodes/users/42").await?.expect_status(limited)?;
    for path in ["/api/v1/nodes/1/users/42", "/api/v1/nodes/1/bus/broken"] {
        three.post(path, &json!({})).await?.expect_status(limited)?;
    }
    for node in &fleet.nodes {
        node.get("/api/v1/nodes").await?.expect_status(StatusCode::OK)?;
    }
    fleet.stop()
}

#[test]
fn ports_that_are_not_there_or_taken_are_named() -> Result<()> {
    let folder = TempDir::new()?;
    let database = folder.path().join("shop.db");
    let run = |arguments: &[&str]| -> Result<String> {
        let mut command = std::process::Command::new(program()?);
        command.env_remove("LARDER_REDIS_URL").arg("--database").arg(&database);
        let mut process = Process::start(command.args(arguments))?;
        let status = process.wait(PATIENCE)?;
        ensure!(!status.success(), "{arguments:?}: it ended well: {}", process.said());
        Ok(process.said())
    };
    let said = run(&["--nodes", "3", "--port", "65534"])?;
    ensure!(said.contains("65536") && said.contains("65533 at most"), "{said}");
    for nodes in ["0", "17", "many"] {
        let said = run(&["--nodes", nodes])?;
        ensure!(said.contains("--nodes") && said.contains(nodes), "{said}");
    }
    // The port after the first.
    let (first, _second) = two_ports()?;
    let said = run(&["--nodes", "2", "--port", &first.to_string()])?;
    ensure!(said.contains(&format!(":{}", first + 1)) && said.contains("--port"), "{said}");
    ensure!(!database.exists(), "a database was filled in vain");
    Ok(())
}

/// A port that is free, and the one after it, taken.
fn two_ports() -> Result<(u16, TcpListener)> {
    for _ in 0..100 {
        let first = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        if let Some(second) = first.checked_add(1)
            && let Ok(taken) = TcpListener::bind(("127.0.0.1", second))
        {
            return Ok((first, taken));
        }
    }
    anyhow::bail!("no two ports are free beside each other")
}
