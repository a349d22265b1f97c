//! Write-behind: a write is acknowledged when a journal holds it, and reaches its source later.
//!
//! In the order a reader needs it:
//!
//! - [`WriteBehind`], what a program uses: it writes, flushes, and shows what could not be saved.
//! - [`Sink`], the source: a function, or a type of the caller's, that saves a batch.
//! - [`Journal`], the port that backends implement, and what they promise; [`MemoryJournal`] is one.
//!
//! A write that was acknowledged reaches the sink at least once, after any crash of the process,
//! under a [`WriteId`] that is the same in every attempt. Of one key the sink is given the newest
//! write that waits, which covers those before it; and never a write after a later one. Only one
//! flusher works on a journal at a time, see [`Journal::lead`].

mod builder;
mod control;
mod flusher;
mod frame;
mod handle;
mod journal;
mod memory;
mod meter;
mod pace;
mod sink;
#[cfg(test)]
mod tests;
mod window;

pub use builder::{WhenFull, WriteBehindBuilder};
pub use handle::{DeadWrite, WriteBehind};
pub use journal::{
    Backlog, DeadLetter, Death, DurableJournal, Journal, JournalCapabilities, Journaled, Room,
    Sequence, Settled, Term,
};
pub use memory::{MemoryJournal, MemoryJournalBuilder};
pub use meter::WriteBehindStats;
pub use sink::{Sink, SinkError, Write, WriteId};
