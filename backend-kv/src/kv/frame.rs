//! How a value lies in a namespace: its bytes, and a label in the metadata.
//!
//! ```json
//! {"larder": 1, "e": 1767225600000, "h": "ca0100", "b": true}
//! ```
//!
//! | field | meaning |
//! | --- | --- |
//! | `larder` | the label's version |
//! | `e` | the end of the value's life, in milliseconds since the UNIX epoch |
//! | `h` | the bytes before those that lie in the namespace, in hexadecimal digits; optional |
//! | `b` | the bytes in the namespace are not UTF-8; optional |
//!
//! KV reads up to 100 values in one call, but as text. The frame that core puts around a value
//! begins with bytes that are no text, and JSON follows: the former go into the label, so that
//! what lies in the namespace is text, can be read in bulk, and by a human. A value that is not
//! text further on is marked, and read by itself.

use bytes::Bytes;
use larder_core::Timestamp;

use super::namespace::{Field, Metadata};

/// The fields of a label.
pub(crate) const FIELDS: [&str; 4] = [LARDER, END, HEAD, BINARY];
const LARDER: &str = "larder";
const END: &str = "e";
const HEAD: &str = "h";
const BINARY: &str = "b";

const VERSION: f64 = 1.0;
/// In digits it fits into the metadata's 1,024 bytes.
const LONGEST_HEAD: usize = 128;
/// Readers of text may take these bytes for a mark of its encoding, and drop them.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// 2^53 − 1: JavaScript's numbers are exact up to here.
const LATEST: u64 = (1 << 53) - 1;

/// What a label says of a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Label {
    /// The end of its life; `None` for a value of another writer.
    pub(crate) until: Option<Timestamp>,
    head: Vec<u8>,
    pub(crate) is_binary: bool,
}

/// The label is of another version: the value cannot be put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnknownVersion;

/// Splits a value into its label and what is to lie in the namespace.
pub(crate) fn close(value: &[u8], until: Timestamp) -> (Label, &[u8]) {
    let until = Some(until.min(Timestamp::from_millis(LATEST)));
    match head_of(value) {
        Some(at) => {
            let (head, text) = value.split_at(at);
            (Label { until, head: head.to_vec(), is_binary: false }, text)
        }
        None => (Label { until, head: Vec::new(), is_binary: true }, value),
    }
}

/// Where the text begins that goes on to the end; `None` where that is too far in.
fn head_of(value: &[u8]) -> Option<usize> {
    let mut at = if value.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    while at <= LONGEST_HEAD {
        match std::str::from_utf8(value.get(at..)?) {
            Ok(_) => return Some(at),
            Err(error) => at += error.valid_up_to() + error.error_len()?,
        }
    }
    None
}

impl Label {
    pub(crate) fn to_metadata(&self) -> Metadata {
        let mut metadata = Metadata::default().with(LARDER, Field::Number(VERSION));
        if let Some(until) = self.until {
            // Exact, as it is no later than `LATEST`.
            metadata = metadata.with(END, Field::Number(until.as_millis() as f64));
        }
        if !self.head.is_empty() {
            metadata = metadata.with(HEAD, Field::Text(to_hex(&self.head)));
        }
        if self.is_binary {
            metadata = metadata.with(BINARY, Field::Flag(true));
        }
        metadata
    }

    /// The label in the metadata; an empty one where that is of another writer.
    pub(crate) fn of(metadata: Option<&Metadata>) -> Result<Self, UnknownVersion> {
        let field = |name| metadata.and_then(|metadata| metadata.get(name));
        match field(LARDER) {
            None => return Ok(Self::default()),
            Some(Field::Number(VERSION)) => {}
            Some(_) => return Err(UnknownVersion),
        }
        let head = match field(HEAD) {
            None => Vec::new(),
            Some(Field::Text(head)) => from_hex(head).ok_or(UnknownVersion)?,
            Some(_) => return Err(UnknownVersion),
        };
        let Some(Field::Number(until)) = field(END) else { return Err(UnknownVersion) };
        Ok(Self {
            until: Some(Timestamp::from_millis(*until as u64)),
            head,
            is_binary: matches!(field(BINARY), Some(Field::Flag(true))),
        })
    }

    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| now >= until)
    }

    /// Puts the value together.
    pub(crate) fn open(&self, stored: Bytes) -> Bytes {
        if self.head.is_empty() {
            return stored;
        }
        let mut value = Vec::with_capacity(self.head.len() + stored.len());
        value.extend_from_slice(&self.head);
        value.extend_from_slice(&stored);
        value.into()
    }

    /// Puts the value together from text, if the text is what lies in the namespace.
    pub(crate) fn open_text(&self, text: String) -> Option<Bytes> {
        let is_exact = !self.is_binary && (self.until.is_some() || !text.contains('\u{FFFD}'));
        is_exact.then(|| self.open(text.into()))
    }
}

