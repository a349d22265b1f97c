//! Many requests for a value that is not there, against workerd: all are answered, and the origin is
//! asked once or twice. A request may not wait for another's future there, see `larder_kv`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use http::StatusCode;
use larder_tests::http_client::HttpClient;
use larder_tests::test_worker::TestWorker;
use larder_tests::trials::Trials;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const REQUESTS: usize = 200;
const ROUNDS: usize = 10;
/// How long the origin takes.
const LOAD_MS: u64 = 300;
/// Of rounds whose leader is lost: each takes as long as it is waited for.
const LOST_ROUNDS: usize = 1;
/// Of a leader that is lost: long enough that workerd, however busy with the others, knows first that
/// its client has left, and shorter than it is waited for.
const LOST_LOAD_MS: u64 = 4_000;
/// No request takes this long; one that hangs does.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let worker = Arc::new(TestWorker::new(PATIENCE));
    let mut trials = Trials::default();
    for backend in ["kv", "durable", "kv+leases"] {
        let mut leaders =
            vec![("all_stay", Leader::Stays), ("the_leader_disconnects", Leader::Disconnects)];
        // A lease that nobody gives back is waited for until it expires.
        if !backend.ends_with("+leases") {
            leaders.push(("the_leader_is_lost", Leader::IsLost));
        }
        for (name, leader) in leaders {
            let worker = Arc::clone(&worker);
            trials.test(format!("{backend}::{name}"), move || {
                let workerd = worker.behind_the_proxy()?;
                worker.run(|client| rounds(client, &workerd, backend, leader))
            });
        }
    }
    let code = trials.run();
    worker.stop();
    code
}

#[derive(Clone, Copy, PartialEq)]
enum Leader {
    Stays,
    /// Its client leaves, and it runs to its end.
    Disconnects,
    /// Its client leaves, and workerd ends it: as it ends the former, but for `run_to_end`.
    IsLost,
}

async fn rounds(client: HttpClient, workerd: &str, backend: &str, leader: Leader) -> Result<()> {
    let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    for round in 0..if leader == Leader::IsLost { LOST_ROUNDS } else { ROUNDS } {
        let key = format!("{run}-{round}");
        one_round(&client, workerd, backend, &key, leader)
            .await
            .with_context(|| format!("in round {round}"))?;
    }
    Ok(())
}

async fn one_round(
    client: &HttpClient,
    workerd: &str,
    backend: &str,
    key: &str,
    leader: Leader,
) -> Result<()> {
    let path = format!("/load/{backend}/{key}?ms={LOAD_MS}");
    let lost = format!("/load/{backend}/{key}?ms={LOST_LOAD_MS}&ends_with_client");
    let first = match leader {
        Leader::Stays => None,
        Leader::Disconnects => Some(leader_of(client, workerd, &path, key).await?),
        Leader::IsLost => Some(leader_of(client, workerd, &lost, key).await?),
    };
    let gone = usize::from(first.is_some());
    let requests = (gone..REQUESTS).map(|_| client.get(&path));
    // Closed while the others wait for its load.
    let leave = async { drop(first) };
    let (answers, ()) = futures::future::join(try_join_all(requests), leave).await;
    let mut of_the_leader = 0;
    for answer in answers? {
        let text = answer.expect_status(StatusCode::OK)?.text();
        let load = text.strip_prefix(&format!("{key} by load "));
        let load = load.with_context(|| format!("a request got {text:?}"))?;
        of_the_leader += usize::from(load == "1");
    }
    let loads = loads(client, key).await?;
    ensure!((1..=2).contains(&loads), "the origin was asked {loads} times");
    match leader {
        Leader::Stays => {}
        Leader::Disconnects => {
            ensure!(of_the_leader > 0, "the load ended with the leader's client")
        }
        Leader::IsLost => {
            ensure!(of_the_leader == 0, "workerd went on without the leader's client")
        }
    }
    Ok(())
}

/// A connection whose request has begun to load. Dropped, it is reset: workerd takes a mere end of
/// what the client sends for no departure.
async fn leader_of(client: &HttpClient, workerd: &str, path: &str, key: &str) -> Result<TcpStream> {
    let address = workerd.trim_start_matches("http://");
    let mut connection = TcpStream::connect(address).await?;
    connection.set_zero_linger()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    while loads(client, key).await? == 0 {}
    Ok(connection)
}

async fn loads(client: &HttpClient, key: &str) -> Result<u32> {
    let answer = client.get(&format!("/loads/{key}")).await?;
    answer.expect_status(StatusCode::OK)?.text().parse().context("no number of loads")
}
