//! May a response be stored, and for how long does it answer?

use std::time::Duration;

use http::StatusCode;
use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, EXPIRES, HeaderMap, SET_COOKIE, TRAILER,
};
use larder_core::Timestamp;

use super::age::{date_of, generated_at, http_date};
use super::cache_control::{Lifetime, ResponseDirectives};
use super::vary::{FieldNames, Vary};

/// What may be done with a response that may be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keep {
    /// When it was made, see [`generated_at`].
    pub(crate) generated_at: Timestamp,
    /// Until when it answers without being asked for again.
    pub(crate) fresh_until: Timestamp,
    /// The fields of the request that it depends on.
    pub(crate) vary: FieldNames,
}

/// Why a response is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// An error, a part of a whole, or no final answer.
    Status,
    SetCookie,
    NoStore,
    Private,
    /// It would have to be revalidated for every answer.
    NoCache,
    /// `*`, unreadable, or other fields than the responses before it.
    Vary,
    /// Trailer fields would be lost.
    Trailers,
    /// Its life is over already.
    Stale,
    /// An event stream has no end.
    EventStream,
    /// More bytes than the layer keeps.
    TooLarge,
    /// The body has another length than it was said to have, or an unreadable one was said.
    Length,
    /// The layout has no room for what makes this response: see the layer's documentation.
    Layout,
    /// The inner service failed, or the body did.
    Failed,
    /// The client went away before the body had ended.
    Abandoned,
}

impl Refusal {
    pub(crate) const ALL: [Self; 14] = [
        Self::Status,
        Self::SetCookie,
        Self::NoStore,
        Self::Private,
        Self::NoCache,
        Self::Vary,
        Self::Trailers,
        Self::Stale,
        Self::EventStream,
        Self::TooLarge,
        Self::Length,
        Self::Layout,
        Self::Failed,
        Self::Abandoned,
    ];

    /// The reason in a word, as metrics label it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::SetCookie => "set_cookie",
            Self::NoStore => "no_store",
            Self::Private => "private",
            Self::NoCache => "no_cache",
            Self::Vary => "vary",
            Self::Trailers => "trailers",
            Self::Stale => "stale",
            Self::EventStream => "event_stream",
            Self::TooLarge => "too_large",
            Self::Length => "length",
            Self::Layout => "layout",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// Whether the response to a GET that was asked at `asked_at` and came at `now` may be stored.
/// `ttl` is the lifetime of a response that has no word about it.
pub(crate) fn may_store(
    status: StatusCode,
    headers: &HeaderMap,
    asked_at: Timestamp,
    now: Timestamp,
    ttl: Duration,
) -> Result<Keep, Refusal> {
    // 206 is a part, and 304 is about a response that the client has, not one that is here.
    let partial = matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED);
    if !(200..400).contains(&status.as_u16()) || partial || headers.contains_key(CONTENT_RANGE) {
        return Err(Refusal::Status);
    }
    let directives = ResponseDirectives::of(headers);
    if directives.no_store {
        return Err(Refusal::NoStore);
    }
    if directives.private {
        return Err(Refusal::Private);
    }
    if directives.no_cache {
        return Err(Refusal::NoCache);
    }
    if headers.contains_key(SET_COOKIE) {
        return Err(Refusal::SetCookie);
    }
    if headers.contains_key(TRAILER) {
        return Err(Refusal::Trailers);
    }
    let event_stream = |kind: &[u8]| {
        let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    };
    if headers.get(CONTENT_TYPE).is_some_and(|kind| event_stream(kind.as_bytes())) {
        return Err(Refusal::EventStream);
    }
    let Vary::On(vary) = Vary::of(headers) else { return Err(Refusal::Vary) };
    let lifetime = match lifetime(&directives, headers, now) {
        Some(lifetime) => lifetime,
        None if may_have_default_lifetime(status) => ttl,
        None => return Err(Refusal::Status),
    };
    let generated_at = generated_at(headers, asked_at);
    let fresh_until = generated_at + lifetime;
    if fresh_until <= now {
        return Err(Refusal::Stale);
    }
    Ok(Keep { generated_at, fresh_until, vary })
}