fn to_hex(bytes: &[u8]) -> String {
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.filter_map(|nibble| char::from_digit(nibble.into(), 16)).collect()
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let nibbles = digits.chars().map(|c| c.to_digit(16)).collect::<Option<Vec<u32>>>()?;
    let (bytes, rest) = nibbles.as_chunks::<2>();
    let bytes = bytes.iter().map(|[high, low]| u8::try_from(high << 4 | low).ok());
    if rest.is_empty() { bytes.collect() } else { None }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// As JavaScript would hand it over.
    fn from_json(json: &Value) -> Metadata {
        let fields = FIELDS.iter().filter_map(|name| Some((*name, json.get(name)?)));
        fields.fold(Metadata::default(), |metadata, (name, value)| {
            let field = match value {
                Value::Number(number) => Field::Number(number.as_f64().unwrap()),
                Value::String(text) => Field::Text(text.clone()),
                Value::Bool(flag) => Field::Flag(*flag),
                _ => Field::Other,
            };
            metadata.with(name, field)
        })
    }

    /// As it lies in KV.
    fn to_json(metadata: &Metadata) -> String {
        let fields = metadata.fields().map(|(name, field)| {
            let value = match field {
                Field::Number(number) => json!(*number as u64),
                Field::Text(text) => json!(text),
                Field::Flag(flag) => json!(flag),
                Field::Other => Value::Null,
            };
            (name.to_owned(), value)
        });
        Value::Object(fields.collect()).to_string()
    }

    const UNTIL: Timestamp = Timestamp::from_millis(1_767_225_600_000);

    fn round_trip(value: &[u8]) -> (Label, Bytes) {
        let (label, stored) = close(value, UNTIL);
        let read = Label::of(Some(&label.to_metadata())).unwrap();
        assert_eq!(read, label);
        assert_eq!(read.open(Bytes::copy_from_slice(stored)), value);
        let metadata = to_json(&label.to_metadata());
        assert!(metadata.is_ascii() && metadata.len() <= 1_024, "{metadata}");
        (label, Bytes::copy_from_slice(stored))
    }

    #[test]
    fn text_lies_there_as_it_is() {
        for text in ["", "{\"name\":\"Zoë\"}", "\u{FFFD}", "a\0b"] {
            let (label, stored) = round_trip(text.as_bytes());
            assert_eq!(stored, text);
            assert_eq!(to_json(&label.to_metadata()), r#"{"e":1767225600000,"larder":1}"#);
            assert_eq!(label.open_text(text.into()).unwrap(), text);
        }
    }

    #[test]
    fn bytes_before_a_text_go_into_the_label() {
        let (label, stored) = round_trip(b"\xCA\x01\x00\x9A\x01{\"name\":1}");
        assert_eq!(stored, "\x01{\"name\":1}");
        assert!(to_json(&label.to_metadata()).contains(r#""h":"ca01009a""#));
        assert!(!label.is_binary);
        let text = String::from_utf8(stored.to_vec()).unwrap();
        assert_eq!(label.open_text(text).unwrap(), &b"\xCA\x01\x00\x9A\x01{\"name\":1}"[..]);
        // A byte order mark might be dropped by a reader of text.
        assert_eq!(round_trip(b"\xEF\xBB\xBFabc").1, "abc");
    }

    #[test]
    fn every_head_fits_into_the_metadata() {
        round_trip(&[&[0x1F; LONGEST_HEAD - 1][..], b"\xFF", b"text"].concat());
        round_trip(&[&[0xFF; LONGEST_HEAD][..], b"text"].concat());
    }

    #[test]
    fn what_is_no_text_is_marked() {
        for value in
            [&[0xFF; 200][..], b"text and then \xE2\x82", &[&[b'a'; 200][..], b"\xFF"].concat()]
        {
            let (label, stored) = round_trip(value);
            assert!(label.is_binary);
            assert_eq!(stored, value);
            assert_eq!(label.open_text(String::from_utf8_lossy(value).into()), None);
        }
    }

    #[test]
    fn values_of_other_writers_are_read_as_they_are() {
        for metadata in [None, Some(json!(7)), Some(json!([1])), Some(json!({"a": 1}))] {
            let label = Label::of(metadata.as_ref().map(from_json).as_ref()).unwrap();
            assert_eq!(label, Label::default());
            assert!(!label.is_over(Timestamp::MAX));
            assert_eq!(label.open_text("abc".into()).unwrap(), "abc");
            // It may stand for bytes that are no text.
            assert_eq!(label.open_text("a\u{FFFD}".into()), None);
        }
    }

    #[test]
    fn another_version_is_not_guessed_at() {
        for label in [
            json!({"larder": 2, "e": 1}),
            json!({"larder": "1"}),
            json!({"larder": 1}),
            json!({"larder": 1, "e": 1, "h": "c"}),
            json!({"larder": 1, "e": 1, "h": "cx"}),
            json!({"larder": 1, "e": 1, "h": 7}),
        ] {
            assert_eq!(Label::of(Some(&from_json(&label))), Err(UnknownVersion), "{label}");
        }
    }

    #[test]
    fn a_life_ends_to_the_millisecond() {
        let label = Label::of(Some(&from_json(&json!({"larder": 1, "e": 1_500.0})))).unwrap();
        assert!(!label.is_over(Timestamp::from_micros(1_499_999)));
        assert!(label.is_over(Timestamp::from_millis(1_500)));
    }

    #[test]
    fn a_life_without_end_stays_exact_in_javascript() {
        let (label, _) = close(b"", Timestamp::MAX);
        assert_eq!(label.until.unwrap().as_millis(), (1 << 53) - 1);
    }
}
