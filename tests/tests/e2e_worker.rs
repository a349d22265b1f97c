//! Every case of the demo, on the Worker: in workerd, with local KV, Durable Objects and D1.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use http::StatusCode;
use larder_demo::seed;
use larder_tests::e2e::{Limit, Target, run_trials, trials};
use larder_tests::http_client::HttpClient;
use larder_tests::wrangler::{Worker, Wrangler};
use libtest_mimic::Trial;
use tempfile::NamedTempFile;
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
    filled(built()?.variable("RATE_LIMIT", "0"), seed::PRODUCTS)
}

fn limited() -> Result<Worker> {
    filled(built()?, 20)
}

fn filled(wrangler: Wrangler, products: usize) -> Result<Worker> {
    wrangler.command(["d1", "migrations", "apply", "DATABASE"])?;
    let mut sql = NamedTempFile::with_suffix(".sql")?;
    for statement in seed::statements(products) {
        writeln!(sql, "{statement}")?;
    }
    wrangler.command(["d1", "execute", "DATABASE", "--file", &sql.path().display().to_string()])?;
    wrangler.dev()
}

fn built() -> Result<Wrangler> {
    let wrangler = Wrangler::new("demo-worker")?;
    wrangler.build()?;
    Ok(wrangler)
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

fn main() -> ExitCode {
    let mut all = trials(WORKER, unlimited);
    all.extend(trials(Target { limit: LIMIT, ..WORKER }, limited));
    all.push(Trial::test("worker_with_a_bad_limit::is_told", || {
        let test = a_limit_that_is_no_number_is_told();
        Runtime::new()?.block_on(test).map_err(|error| format!("{error:#}").into())
    }));
    all.push(Trial::test("worker_without_tables::is_told_and_logged", || {
        let test = a_database_without_tables_is_told_and_logged();
        Runtime::new()?.block_on(test).map_err(|error| format!("{error:#}").into())
    }));
    run_trials(all)
}
