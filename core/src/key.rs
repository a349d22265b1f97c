//! The rules for keys.
//!
//! A complete key is `<namespace>:<key>`, or the key alone without a namespace. It is UTF-8, not
//! empty, without control characters, and not longer than its store takes.

use std::fmt;
use std::hash::{BuildHasher, Hasher};

use arrayvec::ArrayString;

/// Why a key, namespace or pattern is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is nothing in it.
    #[error("the {what} is empty; give it at least one character")]
    Empty {
        /// `key`, `namespace` or `pattern`.
        what: &'static str,
    },

    /// It is longer than the store takes.
    #[error(
        "the {what} {start:?}… has {bytes} bytes with its namespace, {store} takes at most {max}; \
         shorten it, or use a hash of it"
    )]
    TooLong {
        /// `key`, `namespace` or `pattern`.
        what: &'static str,
        /// Its beginning.
        start: String,
        /// Its length in bytes.
        bytes: usize,
        /// The most that the store takes.
        max: usize,
        /// The store's name.
        store: &'static str,
    },

    /// There is a control character in it.
    #[error(
        "the {what} {text:?} has the control character U+{character:04X} at byte {at}; \
         remove or encode it"
    )]
    ControlCharacter {
        /// `key`, `namespace` or `pattern`.
        what: &'static str,
        /// The beginning of the text, escaped.
        text: String,
        /// The character.
        character: u32,
        /// Where it stands.
        at: usize,
    },
}

/// Checks a complete key against the rules and the limit of a store.
///
/// # Errors
///
/// A [`KeyError`] that says which rule it breaks.
///
/// ```
/// use larder_core::check_key;
///
/// assert!(check_key("app:user:42", 512, "kv").is_ok());
/// assert_eq!(
///     check_key("user\n42", 512, "kv").unwrap_err().to_string(),
///     "the key \"user\\n42\" has the control character U+000A at byte 4; remove or encode it",
/// );
/// ```
pub fn check_key(key: &str, max_bytes: usize, store: &'static str) -> Result<(), KeyError> {
    check("key", key, max_bytes, store)
}

pub(crate) fn check(
    what: &'static str,
    text: &str,
    max: usize,
    store: &'static str,
) -> Result<(), KeyError> {
    if text.is_empty() {
        return Err(KeyError::Empty { what });
    }
    if text.len() > max {
        return Err(KeyError::TooLong {
            what,
            start: beginning(text),
            bytes: text.len(),
            max,
            store,
        });
    }
    // Almost every key is ASCII: decode only what is suspicious.
    if may_have_control_characters(text)
        && let Some((at, character)) = text.char_indices().find(|(_, c)| c.is_control())
    {
        let text = beginning(text);
        return Err(KeyError::ControlCharacter { what, text, character: character.into(), at });
    }
    Ok(())
}

/// By its bytes alone, eight at a time. 0xC2 leads the C1 controls, U+0080 to U+009F.
#[inline]
fn may_have_control_characters(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (words, rest) = bytes.as_chunks();
    let found = words.iter().fold(0, |found, word| found | suspicious(u64::from_le_bytes(*word)));
    let rest = match (rest, bytes.last_chunk()) {
        ([], _) => return found != 0,
        // Some of them once more.
        (_, Some(last)) => u64::from_le_bytes(*last),
        (_, None) => gathered(rest, EACH * 0x20),
    };
    found | suspicious(rest) != 0
}

/// Shifted into a word of something else, as to gather them in memory and to load them at once makes
/// a processor wait.
#[inline(always)]
fn gathered(bytes: &[u8], into: u64) -> u64 {
    bytes.iter().rev().fold(into, |word, byte| word << 8 | u64::from(*byte))
}

const EACH: u64 = u64::MAX / 0xff;

/// Not zero where one of the bytes is below 0x20, or 0x7F, or 0xC2.
#[inline]
fn suspicious(word: u64) -> u64 {
    // The highest bit of a byte is set by a borrow; a borrow from the next byte tells of one more.
    let below = |word: u64, least: u64| word.wrapping_sub(EACH * least) & !word;
    (below(word, 0x20) | below(word ^ (EACH * 0x7f), 1) | below(word ^ (EACH * 0xc2), 1))
        & (EACH * 0x80)
}

