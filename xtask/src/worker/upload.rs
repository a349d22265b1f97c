//! What is uploaded of a Worker, and how large it is.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use flate2::{Compression, write::GzEncoder};

use crate::{exec, workspace::Workspace};

/// How large something is, in bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct Size {
    pub(super) raw: usize,
    pub(super) gzipped: usize,
}

/// The size of a built Worker's WebAssembly, and of all that is uploaded.
#[derive(Clone, Copy, Default)]
pub(super) struct Sizes {
    pub(super) wasm: Size,
    pub(super) all: Size,
}

/// Asks wrangler what it would upload, which fails where Cloudflare would refuse it for its form,
/// and prints how large it is.
pub(super) fn measure(workspace: &Workspace, folder: &str) -> Result<()> {
    let Sizes { wasm, all } = sizes(workspace, folder)?;
    println!("{folder}, as it is uploaded:");
    for (name, Size { raw, gzipped }) in [("the .wasm", wasm), ("everything", all)] {
        println!("  {name:10} {:>8} KiB, gzipped {:>8} KiB", kib(raw), kib(gzipped));
    }
    Ok(())
}

/// The sizes of a Worker that is built.
pub(super) fn sizes(workspace: &Workspace, folder: &str) -> Result<Sizes> {
    let out = tempfile::tempdir()?;
    let mut deploy = super::wrangler(workspace, folder)?;
    exec::run(deploy.args(["deploy", "--dry-run", "--outdir"]).arg(out.path()))?;
    let mut sizes = Sizes::default();
    for file in uploaded(out.path())? {
        let content = fs::read(&file)?;
        let size = Size { raw: content.len(), gzipped: gzipped(&content)? };
        if file.extension().is_some_and(|extension| extension == "wasm") {
            sizes.wasm.add(size);
        }
        sizes.all.add(size);
    }
    ensure!(sizes.wasm.raw > 0, "wrangler would upload no .wasm of {folder}");
    Ok(sizes)
}

impl Size {
    fn add(&mut self, other: Self) {
        self.raw += other.raw;
        self.gzipped += other.gzipped;
    }
}

/// The files that wrangler leaves, less what it adds for humans and debuggers.
fn uploaded(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        let is_extra =
            path.extension().is_some_and(|extension| extension == "map" || extension == "md");
        if path.is_file() && !is_extra {
            files.push(path);
        }
    }
    Ok(files)
}

fn gzipped(content: &[u8]) -> Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    Ok(encoder.finish()?.len())
}

/// In units of 1,024 bytes, as Cloudflare counts.
pub(super) fn kib(bytes: usize) -> String {
    format!("{}.{}", bytes / 1_024, bytes % 1_024 * 10 / 1_024)
}

#[cfg(test)]
mod tests {
    use super::{gzipped, kib};

    #[test]
    fn sizes_are_read_easily() {
        assert_eq!(kib(0), "0.0");
        assert_eq!(kib(1_023), "0.9");
        assert_eq!(kib(10 * 1_024 + 512), "10.5");
        assert!(gzipped(&[0; 100_000]).unwrap() < 1_000);
    }
}
