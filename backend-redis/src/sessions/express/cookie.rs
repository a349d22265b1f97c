//! The cookie in a session of express-session: how long the session lives, and what its cookie has.

use std::time::Duration;

use larder_core::Timestamp;
use larder_core::session::{SessionRecord, Value};
use serde::Serialize;
use time::OffsetDateTime;

use super::members::Members;

/// What express-session is to put into the cookies of sessions that begin here: as its own option
/// `cookie`, which it keeps in each session.
///
/// It sends the cookie again where the session changed or with `rolling`, and by what stands in the
/// session, not by its options. So say the same here, there, and of the cookie that Larder sends.
///
/// ```
/// use larder_redis::{ExpressCookie, RedisStore};
///
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisStore::lazy("redis://127.0.0.1/")?;
/// let cookie = ExpressCookie::new().secure(true).same_site("lax");
/// let sessions = store.express_sessions().cookie(cookie);
/// # Ok(()) }
/// # run().unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "it does nothing until it is given to `ExpressSessions::cookie`"]
pub struct ExpressCookie {
    ends_with_browser: bool,
    secure: Option<bool>,
    http_only: bool,
    partitioned: Option<bool>,
    priority: Option<String>,
    domain: Option<String>,
    path: String,
    same_site: Option<String>,
}

impl Default for ExpressCookie {
    fn default() -> Self {
        Self::new()
    }
}

impl ExpressCookie {
    /// As where express-session is told a `maxAge` only: for the path `/`, `HttpOnly`, and living as
    /// long as the session does that nobody uses
    /// ([`idle`](larder_core::SessionsBuilder::idle)).
    pub fn new() -> Self {
        Self {
            ends_with_browser: false,
            secure: None,
            http_only: true,
            partitioned: None,
            priority: None,
            domain: None,
            path: "/".into(),
            same_site: None,
        }
    }

    /// The cookie has no `Expires`, as where express-session is told no `maxAge`. The session itself
    /// lives as long as [`ExpressSessions::ttl`](super::ExpressSessions::ttl) says.
    pub fn until_browser_closes(mut self) -> Self {
        self.ends_with_browser = true;
        self
    }

    /// Sets `secure`.
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = Some(secure);
        self
    }

    /// Sets `httpOnly`.
    pub fn http_only(mut self, http_only: bool) -> Self {
        self.http_only = http_only;
        self
    }

    /// Sets `partitioned`.
    pub fn partitioned(mut self, partitioned: bool) -> Self {
        self.partitioned = Some(partitioned);
        self
    }

    /// Sets `priority`: `low`, `medium` or `high`.
    pub fn priority(mut self, priority: impl Into<String>) -> Self {
        self.priority = Some(priority.into());
        self
    }

    /// Sets `domain`.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Sets `path`.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Sets `sameSite`: `lax`, `strict` or `none`.
    pub fn same_site(mut self, same_site: impl Into<String>) -> Self {
        self.same_site = Some(same_site.into());
        self
    }

    /// The cookie of a session that begins, whose members are in the order that express-session has
    /// them.
    pub(super) fn begin(&self, session: &SessionRecord) -> Members {
        let mut members = Members::default();
        let mut set = |name, value: Option<Value>| {
            if let Some(value) = value {
                members.set(name, value);
            }
        };
        let idle = session.expires_at.since(session.seen_at).as_millis();
        let idle = (!self.ends_with_browser).then(|| u64::try_from(idle).unwrap_or(u64::MAX));
        set("originalMaxAge", json(&idle));
        set("partitioned", self.partitioned.as_ref().and_then(json));
        set("priority", self.priority.as_ref().and_then(json));
        set("expires", json(&idle.map(|_| iso(session.expires_at))));
        set("secure", self.secure.as_ref().and_then(json));
        set("httpOnly", json(&self.http_only));
        set("domain", self.domain.as_ref().and_then(json));
        set("path", json(&self.path));
        set("sameSite", self.same_site.as_ref().and_then(json));
        members
    }
}

/// For how long a session lives after a use, where its cookie says so.
pub(super) fn life(cookie: &Members) -> Option<Duration> {
    let millis: f64 = serde_json::from_str(cookie.get("originalMaxAge")?.as_json()).ok()?;
    Duration::try_from_secs_f64(millis.max(0.0) / 1_000.0).ok()
}

/// Notes when the session ends now, where its cookie says such a thing.
pub(super) fn end_at(cookie: &mut Members, ends: Timestamp) {
    if life(cookie).is_some()
        && let Some(ends) = json(&iso(ends))
    {
        cookie.set("expires", ends);
    }
}

fn json<T: Serialize>(value: &T) -> Option<Value> {
    Value::of(value).ok()
}

/// As JavaScript's `Date.prototype.toISOString`, rounded down to the millisecond.
fn iso(at: Timestamp) -> String {
    const LAST: u64 = 253_402_300_799_999;
    let millis = at.as_millis().min(LAST);
    let nanos = i128::from(millis) * 1_000_000;
    let date =
        OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        date.hour(),
        date.minute(),
        date.second(),
        date.millisecond(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_javascript_writes_them() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_409_663_344, "2026-11-23T04:54:23.344Z"),
            (1_709_164_800_050, "2024-02-29T00:00:00.050Z"),
            (u64::MAX / 1_000, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(iso(Timestamp::from_millis(millis)), text);
        }
    }

    #[test]
    fn a_life_is_whatever_number_the_cookie_has() {
        let life = |json: &str| life(&serde_json::from_str(json).unwrap());
        for none in ["{}", r#"{"originalMaxAge":null}"#, r#"{"originalMaxAge":"1000"}"#] {
            assert_eq!(life(none), None, "{none}");
        }
        for (json, millis) in [
            (r#"{"expires":null,"originalMaxAge":3600000}"#, 3_600_000),
            (r#"{"originalMaxAge":1.5e3}"#, 1_500),
            (r#"{"originalMaxAge":-1}"#, 0),
        ] {
            assert_eq!(life(json), Some(Duration::from_millis(millis)), "{json}");
        }
        assert_eq!(life(r#"{"originalMaxAge":1e300}"#), None);
    }
}
