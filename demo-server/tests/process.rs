//! The program as a whole: what it says, and how it ends.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::Duration;

use larder_tests::process::Process;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

fn program(dir: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder-demo-server"));
    for name in ["LARDER_REDIS_URL", "LARDER_SESSION_SECRET", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.current_dir(dir.path());
    command
}

fn wait_for_address(server: &Process) -> String {
    let address = |line: &str| line.strip_prefix("listening on http://").map(str::to_owned);
    server.wait_for(PATIENCE, address).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn it_says_where_it_listens_and_ends_well_on_ctrl_c() {
    let dir = TempDir::new().unwrap();
    let mut server = Process::start(program(&dir).args(["--port", "0"])).unwrap();
    let address = wait_for_address(&server);
    assert!(dir.path().join("larder-demo.db").exists());

    // A request that runs: its head is not complete yet.
    let mut request = TcpStream::connect(&address).unwrap();
    request.write_all(b"GET /api/v1/users/1 HTTP/1.1\r\nHost: shop\r\n").unwrap();
    // The server has accepted it when it answers a later one.
    let mut other = TcpStream::connect(&address).unwrap();
    other.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    other.read_to_end(&mut Vec::new()).unwrap();

    server.interrupt().unwrap();
    request.write_all(b"\r\n").unwrap();
    let mut answer = String::new();
    request.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with('}'), "{answer}");
    assert!(server.wait(Duration::from_secs(20)).unwrap().success(), "{}", server.said());
    assert!(TcpStream::connect(&address).is_err());
}

#[test]
fn a_first_start_that_was_killed_is_begun_again() {
    let dir = TempDir::new().unwrap();
    {
        let first = Process::start(program(&dir).args(["--port", "0"])).unwrap();
        first.wait_for(PATIENCE, |line| line.starts_with("filling").then_some(())).unwrap();
        // Dropped here, it is killed.
    }
    let second = Process::start(program(&dir).args(["--port", "0"])).unwrap();
    let address = wait_for_address(&second);
    let mut list = TcpStream::connect(&address).unwrap();
    list.write_all(b"GET /api/v1/users?limit=1 HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    list.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(r#""total":10000"#), "{answer}");
}

#[test]
fn a_port_in_use_is_named_and_nothing_is_filled() {
    let dir = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = program(&dir).args(["--port", &port]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.contains(&format!("127.0.0.1:{port}")) && said.contains("--port"), "{said}");
    assert!(!dir.path().join("larder-demo.db").exists());
}

#[test]
fn a_database_that_cannot_be_made_is_named() {
    let dir = TempDir::new().unwrap();
    let arguments = ["--port", "0", "--database", "missing/shop.db"];
    let output = program(&dir).args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.starts_with("error: the database missing/shop.db cannot be used"), "{said}");
    // By the program and by SQLite, each once.
    assert_eq!(said.matches("missing/shop.db").count(), 2, "{said}");
}

#[test]
fn redis_may_be_behind_tls() {
    let dir = TempDir::new().unwrap();
    let arguments = ["--port", "0", "--redis", "rediss://127.0.0.1:1/"];
    let mut server = Process::start(program(&dir).args(arguments)).unwrap();
    wait_for_address(&server);
    server.interrupt().unwrap();
    assert!(server.wait(PATIENCE).unwrap().success(), "{}", server.said());
}

#[test]
fn the_password_of_redis_is_not_repeated() {
    let dir = TempDir::new().unwrap();
    for url in ["redis://me:hunter2@host:port/", "http://me:hunter2@host/", "me:hunter2@host:6379"]
    {
        let output = program(&dir).args(["--port", "0", "--redis", url]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{url}");
        let said = said(&output);
        assert!(said.contains("--redis") && !said.contains("hunter2"), "{said}");
    }
    let url = "redis://me:hunter2@127.0.0.1:1/";
    let output = program(&dir).arg("--help").env("LARDER_REDIS_URL", url).output().unwrap();
    assert!(output.status.success());
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(help.contains("LARDER_REDIS_URL") && !help.contains("hunter2"), "{help}");

    let mut server =
        Process::start(program(&dir).args(["--port", "0"]).env("LARDER_REDIS_URL", url)).unwrap();
    wait_for_address(&server);
    server.interrupt().unwrap();
    assert!(server.wait(PATIENCE).unwrap().success());
    assert!(server.said().contains("redis://127.0.0.1:1"), "{}", server.said());
    assert!(!server.said().contains("hunter2"), "{}", server.said());
}

#[test]
fn an_unknown_flag_is_refused() {
    let dir = TempDir::new().unwrap();
    let output = program(&dir).arg("--prot").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("--port"), "{}", said(&output));
}
