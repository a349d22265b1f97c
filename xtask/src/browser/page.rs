//! The example page: built, and served with an origin that takes its time.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Write,
    path::{Component, Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use tiny_http::{Header, Request, Response, Server, StatusCode};

use crate::{cargo_tools::Tool, exec, setup::Need, wasm_target, workspace::Workspace};

/// The package, and the folder that it stands in.
pub(crate) const PACKAGE: &str = "larder-browser-example";
const FOLDER: &str = "examples/browser";

const NEEDS: [Need; 2] = [Need::WasmTarget, Need::Tool(Tool::WasmBindgen)];

/// What is asked of the origin begins so, and is answered after [`DELAY`].
const ORIGIN: &str = "products/";
const DELAY: Duration = Duration::from_millis(600);

#[derive(Args)]
pub(crate) struct Page {
    /// The port on 127.0.0.1; 0 for any that is free
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Fail where something is missing, and do not install it
    #[arg(long)]
    no_install: bool,
}

/// Builds the page and serves it until Ctrl-C.
pub(crate) fn run(workspace: &Workspace, page: &Page) -> Result<()> {
    if !page.no_install {
        for need in NEEDS {
            need.ensure(workspace).with_context(|| format!("cannot set up {}", need.name()))?;
        }
    }
    let site = build(workspace)?;
    let server = Server::http(("127.0.0.1", page.port))
        .map_err(|error| anyhow!("cannot listen on 127.0.0.1:{}: {error}", page.port))?;
    println!("listening on http://{}", server.server_addr());
    println!(
        "\n  Open it, load a product, and load it again. What the origin is asked shows here."
    );
    println!("  Ctrl-C ends it.\n");
    serve(&server, &Arc::new(site));
    Ok(())
}

/// The files of the page.
pub(crate) struct Site {
    folder: PathBuf,
    /// What wasm-bindgen has made, by the path that the page knows it by.
    made: HashMap<String, Vec<u8>>,
}

/// Compiles the page's library and makes a module for browsers of it.
///
/// # Errors
/// Where a tool is missing; the message says what installs it.
pub(crate) fn build(workspace: &Workspace) -> Result<Site> {
    let bindgen = Tool::WasmBindgen.bin(workspace)?.join("wasm-bindgen");
    ensure!(bindgen.is_file(), "{} is missing: run `cargo xtask setup`", bindgen.display());
    exec::run(workspace.cargo().args([
        "build",
        "--package",
        PACKAGE,
        "--target",
        wasm_target::TARGET,
    ]))?;
    let library = PACKAGE.replace('-', "_");
    let package = workspace.target_dir.join(PACKAGE);
    fs::create_dir_all(&package).with_context(|| format!("cannot write {}", package.display()))?;
    // Another run writes the same files; each serves what it has read whole.
    let lock = File::create(package.join("lock"))?;
    lock.lock().context("cannot lock the folder of the page")?;
    let compiled = workspace.target_dir.join(wasm_target::TARGET).join("debug");
    exec::run(
        Command::new(bindgen)
            .args(["--target", "web", "--no-typescript", "--out-dir"])
            .args([&package, &compiled.join(&library).with_extension("wasm")]),
    )?;
    let mut made = HashMap::new();
    for file in [format!("{library}.js"), format!("{library}_bg.wasm")] {
        let content = fs::read(package.join(&file))
            .with_context(|| format!("wasm-bindgen has made no {file}"))?;
        made.insert(format!("pkg/{file}"), content);
    }
    Ok(Site { folder: workspace.root.join(FOLDER), made })
}

fn serve(server: &Server, site: &Arc<Site>) {
    for request in server.incoming_requests() {
        let site = Arc::clone(site);
        // The origin's delay must not hold up the others.
        thread::spawn(move || {
            let asked = request.url().split('?').next().unwrap_or_default();
            let asked = asked.trim_start_matches('/').to_owned();
            if asked.starts_with(ORIGIN) {
                // A terminal that went away must not end the server.
                let _ = writeln!(std::io::stdout(), "the origin is asked for {asked}");
                thread::sleep(DELAY);
            }
            // A browser that went away needs no answer.
            let _ = answer(request, &site, &asked);
        });
    }
}

fn answer(request: Request, site: &Site, asked: &str) -> std::io::Result<()> {
    let asked = if asked.is_empty() { "index.html" } else { asked };
    let (content, kind, status) = match site.file(asked) {
        Some(content) => (content, kind(asked), 200),
        None => (b"not found\n".to_vec(), "text/plain", 404),
    };
    // The cache that is shown is the page's own.
    let headers = [("content-type", kind), ("cache-control", "no-store")];
    let headers =
        headers.into_iter().filter_map(|(name, value)| Header::from_bytes(name, value).ok());
    let response = Response::from_data(content).with_status_code(StatusCode(status));
    request.respond(headers.fold(response, Response::with_header))
}

impl Site {
    /// The content of a file, if it is one of the page's.
    fn file(&self, asked: &str) -> Option<Vec<u8>> {
        if let Some(content) = self.made.get(asked) {
            return Some(content.clone());
        }
        let inside = |part: Component<'_>| matches!(part, Component::Normal(_));
        let stays_inside = Path::new(asked).components().all(inside);
        stays_inside.then(|| fs::read(self.folder.join(asked)).ok()).flatten()
    }
}

fn kind(file: &str) -> &'static str {
    match Path::new(file).extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript",
        Some("css") => "text/css",
        Some("wasm") => "application/wasm",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, fs};

    use super::Site;

    #[test]
    fn only_the_files_of_the_page_are_served() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("page");
        fs::create_dir_all(folder.join("products")).unwrap();
        for (file, content) in [("page/a.js", "a"), ("page/products/1.json", "1"), ("secret", "s")]
        {
            fs::write(root.path().join(file), content).unwrap();
        }
        let outside = root.path().join("secret").display().to_string();
        let made = HashMap::from([("pkg/b.wasm".to_owned(), b"b".to_vec())]);
        let site = Site { folder, made };
        for (asked, content) in [("a.js", "a"), ("products/1.json", "1"), ("pkg/b.wasm", "b")] {
            assert_eq!(site.file(asked).as_deref(), Some(content.as_bytes()), "{asked}");
        }
        for asked in ["../secret", "products/../../secret", &outside, "products", "c.js"] {
            assert_eq!(site.file(asked), None, "{asked}");
        }
    }
}
