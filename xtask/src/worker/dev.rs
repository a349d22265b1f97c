//! The demo in workerd, on this machine alone.

use std::fs;
use std::io::{self, Read, Write};

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::NamedTempFile;

use super::{DEMO, build, wrangler};
use crate::{exec, workspace::Workspace};

/// The database's binding in wrangler.toml.
const DATABASE: &str = "DATABASE";
/// What wrangler sets besides, in the Worker's folder and out of git.
const SECRETS: &str = ".dev.vars";
const SESSION_SECRET: &str = "SESSION_SECRET";

/// Builds the demo, fills its local database where that is empty, and runs it until Ctrl-C.
pub(super) fn run(workspace: &Workspace, port: u16) -> Result<()> {
    build(workspace, DEMO)?;
    fill_database(workspace)?;
    make_secret(workspace)?;
    let address = format!("http://127.0.0.1:{port}");
    let mut dev = wrangler(workspace, DEMO)?;
    dev.args(["dev", "--local", "--ip", "127.0.0.1", "--port", &port.to_string()]);
    let answers = format!("{address}/healthz");
    let mut greeted = false;
    exec::run_until_ctrl_c(&mut dev, || {
        if !greeted && answers_ok(&answers) {
            greeted = true;
            greet(&address);
        }
    })
}

/// Makes the local database what a new shop has, where it is not: its settings come last.
fn fill_database(workspace: &Workspace) -> Result<()> {
    exec::run(wrangler(workspace, DEMO)?.args(["d1", "migrations", "apply", DATABASE, "--local"]))?;
    let mut ask = wrangler(workspace, DEMO)?;
    ask.args(["d1", "execute", DATABASE, "--local", "--json", "--command"]);
    let answer = exec::output(ask.arg("SELECT 1 FROM settings LIMIT 1"))?;
    if has_a_row(&answer)? {
        return Ok(());
    }
    let mut print = workspace.cargo();
    print.args(["run", "--quiet", "--package", "larder-demo", "--example", "seed_sql"]);
    let mut file = NamedTempFile::with_suffix(".sql")?;
    file.write_all(exec::output(&mut print)?.as_bytes())?;
    let mut fill = wrangler(workspace, DEMO)?;
    exec::run(fill.args(["d1", "execute", DATABASE, "--local", "--file"]).arg(file.path()))
}

/// Gives the demo a secret for the cookies of its sessions, where it has none yet: wrangler reads it
/// from this file, on this machine alone.
fn make_secret(workspace: &Workspace) -> Result<()> {
    let file = workspace.root.join(DEMO).join(SECRETS);
    let cannot = || format!("cannot write {}", file.display());
    let kept = match fs::read_to_string(&file) {
        Ok(kept) => kept,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(cannot),
    };
    if kept.lines().any(|line| line.trim_start().starts_with(SESSION_SECRET)) {
        return Ok(());
    }
    let mut random = [0; 32];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .context("no random numbers from /dev/urandom")?;
    let secret: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let end = if kept.is_empty() || kept.ends_with('\n') { "" } else { "\n" };
    fs::write(&file, format!("{kept}{end}{SESSION_SECRET}={secret}\n")).with_context(cannot)
}

/// Whether the answer of `wrangler d1 execute --json` holds a row.
fn has_a_row(answer: &str) -> Result<bool> {
    let answer: Value = serde_json::from_str(answer)
        .with_context(|| format!("wrangler's answer is no JSON: {answer}"))?;
    let rows = answer[0]["results"].as_array();
    Ok(!rows.with_context(|| format!("wrangler's answer has no results: {answer}"))?.is_empty())
}

fn answers_ok(url: &str) -> bool {
    let response = minreq::get(url).with_timeout(5).send();
    response.is_ok_and(|response| response.status_code == 200)
}

fn greet(address: &str) {
    println!(
        "listening on {address}\n\n  \
         Open {address}/ and see what is cached (in KV and Durable Objects) and what is not \
         (in D1), or:\n\n  \
         curl -i '{address}/api/v1/products?page=3&limit=5'   # twice: a MISS, then a HIT\n  \
         curl -i {address}/api/v1/users/42\n  \
         curl {address}/readyz\n\n  \
         Sign up, fill a cart and sign out everywhere at {address}/account\n\n  \
         Ctrl-C ends it."
    );
}

#[cfg(test)]
mod tests {
    use super::has_a_row;

    #[test]
    fn a_row_is_seen_in_the_answer_of_wrangler() {
        assert!(has_a_row(r#"[{"results":[{"1":1}],"success":true}]"#).unwrap());
        assert!(!has_a_row(r#"[{"results":[],"success":true}]"#).unwrap());
        assert!(has_a_row("{}").is_err());
        assert!(has_a_row("Something else").is_err());
    }
}
