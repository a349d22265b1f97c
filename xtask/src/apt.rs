//! Packages of Debian and its relatives.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::exec;

/// Whether this machine has apt.
pub(crate) fn is_here() -> bool {
    exec::exists("apt-get")
}

/// Makes sure that a program is here, from the package that brings it.
///
/// # Errors
/// Without apt or without root; the message says what to install.
pub(crate) fn ensure(program: &str, package: &str) -> Result<()> {
    if exec::exists(program) {
        return Ok(());
    }
    if !is_here() {
        bail!("{program} is missing, and this machine has no apt-get: install it by other means");
    }
    if exec::output(Command::new("id").arg("-u"))?.trim() != "0" {
        bail!("{program} is missing: run `sudo apt-get install {package}`");
    }
    let get = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet");
        command
    };
    let install =
        || exec::run(get().args(["install", "--yes", "--no-install-recommends", package]));
    // The machine may have no package lists yet, or old ones.
    if install().is_err() {
        exec::run(get().arg("update"))?;
        install()?;
    }
    if !exec::exists(program) {
        bail!("the package {package} is installed, but there is no {program} in PATH");
    }
    Ok(())
}

/// A suite of the archive that the machine's own sources do not name, read into a folder of its
/// own: neither the machine's sources nor its package lists change.
pub(crate) struct Suite {
    name: String,
    dir: PathBuf,
}

impl Suite {
    /// Reads the list of `name`'s packages from the mirror that this machine uses.
    pub(crate) fn read(name: &str, mirror: &str, dir: &Path) -> Result<Self> {
        let dir = dir.join(name);
        for sub in ["lists/partial", "cache/archives/partial"] {
            let path = dir.join(sub);
            fs::create_dir_all(&path)
                .with_context(|| format!("cannot create {}", path.display()))?;
        }
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let signed_by = if Path::new(keyring).exists() {
            format!("[signed-by={keyring}] ")
        } else {
            String::new()
        };
        fs::write(dir.join("sources.list"), format!("deb {signed_by}{mirror} {name} main\n"))?;
        let suite = Self { name: name.to_owned(), dir };
        exec::run(suite.apt("apt-get").args(["--quiet", "update"]))?;
        Ok(suite)
    }

    /// The versions of a package, newest first.
    pub(crate) fn versions(&self, package: &str) -> Result<Vec<String>> {
        let table = exec::output(self.apt("apt-cache").args(["madison", package]))?;
        Ok(table
            .lines()
            .filter_map(|row| row.split('|').nth(1))
            .map(|version| version.trim().to_owned())
            .collect())
    }

    /// Downloads a package and unpacks it, without installing it, and returns the folder.
    pub(crate) fn unpack(&self, package: &str, version: &str) -> Result<PathBuf> {
        let debs = self.dir.join("debs");
        let unpacked = self.dir.join("unpacked");
        for dir in [&debs, &unpacked] {
            if dir.exists() {
                fs::remove_dir_all(dir)?;
            }
            fs::create_dir_all(dir)?;
        }
        exec::run(self.apt("apt-get").current_dir(&debs).args([
            "--quiet",
            "download",
            &format!("{package}={version}"),
        ]))?;
        let deb = fs::read_dir(&debs)?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .with_context(|| format!("apt-get left no package of {package} from {}", self.name))?;
        exec::run(Command::new("dpkg").arg("-x").args([&deb, &unpacked]))?;
        Ok(unpacked)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let mut option = |name: &str, value: &Path| {
            command.arg("-o").arg(format!("{name}={}", value.display()));
        };
        option("Dir::Etc::sourcelist", &self.dir.join("sources.list"));
        option("Dir::Etc::sourceparts", Path::new("/dev/null"));
        option("Dir::State::lists", &self.dir.join("lists"));
        option("Dir::Cache", &self.dir.join("cache"));
        // The user that apt downloads as may not write here.
        command.args(["-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"]);
        command
    }
}

/// Whether the machine's own sources carry a package, as far as its lists know.
pub(crate) fn has(package: &str) -> Result<bool> {
    Ok(!exec::output(Command::new("apt-cache").args(["madison", package]))?.trim().is_empty())
}

/// The name of the release that this machine runs.
pub(crate) fn release() -> Result<String> {
    let release = exec::output(
        Command::new("sh").args(["-c", ". /etc/os-release && echo \"$VERSION_CODENAME\""]),
    )?;
    Ok(release.trim().to_owned())
}

/// The mirrors of this machine's own sources, that of the release it runs first.
pub(crate) fn mirrors() -> Result<Vec<String>> {
    let release = release().unwrap_or_default();
    let table = exec::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
    ]))?;
    Ok(in_order_of_use(&table, &release))
}

fn in_order_of_use(table: &str, release: &str) -> Vec<String> {
    let mut mirrors: Vec<(bool, &str)> = table
        .lines()
        .filter_map(|row| {
            let mut words = row.split_whitespace();
            let (uri, suite, component) = (words.next()?, words.next()?, words.next()?);
            (component == "main").then_some((suite != release, uri))
        })
        .collect();
    mirrors.sort_unstable();
    let mut uris: Vec<String> = Vec::new();
    for (_, uri) in mirrors {
        if !uris.iter().any(|known| known == uri) {
            uris.push(uri.to_owned());
        }
    }
    uris
}

#[cfg(test)]
mod tests {
    use super::in_order_of_use;

    #[test]
    fn the_mirror_of_the_running_release_comes_first_and_once() {
        let table = "http://a.example/security/ bookworm-security main\n\
                     http://b.example/debian/ bookworm main\n\
                     http://b.example/debian/ bookworm-updates main\n\
                     http://c.example/extra/ bookworm contrib\n";
        assert_eq!(
            in_order_of_use(table, "bookworm"),
            ["http://b.example/debian/", "http://a.example/security/"]
        );
    }
}
