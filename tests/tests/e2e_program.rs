//! The demo server as a program: its arguments, what it says, and what it never says.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use larder_tests::demo_server::{command, program, wait_for_address};
use larder_tests::e2e::{Load, Shop, Target};
use larder_tests::eventually;
use larder_tests::http_client::HttpClient;
use larder_tests::process::Process;
use larder_tests::redis_server::RedisServer;
use serde_json::json;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &str = "hunter2-is-a-secret";

/// Runs it to its end; its exit code, and what it said.
fn run(command: &mut Command) -> Result<(i32, String)> {
    let mut process = Process::start(command)?;
    let status = process.wait(PATIENCE)?;
    Ok((status.code().context("a signal ended it")?, process.said()))
}

/// Runs it with these arguments, and expects it to fail and to say all of this.
fn fails(arguments: &[&str], said: &[&str]) -> Result<()> {
    let folder = TempDir::new()?;
    let mut command = command(&folder.path().join("shop.db"))?;
    let (code, text) = run(command.args(arguments))?;
    ensure!(code != 0, "{arguments:?}: it ended well: {text}");
    for said in said {
        ensure!(text.contains(said), "{arguments:?}: no {said:?} in: {text}");
    }
    ensure!(!text.contains(SECRET), "{arguments:?}: it gives away the password: {text}");
    ensure!(!text.contains("panicked"), "{arguments:?}: it panicked: {text}");
    Ok(())
}

/// Starts it on this database; where it listens.
fn start(database: &Path) -> Result<(Process, String)> {
    let process = Process::start(&mut command(database)?)?;
    let base = wait_for_address(&process)?;
    Ok((process, base))
}

fn stop(mut process: Process) -> Result<String> {
    process.interrupt()?;
    let status = process.wait(PATIENCE)?;
    ensure!(status.success(), "it ended with {status}: {}", process.said());
    Ok(process.said())
}

#[test]
fn help_names_every_argument_and_no_secret() -> Result<()> {
    let url = format!("redis://:{SECRET}@cache.internal");
    for flag in ["--help", "-h"] {
        let mut command = Command::new(program()?);
        let command = command.arg(flag).env("LARDER_REDIS_URL", &url);
        let (code, text) = run(command.env("LARDER_SESSION_SECRET", SECRET))?;
        ensure!(code == 0, "it ended with {code}");
        for argument in [
            "--port",
            "--nodes",
            "--database",
            "--journal",
            "--redis",
            "LARDER_REDIS_URL",
            "8787",
            "--rate-limit",
            "LARDER_RATE_LIMIT",
            "100",
            "--sign-in-limit",
            "LARDER_SIGN_IN_LIMIT",
            "--session-secret",
            "LARDER_SESSION_SECRET",
            "--cookies",
            "--trusted-proxies",
            "--rate-limit-layout",
        ] {
            ensure!(text.contains(argument), "{flag} does not name {argument}: {text}");
        }
        ensure!(!text.contains(SECRET), "{flag} shows the environment: {text}");
    }
    Ok(())
}

#[test]
fn arguments_that_cannot_work_are_named() -> Result<()> {
    fails(&["--prot", "8080"], &["--prot", "--port", "--help"])?;
    fails(&["extra"], &["extra"])?;
    let mut bad_port = Command::new(program()?);
    let (code, text) = run(bad_port.args(["--port", "70000"]))?;
    ensure!(code != 0 && text.contains("70000") && text.contains("--port"), "{text}");
    fails(&["--host", "host.invalid"], &["host.invalid", "--host"])?;
    for number in ["many", "-1", "1.5", "4294967296"] {
        let argument = format!("--rate-limit={number}");
        fails(&[&argument], &[number, "--rate-limit", "or 0 for no limit"])?;
    }
    fails(&["--sign-in-limit", "few"], &["few", "--sign-in-limit"])?;
    fails(&["--session-secret", SECRET], &["--session-secret", "LARDER_SESSION_SECRET", "32"])?;
    fails(&["--cookies", "never"], &["never", "auto, https, http"])?;
    fails(&["--trusted-proxies", "all"], &["all", "--trusted-proxies"])?;
    fails(&["--journal", "no/such/folder"], &["no/such/folder", "--journal"])?;
    fails(&["--rate-limit-layout", "express"], &["--rate-limit-layout", "--redis"])?;
    fails(&["--rate-limit-layout", "plain"], &["plain", "larder, express"])
}

