//! The way to the storage at hand.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use larder_core::Runtime;
use worker::SqlStorage;
use worker::send::SendWrapper;

use super::super::engine::Engine;
use super::super::fleet::Transport;
use crate::error::Failure;
use crate::js::Sql;

pub(super) struct Direct {
    engine: SendWrapper<Engine<Sql>>,
    runtime: Arc<dyn Runtime>,
}

impl Direct {
    pub(super) fn new(storage: SqlStorage, runtime: Arc<dyn Runtime>) -> worker::Result<Self> {
        let engine = Engine::new(Sql::new(storage));
        let engine = engine.map_err(|failure| worker::Error::RustError(failure.message))?;
        Ok(Self { engine: SendWrapper::new(engine), runtime })
    }
}

#[async_trait]
impl Transport for Direct {
    async fn call(&self, _name: &str, message: &[u8]) -> Result<Bytes, Failure> {
        Ok(self.engine.handle(message, self.runtime.now().as_millis()).reply.into())
    }
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Direct")
    }
}
