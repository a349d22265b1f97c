//! What HTTP says about caching: functions over the heads of requests and responses.
//!
//! No I/O, no clock and no storage: time is an argument, and the answer is a decision that names
//! its reason. The layers act on it.

mod age;
mod cache_control;
mod connection;
mod private;
mod request;
mod response;
mod vary;

pub(crate) use cache_control::is_token;
pub(crate) use connection::end_to_end;
pub(crate) use private::keep_private;
pub(crate) use request::{Bypass, RequestRules, Use, may_use};
pub(crate) use response::{Keep, Refusal, declared_length, may_store};
pub(crate) use vary::FieldNames;
