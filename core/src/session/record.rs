//! What a session holds, and how changes come into it: pure.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::time::Timestamp;

/// What a store keeps of a session.
///
/// `Debug` shows the keys of the data and no values.
///
/// ```
/// use larder_core::Timestamp;
/// use larder_core::session::SessionRecord;
///
/// let (created, expires) = (Timestamp::from_millis(1_000), Timestamp::from_millis(61_000));
/// let record = SessionRecord::new(created, expires);
/// assert!(record.is_live(created));
/// assert!(!record.is_live(expires));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct SessionRecord {
    /// The values, as JSON, by their keys.
    pub data: Data,
    /// Who is signed in, as the caller named them.
    pub user: Option<String>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used, to within the throttle of touches.
    pub seen_at: Timestamp,
    /// Where it was last used, as the caller says: an address, a device.
    pub seen_from: Option<String>,
    /// When it ends unless it is used: absolute, and beyond it the session does not exist, whatever
    /// the store still holds.
    pub expires_at: Timestamp,
}

/// The values of a session: JSON texts by their keys.
pub type Data = BTreeMap<String, Value>;

/// One value, as a JSON text that nobody parses before it is asked for.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Value(Box<RawValue>);

impl Value {
    /// The value's JSON.
    ///
    /// # Errors
    ///
    /// What serde says of a value that is no JSON, such as a map whose keys are no texts.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Self> {
        serde_json::value::to_raw_value(value).map(Self)
    }

    /// The JSON text.
    #[must_use]
    pub fn as_json(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.as_json() == other.as_json()
    }
}

impl Eq for Value {}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl SessionRecord {
    /// An empty session.
    #[must_use]
    pub fn new(created_at: Timestamp, expires_at: Timestamp) -> Self {
        Self {
            data: Data::new(),
            user: None,
            created_at,
            seen_at: created_at,
            seen_from: None,
            expires_at,
        }
    }

    /// About how many bytes it takes: those of its keys and values, and of its other texts.
    #[must_use]
    pub fn size(&self) -> usize {
        let values = self.data.iter().map(|(key, value)| key.len() + value.as_json().len());
        let texts = [&self.user, &self.seen_from].into_iter().flatten().map(String::len);
        values.chain(texts).sum()
    }

    /// Whether it still exists.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }
}

impl fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRecord")
            .field("keys", &self.data.keys())
            .field("is_signed_in", &self.user.is_some())
            .field("created_at", &self.created_at)
            .field("seen_at", &self.seen_at)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// What one request changes of a session.
