//! A valkey-server for the tests.
//!
//! Debian carries it from trixie on, and for the release before in its backports, from where it is
//! taken without installing it: neither the machine's sources nor its packages change. It needs the
//! libraries that redis-server brings.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{apt, exec, redis, workspace};

/// Its name, and that of the package that brings it.
pub(crate) const PROGRAM: &str = "valkey-server";

/// The package with the program itself, to which the one of the server only links, and the
/// program's name there.
const TOOLS: (&str, &str) = ("valkey-tools", "valkey-check-rdb");

/// Makes sure that it stands in PATH, or in the folder of the tools, where the tests look too.
pub(crate) fn ensure() -> Result<()> {
    let folder = workspace::cache_dir()?.join("tools/valkey");
    let program = folder.join(PROGRAM);
    if exec::exists(PROGRAM) || program.is_file() {
        return Ok(());
    }
    apt::ensure(redis::PROGRAM, redis::PROGRAM)?;
    if !apt::is_here() {
        bail!("{PROGRAM} is missing, and this machine has no apt-get: install it by other means");
    }
    if apt::has(PROGRAM)? {
        return apt::ensure(PROGRAM, PROGRAM);
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let lock = File::create(folder.join("install.lock"))?;
    lock.lock().context("cannot lock the folder of Valkey")?;
    if program.is_file() {
        return Ok(());
    }
    let scratch = folder.join("scratch");
    unpack(&program, &scratch)?;
    fs::remove_dir_all(&scratch).context("cannot remove the scratch folder")?;
    let version = exec::output(Command::new(&program).arg("--version"))
        .with_context(|| format!("{} does not run", program.display()))?;
    println!("{}", version.trim());
    Ok(())
}

fn unpack(program: &Path, scratch: &Path) -> Result<()> {
    let suite = format!("{}-backports", apt::release()?);
    let (package, name) = TOOLS;
    for mirror in apt::mirrors()? {
        let suite = match apt::Suite::read(&suite, &mirror, scratch) {
            Ok(suite) => suite,
            Err(error) => {
                println!("the suite {suite} cannot be read: {error}");
                continue;
            }
        };
        let Some(version) = suite.versions(package)?.into_iter().next() else { continue };
        let unpacked = suite.unpack(package, &version)?.join("usr/bin").join(name);
        // What stands under the final name is whole.
        let partial = program.with_extension("partial");
        fs::copy(&unpacked, &partial)
            .with_context(|| format!("{package} {version} has no {}", unpacked.display()))?;
        return fs::rename(&partial, program).context("cannot move the program");
    }
    bail!("neither this release of Debian nor {suite} carries {PROGRAM}: install it by other means")
}
