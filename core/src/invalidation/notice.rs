//! What goes over a bus.

use std::fmt;

use crate::glob::Glob;

/// Who says what was invalidated.
///
/// ```
/// use larder_core::invalidation::{NodeId, Notice, Origin, Subject};
///
/// let origin = Origin { node: NodeId::random(), epoch: 1_767_225_600_000, sequence: 1 };
/// let notice = Notice::new(origin, Subject::Keys(vec!["app:user:42".into()]));
/// assert_eq!(notice.origin.map(|origin| origin.sequence), Some(1));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// Who says so; unknown where the form has no place for it, as the plain one.
    pub origin: Option<Origin>,
    /// What it is about.
    pub subject: Subject,
}

impl Notice {
    /// A notice of a known sender.
    #[must_use]
    pub fn new(origin: Origin, subject: Subject) -> Self {
        Self { origin: Some(origin), subject }
    }

    /// A notice of somebody who does not tell who it is.
    ///
    /// ```
    /// use larder_core::invalidation::{Notice, Subject};
    ///
    /// assert_eq!(Notice::anonymous(Subject::Everything).origin, None);
    /// ```
    #[must_use]
    pub fn anonymous(subject: Subject) -> Self {
        Self { origin: None, subject }
    }
}

/// Who sent a notice, and which of its notices it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The sender.
    pub node: NodeId,
    /// When the sender began to count, in milliseconds since the UNIX epoch by its own clock. Numbers
    /// of different epochs have nothing to do with each other.
    pub epoch: u64,
    /// The number of the notice: from 1 on, each one more than the one before. A notice that is sent
    /// again has the same number.
    pub sequence: u64,
}

/// One cache in one process, and its clones.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(u128);

impl NodeId {
    /// A new one: 128 random bits, which are no secret.
    #[must_use]
    pub fn random() -> Self {
        Self(fastrand::u128(..))
    }

    /// One that was read from somewhere.
    ///
    /// ```
    /// use larder_core::invalidation::NodeId;
    ///
    /// assert_eq!(NodeId::from_u128(0x2a).to_string(), "0000000000000000000000000000002a");
    /// ```
    #[must_use]
    pub const fn from_u128(id: u128) -> Self {
        Self(id)
    }

    /// Its bits.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

/// What a notice is about. Keys, patterns and tags are complete, with their namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// Nothing: the sender is alive.
    Alive,
    /// Keys that were written or removed.
    Keys(Vec<String>),
    /// Patterns of keys that were removed.
    Patterns(Vec<Glob>),
    /// Tags that were removed, by the keys of their epochs.
    Tags(Vec<String>),
    /// Anything may have been invalidated.
    Everything,
    /// Keys under which a load had left what was invalidated before, until its process took that out
    /// of the store again. It may stand in other processes.
    Withdrawn(Vec<String>),
    /// The sender has nothing more to say.
    Farewell,
}
