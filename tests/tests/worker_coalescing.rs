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
/// No request takes this long; one that hangs does.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let worker = Arc::new(TestWorker::new(PATIENCE));
    let mut trials = Trials::default();
    for backend in ["kv", "durable", "kv+leases"] {
        for (name, leader) in
            [("all_stay", Leader::Stays), ("the_leader_disconnects", Leader::Disconnects)]
        {
            let worker = Arc::clone(&worker);
            trials.test(format!("{backend}::{name}"), move || {
                worker.run(|client| rounds(client, backend, leader))
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
    Disconnects,
}

async fn rounds(client: HttpClient, backend: &str, leader: Leader) -> Result<()> {
    let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    for round in 0..ROUNDS {
        let key = format!("{run}-{round}");
        one_round(&client, backend, &key, leader)
            .await
            .with_context(|| format!("in round {round}"))?;
    }
    Ok(())
}

async fn one_round(client: &HttpClient, backend: &str, key: &str, leader: Leader) -> Result<()> {
    let path = format!("/load/{backend}/{key}?ms={LOAD_MS}");
    let first = match leader {
        Leader::Stays => None,
        Leader::Disconnects => Some(leader_of(client, &path, key).await?),
    };
    let gone = usize::from(first.is_some());
    let requests = (gone..REQUESTS).map(|_| client.get(&path));
    // Closed while the others wait for its load.
    let leave = async { drop(first) };
    let (answers, ()) = futures::future::join(try_join_all(requests), leave).await;
    for answer in answers? {
        answer.expect_status(StatusCode::OK)?;
        let text = answer.text();
        ensure!(text == format!("the value of {key}"), "a request got {text:?}");
    }
    let loads = loads(client, key).await?;
    ensure!((1..=2).contains(&loads), "the origin was asked {loads} times");
    Ok(())
}

/// A connection whose request has begun to load.
async fn leader_of(client: &HttpClient, path: &str, key: &str) -> Result<TcpStream> {
    let address = client.base().trim_start_matches("http://");
    let mut connection = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    while loads(client, key).await? == 0 {}
    Ok(connection)
}

async fn loads(client: &HttpClient, key: &str) -> Result<u32> {
    let answer = client.get(&format!("/loads/{key}")).await?;
    answer.expect_status(StatusCode::OK)?.text().parse().context("no number of loads")
}
