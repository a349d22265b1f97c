//! Programs that cargo installs: at a pinned version, in release, each into a folder of its own
//! outside the checkout, so that checkouts which pin different versions share a machine.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{
    exec,
    workspace::{self, Workspace},
};

/// A package whose programs the suites need.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tool {
    /// `wasm-bindgen` and `wasm-bindgen-test-runner`, which take what the crate of the same
    /// version has written and nothing else.
    WasmBindgen,
    /// Builds a Worker.
    WorkerBuild,
    /// Runs tests in a browser.
    WasmPack,
}

impl Tool {
    pub(crate) fn package(self) -> &'static str {
        match self {
            Self::WasmBindgen => "wasm-bindgen-cli",
            Self::WorkerBuild => "worker-build",
            Self::WasmPack => "wasm-pack",
        }
    }

    fn version(self, workspace: &Workspace) -> Result<String> {
        match self {
            Self::WasmBindgen => {
                let path = workspace.root.join("Cargo.lock");
                let lock = fs::read_to_string(path).context("cannot read Cargo.lock")?;
                locked_version(&lock, "wasm-bindgen").context("Cargo.lock holds no wasm-bindgen")
            }
            Self::WorkerBuild => Ok("0.8.7".to_owned()),
            Self::WasmPack => Ok("0.15.1".to_owned()),
        }
    }

    /// Whether the versions that its package was released with are taken. Those of wasm-bindgen-cli
    /// do not resolve.
    fn is_locked(self) -> bool {
        self != Self::WasmBindgen
    }

    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::WasmBindgen => &["wasm-bindgen", "wasm-bindgen-test-runner"],
            Self::WorkerBuild => &["worker-build"],
            Self::WasmPack => &["wasm-pack"],
        }
    }

    /// The folder with its programs, whether or not they are there.
    pub(crate) fn bin(self, workspace: &Workspace) -> Result<PathBuf> {
        let folder = format!("{}-{}", self.package(), self.version(workspace)?);
        Ok(tools()?.join(folder).join("bin"))
    }

    /// Makes sure that its programs are there, in the version that is pinned.
    ///
    /// # Errors
    /// Where cargo cannot install it.
    pub(crate) fn ensure(self, workspace: &Workspace) -> Result<()> {
        let bin = self.bin(workspace)?;
        if self.is_in(&bin) {
            return Ok(());
        }
        let tools = tools()?;
        // Two runs at once would build the same twice.
        let lock = File::create(tools.join("install.lock"))?;
        lock.lock().context("cannot lock the folder of the tools")?;
        if self.is_in(&bin) {
            return Ok(());
        }
        let version = self.version(workspace)?;
        let root = bin.parent().unwrap_or(&tools);
        let mut install = workspace::cargo();
        install
            .current_dir(&tools)
            // They run here and are no part of what is tested.
            .env_remove("RUSTFLAGS")
            .args(["install", self.package(), "--version", &version, "--root"])
            .arg(root)
            // What they have in common is built once.
            .arg("--target-dir")
            .arg(tools.join("target"));
        if self.is_locked() {
            install.arg("--locked");
        }
        exec::run(&mut install)?;
        if !self.is_in(&bin) {
            bail!("{} {version} brought no {}", self.package(), self.programs().join(" and "));
        }
        Ok(())
    }

    fn is_in(self, bin: &Path) -> bool {
        self.programs().iter().all(|program| bin.join(program).is_file())
    }
}

fn tools() -> Result<PathBuf> {
    let dir = workspace::cache_dir()?.join("tools");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// The version of a package in a Cargo.lock.
fn locked_version(lock: &str, package: &str) -> Option<String> {
    let mut lines = lock.lines();
    lines.find(|line| *line == format!("name = \"{package}\""))?;
    let version = lines.next()?.strip_prefix("version = \"")?.strip_suffix('"')?;
    Some(version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::locked_version;

    #[test]
    fn the_version_is_that_of_the_package_of_this_very_name() {
        let lock = "[[package]]\nname = \"wasm-bindgen-futures\"\nversion = \"0.4.1\"\n\n\
                    [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\n";
        assert_eq!(locked_version(lock, "wasm-bindgen").as_deref(), Some("0.2.130"));
        assert_eq!(locked_version(lock, "wasm"), None);
    }
}
