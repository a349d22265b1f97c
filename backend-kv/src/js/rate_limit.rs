//! A Rate Limiting binding.

use std::fmt;

use async_trait::async_trait;
use worker::Env;
use worker::js_sys::Object;
use worker::send::SendFuture;

use super::{Handle, get, set};
use crate::error::Failure;
use crate::prefilter::Gate;

pub(crate) struct RateLimitBinding(Handle);

impl RateLimitBinding {
    /// The binding of that name, if there is one.
    pub(crate) fn open(env: &Env, binding: &str) -> Option<Self> {
        let limiter = get(env, binding).ok()?;
        let is_limiter = get(&limiter, "limit").is_ok_and(|method| method.is_function());
        is_limiter.then(|| Self(Handle::new(limiter)))
    }
}

#[async_trait]
impl Gate for RateLimitBinding {
    async fn admits(&self, key: &str) -> Result<bool, Failure> {
        SendFuture::new(async {
            let options = Object::new();
            set(&options, "key", &key.into())?;
            let outcome = self.0.call("limit", &[&options]).await?;
            let success = get(&outcome, "success")?.as_bool();
            success.ok_or_else(|| Failure::new("the binding did not say whether it succeeded"))
        })
        .await
    }
}

impl fmt::Debug for RateLimitBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RateLimitBinding")
    }
}
