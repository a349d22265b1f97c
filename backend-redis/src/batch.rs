//! How much goes into one command or pipeline.

use larder_core::PutEntry;
use redis::Cmd;

/// The most keys in one command of the many-forms, which bounds how long Redis is held up by it.
pub(crate) const KEYS_PER_COMMAND: usize = 512;
/// The most bytes of values in one pipeline, unless a single value has more.
const BYTES_PER_PIPELINE: usize = 4 << 20;

/// A command about all of `keys`.
pub(crate) fn on_keys(name: &'static str, keys: &[&str]) -> Cmd {
    let bytes = keys.iter().map(|key| key.len()).sum::<usize>();
    let mut command = Cmd::with_capacity(1 + keys.len(), name.len() + bytes);
    command.arg(name).arg(keys);
    command
}

/// How many of the first `entries` go into one pipeline; at least one.
pub(crate) fn pipeline_length(entries: &[PutEntry<'_>]) -> usize {
    let mut bytes = 0;
    entries
        .iter()
        .take(KEYS_PER_COMMAND)
        .take_while(|entry| {
            let first = bytes == 0;
            bytes += entry.key.len() + entry.value.len();
            first || bytes <= BYTES_PER_PIPELINE
        })
        .count()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_pipeline_is_bounded_by_entries_and_by_bytes() {
        let entries = |count: usize, bytes: usize| {
            let value = Bytes::from(vec![0; bytes]);
            vec![PutEntry { key: "k", value, ttl: Duration::from_secs(1) }; count]
        };
        assert_eq!(pipeline_length(&entries(3, 10)), 3);
        assert_eq!(pipeline_length(&entries(600, 10)), KEYS_PER_COMMAND);
        assert_eq!(pipeline_length(&entries(9, 1 << 20)), 3);
        assert_eq!(pipeline_length(&entries(2, 5 << 20)), 1);
    }
}
