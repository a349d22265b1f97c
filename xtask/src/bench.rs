//! The comparisons of `bench/`, with the programs beside them installed.

use anyhow::Result;

use crate::{apt, exec, redis, workspace::Workspace};

/// Runs the comparisons with their own arguments.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    for program in [redis::PROGRAM, "wrk"] {
        apt::ensure(program, program)?;
    }
    exec::run(
        workspace
            .cargo()
            .args(["run", "--release", "--package", "larder-bench", "--"])
            .args(arguments),
    )
}
