//! The comparisons of `bench/`, with Redis beside them installed.

use anyhow::Result;

use crate::{apt, exec, redis, workspace::Workspace};

/// Runs the comparisons with their own arguments.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    apt::ensure(redis::PROGRAM, redis::PROGRAM)?;
    exec::run(
        workspace
            .cargo()
            .args(["run", "--release", "--package", "larder-bench", "--"])
            .args(arguments),
    )
}
