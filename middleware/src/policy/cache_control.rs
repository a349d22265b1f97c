//! `Cache-Control`: RFC 9111, section 5.2, with the lists of RFC 9110, section 5.6.1.
//!
//! Reading is tolerant, and what is not clear counts as a prohibition: a directive that forbids is
//! heard even with an argument it should not have, and a lifetime that cannot be read, or that is
//! given twice with different values, is over (section 4.2.1).

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{CACHE_CONTROL, HeaderName, PRAGMA};

/// What a request asks of a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RequestDirectives {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
}

impl RequestDirectives {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        if !headers.contains_key(CACHE_CONTROL) {
            // Section 5.4: `Pragma` speaks only where `Cache-Control` is silent.
            found.no_cache = directives(headers, PRAGMA).any(|directive| directive.is("no-cache"));
            return found;
        }
        for directive in directives(headers, CACHE_CONTROL) {
            found.no_store |= directive.is("no-store");
            found.no_cache |= directive.is("no-cache");
        }
        found
    }
}

/// What a response tells a shared cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ResponseDirectives {
    pub(super) no_store: bool,
    /// With field names too: to store the rest of the response is allowed, not required.
    pub(super) no_cache: bool,
    /// As `no_cache`.
    pub(super) private: bool,
    pub(super) public: bool,
    pub(super) max_age: Option<Lifetime>,
    pub(super) s_maxage: Option<Lifetime>,
}

/// The argument of `max-age` and its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lifetime {
    Seconds(u32),
    /// Not a number, or several that differ.
    Unclear,
}

impl ResponseDirectives {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for directive in directives(headers, CACHE_CONTROL) {
            found.no_store |= directive.is("no-store");
            found.no_cache |= directive.is("no-cache");
            found.private |= directive.is("private");
            found.public |= directive.is("public");
            if directive.is("max-age") {
                merge(&mut found.max_age, directive.lifetime());
            } else if directive.is("s-maxage") {
                merge(&mut found.s_maxage, directive.lifetime());
            }
        }
        found
    }
}

/// What a response tells caches, each directive after a comma, less what it says about who may share
/// it.
pub(super) fn without_sharing(headers: &HeaderMap) -> Vec<u8> {
    let mut list = Vec::new();
    for directive in directives(headers, CACHE_CONTROL) {
        if !["public", "private", "s-maxage", ""].into_iter().any(|name| directive.is(name)) {
            list.extend_from_slice(b", ");
            directive.write(&mut list);
        }
    }
    list
}

fn merge(known: &mut Option<Lifetime>, new: Lifetime) {
    *known = match *known {
        Some(old) if old != new => Some(Lifetime::Unclear),
        _ => Some(new),
    };
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Directive<'a> {
    name: &'a [u8],
    argument: Argument<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Argument<'a> {
    None,
    Text(Cow<'a, [u8]>),
    Malformed,
}

impl Directive<'_> {
    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// As it is read again. An argument that cannot be read is left out.
    fn write(&self, list: &mut Vec<u8>) {
        list.extend_from_slice(self.name);
        let Argument::Text(text) = &self.argument else { return };
        list.push(b'=');
        if !text.is_empty() && text.iter().copied().all(is_token) {
            list.extend_from_slice(text);
            return;
        }
        list.push(b'"');
        for byte in text.iter() {
            if matches!(byte, b'"' | b'\\') {
                list.push(b'\\');
            }
            list.push(*byte);
        }
        list.push(b'"');
    }

    fn lifetime(&self) -> Lifetime {
        match &self.argument {
            Argument::Text(text) => {
                delta_seconds(text).map_or(Lifetime::Unclear, Lifetime::Seconds)
            }
            Argument::None | Argument::Malformed => Lifetime::Unclear,
        }
    }
}

/// RFC 9111, section 1.2.2: a number too large counts as 2³¹.
pub(super) fn delta_seconds(text: &[u8]) -> Option<u32> {
    const MOST: u64 = 1 << 31;
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = text
        .iter()
        .fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    u32::try_from(seconds.min(MOST)).ok()
}

