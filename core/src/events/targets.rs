use std::collections::BTreeSet;
use std::fmt;

use crate::glob::Glob;

/// A set of keys, patterns and tags to invalidate, without the namespace of the cache.
///
/// ```
/// use larder_core::events::Targets;
///
/// let stale = Targets::new().key("user:42").pattern("users:*").tag("team");
/// assert_eq!(stale.to_string(), r#"key "user:42", pattern "users:*", tag "team""#);
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Targets {
    keys: BTreeSet<String>,
    patterns: BTreeSet<String>,
    tags: BTreeSet<String>,
}

/// Log lines and messages name no more than these.
const MOST_NAMED: usize = 8;

impl Targets {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what stands under a key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.keys.insert(key.into());
        self
    }

    /// Adds what stands under each of `keys`.
    #[must_use]
    pub fn keys<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.keys.extend(keys.into_iter().map(Into::into));
        self
    }

    /// Adds every key that matches a pattern. What comes from outside is no pattern:
    /// [`Glob::prefix`] takes it as text.
    ///
    /// ```
    /// use larder_core::Glob;
    /// use larder_core::events::Targets;
    ///
    /// let team = "a*b"; // as somebody has sent it
    /// let stale = Targets::new().pattern(Glob::prefix(&format!("team:{team}:")));
    /// assert_eq!(stale, Targets::new().pattern(r"team:a\*b:*"));
    /// ```
    #[must_use]
    pub fn pattern(mut self, pattern: impl Into<Glob>) -> Self {
        self.patterns.insert(pattern.into().as_str().to_owned());
        self
    }

    /// Adds every entry that has a tag.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.insert(tag.into());
        self
    }

    /// Adds all of `others`.
    #[must_use]
    pub fn and(mut self, others: impl Into<Self>) -> Self {
        self.extend([others.into()]);
        self
    }

    /// Whether there is nothing to invalidate.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many keys, patterns and tags there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len() + self.patterns.len() + self.tags.len()
    }

    pub(crate) fn all_keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(String::as_str)
    }

    pub(crate) fn all_patterns(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(String::as_str)
    }

    pub(crate) fn all_tags(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().map(String::as_str)
    }
}

impl From<Option<Targets>> for Targets {
    fn from(targets: Option<Targets>) -> Self {
        targets.unwrap_or_default()
    }
}

impl Extend<Targets> for Targets {
    fn extend<I: IntoIterator<Item = Targets>>(&mut self, others: I) {
        for other in others {
            self.keys.extend(other.keys);
            self.patterns.extend(other.patterns);
            self.tags.extend(other.tags);
        }
    }
}

impl FromIterator<Targets> for Targets {
    fn from_iter<I: IntoIterator<Item = Targets>>(others: I) -> Self {
        let mut all = Self::new();
        all.extend(others);
        all
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.all_keys().map(|key| ("key", key));
        let named = named.chain(self.all_patterns().map(|pattern| ("pattern", pattern)));
        let named = named.chain(self.all_tags().map(|tag| ("tag", tag)));
        let mut between = "";
        for (kind, text) in named.take(MOST_NAMED) {
            write!(f, "{between}{kind} {text:?}")?;
            between = ", ";
        }
        match self.len().saturating_sub(MOST_NAMED) {
            _ if self.is_empty() => f.write_str("nothing"),
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl fmt::Debug for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Targets({self})")
    }
}
