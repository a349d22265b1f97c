//! Sessions on Durable Objects inside workerd, by the Worker in `tests/worker`: requests of a visitor
//! that overtake one another, by the thousand and over HTTP.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail, ensure};
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
const AT_ONCE: usize = 16;
/// How often a visitor comes anew whose connection broke: workerd closes those that waited.
const TRIES: usize = 3;
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
    for (name, acts) in races {
        let worker = Arc::clone(&worker);
        trials.test(format!("durable::{}", name.replace(' ', "_")), move || {
            race(&worker, name, acts)
        });
    }
    let code = trials.run();
    worker.stop();
    code
}

fn race(worker: &TestWorker, name: &str, acts: Acts) -> Result<()> {
    // Wrangler's proxy would be what is tested most.
    let workerd = worker.behind_the_proxy()?;
    let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let lost: usize = worker.run(|_| async move {
        let client = HttpClient::new(&workerd);
        let visitors = (0..VISITORS).map(|visitor| {
            let client = &client;
            let acts = acts(&mut fastrand::Rng::with_seed(visitor as u64));
            async move {
                for again in 0..TRIES {
                    let user = format!("{run}-{visitor}-{again}");
                    if let Some(lost) = visit(client, &user, &acts).await? {
                        return Ok(lost);
                    }
                }
                bail!("the connections of visitor {visitor} broke {TRIES} times")
            }
        });
        let visits = stream::iter(visitors).buffer_unordered(AT_ONCE);
        visits.try_fold(0, async |sum, lost| Ok(sum + lost)).await
    })?;
    ensure!(!name.contains("log-outs against saves") || lost > 0, "no log-out overtook a save");
    Ok(())
}

/// All requests of a visitor at once; how many of them found their session gone when they saved.
/// `None` where a connection broke: what that request did is not known.
async fn visit(client: &HttpClient, user: &str, acts: &[Act]) -> Result<Option<usize>> {
    let begun = ask::<String>(client, &format!("/sessions/begin?user={user}")).await?;
    let Some(id) = begun else { return Ok(None) };
    let requests = acts.iter().enumerate().map(|(number, act)| {
        let id = &id;
        async move {
            let act = serde_json::to_value(act)?;
            let act = act.as_str().context("an act is a text")?;
            let path = format!("/sessions/act?user={user}&act={act}&number={number}&id={id}");
            ask::<Outcome>(client, &path).await
        }
    });
    let outcomes: Option<Vec<Outcome>> = try_join_all(requests).await?.into_iter().collect();
    let remains = ask::<Remains>(client, &format!("/sessions/remains?user={user}")).await?;
    let (Some(outcomes), Some(remains)) = (outcomes, remains) else { return Ok(None) };
    judge(&outcomes, &remains).map_err(|wrong| anyhow!("visitor {user}: {wrong}"))?;
    Ok(Some(outcomes.iter().filter(|outcome| outcome.is_lost).count()))
}

/// `None` where the connection broke.
async fn ask<T: DeserializeOwned>(client: &HttpClient, path: &str) -> Result<Option<T>> {
    let Ok(answer) = client.get(path).await else { return Ok(None) };
    let body = answer.expect_status(StatusCode::OK)?.json()?;
    serde_json::from_value(body).map(Some).with_context(|| format!("GET {path}"))
}