fn directives(headers: &HeaderMap, field: HeaderName) -> impl Iterator<Item = Directive<'_>> {
    headers.get_all(field).into_iter().flat_map(|line| Directives { rest: line.as_bytes() })
}

/// The directives of one field line.
struct Directives<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Directives<'a> {
    type Item = Directive<'a>;

    fn next(&mut self) -> Option<Directive<'a>> {
        // Empty list elements are to be ignored.
        while let [b',' | b' ' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
        if self.rest.is_empty() {
            return None;
        }
        let name = self.take_token();
        let mut argument = Argument::None;
        if let [b'=', rest @ ..] = self.rest {
            self.rest = rest;
            argument = match self.rest {
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    self.take_quoted()
                }
                _ => match self.take_token() {
                    b"" => Argument::Malformed,
                    token => Argument::Text(Cow::Borrowed(token)),
                },
            };
        }
        if !self.skip_to_comma() {
            argument = Argument::Malformed;
        }
        Some(Directive { name, argument })
    }
}

impl<'a> Directives<'a> {
    fn take_token(&mut self) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !is_token(*byte)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        token
    }

    /// The rest of a quoted string, after its opening quote.
    fn take_quoted(&mut self) -> Argument<'a> {
        let Some(end) = closing_quote(self.rest) else { return Argument::Malformed };
        let text = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        if !text.contains(&b'\\') {
            return Argument::Text(Cow::Borrowed(text));
        }
        let mut unescaped = Vec::with_capacity(text.len());
        let mut bytes = text.iter();
        while let Some(byte) = bytes.next() {
            unescaped.extend(if *byte == b'\\' { bytes.next() } else { Some(byte) });
        }
        Argument::Text(Cow::Owned(unescaped))
    }

    /// Goes to the end of the list element; whether there was nothing more in it.
    fn skip_to_comma(&mut self) -> bool {
        let mut clean = true;
        while let [byte, rest @ ..] = self.rest {
            if *byte == b',' {
                break;
            }
            clean &= matches!(byte, b' ' | b'\t');
            self.rest = rest;
            if *byte == b'"'
                && let Some(end) = closing_quote(rest)
            {
                self.rest = &rest[end + 1..];
            }
        }
        clean
    }
}

