//! Larder on a file: the journal of write-behind in SQLite, on one machine.
//!
//! In the order a reader needs it:
//!
//! - [`SqliteJournal`], the [`Journal`](larder_core::Journal): how safe a write is, and what it costs.
//! - [`SqliteJournalBuilder`], its settings and their defaults.
//!
//! ```
//! use larder_core::write_behind::{Write, WriteBehind};
//! use larder_core::seconds;
//! use larder_sqlite::SqliteJournal;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("last-seen.journal");
//! let save = async |_: Vec<Write<u64>>| Ok::<_, std::io::Error>(());
//! let last_seen = WriteBehind::builder(SqliteJournal::open(path)?, save).build()?;
//! last_seen.write("42", &1_767_225_600).await?;
//! assert_eq!(last_seen.stop(seconds(5)).await?.writes, 0);
//! # Ok(()) }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod error;
mod journal;
mod sql;
mod worker;

pub use builder::SqliteJournalBuilder;
pub use journal::SqliteJournal;
