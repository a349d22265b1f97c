//! What is too large to be sent.

use std::fmt;

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
        self.check_value(operation, format_args!("{key:?}"), value)
    }

    /// The value for `key`, as the error is to show that.
    pub(crate) fn check_value(
        &self,
        operation: &'static str,
        key: impl fmt::Display,
        value: &[u8],
    ) -> Result<(), StoreError> {
        let (bytes, max) = (value.len(), self.max_value_bytes);
        if bytes <= max {
            return Ok(());
        }
        let detail = format!(
            "the value for {key} has {bytes} bytes, {max} are allowed (see \
             RedisStoreBuilder::max_value_bytes)"
        );
        Err(StoreError::new(StoreErrorKind::TooLarge, STORE, operation, detail))
    }
}
