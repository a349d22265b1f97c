//! What is too large to be sent.

use larder_core::{StoreError, StoreErrorKind};

use crate::config::Config;
use crate::error::STORE;

impl Config {
    pub(crate) fn check_key(&self, operation: &'static str, key: &str) -> Result<(), StoreError> {
        let (bytes, max) = (key.len(), self.max_key_bytes);
        if bytes <= max {
            return Ok(());
        }
        let start: String = key.chars().take(40).collect();
        let detail = format!(
            "the key {start:?}… has {bytes} bytes, {max} are allowed (see \
             RedisStoreBuilder::max_key_bytes)"
        );
        Err(StoreError::new(StoreErrorKind::TooLarge, STORE, operation, detail))
    }

    pub(crate) fn check_entry(
        &self,
        operation: &'static str,
        key: &str,
        value: &[u8],
    ) -> Result<(), StoreError> {
        self.check_key(operation, key)?;
        let (bytes, max) = (value.len(), self.max_value_bytes);
        if bytes <= max {
            return Ok(());
        }
        let detail = format!(
            "the value for {key:?} has {bytes} bytes, {max} are allowed (see \
             RedisStoreBuilder::max_value_bytes)"
        );
        Err(StoreError::new(StoreErrorKind::TooLarge, STORE, operation, detail))
    }
}
