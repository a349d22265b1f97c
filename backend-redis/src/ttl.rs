//! Times to live, as Redis takes and gives them.

use std::time::Duration;

use redis::Cmd;

use crate::config::LONGEST;

/// The command that sets `key` for `ttl`: `SETEX` for whole seconds, as Node services on the same
/// Redis write them, otherwise `PSETEX`, rounded up and at least one millisecond.
pub(crate) fn set(key: &str, value: &[u8], ttl: Duration) -> Cmd {
    let ttl = ttl.min(LONGEST);
    let mut command = Cmd::with_capacity(4, 26 + key.len() + value.len());
    if ttl.subsec_nanos() == 0 && !ttl.is_zero() {
        command.arg("SETEX").arg(key).arg(ttl.as_secs());
    } else {
        command.arg("PSETEX").arg(key).arg(whole_millis(ttl));
    }
    command.arg(value);
    command
}

fn whole_millis(ttl: Duration) -> u64 {
    let millis = ttl.as_nanos().div_ceil(1_000_000).max(1);
    u64::try_from(millis).unwrap_or(u64::MAX)
}

/// What `PTTL` says: −2 where nothing stands, −1 where nothing expires.
pub(crate) fn from_pttl(reply: i64) -> Option<Duration> {
    match reply {
        ..=-2 => None,
        -1 => Some(Duration::MAX),
        millis => Some(Duration::from_millis(millis.unsigned_abs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Cmd) -> Vec<String> {
        let packed = String::from_utf8(command.get_packed_command()).unwrap();
        packed.split("\r\n").skip(2).step_by(2).map(String::from).collect()
    }

    #[test]
    fn whole_seconds_are_setex_and_the_rest_is_rounded_up_to_milliseconds() {
        for (ttl, name, number) in [
            (Duration::from_secs(300), "SETEX", "300"),
            (Duration::from_millis(2_000), "SETEX", "2"),
            (Duration::from_millis(1_500), "PSETEX", "1500"),
            (Duration::from_micros(1_500_001), "PSETEX", "1501"),
            (Duration::from_nanos(1), "PSETEX", "1"),
            (Duration::ZERO, "PSETEX", "1"),
            (Duration::MAX, "SETEX", "3153600000"),
        ] {
            assert_eq!(words(&set("k", b"v", ttl)), [name, "k", number, "v"], "{ttl:?}");
        }
    }

    #[test]
    fn pttl_knows_absence_and_eternity() {
        assert_eq!(from_pttl(-2), None);
        assert_eq!(from_pttl(-1), Some(Duration::MAX));
        assert_eq!(from_pttl(0), Some(Duration::ZERO));
        assert_eq!(from_pttl(1_500), Some(Duration::from_millis(1_500)));
    }
}
