//! Writing to a namespace that takes one write a second for a key.

use std::future::Future;
use std::time::Duration;

use larder_core::{StoreError, StoreErrorKind, Timestamp, seconds};

use super::{KvStore, MAX_VALUE_BYTES, MIN_TTL, check_key, frame};
use crate::bounded::Call;
use crate::error::Failure;

/// After how long KV takes another write of a key.
const WRITE_PAUSE: Duration = seconds(1);

/// How long to wait before the `retry`th attempt, from 1, to write a key again. `random` is at least
/// 0 and below 1, so that those who were refused together do not come again together.
fn pause(retry: u32, random: f64) -> Duration {
    WRITE_PAUSE.mul_f64(f64::from(retry) * (1.0 + random / 4.0))
}

/// What KV is to keep a value for, in whole seconds and at least 60.
fn expiration_ttl(ttl: Duration) -> u64 {
    let ttl = ttl.max(MIN_TTL);
    let up = u64::from(ttl.subsec_nanos() > 0);
    // Of «for ever» KV keeps 68 years.
    ttl.as_secs().saturating_add(up).min(i32::MAX as u64)
}

impl KvStore {
    pub(super) async fn write(
        &self,
        call: &Call<'_>,
        key: &str,
        value: &[u8],
        ttl: Duration,
    ) -> Result<(), StoreError> {
        let started = self.runtime.now();
        let (label, stored) = frame::close(value, started + ttl);
        let metadata = label.to_metadata();
        self.again(call, key, || {
            // A retry begins later, and does not make the life longer.
            let late = self.runtime.now().since(started);
            let ttl = expiration_ttl(ttl.saturating_sub(late));
            self.namespace().put(key, stored, &metadata, ttl)
        })
        .await
    }

    pub(super) async fn erase(&self, call: &Call<'_>, key: &str) -> Result<(), StoreError> {
        self.again(call, key, || self.namespace().delete(key)).await
    }

    /// One call that was taken already, and its retries, which are taken here.
    async fn again<F>(
        &self,
        call: &Call<'_>,
        key: &str,
        mut attempt: impl FnMut() -> F,
    ) -> Result<(), StoreError>
    where
        F: Future<Output = Result<(), Failure>> + Send,
    {
        for retry in 1.. {
            match call.run(attempt()).await? {
                Ok(()) => break,
                Err(failure) if failure.is_rate_limited() => {
                    if retry > self.shared.write_retries {
                        let detail = format!(
                            "KV takes one write a second for a key, and refused {key:?} {retry} \
                             times; write it less often"
                        );
                        return Err(call
                            .error(StoreErrorKind::Unavailable, detail)
                            .with_source(failure));
                    }
                    metrics::counter!("larder_kv_retries_total", "operation" => call.operation)
                        .increment(1);
                    self.runtime.sleep(pause(retry, fastrand::f64())).await;
                    call.take(1)?;
                }
                Err(failure) => return Err(call.failed(failure)),
            }
        }
        Ok(())
    }

    pub(super) fn check_value(call: &Call<'_>, key: &str, value: &[u8]) -> Result<(), StoreError> {
        check_key(call, key)?;
        if value.len() <= MAX_VALUE_BYTES {
            return Ok(());
        }
        let detail = format!(
            "the value for {key:?} has {} bytes, KV takes at most {MAX_VALUE_BYTES}; store less of \
             it, or put it into R2",
            value.len()
        );
        Err(call.error(StoreErrorKind::TooLarge, detail))
    }
}

/// How long a value of another writer stays, by the listing.
pub(super) fn foreign_life(expiration: Option<u64>, now: Timestamp) -> Option<Duration> {
    match expiration {
        None => Some(Duration::MAX),
        Some(seconds) => {
            let left = Timestamp::from_millis(seconds.saturating_mul(1_000)).since(now);
            (!left.is_zero()).then_some(left)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_core::{days, millis, minutes};

    #[test]
    fn kv_keeps_whole_seconds_and_a_minute_at_least() {
        for (ttl, expected) in [
            (millis(0), 60),
            (millis(59_999), 60),
            (seconds(60), 60),
            (millis(60_001), 61),
            (minutes(5), 300),
            (Duration::MAX, i32::MAX as u64),
            (days(30), 30 * 86_400),
        ] {
            assert_eq!(expiration_ttl(ttl), expected, "{ttl:?}");
        }
    }

    #[test]
    fn a_retry_waits_until_the_write_may_succeed() {
        for retry in 1..4 {
            assert!(pause(retry, 0.0) >= WRITE_PAUSE);
            assert!(pause(retry, 0.999) < pause(retry + 1, 0.0));
        }
    }

    #[test]
    fn a_foreign_value_lives_as_long_as_its_writer_said() {
        let now = Timestamp::from_millis(90_500);
        assert_eq!(foreign_life(None, now), Some(Duration::MAX));
        assert_eq!(foreign_life(Some(100), now), Some(millis(9_500)));
        assert_eq!(foreign_life(Some(90), now), None);
    }
}
