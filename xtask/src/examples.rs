//! The programs of `examples/`: each is run, with a Redis at hand, and has to end well.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, bail};

use crate::{exec, redis, summary::Tally, workspace::Workspace};

/// An example shows one thing: one that runs longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// The variable by which an example finds its Redis.
pub(crate) const REDIS_URL: &str = "LARDER_REDIS_URL";

/// Builds and runs every example.
pub(crate) fn run(workspace: &Workspace, tally: &mut Tally) {
    let prepared = names(workspace).and_then(|names| {
        // With the whole workspace selected cargo has built them already, for its tests.
        let mut build = workspace.cargo();
        build.args(["build", "--workspace", "--examples"]);
        exec::run(&mut build)?;
        Ok((names, redis::Server::start()?))
    });
    let (names, redis) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return tally.check("examples", Err(error)),
    };
    for name in names {
        let program = workspace.target_dir.join("debug/examples").join(&name);
        let mut command = Command::new(program);
        command.current_dir(&workspace.root).env(REDIS_URL, redis.url());
        tally.check(&name, exec::run_within(&mut command, LIMIT));
    }
}

fn names(workspace: &Workspace) -> Result<Vec<String>> {
    let targets = &workspace.package("larder").context("where the examples stand")?.targets;
    let names: Vec<String> = targets
        .iter()
        .filter(|target| target.kind.iter().any(|kind| kind == "example"))
        .map(|target| target.name.clone())
        .collect();
    if names.is_empty() {
        bail!("the folder examples holds no program");
    }
    Ok(names)
}
