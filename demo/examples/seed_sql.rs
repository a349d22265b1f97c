//! Prints what a new database is filled with, as SQL for `wrangler d1 execute --file`:
//!
//! ```sh
//! cargo run --package larder-demo --example seed_sql > seed.sql
//! ```

use std::io::{self, Write};

use larder_demo::seed;

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for statement in seed::statements() {
        writeln!(out, "{statement}")?;
    }
    out.flush()
}