/// Where the quoted string ends whose opening quote stands before `text`. A quote that is never
/// closed is none: what follows it might be a prohibition.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// RFC 9110, section 5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::test;

    fn response(lines: &[&str]) -> ResponseDirectives {
        ResponseDirectives::of(&headers(lines))
    }

    fn headers(lines: &[&str]) -> HeaderMap {
        let lines = lines.iter().map(|line| HeaderValue::from_bytes(line.as_bytes()).unwrap());
        lines.map(|line| (CACHE_CONTROL, line)).collect()
    }

    fn max_age(line: &str) -> Option<Lifetime> {
        response(&[line]).max_age
    }

    #[test]
    fn names_are_matched_whole_and_in_any_case() {
        assert!(response(&["No-Store"]).no_store);
        assert!(response(&["public, NO-CACHE"]).no_cache);
        assert!(!response(&["x-no-store, no-store-x, storeno-store"]).no_store);
    }

    #[test]
    fn lists_may_have_empty_elements_tabs_and_several_lines() {
        let found = response(&[", ,\tmax-age=5 ,,", "", "private\t,s-maxage=7"]);
        assert_eq!(found.max_age, Some(Lifetime::Seconds(5)));
        assert_eq!(found.s_maxage, Some(Lifetime::Seconds(7)));
        assert!(found.private);
    }

    #[test]
    fn arguments_may_be_tokens_or_quoted() {
        assert_eq!(max_age("max-age=60"), Some(Lifetime::Seconds(60)));
        assert_eq!(max_age("max-age=\"60\""), Some(Lifetime::Seconds(60)));
        assert_eq!(max_age("max-age=\"6\\0\""), Some(Lifetime::Seconds(60)));
        assert_eq!(max_age("max-age=007"), Some(Lifetime::Seconds(7)));
        assert_eq!(max_age("max-age=99999999999999999999999"), Some(Lifetime::Seconds(1 << 31)));
    }

    #[test]
    fn what_is_no_number_is_unclear() {
        for line in [
            "max-age",
            "max-age=",
            "max-age=-1",
            "max-age=1.5",
            "max-age=1s",
            "max-age =1",
            "max-age= 1",
            "max-age=\"1",
            "max-age=\"1\"2",
            "max-age=1 2",
            "max-age=+1",
            "max-age=\"\"",
            "max-age=\"1\\",
        ] {
            assert_eq!(max_age(line), Some(Lifetime::Unclear), "{line}");
        }
    }

    #[test]
    fn twice_the_same_is_clear_and_twice_different_is_not() {
        assert_eq!(max_age("max-age=5, max-age=5"), Some(Lifetime::Seconds(5)));
        assert_eq!(max_age("max-age=5, max-age=6"), Some(Lifetime::Unclear));
        assert_eq!(max_age("max-age=5, max-age=6, max-age=6"), Some(Lifetime::Unclear));
    }

    #[test]
    fn what_stands_in_quotes_is_no_directive() {
        let found = response(&["ext=\"a, no-store, \\\", private\", max-age=5"]);
        assert!(!found.no_store && !found.private);
        assert_eq!(found.max_age, Some(Lifetime::Seconds(5)));
    }

    #[test]
    fn a_prohibition_is_heard_however_it_is_written() {
        for line in [
            "no-store",
            "no-store=1",
            "no-store foo",
            "no-store=\"",
            "no-store;max-age=5",
            "@, no-store",
            "\"x\", no-store",
            "a b \"c, d\" e, no-store",
            "a=\"b, no-store",
            "a \"b, no-store",
        ] {
            assert!(response(&[line]).no_store, "{line}");
        }
        assert!(response(&["private=\"Set-Cookie\""]).private);
        assert!(response(&["no-cache=\"Set-Cookie, X\", max-age=5"]).no_cache);
    }

    #[test]
    fn a_request_is_heard_by_pragma_where_it_has_no_cache_control() {
        let pragma = |headers: &mut HeaderMap| {
            headers.insert(PRAGMA, HeaderValue::from_static("x, no-cache"));
        };
        let mut request = HeaderMap::new();
        pragma(&mut request);
        assert!(RequestDirectives::of(&request).no_cache);
        let mut request = headers(&["max-age=5"]);
        pragma(&mut request);
        assert!(!RequestDirectives::of(&request).no_cache);
        assert!(RequestDirectives::of(&headers(&["no-cache"])).no_cache);
        assert!(RequestDirectives::of(&headers(&["No-Store"])).no_store);
    }

    proptest! {
        /// Every list that can be written is read as it was meant.
        #[test]
        fn what_was_written_is_read(
            no_store in any::<bool>(),
            age in proptest::option::of(0_u32..1 << 31),
            quoted in any::<bool>(),
            noise in proptest::collection::vec("[a-z]{1,8}(=([a-z0-9]{1,5}|\"[^\"\\\\\\x00-\\x1f\\x7f-\u{10ffff}]{0,9}\"))?", 0..4),
            spaces in "[ \t]{0,2}",
        ) {
            let mut list: Vec<String> =
                noise.into_iter().map(|directive| format!("x-{directive}")).collect();
            if no_store { list.push("no-store".into()); }
            if let Some(age) = age {
                list.insert(0, if quoted { format!("max-age=\"{age}\"") } else { format!("max-age={age}") });
            }
            let line = list.join(&format!("{spaces},{spaces}"));
            let found = response(&[&line]);
            prop_assert_eq!(found.no_store, no_store);
            prop_assert_eq!(found.max_age, age.map(Lifetime::Seconds));
        }

        #[test]
        fn any_line_is_read_to_its_end(line in proptest::collection::vec(any::<u8>(), 0..64)) {
            let read = Directives { rest: &line }.count();
            prop_assert!(read <= line.len());
        }

        /// Whatever stands before it as a closed list element.
        #[test]
        fn a_prohibition_after_any_unquoted_text_is_heard(before in "[^\"\\x00-\\x1f\\x7f-\u{10ffff}]{0,40}") {
            let line = format!("{before}, no-store");
            prop_assert!(response(&[&line]).no_store);
        }
    }
}
