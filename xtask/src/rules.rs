//! The architecture's rules, held against what stands: which crate may depend on which, what
//! core's dependencies may not bring, and where code may ask for the target.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{
    exec,
    summary::Tally,
    workspace::{Package, Workspace},
};

/// Crates that bring I/O, a runtime or HTTP. None may stand behind core.
const FORBIDDEN_IN_CORE: [&str; 8] =
    ["mio", "socket2", "wasm-bindgen", "worker", "redis", "hyper", "axum", "http"];

/// Core's features that a native user turns on.
const CORE_FEATURES: [&str; 2] = ["default", "memory,tokio,msgpack"];

/// The crates of this workspace that each may depend on; a backend, only on core. Its tests may use
/// two more: itself, for the features that they need, and [`TEST_SUPPORT`].
const ARROWS: [(&str, &[&str]); 3] = [
    ("larder-core", &[]),
    ("larder-http", &["larder-core"]),
    ("larder-demo", &["larder-core", "larder-http"]),
];

/// The conformance suite, and the servers that tests start.
const TEST_SUPPORT: &str = "larder-tests";

/// Folders in which only a `runtime` module may ask for the target.
const PORTABLE: [&str; 6] =
    ["src", "core", "middleware", "backend-redis", "backend-sqlite", "demo"];

/// Checks every rule.
pub(crate) fn run(workspace: &Workspace, tally: &mut Tally) {
    for features in CORE_FEATURES {
        tally.check(
            &format!("core with {features} brings no I/O, runtime or HTTP"),
            tree_of_core(workspace, features).and_then(|tree| no_forbidden_crate(&tree)),
        );
    }
    let backends = workspace.packages.iter().filter(|package| is_backend(package));
    let of_backends = backends.map(|package| (package.name.as_str(), &["larder-core"][..]));
    for (package, allowed) in ARROWS.into_iter().chain(of_backends) {
        tally.check(&format!("what {package} depends on"), arrows(workspace, package, allowed));
    }
    for folder in PORTABLE {
        tally.check(
            &format!("{folder} asks for the target in its runtime module alone"),
            no_stray_target(&workspace.root, folder),
        );
    }
}

fn tree_of_core(workspace: &Workspace, features: &str) -> Result<String> {
    exec::output(workspace.cargo().args([
        "tree",
        "--package",
        "larder-core",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--no-default-features",
        "--features",
        features,
    ]))
}

fn no_forbidden_crate(tree: &str) -> Result<()> {
    let mut found: Vec<&str> = tree
        .lines()
        .filter(|line| {
            line.split_whitespace().next().is_some_and(|name| FORBIDDEN_IN_CORE.contains(&name))
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    if !found.is_empty() {
        bail!(
            "the dependencies of larder-core bring {}; \
             `cargo tree --package larder-core --invert <crate>` shows by which way",
            found.join(", ")
        );
    }
    Ok(())
}

fn is_backend(package: &Package) -> bool {
    package.folder().starts_with("backend-")
}

fn arrows(workspace: &Workspace, package: &str, allowed: &[&str]) -> Result<()> {
    let dependencies = workspace.package(package)?.dependencies.iter();
    let dependencies = dependencies.map(|it| (it.name.as_str(), it.kind.as_deref() == Some("dev")));
    no_foreign_arrow(package, dependencies, allowed)
}

/// `dependencies` are names, each with whether only tests use it.
fn no_foreign_arrow<'a>(
    package: &str,
    dependencies: impl IntoIterator<Item = (&'a str, bool)>,
    allowed: &[&str],
) -> Result<()> {
    let foreign: Vec<&str> = dependencies
        .into_iter()
        .filter(|(name, _)| *name == "larder" || name.starts_with("larder-"))
        .filter(|(name, in_tests)| {
            let for_tests = *in_tests && [package, TEST_SUPPORT].contains(name);
            !for_tests && !allowed.contains(name)
        })
        .map(|(name, _)| name)
        .collect();
    if !foreign.is_empty() {
        bail!(
            "{package} depends on {}; of this workspace it may depend on {}",
            foreign.join(", "),
            if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(" and ") }
        );
    }
    Ok(())
}

fn no_stray_target(root: &Path, folder: &str) -> Result<()> {
    let mut stray = Vec::new();
    let mut files = 0_usize;
    for path in rust_files(&root.join(folder))? {
        files += 1;
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let shown = path.strip_prefix(root).unwrap_or(&path);
        if !is_runtime_module(shown) {
            stray.extend(
                lines_that_ask(&text).map(|number| format!("{}:{number}", shown.display())),
            );
        }
    }
    if files == 0 {
        bail!("{folder} holds no Rust file");
    }
    if !stray.is_empty() {
        bail!("what differs between targets belongs into a runtime module: {}", stray.join(", "));
    }
    Ok(())
}

/// `src/runtime.rs` of a crate, or a file below `src/runtime/`.
fn is_runtime_module(path: &Path) -> bool {
    let mut parts = path.components().map(|part| part.as_os_str());
    parts.any(|part| part == "src")
        && parts.next().is_some_and(|next| next == "runtime" || next == "runtime.rs")
}

/// The numbers of the lines that name the target's architecture or family.
fn lines_that_ask(text: &str) -> impl Iterator<Item = usize> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| line.contains("target_arch") || line.contains("target_family"))
        .map(|(index, _)| index + 1)
}