/// Unless told otherwise a client is known by its connection, and not by what it says.
#[tokio::test]
async fn the_limit_is_that_of_the_command_line_or_of_the_environment() -> Result<()> {
    let folder = TempDir::new()?;
    let database = folder.path().join("shop.db");
    for (arguments, environment, limit) in [
        (&[][..], None, Some("100")),
        (&[], Some("7"), Some("7")),
        (&["--rate-limit", "8"], Some("7"), Some("8")),
        (&["--rate-limit", "0"], Some("7"), None),
    ] {
        let mut command = command(&database)?;
        command.args(arguments).envs(environment.map(|limit| ("LARDER_RATE_LIMIT", limit)));
        let server = Process::start(&mut command)?;
        let shop = HttpClient::new(&wait_for_address(&server)?);
        for address in ["203.0.113.1", "203.0.113.2"] {
            let headers = [("x-forwarded-for", address)];
            let answer = shop.get_with("/api/v1/config", &headers).await?;
            let said = answer.header("x-ratelimit-limit");
            ensure!(said == limit, "{arguments:?}, {environment:?}: the limit is {said:?}");
        }
        let last = shop.get("/api/v1/config").await?;
        let left = last.header("x-ratelimit-remaining").map(str::parse::<u32>).transpose()?;
        let limit = limit.map(str::parse::<u32>).transpose()?;
        ensure!(left == limit.map(|limit| limit - 3), "{left:?} of {limit:?} are left after 3");
        stop(server)?;
    }
    Ok(())
}

#[test]
fn a_bad_url_of_redis_is_explained_without_its_password() -> Result<()> {
    for (url, said) in [
        (format!("http://:{SECRET}@cache"), "scheme"),
        (format!("redis://:{SECRET}@cache:port"), "port"),
        (format!("redis://:{SECRET}@cache/shop"), "database"),
        (format!("{SECRET}@cache:6379"), "redis://"),
    ] {
        fails(&["--redis", &url], &["--redis", said])?;
    }
    Ok(())
}

#[test]
fn a_port_in_use_is_explained() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    let folder = TempDir::new()?;
    let mut command = Command::new(program()?);
    command.args(["--port", &port, "--database"]).arg(folder.path().join("shop.db"));
    let (code, text) = run(&mut command)?;
    ensure!(code == 1, "it ended with {code}: {text}");
    for said in ["cannot listen", &port, "--port"] {
        ensure!(text.contains(said), "no {said:?} in: {text}");
    }
    Ok(())
}

#[test]
fn a_database_that_cannot_be_used_is_explained() -> Result<()> {
    let folder = TempDir::new()?;
    let foreign = folder.path().join("notes.txt");
    std::fs::write(&foreign, "This is no database. ".repeat(100))?;
    let nowhere = folder.path().join("no/such/folder/shop.db");
    for database in [&foreign, &nowhere, &folder.path().to_path_buf()] {
        let (code, text) = run(&mut command(database)?)?;
        let name = database.to_string_lossy();
        ensure!(code == 1, "{name}: it ended with {code}: {text}");
        ensure!(text.contains(&*name) && text.contains("--database"), "{name}: {text}");
    }
    let untouched = std::fs::read_to_string(&foreign)?;
    ensure!(untouched.starts_with("This is no database. "), "it wrote into a foreign file");
    Ok(())
}

#[tokio::test]
async fn a_second_start_keeps_what_the_first_one_left() -> Result<()> {
    let folder = TempDir::new()?;
    let database = folder.path().join("shop.db");
    let (first, base) = start(&database)?;
    let shop = HttpClient::new(&base);
    shop.put("/api/v1/users/7", &json!({ "name": "Still Here" })).await?.json()?;
    shop.delete("/api/v1/users/8").await?.expect_header("x-invalidation", "done")?;
    let filling = format!("filling {}", database.display());
    let said = stop(first)?;
    ensure!(said.contains(&filling), "it does not say that it fills the database: {said}");

    let (second, base) = start(&database)?;
    let shop = HttpClient::new(&base);
    let user = shop.get("/api/v1/users/7").await?.json()?;
    ensure!(user["name"] == "Still Here", "{user}");
    shop.get("/api/v1/users/8").await?.problem(http::StatusCode::NOT_FOUND, &[])?;
    let said = stop(second)?;
    ensure!(!said.contains(&filling), "it filled the database again: {said}");
    Ok(())
}