fn beginning(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Room for a complete key. One that is not unusually long takes no allocation.
#[derive(Default)]
pub(crate) struct KeyBuffer {
    short: ArrayString<128>,
    long: Option<String>,
}

/// A complete key in two parts, whichever: where it is only looked up, nobody has to join them.
#[derive(Clone, Copy)]
pub(crate) struct Split<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) key: &'a str,
}

impl<'a> From<&'a str> for Split<'a> {
    fn from(key: &'a str) -> Self {
        Self { namespace: "", key }
    }
}

impl Split<'_> {
    /// Whether it is this one when it is joined.
    #[inline(always)]
    pub(crate) fn is(self, joined: &str) -> bool {
        let (namespace, key) = (self.namespace.as_bytes(), self.key.as_bytes());
        joined.as_bytes().split_at_checked(namespace.len()).is_some_and(|(start, rest)| {
            // The keys of a namespace differ in the rest.
            equal(rest, key) && equal(start, namespace)
        })
    }

    /// The hash of what it is when it is joined.
    #[inline(always)]
    pub(crate) fn hash_by(self, by: &impl BuildHasher) -> u64 {
        let mut words = Words { hasher: by.build_hasher(), begun: 0, bits: 0 };
        words.write(self.namespace.as_bytes());
        words.write(self.key.as_bytes());
        let Words { mut hasher, begun, .. } = words;
        hasher.write_u64(begun);
        hasher.write_usize(self.namespace.len() + self.key.len());
        hasher.finish()
    }
}

/// As `==`, which is a call, for what is short.
#[inline(always)]
fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let words = a
        .iter()
        .zip(b)
        .fold(0, |differ, (a, b)| differ | (u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b)));
    words == 0 && gathered(a_rest, 0) == gathered(b_rest, 0)
}

/// Gives bytes to a hasher as words of eight, wherever one text ends and the next one begins.
struct Words<H> {
    hasher: H,
    /// The word that is not yet full, and how many bits it has.
    begun: u64,
    bits: u32,
}

impl<H: Hasher> Words<H> {
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            let word = u64::from_le_bytes(*word);
            self.hasher.write_u64(self.begun | word << self.bits);
            // Shifted twice, as a word cannot be by all of its bits.
            self.begun = word >> 1 >> (63 - self.bits);
        }
        // Fewer than eight bytes.
        let more = 8 * rest.len() as u32;
        if more == 0 {
            return;
        }
        let word = match bytes.last_chunk() {
            Some(last) => u64::from_le_bytes(*last) >> (64 - more),
            None => gathered(rest, 0),
        };
        self.begun |= word << self.bits;
        if self.bits + more >= 64 {
            self.hasher.write_u64(self.begun);
            self.begun = word >> 1 >> (63 - self.bits);
        }
        self.bits = (self.bits + more) % 64;
    }
}

/// What every key of a cache begins with: nothing, or `<name>:`.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Namespace(std::sync::Arc<str>);

impl Namespace {
    /// A namespace inside this one.
    pub(crate) fn child(&self, name: &str) -> Self {
        Self(format!("{}{name}:", self.0).into())
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.0
    }

    /// The complete key, checked against the rules and the limit of a store.
    pub(crate) fn full_key(
        &self,
        key: &str,
        max_bytes: usize,
        store: &'static str,
    ) -> Result<String, KeyError> {
        if key.is_empty() {
            return Err(KeyError::Empty { what: "key" });
        }
        let full = self.join(key);
        // The namespace passed when it was made.
        if full.len() > max_bytes || may_have_control_characters(key) {
            check_key(&full, max_bytes, store)?;
        }
        Ok(full)
    }

