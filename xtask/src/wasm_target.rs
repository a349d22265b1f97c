//! The standard library for wasm32-unknown-unknown.
//!
//! Rustup carries it. Where rustup is not there or cannot reach its server, it is built from the
//! sources of the same release, which Debian carries in the package `rust-src`.

use std::{
    env, fs,
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    apt, exec,
    workspace::{self, Workspace},
};

/// The name of the target.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Suites of Debian that carry newer releases of Rust than its stable suite does.
const SUITES: [&str; 3] = ["trixie-backports", "forky", "sid"];

const ADVICE: &str = "install it with `rustup target add wasm32-unknown-unknown`";

/// Makes sure that the standard library stands; does nothing where it does.
pub(crate) fn ensure(workspace: &Workspace) -> Result<()> {
    let libraries = library_dir()?;
    if is_installed(&libraries)? {
        return Ok(());
    }
    let cache = workspace::cache_dir()?;
    // Two runs at once would leave two sets, which rustc refuses (E0464).
    let lock = File::create(cache.join("wasm-target.lock"))?;
    lock.lock().context("cannot lock the cache folder")?;
    if is_installed(&libraries)? {
        return Ok(());
    }

    println!("The standard library for {TARGET} is not installed.");
    if exec::exists("rustup") {
        let mut add = Command::new("rustup");
        add.args(["target", "add", TARGET]);
        match exec::run_within(&mut add, Duration::from_secs(300)) {
            Ok(()) if is_installed(&libraries)? => return verify(workspace),
            Ok(()) => println!("rustup has it, but not for the toolchain that runs this."),
            Err(error) => println!("rustup cannot install it: {error}"),
        }
    }
    build_from_source(&libraries, &cache)
        .with_context(|| format!("no standard library for {TARGET}: {ADVICE}"))?;
    verify(workspace)
}

