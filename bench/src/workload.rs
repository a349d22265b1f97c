//! Keys, values, and the order in which keys are asked for: the same for every contestant, and in
//! every run.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Bytes of every value.
pub const VALUE_BYTES: usize = 256;

/// `count` keys, as services build them.
#[must_use]
pub fn keys(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("user:{n:06}:profile")).collect()
}

/// A value of [`VALUE_BYTES`], in an allocation of its own.
#[must_use]
pub fn value(n: usize) -> Bytes {
    let mut bytes = vec![b'.'; VALUE_BYTES];
    let digits = n.to_string();
    bytes[..digits.len()].copy_from_slice(digits.as_bytes());
    bytes.into()
}

/// How often keys are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Popularity {
    /// Each as often as any other.
    Uniform,
    /// The n-th in popularity in proportion to 1/n (Zipf's law with exponent 1).
    Zipf,
}

impl Popularity {
    /// The word for it in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Zipf => "zipf",
        }
    }

    /// `count` indices below `among`. Popular ones are spread over the whole range.
    #[must_use]
    pub fn draw(self, among: usize, count: usize, seed: u64) -> Vec<u32> {
        let mut random = fastrand::Rng::with_seed(seed);
        let index = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        match self {
            Self::Uniform => (0..count).map(|_| index(random.usize(..among))).collect(),
            Self::Zipf => {
                let mut ranked: Vec<u32> = (0..among).map(index).collect();
                // The same keys are popular for every seed.
                fastrand::Rng::with_seed(0).shuffle(&mut ranked);
                let mut total = 0.0;
                let cumulated: Vec<f64> = (1..=among)
                    .map(|rank| {
                        total += 1.0 / rank as f64;
                        total
                    })
                    .collect();
                (0..count)
                    .map(|_| {
                        let at = random.f64() * total;
                        let rank = cumulated.partition_point(|&upto| upto < at);
                        ranked[rank.min(among - 1)]
                    })
                    .collect()
            }
        }
    }
}

/// A value with the fields that a service's user has: [`VALUE_BYTES`] of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Always nine digits.
    pub id: u64,
    /// Given name and family name.
    pub name: String,
    /// Where mail goes.
    pub email: String,
    /// Whether the account is in use.
    pub active: bool,
    /// Seconds since the UNIX epoch.
    pub created_at: u64,
    /// A sentence or two, which fills the value up.
    pub about: String,
}

impl User {
    /// The `n`-th user; `n` is below 900 million.
    #[must_use]
    pub fn numbered(n: usize) -> Self {
        let active = !n.is_multiple_of(7);
        Self {
            id: 100_000_000 + n as u64,
            name: "Ada Lovelace".into(),
            email: format!("ada.{n:06}@example.com"),
            active,
            created_at: 1_767_225_600,
            about: "Reads, writes and computes. ".repeat(5)[..if active { 136 } else { 135 }]
                .into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_as_long_as_a_value() {
        for n in [0, 1, 7, 99_999] {
            let json = serde_json::to_vec(&User::numbered(n)).unwrap();
            assert_eq!(json.len(), VALUE_BYTES, "{}", String::from_utf8_lossy(&json));
        }
    }

    #[test]
    fn zipf_prefers_few_keys_and_uniform_none() {
        let most_frequent = |popularity: Popularity| {
            let mut counts = vec![0; 1_000];
            popularity.draw(1_000, 100_000, 1).iter().for_each(|&n| counts[n as usize] += 1);
            counts.into_iter().max().unwrap()
        };
        // 1/H(1000) is 13 %, 1/1000 is 0.1 %.
        assert!((12_000..15_000).contains(&most_frequent(Popularity::Zipf)));
        assert!(most_frequent(Popularity::Uniform) < 200);
    }
}
