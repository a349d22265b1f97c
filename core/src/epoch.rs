//! Epochs: what an entry was loaded under, so that one write can take the ground from many.
//!
//! An epoch is a number that stands in the store under a key of its own. Whoever loads an entry
//! stamps it with the epochs of its tags, as they were before the load began; whoever reads it
//! compares them with those that stand. To invalidate all that a tag has marked, its epoch is
//! removed: the next one is another number, so that nothing stamped before is ever good again.
//!
//! It is the store that puts removals, new epochs and reads of them into one order. No clock is
//! compared with another.

use std::sync::Arc;

use bytes::Bytes;

/// The epoch under a key, as it was when a load began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The complete key of the epoch.
    pub(crate) key: Arc<str>,
    pub(crate) epoch: u64,
}

/// A number that no epoch had before.
pub(crate) fn new() -> u64 {
    fastrand::u64(..)
}

/// An epoch as it stands in a store: in decimal digits.
pub(crate) fn to_bytes(epoch: u64) -> Bytes {
    Bytes::from(epoch.to_string())
}

/// The epoch that stored bytes are, if they are one.
pub(crate) fn from_bytes(stored: &[u8]) -> Option<u64> {
    std::str::from_utf8(stored).ok()?.parse().ok()
}
