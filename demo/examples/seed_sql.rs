//! Prints what a new database is filled with, as SQL for `wrangler d1 execute --file`:
//!
//! ```sh
//! cargo run --package larder-demo --example seed_sql > seed.sql
//! ```
//!
//! A number limits how many products and users there are, as for a plan that limits writes.

use std::error::Error;
use std::io::{self, Write};

use larder_demo::seed;

fn main() -> Result<(), Box<dyn Error>> {
    let most = std::env::args().nth(1).map(|most| most.parse()).transpose()?;
    let mut out = io::stdout().lock();
    for statement in seed::statements(most.unwrap_or(usize::MAX)) {
        writeln!(out, "{statement}")?;
    }
    Ok(out.flush()?)
}