#[tokio::test]
async fn two_servers_may_fill_one_database_at_once() -> Result<()> {
    let folder = TempDir::new()?;
    let database = folder.path().join("shop.db");
    let first = Process::start(&mut command(&database)?)?;
    let second = Process::start(&mut command(&database)?)?;
    for process in [&first, &second] {
        let shop = HttpClient::new(&wait_for_address(process)?);
        let page = shop.get("/api/v1/products?limit=1").await?.json()?;
        ensure!(page["total"] == 10_000, "{page}");
    }
    stop(first)?;
    stop(second)?;
    Ok(())
}

#[tokio::test]
async fn the_environment_names_redis_and_the_command_line_goes_before_it() -> Result<()> {
    let (from_environment, from_arguments) = (RedisServer::start(), RedisServer::start());
    let folder = TempDir::new()?;
    let database = folder.path().join("shop.db");
    let environment = ("LARDER_REDIS_URL", from_environment.url());
    for (arguments, redis) in [
        (vec![], &from_environment),
        (vec![String::from("--redis"), from_arguments.url()], &from_arguments),
    ] {
        let mut command = command(&database)?;
        command.args(&arguments).env(environment.0, &environment.1);
        let server = Process::start(&mut command)?;
        let shop = HttpClient::new(&wait_for_address(&server)?);
        shop.get("/api/v1/users/9").await?.json()?;
        ensure!(redis.command(&["EXISTS", "shop:user:9"]) == ":1", "the other Redis was used");
        // The caches and the counts of requests are in one place.
        let counts = redis.command(&["EXISTS", "{limit:shop:127.0.0.1}:minute"]);
        ensure!(counts == ":1", "the requests are counted elsewhere");
        stop(server)?;
    }
    Ok(())
}

const PASSWORD: &str = "correct-horse-battery-staple";

/// Signs up, or in; the cookie as it was set.
async fn enter(shop: &HttpClient, path: &str) -> Result<String> {
    let body = json!({ "email": "zoe@example.org", "password": PASSWORD });
    let answer = shop.post(path, &body).await?;
    let cookie = answer.header("set-cookie").with_context(|| answer.text())?;
    Ok(cookie.to_owned())
}

/// Who is signed in with that cookie.
async fn status_of(shop: &HttpClient, cookie: &str) -> Result<u16> {
    let pair = cookie.split(';').next().unwrap_or_default();
    Ok(shop.get_with("/api/v1/me", &[("cookie", pair)]).await?.status.as_u16())
}

#[tokio::test]
async fn servers_with_one_secret_and_one_redis_share_their_sessions() -> Result<()> {
    let redis = RedisServer::start();
    let folder = TempDir::new()?;
    let database = folder.path().join("shop.db");
    let (old, new) =
        ("an-old-secret-known-for-a-long-time", "a-new-secret-which-nobody-has-heard-of");
    let start = |secrets: &str| {
        let mut command = command(&database)?;
        command.args(["--redis", &redis.url()]).env("LARDER_SESSION_SECRET", secrets);
        let process = Process::start(&mut command)?;
        let shop = HttpClient::new(&wait_for_address(&process)?);
        anyhow::Ok((process, shop))
    };
    let (first, shop) = start(old)?;
    let cookie = enter(&shop, "/api/v1/signup").await?;
    let said = stop(first)?;
    ensure!(!said.contains("LARDER_SESSION_SECRET"), "it asks for what it was given: {said}");

    let both = format!("{new},{old}");
    for (secrets, status) in [(old, 200), (both.as_str(), 200), (new, 401), ("", 401)] {
        let (process, shop) = start(secrets)?;
        ensure!(status_of(&shop, &cookie).await? == status, "with {secrets:?}: not {status}");
        let said = stop(process)?;
        let is_told = said.contains("LARDER_SESSION_SECRET");
        ensure!(is_told == secrets.is_empty(), "with {secrets:?} it says: {said}");
        ensure!(!said.contains(old) && !said.contains(new), "it says its secret: {said}");
    }
    Ok(())
}