///
/// Changes are kept apart from what was loaded, so that they can be made to what somebody else
/// saved meanwhile: both keep theirs, and of one key the later save has the last word.
#[derive(Clone, Default)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Changes {
    /// `None` removes.
    values: BTreeMap<String, Option<Value>>,
    /// Removes everything that is not set here.
    clears: bool,
    user: Option<Option<String>>,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty() && !self.clears && self.user.is_none()
    }

    pub(crate) fn set(&mut self, key: String, value: Option<Value>) {
        self.values.insert(key, value);
    }

    pub(crate) fn set_unless_set(&mut self, key: &str, value: Option<Value>) {
        if !self.values.contains_key(key) {
            self.values.insert(key.to_owned(), value);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.values.clear();
        self.clears = true;
    }

    pub(crate) fn sign_in(&mut self, user: Option<String>) {
        self.user = Some(user);
    }

    pub(crate) fn signs_in(&self) -> bool {
        matches!(self.user, Some(Some(_)))
    }

    /// Whether there is something to keep in a session that is not stored yet.
    pub(crate) fn found_a_session(&self) -> bool {
        self.signs_in() || self.values.values().any(Option::is_some)
    }

    /// What the key holds, with these changes made to `stored`.
    pub(crate) fn value<'a>(&'a self, stored: Option<&'a Data>, key: &str) -> Option<&'a Value> {
        match self.values.get(key) {
            Some(changed) => changed.as_ref(),
            None if self.clears => None,
            None => stored?.get(key),
        }
    }

    pub(crate) fn user<'a>(&'a self, stored: Option<&'a SessionRecord>) -> Option<&'a str> {
        match &self.user {
            Some(changed) => changed.as_deref(),
            None => stored?.user.as_deref(),
        }
    }

    /// Makes the changes.
    pub(crate) fn apply(&self, record: &mut SessionRecord) {
        if self.clears {
            record.data.clear();
        }
        for (key, value) in &self.values {
            match value {
                Some(value) => drop(record.data.insert(key.clone(), value.clone())),
                None => drop(record.data.remove(key)),
            }
        }
        if let Some(user) = &self.user {
            record.user.clone_from(user);
        }
    }

    /// The keys that `theirs` changed of `base` and that these changes change to something else.
    pub(crate) fn overwrites(&self, base: &Data, theirs: &Data) -> Vec<String> {
        let theirs_changed = |key: &str| base.get(key) != theirs.get(key);
        let ours = |key: &str| self.value(Some(base), key);
        let mut keys: Vec<&String> = self.values.keys().collect();
        if self.clears {
            keys.extend(base.keys().chain(theirs.keys()));
            keys.sort_unstable();
            keys.dedup();
        }
        keys.retain(|key| theirs_changed(key) && ours(key) != theirs.get(*key));
        keys.into_iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::test;

    fn value(n: u8) -> Value {
        Value::of(&n).unwrap()
    }

    fn changes() -> impl Strategy<Value = Changes> {
        let values = prop::collection::btree_map("[a-d]", prop::option::of(0..4_u8), 0..4);
        (values, prop::bool::weighted(0.2), prop::option::of(prop::option::of("[xy]"))).prop_map(
            |(values, clears, user)| Changes {
                values: values.into_iter().map(|(key, n)| (key, n.map(value))).collect(),
                clears,
                user,
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// What a request reads of its own changes is what stands there once they are made.
        #[test]
        fn a_request_reads_its_own_changes(
            data in prop::collection::btree_map("[a-d]", 0..4_u8, 0..4),
            changes in changes(),
        ) {
            let mut record = SessionRecord::new(Timestamp::EPOCH, Timestamp::MAX);
            record.data = data.into_iter().map(|(key, n)| (key, value(n))).collect();
            let before = record.clone();
            changes.apply(&mut record);
            for key in ["a", "b", "c", "d", "e"] {
                prop_assert_eq!(changes.value(Some(&before.data), key), record.data.get(key));
            }
            prop_assert_eq!(changes.user(Some(&before)), record.user.as_deref());
        }

        /// Two requests that change different keys both keep their changes, in either order; and
        /// only what the later one takes from the earlier is told.
        #[test]
        fn changes_of_different_keys_are_both_kept(
            base in prop::collection::btree_map("[a-d]", 0..4_u8, 0..4),
            mut one in changes(),
            mut other in changes(),
        ) {
            (one.clears, other.clears) = (false, false);
            let base: Data = base.into_iter().map(|(key, n)| (key, value(n))).collect();
            let mut record = SessionRecord::new(Timestamp::EPOCH, Timestamp::MAX);
            record.data = base.clone();
            one.apply(&mut record);
            let between = record.data.clone();
            other.apply(&mut record);
            let lost = other.overwrites(&base, &between);
            for (key, set) in &one.values {
                let kept = record.data.get(key) == set.as_ref();
                let changed = base.get(key) != set.as_ref();
                if !other.values.contains_key(key) {
                    prop_assert!(kept);
                }
                prop_assert_eq!(lost.contains(key), changed && !kept);
            }
            for (key, set) in &other.values {
                prop_assert_eq!(record.data.get(key), set.as_ref());
            }
        }
    }

    #[test]
    fn values_are_shown_nowhere() {
        let mut record = SessionRecord::new(Timestamp::EPOCH, Timestamp::MAX);
        record.data.insert("token".into(), Value::of("hunter2").unwrap());
        record.user = Some("zoë".into());
        let shown = format!("{record:?} {:?}", record.data);
        assert!(shown.contains("token") && !shown.contains("hunter2") && !shown.contains("zoë"));
    }
}