    /// As [`full_key`](Self::full_key), in a buffer of the caller's.
    #[inline]
    pub(crate) fn full_key_in<'b>(
        &self,
        buffer: &'b mut KeyBuffer,
        key: &'b str,
        max_bytes: usize,
        store: &'static str,
    ) -> Result<&'b str, KeyError> {
        if self.0.is_empty() {
            return check_key(key, max_bytes, store).map(|()| key);
        }
        if key.is_empty() {
            return Err(KeyError::Empty { what: "key" });
        }
        let KeyBuffer { short, long } = buffer;
        let full = match short.try_push_str(&self.0).and_then(|()| short.try_push_str(key)) {
            Ok(()) => short.as_str(),
            Err(_) => long.insert(self.join(key)),
        };
        // The namespace passed when it was made.
        if full.len() > max_bytes || may_have_control_characters(key) {
            check_key(full, max_bytes, store)?;
        }
        Ok(full)
    }

    /// The complete key, in its parts, where it breaks no rule; that which it breaks is told by
    /// [`full_key`](Self::full_key).
    #[inline]
    pub(crate) fn split<'k>(&'k self, key: &'k str, max_bytes: usize) -> Option<Split<'k>> {
        let namespace = &*self.0;
        let fits = !key.is_empty() && namespace.len() + key.len() <= max_bytes;
        (fits && !may_have_control_characters(key)).then_some(Split { namespace, key })
    }

    /// The complete key.
    pub(crate) fn join(&self, key: &str) -> String {
        let mut full = String::with_capacity(self.0.len() + key.len());
        full.push_str(&self.0);
        full.push_str(key);
        full
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::test;

    #[test]
    fn a_namespace_stands_before_its_keys() {
        let app = Namespace::default().child("app");
        assert_eq!(app.join("user:42"), "app:user:42");
        assert_eq!(app.child("v2").join("user:42"), "app:v2:user:42");
        assert_eq!(Namespace::default().join("user:42"), "user:42");
    }

    #[test]
    fn length_counts_bytes() {
        assert!(check_key("ö", 2, "kv").is_ok());
        let error = check_key("öa", 2, "kv").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the key \"öa\"… has 3 bytes with its namespace, kv takes at most 2; shorten it, or \
             use a hash of it"
        );
    }

    #[test]
    fn control_characters_of_both_sets_are_refused() {
        for bad in ["a\0", "\u{7f}", "a\u{85}b", "\r\n"] {
            assert!(matches!(check_key(bad, 512, "kv"), Err(KeyError::ControlCharacter { .. })));
        }
        for good in ["a b", "é", "日本:1", "©"] {
            assert_eq!(check_key(good, 512, "kv"), Ok(()));
        }
    }

    #[test]
    fn what_is_suspicious_is_seen_wherever_it_stands() {
        for length in 1..40 {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut bytes = vec![b'a'; length];
                    bytes[at] = byte;
                    // Alone, these are no text.
                    let bytes = match byte {
                        0xc2 => [&bytes[..=at], &[0x85], &bytes[at + 1..]].concat(),
                        0x80.. => continue,
                        _ => bytes,
                    };
                    let text = String::from_utf8(bytes).unwrap();
                    let is_suspicious = byte < 0x20 || byte == 0x7f || byte == 0xc2;
                    assert_eq!(may_have_control_characters(&text), is_suspicious, "{text:?}");
                }
            }
        }
        assert!(!may_have_control_characters("日本語のキー: é、ß、€"));
    }

    #[test]
    fn a_key_is_the_same_however_it_is_split() {
        let by = hashbrown::DefaultHashBuilder::default();
        let full = "app:ü:user:42, of whom there is more than fits into a few words";
        for length in 0..=full.len() {
            let Some(joined) = full.get(..length) else { continue };
            let hash = Split::from(joined).hash_by(&by);
            for at in (0..=length).filter(|at| joined.is_char_boundary(*at)) {
                let (namespace, key) = joined.split_at(at);
                let split = Split { namespace, key };
                assert!(split.is(joined), "{namespace:?} {key:?}");
                assert_eq!(split.hash_by(&by), hash, "{namespace:?} {key:?}");
                assert!(!split.is(&format!("{joined}a")));
                for (changed, character) in joined.char_indices().filter(|(_, c)| c.is_ascii()) {
                    let mut other = joined.to_owned();
                    other
                        .replace_range(changed..=changed, if character == 'z' { "y" } else { "z" });
                    assert!(!split.is(&other), "{namespace:?} {key:?}, {other:?}");
                    assert_ne!(Split::from(&*other).hash_by(&by), hash, "{other:?}");
                }
            }
            assert_ne!(Split::from(&*format!("{joined}\0")).hash_by(&by), hash);
        }
    }

    #[test]
    fn an_empty_key_is_refused() {
        assert_eq!(check_key("", 512, "kv"), Err(KeyError::Empty { what: "key" }));
    }
}