fn rust_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                if path.file_name().is_none_or(|name| name != "target" && name != "node_modules") {
                    dirs.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{
        is_runtime_module, lines_that_ask, no_forbidden_crate, no_foreign_arrow, no_stray_target,
    };

    #[test]
    fn a_crate_that_brings_io_is_found() {
        let good = "larder-core v0.1.0 (/x/core)\nhttp-like v1.0.0\ntokio v1.48.0\n";
        no_forbidden_crate(good).unwrap();
        let error =
            no_forbidden_crate(&format!("{good}mio v1.1.0\nhttp v1.3.1 (*)\n")).unwrap_err();
        assert!(error.to_string().contains("http v1.3.1 (*), mio v1.1.0"), "{error}");
    }

    #[test]
    fn an_arrow_that_is_not_allowed_is_found() {
        let check = |dependencies: &[(&str, bool)], allowed: &[&str]| {
            no_foreign_arrow("larder-http", dependencies.iter().copied(), allowed)
        };
        let outside = [("serde", false), ("larderous", false)];
        check(&outside, &[]).unwrap();
        check(&[("larder-core", false)], &["larder-core"]).unwrap();
        check(&[("larder-http", true), ("larder-tests", true)], &[]).unwrap();

        for foreign in [
            ("larder-core", false),
            ("larder", false),
            ("larder-redis", true),
            ("larder-tests", false),
        ] {
            let error = check(&[outside[0], foreign], &[]).unwrap_err();
            assert!(error.to_string().contains(&format!("depends on {};", foreign.0)), "{error}");
        }
    }

    #[test]
    fn only_a_runtime_module_may_ask_for_the_target() {
        for path in ["core/src/runtime.rs", "core/src/runtime/wasm.rs", "src/runtime.rs"] {
            assert!(is_runtime_module(Path::new(path)), "{path}");
        }
        for path in ["core/src/lib.rs", "core/src/cache/runtime.rs", "core/tests/runtime.rs"] {
            assert!(!is_runtime_module(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn a_stray_question_for_the_target_is_found_by_its_line() {
        let text = "//! Docs\n#[cfg(target_arch = \"wasm32\")]\nmod a;\n#[cfg(target_family = \"wasm\")]\n";
        assert_eq!(lines_that_ask(text).collect::<Vec<_>>(), [2, 4]);

        let root = tempfile::tempdir().unwrap();
        let src = root.path().join("core/src");
        fs::create_dir_all(&src).unwrap();
        fs::write(src.join("runtime.rs"), text).unwrap();
        no_stray_target(root.path(), "core").unwrap();
        fs::write(src.join("clock.rs"), text).unwrap();
        let error = no_stray_target(root.path(), "core").unwrap_err();
        assert!(error.to_string().contains("core/src/clock.rs:2"), "{error}");
    }
}
