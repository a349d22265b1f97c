//! Prints docs/backends.md, from the records in the folder that the argument names; the
//! conformance tests leave them there, see `larder_tests::trials`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use larder_tests::conformance::{Record, page};

/// The records and the titles of their columns.
const BACKENDS: [(&str, &str); 5] = [
    ("memory", "memory"),
    ("redis", "Redis, Valkey"),
    ("redis-cluster", "Redis Cluster"),
    ("kv", "Workers KV"),
    ("durable", "Durable Objects"),
];

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).context("name the folder of the records")?;
    let folder = PathBuf::from(folder);
    let read = |(name, title)| -> Result<(&str, Record)> {
        let path = folder.join(format!("{name}.json"));
        let record = std::fs::read(&path)
            .with_context(|| format!("no whole run on {name}: cannot read {}", path.display()))?;
        Ok((title, serde_json::from_slice(&record)?))
    };
    let backends = BACKENDS.into_iter().map(read).collect::<Result<Vec<_>>>()?;
    print!("{}", page(&backends));
    Ok(())
}
