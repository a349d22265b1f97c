//! Every case of the demo, on the Worker: in workerd, with local KV, Durable Objects and D1.

mod demo_worker;

use std::process::ExitCode;

use anyhow::Result;
use demo_worker::{built, filled};
use http::StatusCode;
use larder_demo::seed;
use larder_tests::e2e::{Limit, Target, run_trials, trials};
use larder_tests::http_client::HttpClient;
use larder_tests::wrangler::Worker;
use libtest_mimic::Trial;
use tokio::runtime::Runtime;

/// On this machine workerd serves all requests with one isolate.
const WORKER: Target = Target {
    name: "worker",
    store: "durable and kv",
    one_process: true,
    metrics: true,
    limit: None,
};

/// The limit is the one that `wrangler.toml` has.
const LIMIT: Option<Limit> = Some(Limit { requests: 100, client: "cf-connecting-ip" });

fn unlimited() -> Result<Worker> {
    filled(demo_worker::unlimited()?, seed::PRODUCTS)
}

fn limited() -> Result<Worker> {
    filled(built()?, 20)
}

/// A deployment whose migrations were forgotten.
async fn a_database_without_tables_is_told_and_logged() -> Result<()> {
    let worker = built()?.dev()?;
    let shop = HttpClient::new(worker.base());
    shop.get("/healthz").await?.expect_status(StatusCode::OK)?;
    for path in ["/readyz", "/api/v1/products", "/api/v1/users/1", "/api/v1/config"] {
        shop.get(path).await?.problem(StatusCode::SERVICE_UNAVAILABLE, &[])?;
    }
    worker.wait_for("the database failed at ready: no such table: settings")
}

async fn a_limit_that_is_no_number_is_told() -> Result<()> {
    let worker = built()?.variable("RATE_LIMIT", "many").dev()?;
    let answer = HttpClient::new(worker.base()).get("/healthz").await?;
    answer.expect_status(StatusCode::INTERNAL_SERVER_ERROR)?;
    worker.wait_for("the variable RATE_LIMIT: \"many\" is no number of requests a minute")
}

/// A secret that everybody knows would be none: there is no default.
async fn a_missing_secret_is_told() -> Result<()> {
    let worker = built()?.variable("SESSION_SECRET", "").dev()?;
    let answer = HttpClient::new(worker.base()).get("/healthz").await?;
    answer.expect_status(StatusCode::INTERNAL_SERVER_ERROR)?;
    worker.wait_for("`wrangler secret put SESSION_SECRET`")
}

fn main() -> ExitCode {
    let mut all = trials(WORKER, unlimited);
    all.extend(trials(Target { limit: LIMIT, ..WORKER }, limited));
    all.push(Trial::test("worker_with_a_bad_limit::is_told", || {
        let test = a_limit_that_is_no_number_is_told();
        Runtime::new()?.block_on(test).map_err(|error| format!("{error:#}").into())
    }));
    all.push(Trial::test("worker_without_a_secret::is_told", || {
        let test = a_missing_secret_is_told();
        Runtime::new()?.block_on(test).map_err(|error| format!("{error:#}").into())
    }));
    all.push(Trial::test("worker_without_tables::is_told_and_logged", || {
        let test = a_database_without_tables_is_told_and_logged();
        Runtime::new()?.block_on(test).map_err(|error| format!("{error:#}").into())
    }));
    run_trials(all)
}