/// When somebody was last seen, as the database has it.
fn last_seen(database: &Path) -> Result<Option<String>> {
    let connection = rusqlite::Connection::open(database)?;
    let sql = "SELECT last_seen_at FROM accounts WHERE email = 'zoe@example.org'";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

/// Where the journal is: in a file, or in Redis.
fn journals(redis: &RedisServer) -> [Vec<String>; 2] {
    [vec![], vec!["--redis".into(), redis.url()]]
}

#[tokio::test]
async fn ctrl_c_saves_when_somebody_was_last_seen() -> Result<()> {
    let redis = RedisServer::start();
    for arguments in journals(&redis) {
        let folder = TempDir::new()?;
        let database = folder.path().join("shop.db");
        let server = Process::start(command(&database)?.args(&arguments))?;
        let shop = HttpClient::new(&wait_for_address(&server)?);
        enter(&shop, "/api/v1/signup").await?;
        stop(server)?;
        let seen = last_seen(&database)?;
        ensure!(seen.is_some(), "{arguments:?}: it was dropped");
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_killed_forgets_nobody_it_has_seen() -> Result<()> {
    let redis = RedisServer::start();
    for arguments in journals(&redis) {
        let folder = TempDir::new()?;
        let database = folder.path().join("shop.db");
        let start = || -> Result<_> {
            let server =
                Process::start(command(&database)?.args(&arguments).args(["--rate-limit", "0"]))?;
            let shop = HttpClient::new(&wait_for_address(&server)?);
            Ok((server, shop))
        };
        let (server, shop) = start()?;
        let cookie = enter(&shop, "/api/v1/signup").await?;
        let pair = cookie.split(';').next().unwrap_or_default();
        let seen = || async {
            let answer = shop.get_with("/api/v1/me/seen", &[("cookie", pair)]).await?;
            anyhow::Ok(answer.json()?["lastSeenAt"].as_str().map(str::to_owned))
        };
        eventually("the database has it", async || matches!(seen().await, Ok(Some(_)))).await;
        let metrics = shop.get("/metrics").await?.text();
        let lag = "larder_write_behind_lag_seconds{write_behind=\"last_seen\"}";
        ensure!(metrics.contains(lag), "no {lag} in: {metrics}");

        // Acknowledged, and on its way for a second.
        let before = seen().await?;
        server.killed()?;
        let at_its_end = last_seen(&database)?;
        let (server, _) = start()?;
        let has_come = async || last_seen(&database).is_ok_and(|now| now > before);
        eventually(&format!("{before:?}, then {at_its_end:?} is followed"), has_come).await;
        stop(server)?;
    }
    Ok(())
}

#[tokio::test]
async fn cookies_go_over_http_where_only_the_own_machine_gets_them() -> Result<()> {
    let folder = TempDir::new()?;
    let database = folder.path().join("shop.db");
    let behind_a_proxy = ["--trusted-proxies", "1"];
    for (number, (arguments, is_secure)) in [
        (&[][..], false),
        (&behind_a_proxy, true),
        (&["--cookies", "https"], true),
        (&["--cookies", "http", "--trusted-proxies", "1"], false),
    ]
    .into_iter()
    .enumerate()
    {
        let server = Process::start(command(&database)?.args(arguments))?;
        let shop = HttpClient::new(&wait_for_address(&server)?);
        let body = json!({ "email": format!("{number}@example.org"), "password": PASSWORD });
        let headers = [("content-type", "application/json"), ("x-forwarded-for", "203.0.113.1")];
        let body = Some(body.to_string().into());
        let answer = shop.send(http::Method::POST, "/api/v1/signup", &headers, body).await?;
        let cookie = answer.header("set-cookie").with_context(|| answer.text())?;
        let name = if is_secure { "__Host-session=" } else { "session=" };
        ensure!(cookie.starts_with(name), "{arguments:?}: {cookie}");
        ensure!(cookie.contains("; Secure") == is_secure, "{arguments:?}: {cookie}");
        let said = stop(server)?;
        let warns = arguments.contains(&"http");
        ensure!(
            said.contains("cookies of sessions go over http") == warns,
            "{arguments:?}: {said}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn passwords_and_ids_of_sessions_are_never_said() -> Result<()> {
    let redis = RedisServer::start();
    let folder = TempDir::new()?;
    let (server, shop) = start_talkative(&folder, &redis.url())?;
    let mut cookies = vec![enter(&shop, "/api/v1/signup").await?];
    cookies.push(enter(&shop, "/api/v1/signin").await?);
    let wrong = json!({ "email": "zoe@example.org", "password": format!("not {PASSWORD}") });
    shop.post("/api/v1/signin", &wrong).await?.problem(http::StatusCode::UNAUTHORIZED, &[])?;
    ensure!(status_of(&shop, &cookies[0]).await? == 200, "nobody is signed in");
    let said = stop(server)?;
    ensure!(said.contains("DEBUG"), "a log without details: {said}");
    let keys = "return table.concat(redis.call('KEYS', '*'), ' ')";
    let kept = redis.command(&["EVAL", keys, "0"]);
    let ids = cookies.iter().filter_map(|cookie| cookie.split_once("s%3A")?.1.split('.').next());
    let ids: Vec<_> = ids.collect();
    ensure!(ids.len() == 2 && ids.iter().all(|id| id.len() == 32), "no ids in {cookies:?}");
    for secret in ids.into_iter().chain([PASSWORD, "argon2id"]) {
        ensure!(!said.contains(secret), "{secret} was said: {said}");
        ensure!(!kept.contains(secret), "{secret} is in Redis: {kept}");
    }
    ensure!(kept.contains("shop:sess:"), "no session is in Redis: {kept}");
    Ok(())
}

/// Starts it on a Redis at this URL, and tells everything that there is to tell.
fn start_talkative(folder: &TempDir, url: &str) -> Result<(Process, Shop)> {
    let target =
        Target { name: "redis", store: "redis", one_process: true, metrics: true, limit: None };
    let mut command = command(&folder.path().join("shop.db"))?;
    let server = Process::start(
        command.args(["--redis", url, "--rate-limit", "0"]).env("RUST_LOG", "trace"),
    )?;
    let shop = Shop::new(&wait_for_address(&server)?, target);
    Ok((server, shop))
}

async fn everything_it_answers(shop: &Shop) -> Result<String> {
    let mut text = String::new();
    for path in ["/readyz", "/metrics", "/api/v1/stats", "/"] {
        text.push_str(&shop.get(path).await?.text());
    }
    Ok(text)
}

fn does_not_give_away(text: &str) -> Result<()> {
    let line = text.lines().find(|line| line.contains(SECRET));
    ensure!(line.is_none(), "the password was said in: {line:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_of_redis_is_never_said() -> Result<()> {
    let mut redis = RedisServer::builder().password(SECRET).start();
    let folder = TempDir::new()?;
    let (server, shop) = start_talkative(&folder, &redis.url())?;
    let load = Load::start(&shop, 4);
    load.degraded(&[]).await?;
    load.hits(50).await?;
    redis.kill();
    load.degraded(&["store", "invalidations"]).await?;
    does_not_give_away(&everything_it_answers(&shop).await?)?;
    redis.restart();
    load.degraded(&[]).await?;
    let failures = load.stop().await?.failures;
    ensure!(failures.is_empty(), "requests failed: {failures:#?}");
    let said = stop(server)?;
    ensure!(said.contains("DEBUG") && said.contains("redis://127.0.0.1"), "a log without details");
    does_not_give_away(&said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_redis_refuses_is_never_said() -> Result<()> {
    let redis = RedisServer::builder().password("another").start();
    let url = format!("redis://:{SECRET}@127.0.0.1:{}/", redis.port());
    let folder = TempDir::new()?;
    let (server, shop) = start_talkative(&folder, &url)?;
    let load = Load::start(&shop, 4);
    load.degraded(&["store"]).await?;
    load.requests(100).await?;
    let answers = everything_it_answers(&shop).await?;
    ensure!(answers.contains("password"), "it does not say what is wrong: {answers}");
    does_not_give_away(&answers)?;
    let failures = load.stop().await?.failures;
    ensure!(failures.is_empty(), "requests failed: {failures:#?}");
    does_not_give_away(&stop(server)?)
}
