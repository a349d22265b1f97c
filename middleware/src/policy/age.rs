//! How old a response is: RFC 9111, section 4.2.3.

use std::time::{Duration, SystemTime};

use http::header::{AGE, DATE};
use http::{HeaderMap, HeaderName};
use larder_core::Timestamp;

use super::cache_control::delta_seconds;

/// When a response was made, so that its age at any later time is the time since.
///
/// A response that says in `Age` how old it is was made that long before it was asked for. One
/// whose `Date` is older still was made then. The time between question and answer counts as age.
pub(crate) fn generated_at(headers: &HeaderMap, asked_at: Timestamp) -> Timestamp {
    let age = headers.get(AGE).and_then(|age| {
        // A list of ages is against the syntax; the first is to be used (section 5.1).
        let first = age.as_bytes().split(|byte| *byte == b',').next()?;
        delta_seconds(first.trim_ascii())
    });
    let by_age = asked_at - Duration::from_secs(u64::from(age.unwrap_or(0)));
    // A `Date` in the second in which the response was asked for says nothing about its age, as it
    // has no fractions.
    match date_of(headers) {
        Some(date) if date + Duration::from_secs(1) < by_age => date,
        _ => by_age,
    }
}

/// The response's `Date`, where it can be read.
pub(crate) fn date_of(headers: &HeaderMap) -> Option<Timestamp> {
    http_date(headers, DATE)
}

/// The time in a field, if it has exactly one.
pub(super) fn http_date(headers: &HeaderMap, field: HeaderName) -> Option<Timestamp> {
    let mut lines = headers.get_all(field).iter();
    let text = lines.next()?.to_str().ok()?;
    if lines.any(|other| other != text) {
        return None;
    }
    let time = httpdate::parse_http_date(text).ok()?;
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Timestamp::EPOCH + since_epoch)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use larder_core::seconds;
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::test;

    /// 1994-11-06T08:49:37Z, the example of RFC 9110.
    const THEN: Timestamp = Timestamp::from_millis(784_111_777_000);

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let lines = lines.iter().map(|(name, value)| (*name, HeaderValue::from_static(value)));
        lines.map(|(name, value)| (HeaderName::from_static(name), value)).collect()
    }

    #[test]
    fn a_response_without_an_age_is_as_old_as_its_question() {
        assert_eq!(generated_at(&headers(&[]), THEN), THEN);
    }

    #[test]
    fn an_age_counts_from_the_question() {
        assert_eq!(generated_at(&headers(&[("age", "100")]), THEN), THEN - seconds(100));
        assert_eq!(generated_at(&headers(&[("age", " 7, 9")]), THEN), THEN - seconds(7));
        for unreadable in ["-5", "old", "", "1.5"] {
            assert_eq!(generated_at(&headers(&[("age", unreadable)]), THEN), THEN);
        }
    }

    #[test]
    fn an_older_date_counts_in_each_of_its_three_forms() {
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            let headers = headers(&[("date", date)]);
            assert_eq!(generated_at(&headers, THEN + seconds(60)), THEN, "{date}");
        }
    }

    #[test]
    fn a_date_of_the_same_second_or_of_the_future_does_not_count() {
        let headers = headers(&[("date", "Sun, 06 Nov 1994 08:49:37 GMT")]);
        let asked = THEN + Duration::from_millis(999);
        assert_eq!(generated_at(&headers, asked), asked);
        assert_eq!(generated_at(&headers, THEN - seconds(50)), THEN - seconds(50));
    }

    proptest! {
        #[test]
        fn no_response_is_from_the_future(age in "[ -~]{0,12}", date in "[ -~]{0,40}") {
            let mut headers = HeaderMap::new();
            headers.insert(AGE, HeaderValue::from_str(&age).unwrap());
            headers.insert(DATE, HeaderValue::from_str(&date).unwrap());
            prop_assert!(generated_at(&headers, THEN) <= THEN);
        }
    }
}
