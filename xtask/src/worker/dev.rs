//! The demo in workerd, on this machine alone.

use std::time::Duration;

use anyhow::Result;

use super::{DEMO, build, wrangler};
use crate::{exec, workspace::Workspace};

/// Builds the demo, fills its local database where that is empty, and runs it until Ctrl-C.
pub(super) fn run(workspace: &Workspace, port: u16) -> Result<()> {
    build(workspace, DEMO)?;
    exec::run(wrangler(workspace, DEMO)?.args([
        "d1",
        "migrations",
        "apply",
        "DATABASE",
        "--local",
    ]))?;
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

fn answers_ok(url: &str) -> bool {
    let response = minreq::get(url).with_timeout(Duration::from_secs(5).as_secs()).send();
    response.is_ok_and(|response| response.status_code == 200)
}

fn greet(address: &str) {
    println!(
        "listening on {address}\n\n  \
         Open {address}/ and see what is cached (in KV) and what is not (in D1), or:\n\n  \
         curl -i '{address}/api/v1/products?page=3&limit=5'   # twice: a MISS, then a HIT\n  \
         curl -i {address}/api/v1/users/42\n  \
         curl {address}/readyz\n\n  \
         Ctrl-C ends it."
    );
}
