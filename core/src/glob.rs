//! Patterns over keys, with the meaning that Redis gives them.

use std::fmt;

/// A glob pattern as in Redis' `SCAN … MATCH`.
///
/// | pattern | matches |
/// | --- | --- |
/// | `*` | any run of characters, `:` and `/` included, or none |
/// | `?` | one character |
/// | `[abc]`, `[a-c]` | one of them |
/// | `[^a]` | one character that is not among them |
/// | `\*` | the character itself |
///
/// Larder matches Unicode characters where Redis matches bytes: `?` is one `é` here and half of it
/// there. On Redis the server does the matching.
///
/// Source: <https://redis.io/docs/latest/commands/keys/>.
///
/// ```
/// use larder_core::Glob;
///
/// let pattern = Glob::new("users:page:*");
/// assert!(pattern.matches("users:page:2:limit:20"));
/// assert!(!pattern.matches("user:42"));
/// assert_eq!(pattern.literal_prefix(), "users:page:");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Glob {
    pattern: String,
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(char),
    AnyRun,
    AnyOne,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    /// Reads a pattern. As in Redis every text is one: an unclosed `[` ends with the pattern.
    #[must_use]
    pub fn new(pattern: impl Into<String>) -> Self {
        let pattern = pattern.into();
        let tokens = parse(&pattern);
        Self { pattern, tokens }
    }

    /// A pattern that matches every text which begins with `prefix`.
    ///
    /// ```
    /// use larder_core::Glob;
    ///
    /// // What a client sent is no pattern.
    /// let cart = Glob::prefix("cart:[*]:");
    /// assert!(cart.matches("cart:[*]:1") && !cart.matches("cart:7:1"));
    /// ```
    #[must_use]
    pub fn prefix(prefix: &str) -> Self {
        Self::new(escape(prefix) + "*")
    }

    /// A pattern that matches `text` and nothing else.
    ///
    /// ```
    /// use larder_core::Glob;
    ///
    /// assert_eq!(Glob::literal("user-42").as_str(), "user-42");
    /// assert_eq!(Glob::literal("what?").as_str(), r"what\?");
    /// ```
    #[must_use]
    pub fn literal(text: &str) -> Self {
        let mut pattern = String::with_capacity(text.len());
        for c in text.chars() {
            if matches!(c, '*' | '?' | '[' | '\\') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        Self::new(pattern)
    }

    /// This pattern for keys that begin with `prefix`, whatever characters that has.
    ///
    /// ```
    /// use larder_core::Glob;
    ///
    /// assert_eq!(Glob::new("user:*").within("app:").as_str(), "app:user:*");
    /// ```
    #[must_use]
    pub fn within(&self, prefix: &str) -> Self {
        Self::new(escape(prefix) + &self.pattern)
    }

    /// The pattern's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// What every match begins with: for stores that can list by prefix only.
    #[must_use]
    pub fn literal_prefix(&self) -> String {
        self.tokens
            .iter()
            .map_while(|token| match token {
                Token::Literal(c) => Some(*c),
                _ => None,
            })
            .collect()
    }

    /// Whether `text` matches from its beginning to its end.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        // One run of `*` is remembered and lengthened on a mismatch, which is enough: an earlier
        // `*` can only have matched less than it needed to. Time is the product of both lengths
        // at worst, whatever the pattern.
        let mut rest = text.chars();
        let mut at = 0;
        let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            if self.tokens.get(at) == Some(&Token::AnyRun) {
                at += 1;
                retry = Some((at, rest.clone()));
                continue;
            }
            let mut ahead = rest.clone();
            match (self.tokens.get(at), ahead.next()) {
                (None, None) => return true,
                (Some(token), Some(c)) if token.matches(c) => {
                    rest = ahead;
                    at += 1;
                }
                _ => {
                    let Some((after_run, longer)) = retry.as_mut() else { return false };
                    if longer.next().is_none() {
                        return false;
                    }
                    at = *after_run;
                    rest = longer.clone();
                }
            }
        }
    }

    /// The one text that matches, if there is but one.
    pub(crate) fn only_match(&self) -> Option<String> {
        let only = self.literal_prefix();
        (only.chars().count() == self.tokens.len()).then_some(only)
    }

    /// Whether a store may take `key` for a match: one that matches bytes where this matches
    /// characters.
    pub(crate) fn may_match(&self, key: &str) -> bool {
        self.matches(key) || (!key.is_ascii() && key.starts_with(&self.literal_prefix()))
    }
}

impl Token {
    fn matches(&self, c: char) -> bool {
        match self {
            Self::Literal(literal) => *literal == c,
            Self::AnyOne => true,
            Self::AnyRun => false,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

fn parse(pattern: &str) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            '*' if tokens.last() == Some(&Token::AnyRun) => {}
            '*' => tokens.push(Token::AnyRun),
            '?' => tokens.push(Token::AnyOne),
            '[' => tokens.push(parse_class(&mut rest)),
            '\\' => tokens.push(Token::Literal(rest.next().unwrap_or('\\'))),
            c => tokens.push(Token::Literal(c)),
        }
    }
    tokens
}

fn parse_class(rest: &mut std::str::Chars<'_>) -> Token {
    let negated = rest.as_str().starts_with('^');
    if negated {
        rest.next();
    }
    let mut ranges = Vec::new();
    while let Some(c) = rest.next() {
        let low = match c {
            ']' => break,
            '\\' => {
                // An escaped character stands for itself and begins no range.
                let literal = rest.next().unwrap_or('\\');
                ranges.push((literal, literal));
                continue;
            }
            c => c,
        };
        let mut ahead = rest.clone();
        if ahead.next() == Some('-')
            && let Some(high) = ahead.next()
        {
            *rest = ahead;
            ranges.push((low.min(high), low.max(high)));
        } else {
            ranges.push((low, low));
        }
    }
    Token::Class { negated, ranges }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({:?})", self.pattern)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

impl From<&str> for Glob {
    fn from(pattern: &str) -> Self {
        Self::new(pattern)
    }
}

impl From<String> for Glob {
    fn from(pattern: String) -> Self {
        Self::new(pattern)
    }
}

impl From<&String> for Glob {
    fn from(pattern: &String) -> Self {
        Self::new(pattern.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::test;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::new(pattern).matches(text)
    }

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "a:b/c", true),
            ("users:*", "users:", true),
            ("users:*", "users", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[^e]llo", "hallo", true),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            (r"h\*llo", "h*llo", true),
            (r"h\*llo", "hello", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("**a", "bca", true),
            ("[a", "a", true),
            ("[]", "a", false),
            ("[^]", "a", true),
            (r"[\]]", "]", true),
            (r"[\a-c]", "b", false),
            (r"[\a-c]", "-", true),
            (r"[a-\]]", "^]", true),
            ("[a-]", "b", false),
            ("[a-]]", "b", false),
            ("[a-", "-", true),
            ("a\\", "a\\", true),
            ("é?", "éü", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_ends_in_time() {
        let pattern = "*a".repeat(50) + "b";
        assert!(!matches(&pattern, &"a".repeat(4_000)));
    }

    #[test]
    fn a_namespace_is_taken_literally() {
        let pattern = Glob::new("user:*").within("app[1]*:");
        assert!(pattern.matches("app[1]*:user:42"));
        assert!(!pattern.matches("app1x:user:42"));
        assert_eq!(pattern.literal_prefix(), "app[1]*:user:");
    }
}
