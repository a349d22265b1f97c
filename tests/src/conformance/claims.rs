//! What a store says of itself, in a form that travels from where it runs.

use std::time::Duration;

use larder_core::rate_limit::{Counting, RateLimitCapabilities};
use larder_core::session::SessionCapabilities;
use larder_core::{Capabilities, Consistency};
use serde::{Deserialize, Serialize};

/// A store's [`Capabilities`], and how rate limits are counted and sessions kept beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// How long a write may stay unseen elsewhere; `None` where every read sees it at once.
    pub unseen_for: Option<Duration>,
    /// The longest complete key, in bytes.
    pub max_key_bytes: usize,
    /// The largest stored value, in bytes.
    pub max_value_bytes: usize,
    /// The shortest time to live that the store itself keeps.
    pub min_ttl: Duration,
    /// How many keys one call of the service takes.
    pub max_batch_keys: usize,
    /// Whether the values live in the process.
    pub in_process: bool,
    /// How rate limits are counted; `None` where they are not.
    pub counting: Option<CountingClaim>,
    /// After how long a change of a session is seen everywhere; `None` where there are none.
    pub sessions: Option<Duration>,
}

/// What a check of a rate limit sees of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CountingClaim {
    /// All of them.
    Exact,
    /// Those of others as a rule after so long.
    Approximate(Duration),
}

impl Claims {
    /// And it counts rate limits.
    #[must_use]
    pub fn counting(mut self, claimed: &RateLimitCapabilities) -> Self {
        self.counting = Some(match claimed.counting {
            Counting::Approximate { within } => CountingClaim::Approximate(within),
            _ => CountingClaim::Exact,
        });
        self
    }

    /// And it keeps sessions.
    #[must_use]
    pub fn keeping(mut self, claimed: &SessionCapabilities) -> Self {
        self.sessions = Some(claimed.visible_within);
        self
    }
}

impl From<&Capabilities> for Claims {
    fn from(capabilities: &Capabilities) -> Self {
        let unseen_for = match capabilities.consistency {
            Consistency::Eventual { within } => Some(within),
            _ => None,
        };
        Self {
            unseen_for,
            max_key_bytes: capabilities.max_key_bytes,
            max_value_bytes: capabilities.max_value_bytes,
            min_ttl: capabilities.min_ttl,
            max_batch_keys: capabilities.max_batch_keys,
            in_process: capabilities.in_process,
            counting: None,
            sessions: None,
        }
    }
}
