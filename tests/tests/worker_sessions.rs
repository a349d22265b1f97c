//! Sessions on Durable Objects inside workerd, by the Worker in `tests/worker`: requests of a visitor
//! that overtake one another, by the thousand and over HTTP.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use futures::future::try_join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use http::StatusCode;
use larder_core::session::race::{Act, Outcome, Remains, judge};
use larder_tests::http_client::HttpClient;
use larder_tests::test_worker::TestWorker;
use larder_tests::trials::Trials;
use serde::de::DeserializeOwned;

/// How many visitors there are for each race.
const VISITORS: usize = 1_000;
/// How many of them are there at the same time.
const AT_ONCE: usize = 8;
/// How long a visitor whose connection broke comes anew, and a race goes on in which nothing was
/// overtaken: on a busy machine workerd closes connections that waited.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the requests of a visitor do.
type Acts = fn(&mut fastrand::Rng) -> Vec<Act>;

fn main() -> ExitCode {
    let worker = Arc::new(TestWorker::new(PATIENCE));
    let mut trials = Trials::default();
    let races: [(&str, Acts); 5] = [
        ("a thousand log-outs against saves", |_| vec![Act::Save, Act::LogOut]),
        ("a thousand renewals against saves", |_| vec![Act::Save, Act::Renew]),
        ("a thousand times two saves of different keys", |_| vec![Act::Save, Act::Save]),
        ("a thousand log-outs everywhere against renewals", |_| vec![Act::Renew, Act::EndAll]),
        ("a thousand times anything at once", |random| {
            (0..random.usize(2..6)).filter_map(|_| random.choice(Act::ALL)).collect()
        }),
    ];
    for (number, (name, acts)) in races.into_iter().enumerate() {
        let worker = Arc::clone(&worker);
        trials.test(format!("durable::{}", name.replace(' ', "_")), move || {
            race(&worker, number, name, acts)
        });
    }
    let code = trials.run();
    worker.stop();
    code
}

fn race(worker: &TestWorker, number: usize, name: &str, acts: Acts) -> Result<()> {
    let is_to_lose = name.contains("log-outs against saves");
    worker.run(|_| async move {
        let client = &at_the_door(worker, PATIENCE).await?;
        let begun = Instant::now();
        for round in 0.. {
            let visitors = (0..VISITORS).map(|visitor| {
                let acts = acts(&mut fastrand::Rng::with_seed(visitor as u64));
                // Races run at the same time, and none is to see another's visitors.
                let user = format!("{number}-{round}-{visitor}");
                async move { patiently(worker, client, &user, &acts).await }
            });
            let visits = stream::iter(visitors).buffer_unordered(AT_ONCE);
            let lost = visits.try_fold(0, async |sum, lost| Ok(sum + lost)).await?;
            if lost > 0 || !is_to_lose {
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "no log-out overtook a save");
        }
        Ok(())
    })
}

/// A client of workerd itself, once it answers: wrangler's proxy would be what is tested most. Where
/// workerd listens is looked up each time, as wrangler may start it anew, elsewhere.
async fn at_the_door(worker: &TestWorker, patience: Duration) -> Result<HttpClient> {
    let begun = Instant::now();
    loop {
        let client = HttpClient::new(&worker.behind_the_proxy()?).patience(PATIENCE);
        match client.get("/sessions/remains?user=nobody").await {
            Ok(_) => return Ok(client),
            Err(error) if begun.elapsed() > patience => {
                return Err(error.context("workerd does not answer"));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// A visit, anew and as somebody else for as long as connections break.
async fn patiently(
    worker: &TestWorker,
    client: &HttpClient,
    user: &str,
    acts: &[Act],
) -> Result<usize> {
    let begun = Instant::now();
    let mut client = client.clone();
    for again in 0.. {
        match visit(&client, &format!("{user}-{again}"), acts).await {
            Ok(lost) => return Ok(lost),
            Err(Trouble::Broken(why)) => {
                let waited = begun.elapsed();
                let left = PATIENCE.checked_sub(waited).with_context(|| {
                    format!(
                        "visitor {user}: {} connections broke in {waited:?}: {why:#}",
                        again + 1
                    )
                })?;
                client = at_the_door(worker, left).await?;
            }
            Err(Trouble::Wrong(what)) => return Err(what),
        }
    }
    Ok(0)
}

/// Why a visit came to nothing.
enum Trouble {
    /// A connection broke: what that request did is not known.
    Broken(anyhow::Error),
    /// Something is as it must not be.
    Wrong(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Wrong(error.into())
    }
}

/// All requests of a visitor at once; how many of them found their session gone when they saved.
async fn visit(client: &HttpClient, user: &str, acts: &[Act]) -> Result<usize, Trouble> {
    let id: String = ask(client, &format!("/sessions/begin?user={user}")).await?;
    let requests = acts.iter().enumerate().map(|(number, act)| {
        let id = &id;
        async move {
            let act = serde_json::to_value(act)?;
            let act = act.as_str().context("an act is a text")?;
            let path = format!("/sessions/act?user={user}&act={act}&number={number}&id={id}");
            ask::<Outcome>(client, &path).await
        }
    });
    let outcomes = try_join_all(requests).await?;
    let remains: Remains = ask(client, &format!("/sessions/remains?user={user}")).await?;
    judge(&outcomes, &remains).map_err(|wrong| anyhow!("visitor {user}: {wrong}"))?;
    Ok(outcomes.iter().filter(|outcome| outcome.is_lost).count())
}

async fn ask<T: DeserializeOwned>(client: &HttpClient, path: &str) -> Result<T, Trouble> {
    let answer = client.get(path).await.map_err(Trouble::Broken)?;
    let body = answer.expect_status(StatusCode::OK)?.json()?;
    Ok(serde_json::from_value(body).with_context(|| format!("GET {path}"))?)
}
