//! Rate limits inside workerd, by the Worker in `tests/worker`: that they allow exactly what their
//! quotas say, and say what the pure function says.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use futures::stream::{self, StreamExt, TryStreamExt};
use http::StatusCode;
use larder_tests::http_client::HttpClient;
use larder_tests::test_worker::TestWorker;
use larder_tests::trials::Trials;
use serde_json::Value;

/// Of the quota that everybody wants something of.
const LIMIT: usize = 1_000;
const REQUESTS: usize = 1_100;
const ROUNDS: usize = 10;
/// How many requests are under way at the same time.
const AT_ONCE: usize = 64;
/// How many histories are played, and how many by one request.
const HISTORIES: usize = 3_000;
const IN_ONE_REQUEST: usize = 250;
const PATIENCE: Duration = Duration::from_secs(120);

/// A test of the Worker.
type Test = fn(&TestWorker) -> Result<()>;

fn main() -> ExitCode {
    let worker = Arc::new(TestWorker::new(PATIENCE));
    let mut trials = Trials::default();
    let tests: [(&str, Test); 5] = [
        ("durable::of 1100 requests at once a quota of 1000 allows 1000 in ten rounds", exactness),
        ("durable::three thousand histories say what the pure function says", histories),
        ("durable::an alarm removes what is over and nobody asks for", alarm),
        ("kv::two isolates hear of each other", kv),
        ("prefilter::a binding refuses and what it lets pass is counted exactly", prefilter),
    ];
    for (name, test) in tests {
        let worker = Arc::clone(&worker);
        trials.test(name.replace(' ', "_"), move || test(&worker));
    }
    let code = trials.run();
    worker.stop();
    code
}

fn exactness(worker: &TestWorker) -> Result<()> {
    // Wrangler's proxy would be what is tested most.
    let workerd = worker.behind_the_proxy()?;
    let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    worker.run(|_| async move {
        let client = HttpClient::new(&workerd);
        for round in 0..ROUNDS {
            let path = format!("/take/exact-{run}-{round}?limit={LIMIT}");
            let requests = (0..REQUESTS).map(|_| async {
                let answer = client.get(&path).await?.expect_status(StatusCode::OK)?.text();
                Ok::<bool, anyhow::Error>(match answer.as_str() {
                    "allowed" => true,
                    "refused" => false,
                    other => bail!("a request got {other:?}"),
                })
            });
            let answers: Vec<bool> =
                stream::iter(requests).buffer_unordered(AT_ONCE).try_collect().await?;
            let allowed = answers.into_iter().filter(|allowed| *allowed).count();
            ensure!(allowed == LIMIT, "in round {round} {allowed} were allowed");
        }
        Ok(())
    })
}

fn histories(worker: &TestWorker) -> Result<()> {
    let mut checks = 0;
    for from in (0..HISTORIES).step_by(IN_ONE_REQUEST) {
        let to = from + IN_ONE_REQUEST;
        let seen: Value = worker.json(&format!("/histories?from={from}&to={to}"))?;
        ensure!(seen["histories"] == IN_ONE_REQUEST, "not all were played: {seen}");
        checks += seen["checks"].as_u64().context("no number of checks")?;
    }
    ensure!(checks > 10 * HISTORIES as u64, "the histories have {checks} checks in all");
    Ok(())
}

fn alarm(worker: &TestWorker) -> Result<()> {
    let seen: Value = worker.json("/probe/limits-alarm")?;
    ensure!(seen["written"] == 3, "two counts and a block were not written: {seen}");
    ensure!(seen["left"] == 1, "what is over still lies in the storage: {seen}");
    ensure!(seen["stands"] == true, "what is not over is gone: {seen}");
    Ok(())
}

fn prefilter(worker: &TestWorker) -> Result<()> {
    let seen: Value = worker.json("/probe/prefilter")?;
    let number = |name: &str| seen[name].as_u64().with_context(|| format!("no {name}: {seen}"));
    let (allowed, by_binding) = (number("allowed")?, number("by_binding")?);
    // One period of the binding may end meanwhile, and another begin.
    ensure!((5..=10).contains(&allowed), "the binding let {allowed} of 30 pass: {seen}");
    ensure!(allowed + by_binding == 30, "the rest were not refused by the binding: {seen}");
    ensure!(number("left")? + allowed == 20, "the store counted something else: {seen}");
    ensure!(seen["other"] == true, "another key was refused: {seen}");
    let missing = seen["missing"].as_str().unwrap_or_default();
    ensure!(missing.contains("[[ratelimits]]"), "a binding of another kind was taken: {seen}");
    Ok(())
}

fn kv(worker: &TestWorker) -> Result<()> {
    let seen: Value = worker.json("/probe/kv-limits")?;
    for isolate in 0..2 {
        ensure!(seen["left"][isolate] == 65, "isolate {isolate} did not hear of the other: {seen}");
    }
    ensure!(seen["late"] == 64, "a third one did not begin with what was told: {seen}");
    Ok(())
}
