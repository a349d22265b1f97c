//! The cookie's attributes, and the rules that browsers have for them (RFC 6265bis).

use std::fmt::Write as _;
use std::time::Duration;

use http::HeaderValue;
use larder_core::Error;

use crate::policy::is_token;

/// With requests from other sites, the cookie goes along or not (RFC 6265bis, section 5.6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SameSite {
    /// Never: who follows a link from elsewhere arrives as a stranger.
    Strict,
    /// Only where somebody follows a link: no form and no script of another site acts in the
    /// visitor's name.
    #[default]
    Lax,
    /// Always. The service has to defend itself against forged requests.
    None,
}

/// What the builder was told of the cookie.
#[derive(Debug, Clone)]
pub(super) struct Attributes {
    pub(super) name: Option<String>,
    pub(super) path: String,
    pub(super) domain: Option<String>,
    pub(super) is_secure: bool,
    pub(super) is_http_only: bool,
    pub(super) same_site: SameSite,
    pub(super) is_partitioned: bool,
    pub(super) ends_with_the_browser: bool,
}

/// A cookie that keeps the rules.
#[derive(Debug)]
pub(super) struct Cookie {
    pub(super) name: String,
    /// What stands behind the value and the age.
    tail: String,
    ends_with_the_browser: bool,
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            name: None,
            path: "/".into(),
            domain: None,
            is_secure: true,
            is_http_only: true,
            same_site: SameSite::default(),
            is_partitioned: false,
            ends_with_the_browser: false,
        }
    }
}

impl Attributes {
    pub(super) fn cookie(&self) -> Result<Cookie, Error> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => format!("{}session", self.best_prefix()),
        };
        self.check(&name)?;
        let mut tail = format!("; Path={}", self.path);
        if let Some(domain) = &self.domain {
            tail.push_str("; Domain=");
            tail.push_str(domain);
        }
        for (is_set, attribute) in [
            (self.is_secure, "; Secure"),
            (self.is_http_only, "; HttpOnly"),
            (self.same_site == SameSite::Strict, "; SameSite=Strict"),
            (self.same_site == SameSite::Lax, "; SameSite=Lax"),
            (self.same_site == SameSite::None, "; SameSite=None"),
            (self.is_partitioned, "; Partitioned"),
        ] {
            if is_set {
                tail.push_str(attribute);
            }
        }
        Ok(Cookie { name, tail, ends_with_the_browser: self.ends_with_the_browser })
    }

    /// The strongest prefix that the other attributes allow.
    fn best_prefix(&self) -> &'static str {
        match (self.is_secure, self.path == "/" && self.domain.is_none()) {
            (true, true) => "__Host-",
            (true, false) => "__Secure-",
            (false, _) => "",
        }
    }

    fn check(&self, name: &str) -> Result<(), Error> {
        if name.is_empty() || !name.bytes().all(is_token) {
            return broken("name", format!("{name:?} is no token (RFC 6265bis, section 4.1.1)"));
        }
        let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b';';
        if !self.path.starts_with('/') || !self.path.bytes().all(is_plain) {
            let path = &self.path;
            return broken("path", format!("{path:?} does not begin with /, or has a ; in it"));
        }
        if let Some(domain) = &self.domain {
            let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
            let is_domain =
                domain.bytes().all(is_of_names) && !domain.split('.').any(str::is_empty);
            if !is_domain {
                return broken("domain", format!("{domain:?} is none: example.org would be one"));
            }
        }
        self.check_prefix(name)?;
        if !self.is_secure && self.same_site == SameSite::None {
            return broken("same_site", "None asks for Secure, else browsers refuse the cookie");
        }
        if !self.is_secure && self.is_partitioned {
            return broken("partitioned", "it asks for Secure, else browsers refuse the cookie");
        }
        Ok(())
    }

    /// Section 4.1.3. Browsers look at prefixes in any case.
    fn check_prefix(&self, name: &str) -> Result<(), Error> {
        let has = |prefix: &str| {
            name.get(..prefix.len()).is_some_and(|it| it.eq_ignore_ascii_case(prefix))
        };
        let is_of_host = has("__Host-");
        let rules = [
            (is_of_host || has("__Secure-") || has("__Http-"), self.is_secure, "asks for Secure"),
            (is_of_host, self.path == "/", "asks for Path=/"),
            (is_of_host, self.domain.is_none(), "allows no Domain"),
            (has("__Http-") || has("__Host-Http-"), self.is_http_only, "asks for HttpOnly"),
        ];
        match rules.iter().find(|(applies, is_kept, _)| *applies && !is_kept) {
            Some((.., rule)) => {
                let problem = format!("the prefix of {name:?} {rule}, else browsers refuse it");
                broken("name", problem)
            }
            None => Ok(()),
        }
    }
}

fn broken<T>(setting: &'static str, problem: impl Into<String>) -> Result<T, Error> {
    Err(Error::Config { setting, problem: problem.into() })
}

impl Cookie {
    /// The field `Set-Cookie` for this value, which lives for `life`.
    pub(super) fn set(&self, value: &str, life: Duration) -> Option<HeaderValue> {
        let mut field = String::with_capacity(self.name.len() + value.len() + self.tail.len() + 24);
        field.push_str(&self.name);
        field.push('=');
        field.push_str(value);
        if !self.ends_with_the_browser {
            // Rounded up: that it ended a moment before only the store knows.
            let seconds = life.as_millis().div_ceil(1_000);
            // Never fails on a `String`.
            let _ = write!(field, "; Max-Age={seconds}");
        }
        field.push_str(&self.tail);
        let mut field = HeaderValue::try_from(field).ok()?;
        field.set_sensitive(true);
        Some(field)
    }

    /// The field that lets the client forget it.
    pub(super) fn remove(&self) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("{}=; Max-Age=0{}", self.name, self.tail)).ok()
    }
}
