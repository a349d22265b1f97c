//! The demo's Worker under wrangler, with a state of its own.

use std::io::Write;

use anyhow::Result;
use larder_demo::seed;
use larder_tests::wrangler::{Worker, Wrangler};
use tempfile::NamedTempFile;

/// Built, with the secret that it asks for.
pub(crate) fn built() -> Result<Wrangler> {
    let wrangler = Wrangler::new("demo-worker")?;
    wrangler.build()?;
    Ok(wrangler.variable("SESSION_SECRET", "a-secret-for-tests-that-everybody-may-know"))
}

/// It limits nobody.
pub(crate) fn unlimited() -> Result<Wrangler> {
    Ok(built()?.variable("RATE_LIMIT", "0").variable("SIGN_IN_LIMIT", "0"))
}

/// Fills its database with some products and users, and starts it.
pub(crate) fn filled(wrangler: Wrangler, most: usize) -> Result<Worker> {
    wrangler.command(["d1", "migrations", "apply", "DATABASE"])?;
    let mut sql = NamedTempFile::with_suffix(".sql")?;
    for statement in seed::statements(most) {
        writeln!(sql, "{statement}")?;
    }
    wrangler.command(["d1", "execute", "DATABASE", "--file", &sql.path().display().to_string()])?;
    wrangler.dev()
}
