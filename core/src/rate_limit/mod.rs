//! Rate limits: how much of something a key may have, and who keeps count.
//!
//! - [`RateLimiter`] is what a program uses: it asks a store, and answers where the store cannot.
//! - [`Quota`] says how much, in which time, and by which [`Rule`].
//! - [`Check`] asks for some of it, and a [`Decision`] answers.
//! - [`rule`] decides for one quota and [`KeyState`] for all quotas of a key, both without I/O:
//!   every exact store runs them or equals them.
//! - [`RateLimitStore`] is the port that backends implement; [`MemoryRateLimits`] is one.

mod decision;
mod key_state;
mod limiter;
mod memory;
mod quota;
pub mod rule;
mod store;

pub use decision::{Decision, QuotaReport, Reason};
pub use key_state::{Check, KeyState};
pub use limiter::{FailurePolicy, Permit, RateLimitStats, RateLimiter, RateLimiterBuilder};
pub use memory::{MemoryRateLimits, MemoryRateLimitsBuilder};
pub use quota::{Quota, Rule};
pub use store::{Counting, ExactRateLimitStore, RateLimitCapabilities, RateLimitStore};