/// The lifetime that the response itself tells (section 4.2.1).
fn lifetime(
    directives: &ResponseDirectives,
    headers: &HeaderMap,
    now: Timestamp,
) -> Option<Duration> {
    match directives.s_maxage.or(directives.max_age) {
        Some(Lifetime::Seconds(seconds)) => return Some(Duration::from_secs(u64::from(seconds))),
        Some(Lifetime::Unclear) => return Some(Duration::ZERO),
        None => {}
    }
    if !headers.contains_key(EXPIRES) {
        return None;
    }
    // One that cannot be read, such as `0`, lies in the past (section 5.3).
    let Some(expires) = http_date(headers, EXPIRES) else { return Some(Duration::ZERO) };
    Some(expires.since(date_of(headers).unwrap_or(now)))
}

/// Statuses that may be stored without a word about it: RFC 9110, section 15.1.
fn may_have_default_lifetime(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308)
}

/// What `Content-Length` says.
pub(crate) fn declared_length(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    let length = line.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match length.and_then(|text| text.parse().ok()) {
        Some(length) if lines.all(|other| other == line) => Ok(Some(length)),
        _ => Err(Refusal::Length),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use larder_core::seconds;
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::test;

    /// 1994-11-06T08:49:37Z.
    const NOW: Timestamp = Timestamp::from_millis(784_111_777_000);
    const TTL: Duration = seconds(60);

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn store(status: u16, lines: &[(&str, &str)]) -> Result<Keep, Refusal> {
        may_store(StatusCode::from_u16(status).unwrap(), &headers(lines), NOW, NOW, TTL)
    }

    /// How long a 200 with these fields answers, in seconds; 0 where it is stale at once.
    fn answers_for(lines: &[(&str, &str)]) -> u64 {
        match store(200, lines) {
            Ok(keep) => keep.fresh_until.since(NOW).as_secs(),
            Err(refusal) => {
                assert_eq!(refusal, Refusal::Stale);
                0
            }
        }
    }

    #[test]
    fn errors_parts_and_interim_answers_are_refused() {
        for status in [100, 101, 103, 206, 304, 400, 401, 404, 410, 429, 500, 503, 599] {
            let life = [("cache-control", "public, max-age=60")];
            assert_eq!(store(status, &life), Err(Refusal::Status), "{status}");
        }
        assert_eq!(store(200, &[("content-range", "bytes 0-1/2")]), Err(Refusal::Status));
    }

    #[test]
    fn some_statuses_need_a_lifetime_of_their_own() {
        for status in [200, 203, 204, 300, 301, 308] {
            assert!(store(status, &[]).is_ok(), "{status}");
        }
        for status in [201, 202, 205, 226, 302, 303, 307] {
            assert_eq!(store(status, &[]), Err(Refusal::Status), "{status}");
            assert!(store(status, &[("cache-control", "max-age=60")]).is_ok(), "{status}");
        }
    }

    #[test]
    fn prohibitions_are_obeyed() {
        for (line, refusal) in [
            (("cache-control", "no-store"), Refusal::NoStore),
            (("cache-control", "max-age=60, private"), Refusal::Private),
            (("cache-control", "no-cache, max-age=60"), Refusal::NoCache),
            (("set-cookie", "a=b"), Refusal::SetCookie),
            (("vary", "Accept, *"), Refusal::Vary),
            (("trailer", "Server-Timing"), Refusal::Trailers),
            (("content-type", "Text/Event-Stream; charset=utf-8"), Refusal::EventStream),
        ] {
            assert_eq!(store(200, &[line]), Err(refusal), "{line:?}");
        }
    }

    #[test]
    fn the_shared_lifetime_goes_before_the_private_and_that_before_expires() {
        let expires = ("expires", "Sun, 06 Nov 1994 08:50:07 GMT");
        assert_eq!(answers_for(&[]), 60);
        assert_eq!(answers_for(&[expires]), 30);
        assert_eq!(answers_for(&[expires, ("cache-control", "max-age=20")]), 20);
        assert_eq!(answers_for(&[expires, ("cache-control", "max-age=20, s-maxage=10")]), 10);
        assert_eq!(answers_for(&[("cache-control", "s-maxage=90, max-age=0")]), 90);
    }

    #[test]
    fn a_lifetime_that_is_over_or_unclear_is_stale() {
        assert_eq!(answers_for(&[("cache-control", "max-age=0")]), 0);
        assert_eq!(answers_for(&[("cache-control", "max-age=60, max-age=61")]), 0);
        assert_eq!(answers_for(&[("cache-control", "s-maxage=x, max-age=60")]), 0);
        assert_eq!(answers_for(&[("expires", "0")]), 0);
        assert_eq!(answers_for(&[("expires", "Sun, 06 Nov 1994 08:49:37 GMT")]), 0);
    }

    #[test]
    fn expires_counts_from_the_date() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:27 GMT");
        let expires = ("expires", "Sun, 06 Nov 1994 08:50:07 GMT");
        // 40 seconds from the date, of which 10 are gone.
        assert_eq!(answers_for(&[date, expires]), 30);
    }

    #[test]
    fn an_age_shortens_the_life() {
        assert_eq!(answers_for(&[("age", "25"), ("cache-control", "max-age=60")]), 35);
        assert_eq!(answers_for(&[("age", "60"), ("cache-control", "max-age=60")]), 0);
        assert_eq!(answers_for(&[("age", "10")]), 50);
    }

    #[test]
    fn a_slow_answer_has_lived_while_it_was_waited_for() {
        let keep = may_store(StatusCode::OK, &HeaderMap::new(), NOW - seconds(15), NOW, TTL);
        assert_eq!(keep.unwrap().fresh_until, NOW + seconds(45));
    }

    #[test]
    fn a_length_is_one_number() {
        assert_eq!(declared_length(&headers(&[])), Ok(None));
        assert_eq!(declared_length(&headers(&[("content-length", "5")])), Ok(Some(5)));
        let twice = [("content-length", "5"), ("content-length", "5")];
        assert_eq!(declared_length(&headers(&twice)), Ok(Some(5)));
        for lines in [
            &[("content-length", "5"), ("content-length", "6")][..],
            &[("content-length", "+5")],
            &[("content-length", "5, 5")],
            &[("content-length", "")],
        ] {
            assert_eq!(declared_length(&headers(lines)), Err(Refusal::Length));
        }
    }

    proptest! {
        /// Whatever is stored is fresh, no younger than it is, and not kept for longer than it says.
        #[test]
        fn what_is_stored_has_a_life_ahead(
            status in 100_u16..600,
            age in proptest::option::of(0_u32..200),
            max_age in proptest::option::of(0_u32..200),
            waited in 0_u64..200,
            cookie in any::<bool>(),
        ) {
            let mut lines = Vec::new();
            let (age_text, max_age_text);
            if let Some(age) = age { age_text = age.to_string(); lines.push(("age", age_text.as_str())); }
            if let Some(s) = max_age { max_age_text = format!("max-age={s}"); lines.push(("cache-control", max_age_text.as_str())); }
            if cookie { lines.push(("set-cookie", "a=b")); }
            let asked = NOW - seconds(waited);
            let answer = may_store(StatusCode::from_u16(status).unwrap(), &headers(&lines), asked, NOW, TTL);
            if let Ok(keep) = answer {
                prop_assert!(!cookie && (200..400).contains(&status));
                prop_assert!(keep.generated_at <= asked);
                prop_assert!(keep.fresh_until > NOW);
                let life = max_age.map_or(TTL, |s| seconds(u64::from(s)));
                prop_assert_eq!(keep.fresh_until.since(keep.generated_at), life);
                prop_assert!(life > seconds(waited + u64::from(age.unwrap_or(0))));
            }
        }
    }
}
