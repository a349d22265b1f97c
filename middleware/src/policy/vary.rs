//! `Vary`: RFC 9110, section 12.5.5, and the choice of a stored response by RFC 9111, section 4.1.

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, HeaderName, VARY};

/// What a response says it depends on, besides the URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Vary {
    /// These fields of the request; possibly none.
    On(FieldNames),
    /// More than a cache can know: `*`, or what cannot be read.
    Unknowable,
}

impl Vary {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for line in headers.get_all(VARY) {
            for name in line.as_bytes().split(|byte| *byte == b',') {
                let name = name.trim_ascii();
                if name.is_empty() {
                    continue;
                }
                match HeaderName::from_bytes(name) {
                    // `*` is a token, and so would pass for a name.
                    Ok(name) if name != "*" => names.push(name),
                    _ => return Self::Unknowable,
                }
            }
        }
        Self::On(names.into_iter().collect())
    }
}

/// Names of fields, in one order and each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldNames(Vec<HeaderName>);

impl FromIterator<HeaderName> for FieldNames {
    fn from_iter<I: IntoIterator<Item = HeaderName>>(names: I) -> Self {
        let mut sorted: Vec<HeaderName> = Vec::new();
        for name in names {
            let place = sorted.binary_search_by(|it| it.as_str().cmp(name.as_str()));
            if let Err(place) = place {
                sorted.insert(place, name);
            }
        }
        Self(sorted)
    }
}

impl FieldNames {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, name: &HeaderName) -> bool {
        self.0.contains(name)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter()
    }

    pub(crate) fn contains_all(&self, others: &Self) -> bool {
        others.iter().all(|name| self.0.contains(name))
    }

    /// Every name of both.
    pub(crate) fn union(&self, others: &Self) -> Self {
        self.iter().chain(others.iter()).cloned().collect()
    }

    /// Writes what `request` has in these fields so that two requests write the same if, and only
    /// if, a response to one answers the other.
    ///
    /// Several lines of a field are one line with commas (RFC 9110, section 5.3). In the fields of
    /// content negotiation, space around commas and semicolons means nothing, and neither does
    /// the case of the letters, with one exception: parameters in `Accept`.
    pub(crate) fn selecting_values(&self, request: &HeaderMap, mut write: impl FnMut(&[u8])) {
        for name in self.iter() {
            write(name.as_str().as_bytes());
            let form = Form::of(name);
            let mut values = request.get_all(name).iter().peekable();
            if values.peek().is_none() {
                // No field is something else than an empty one.
                write(b"\0");
                continue;
            }
            write(b"\x01");
            let mut between: &[u8] = b"";
            for value in values {
                write(between);
                form.normalized(value.as_bytes().trim_ascii(), &mut write);
                between = b",";
            }
            write(b"\0");
        }
    }
}

/// How much of a value's spelling means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Exact,
    /// A list without quoted strings, in which space means nothing.
    List,
    /// Such a list in which case means nothing either.
    CaselessList,
}

impl Form {
    fn of(name: &HeaderName) -> Self {
        if [ACCEPT_ENCODING, ACCEPT_LANGUAGE, ACCEPT_CHARSET].contains(name) {
            Self::CaselessList
        } else if *name == ACCEPT {
            Self::List
        } else {
            Self::Exact
        }
    }

    fn normalized(self, value: &[u8], write: &mut impl FnMut(&[u8])) {
        if self == Self::Exact || value.contains(&b'"') {
            return write(value);
        }
        let spaceless = value.split(|byte| matches!(byte, b' ' | b'\t'));
        if self == Self::List {
            return spaceless.for_each(write);
        }
        for part in spaceless {
            write(&part.to_ascii_lowercase());
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::test;

    fn response(lines: &[&str]) -> Vary {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(VARY, HeaderValue::from_str(line).unwrap());
        }
        Vary::of(&headers)
    }

    fn names(names: &[&'static str]) -> FieldNames {
        names.iter().copied().map(HeaderName::from_static).collect()
    }

    fn values(of: &FieldNames, request: &[(&'static str, &str)]) -> Vec<u8> {
        let mut headers = HeaderMap::new();
        for (name, value) in request {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let mut written = Vec::new();
        of.selecting_values(&headers, |bytes| written.extend_from_slice(bytes));
        written
    }

    #[test]
    fn names_are_in_one_order_and_each_once() {
        let expected = Vary::On(names(&["accept", "origin"]));
        assert_eq!(response(&["Origin, ,Accept", "ORIGIN"]), expected);
        assert_eq!(response(&[]), Vary::On(FieldNames::default()));
        assert_eq!(response(&[""]), Vary::On(FieldNames::default()));
    }

    #[test]
    fn a_star_and_what_is_no_name_are_unknowable() {
        for line in ["*", "Accept, *", "Accept Encoding", "Acc\u{e9}pt", "a;b"] {
            assert_eq!(response(&[line]), Vary::Unknowable, "{line}");
        }
        assert_eq!(response(&["Accept", " * "]), Vary::Unknowable);
    }

    #[test]
    fn spelling_without_meaning_selects_the_same() {
        let fields = names(&["accept-encoding", "accept"]);
        let one =
            values(&fields, &[("accept-encoding", "GZIP;q=1, br"), ("accept", "text/html, */*")]);
        let other = values(
            &fields,
            &[("accept", "text/html"), ("accept-encoding", " gzip ;q=1,br "), ("accept", "*/*")],
        );
        assert_eq!(one, other);
    }

    #[test]
    fn what_differs_selects_another() {
        let fields = names(&["accept-language", "x-a", "x-b"]);
        let all = [
            values(&fields, &[]),
            values(&fields, &[("x-a", "")]),
            values(&fields, &[("x-b", "")]),
            values(&fields, &[("x-a", "1")]),
            values(&fields, &[("x-b", "1")]),
            values(&fields, &[("x-a", "a b")]),
            values(&fields, &[("x-a", "ab")]),
            values(&fields, &[("x-a", "A b")]),
            values(&fields, &[("accept-language", "de, en")]),
            values(&fields, &[("accept-language", "en, de")]),
            values(&fields, &[("accept-language", "en, \"D e\"")]),
            values(&fields, &[("accept-language", "en, \"d e\"")]),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(!all[..i].contains(one), "{}", String::from_utf8_lossy(one));
        }
    }

    proptest! {
        /// The field names and values can be told from each other in what is written.
        #[test]
        fn different_values_are_written_differently(
            a in proptest::collection::vec(proptest::option::of("[a-c,\u{1}]{0,3}"), 3),
            b in proptest::collection::vec(proptest::option::of("[a-c,\u{1}]{0,3}"), 3),
        ) {
            let fields = ["x-a", "x-b", "x-c"];
            let of = names(&fields);
            let write = |request: &[Option<String>]| {
                let pairs: Vec<_> = fields.into_iter().zip(request)
                    .filter_map(|(name, value)| Some((name, value.as_deref()?)))
                    .filter(|(_, value)| HeaderValue::from_str(value).is_ok())
                    .collect();
                values(&of, &pairs)
            };
            let usable = |request: &[Option<String>]| {
                request.iter().map(|value| value.clone().filter(|v| HeaderValue::from_str(v).is_ok())).collect::<Vec<_>>()
            };
            prop_assert_eq!(write(&a) == write(&b), usable(&a) == usable(&b));
        }
    }
}
