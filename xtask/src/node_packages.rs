//! The packages of npm that a folder of the workspace asks for, as its package-lock.json pins them.

use std::{fs, process::Command};

use anyhow::{Context, Result, bail};

use crate::{apt, exec, workspace::Workspace};

/// Makes sure that they are installed, in the folder's own `node_modules`.
///
/// # Errors
/// Where Node.js or npm cannot be installed, or npm cannot install the packages.
pub(crate) fn ensure(workspace: &Workspace, folder: &str) -> Result<()> {
    apt::ensure("node", "nodejs")?;
    apt::ensure("npm", "npm")?;
    let dir = workspace.root.join(folder);
    let wanted = fs::read(dir.join("package-lock.json"))
        .with_context(|| format!("{folder} has no package-lock.json: run `npm install` there"))?;
    // What `npm ci` last installed from, kept beside what it installed.
    let mark = dir.join("node_modules/.installed-from.json");
    if fs::read(&mark).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    exec::run(Command::new("npm").current_dir(&dir).args(["ci", "--no-audit", "--no-fund"]))?;
    if !dir.join("node_modules").is_dir() {
        bail!("`npm ci` left no node_modules in {folder}");
    }
    fs::write(&mark, wanted).with_context(|| format!("cannot write to {folder}/node_modules"))
}
