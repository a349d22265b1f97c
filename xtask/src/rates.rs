//! docs/rate-limits.svg, drawn by the rules of rate limits.

use std::fs;

use anyhow::{Context, Result};

use crate::{exec, workspace::Workspace};

const PICTURE: &str = "docs/rate-limits.svg";

/// Draws it; a test of larder-tests holds it against the rules.
///
/// # Errors
/// Where the program that draws does not build, or the picture cannot be written.
pub(crate) fn write(workspace: &Workspace) -> Result<()> {
    let mut print = workspace.cargo();
    print.args(["run", "--quiet", "--package", "larder-tests", "--bin", "rates-picture"]);
    fs::write(workspace.root.join(PICTURE), exec::output(&mut print)?)
        .with_context(|| format!("cannot write {PICTURE}"))?;
    println!("{PICTURE} is written.");
    Ok(())
}
