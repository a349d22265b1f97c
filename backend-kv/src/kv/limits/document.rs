//! What isolates tell each other of a key: the value in KV.

use std::collections::BTreeMap;

use bytes::Bytes;
use larder_core::Quota;
use larder_core::rate_limit::KeyState;
use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::stored_counts;

const VERSION: u8 = 1;

/// How much was taken of each quota, by its name.
pub(super) type Taken = BTreeMap<String, u64>;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Document {
    /// Raised by a reset or a block: the state is then to be taken as it is.
    pub(super) generation: u64,
    /// All that whoever wrote it knew, less leases.
    pub(super) state: KeyState,
    /// What each isolate has taken since it met the key.
    pub(super) isolates: BTreeMap<u64, Isolate>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Isolate {
    /// When it began to count, in milliseconds since the UNIX epoch.
    pub(super) met: u64,
    /// When it told so.
    pub(super) told: u64,
    pub(super) taken: Taken,
}

#[derive(Serialize, Deserialize)]
struct Form {
    generation: u64,
    #[serde(with = "serde_bytes")]
    state: Vec<u8>,
    isolates: BTreeMap<u64, Isolate>,
}

impl Document {
    pub(super) fn encode(self) -> Result<Bytes, Failure> {
        let state = stored_counts::encode(&self.state)?;
        let form = Form { generation: self.generation, state, isolates: self.isolates };
        let bytes = postcard::to_extend(&form, vec![VERSION]);
        bytes.map(Bytes::from).map_err(|error| Failure::new(error.to_string()))
    }

    /// None where it was written by something else, or by another version.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let form = bytes.strip_prefix(&[VERSION])?;
        let Form { generation, state, isolates } = postcard::from_bytes(form).ok()?;
        Some(Self { generation, state: stored_counts::decode(&state).ok()?, isolates })
    }
}

impl Isolate {
    /// How much it has taken of a quota in the last window, as if it had taken all evenly.
    pub(super) fn lately(&self, quota: &Quota) -> u64 {
        let taken = self.taken.get(quota.name()).copied().unwrap_or(0);
        let life = u128::from(self.told.saturating_sub(self.met));
        let window = quota.window().as_millis();
        if life <= window {
            return taken;
        }
        u64::try_from(u128::from(taken).saturating_mul(window) / life).unwrap_or(taken)
    }
}

#[cfg(test)]
mod tests {
    use larder_core::rate_limit::Check;
    use larder_core::{Quota, Timestamp, minutes, seconds};

    use super::*;

    fn document() -> Document {
        let now = Timestamp::from_millis(300);
        let mut state = KeyState::default();
        state.check(now, &Check::new("a", &[Quota::per_minute(9)]));
        state.block(now, minutes(1));
        let taken = Taken::from([("minute".into(), 1)]);
        let isolate = Isolate { met: 1, told: 300, taken };
        Document { generation: 7, state, isolates: [(5, isolate)].into() }
    }

    /// Isolates of earlier versions have written these bytes.
    #[test]
    fn version_1_is_fixed() {
        let bytes = document().encode().unwrap();
        let expected = [
            &b"\x01\x07\x18\x01"[..],
            b"\x01\xE0\xB5\xE0\x1C\x01\x06minute\xE0\xB5\xE0\x1C\0\x01\xE0\xB5\xE0\x1C",
            b"\x01\x05\x01\xAC\x02\x01\x06minute\x01",
        ];
        assert_eq!(bytes, expected.concat());
        assert_eq!(Document::decode(&bytes), Some(document()));
    }

    #[test]
    fn what_cannot_be_read_is_nothing() {
        let whole = document().encode().unwrap();
        for length in 0..whole.len() {
            assert_eq!(Document::decode(&whole[..length]), None);
        }
        for other in [&b"\x02\x07"[..], b"12", b"{}"] {
            assert_eq!(Document::decode(other), None);
        }
    }

    #[test]
    fn of_a_long_life_only_a_part_was_lately() {
        let taken = Taken::from([("minute".into(), 600), ("second".into(), u64::MAX)]);
        let isolate = Isolate { met: 60_000, told: 660_000, taken };
        assert_eq!(isolate.lately(&Quota::per_minute(9)), 60);
        assert_eq!(isolate.lately(&Quota::new(9, minutes(10)).named("minute")), 600);
        assert_eq!(isolate.lately(&Quota::new(9, seconds(1)).named("second")), u64::MAX / 600);
        assert_eq!(isolate.lately(&Quota::per_day(9)), 0);
    }
}
