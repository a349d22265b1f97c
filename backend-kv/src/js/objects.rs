//! A binding of Durable Objects.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use worker::js_sys::Uint8Array;
use worker::send::SendFuture;
use worker::{Env, Method, ObjectNamespace, Request, RequestInit};

use super::worker_failure;
use crate::durable::Transport;
use crate::error::Failure;

/// What an object's requests are addressed to; it does not look.
const ADDRESS: &str = "https://larder/";

#[derive(Clone)]
pub(crate) struct Objects(ObjectNamespace);

impl Objects {
    pub(crate) fn open(env: &Env, binding: &str) -> Result<Self, Failure> {
        env.durable_object(binding).map(Self).map_err(worker_failure)
    }
}

#[async_trait]
impl Transport for Objects {
    async fn call(&self, name: &str, message: &[u8]) -> Result<Bytes, Failure> {
        SendFuture::new(async {
            let mut init = RequestInit::new();
            init.with_method(Method::Post).with_body(Some(Uint8Array::from(message).into()));
            let request = Request::new_with_init(ADDRESS, &init)?;
            let mut response = self.0.get_by_name(name)?.fetch_with_request(request).await?;
            let reply = response.bytes().await?;
            Ok((response.status_code(), reply))
        })
        .await
        .map_err(worker_failure)
        .and_then(|(status, reply): (u16, Vec<u8>)| match status {
            200 => Ok(reply.into()),
            _ => Err(Failure::new(format!(
                "the object answered {status}: {}",
                String::from_utf8_lossy(&reply)
            ))),
        })
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Objects")
    }
}