fn rustc() -> Command {
    Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

fn library_dir() -> Result<PathBuf> {
    let dir = exec::output(rustc().args(["--print", "target-libdir", "--target", TARGET]))?;
    Ok(PathBuf::from(dir.trim_end()))
}

fn is_installed(libraries: &Path) -> Result<bool> {
    Ok(rlibs(libraries)?.iter().any(|path| file_name(path).starts_with("libcore-")))
}

/// Compiles a library against the new set, and drops what was built against an earlier one.
fn verify(workspace: &Workspace) -> Result<()> {
    let outdated = workspace.target_dir.join(TARGET);
    if outdated.exists() {
        fs::remove_dir_all(outdated)?;
    }
    let dir = workspace::cache_dir()?.join("verify");
    fs::create_dir_all(&dir)?;
    let source = dir.join("lib.rs");
    fs::write(&source, "pub fn words() -> Vec<String> { vec![String::new()] }\n")?;
    exec::output(
        rustc().current_dir(&dir).args(["--target", TARGET, "--crate-type", "lib"]).arg(&source),
    )
    .with_context(|| format!("the standard library for {TARGET} stands but does not work"))?;
    println!("The standard library for {TARGET} is installed.");
    Ok(())
}

fn build_from_source(libraries: &Path, cache: &Path) -> Result<()> {
    if !apt::is_here() {
        bail!("its sources are taken from a Debian package, and this machine has no apt-get");
    }
    let release = release()?;
    println!("Building it from the sources of Rust {release} in Debian's package rust-src.");
    let scratch = cache.join("wasm-std");
    let sources = sources_of(&release, &scratch)?;

    let dir = scratch.join("build");
    fs::create_dir_all(dir.join("src"))?;
    fs::write(
        dir.join("Cargo.toml"),
        "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n",
    )?;
    fs::write(dir.join("src/lib.rs"), "")?;
    let target_dir = dir.join("target");
    if target_dir.exists() {
        fs::remove_dir_all(&target_dir)?;
    }
    exec::run(
        workspace::cargo()
            .current_dir(&dir)
            // Building the standard library is open to nightly toolchains alone otherwise, and
            // looks for its sources only where rustup puts them.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("__CARGO_TESTS_ONLY_SRC_ROOT", &sources)
            // `lto = true` asks for the bitcode of every library.
            .env("RUSTFLAGS", "-Cembed-bitcode=yes")
            .env("CARGO_TARGET_DIR", &target_dir)
            .args(["build", "--release", "--target", TARGET])
            // `test` is what `cargo test` links to.
            .arg("-Zbuild-std=std,panic_abort,test,proc_macro"),
    )?;

    let built = rlibs(&target_dir.join(TARGET).join("release/deps"))?;
    install(&built, libraries)?;
    fs::remove_dir_all(&scratch).context("cannot remove the scratch folder")
}

/// The folder `library` of the sources of a release of Rust.
fn sources_of(release: &str, scratch: &Path) -> Result<PathBuf> {
    for mirror in apt::mirrors()? {
        for name in SUITES {
            let suite = match apt::Suite::read(name, &mirror, scratch) {
                Ok(suite) => suite,
                Err(error) => {
                    println!("the suite {name} cannot be read: {error}");
                    continue;
                }
            };
            let versions = suite.versions("rust-src")?;
            let Some(version) = versions.iter().find(|version| upstream(version) == release) else {
                println!("the suite {name} has rust-src {}, not {release}", versions.join(", "));
                continue;
            };
            let library =
                suite.unpack("rust-src", version)?.join(format!("usr/src/rustc-{release}/library"));
            if !library.is_dir() {
                bail!("rust-src {version} has no folder {}", library.display());
            }
            return Ok(library);
        }
    }
    bail!("no suite of Debian ({}) carries rust-src {release}", SUITES.join(", "))
}

/// Copies the set, `libcore` last: it is the mark of a whole set.
fn install(built: &[PathBuf], libraries: &Path) -> Result<()> {
    if !built.iter().any(|path| file_name(path).starts_with("libcore-")) {
        bail!("the build left no libcore");
    }
    fs::create_dir_all(libraries)
        .with_context(|| format!("cannot create {}", libraries.display()))?;
    // What stands here without libcore is the rest of a run that was ended.
    for stale in rlibs(libraries)? {
        fs::remove_file(stale)?;
    }
    let mut set: Vec<&PathBuf> =
        built.iter().filter(|path| !file_name(path).starts_with("libempty-")).collect();
    set.sort_by_key(|path| file_name(path).starts_with("libcore-"));
    for path in set {
        let partial = libraries.join("partial");
        fs::copy(path, &partial)
            .and_then(|_| fs::rename(&partial, libraries.join(file_name(path))))
            .with_context(|| format!("cannot write to {}", libraries.display()))?;
    }
    Ok(())
}

fn release() -> Result<String> {
    let version = exec::output(rustc().arg("-vV"))?;
    version
        .lines()
        .find_map(|line| line.strip_prefix("release: "))
        .map(str::to_owned)
        .context("`rustc -vV` names no release")
}

/// The upstream part of a Debian version: `1.95.0` of `1:1.95.0+dfsg1-1~bpo13+1`.
fn upstream(version: &str) -> &str {
    let without_epoch = version.split_once(':').map_or(version, |(_, rest)| rest);
    let end = without_epoch.find(['+', '-']).unwrap_or(without_epoch.len());
    &without_epoch[..end]
}

fn rlibs(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rlib") {
            paths.push(path);
        }
    }
    Ok(paths)
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::upstream;

    #[test]
    fn the_upstream_part_of_a_debian_version() {
        for version in ["1.95.0", "1.95.0-1", "1.95.0+dfsg1-1~bpo13+1", "1:1.95.0-1"] {
            assert_eq!(upstream(version), "1.95.0", "{version}");
        }
        assert_eq!(upstream("1.95.0~beta.3-1"), "1.95.0~beta.3");
    }
}
