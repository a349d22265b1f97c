//! What the store asks of a namespace: the operations of Workers KV.

use std::collections::HashMap;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Failure;

/// What stands beside a value: any JSON, of up to 1,024 bytes.
pub(crate) type Metadata = serde_json::Value;

/// A value and what stands beside it.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) value: Bytes,
    pub(crate) metadata: Option<Metadata>,
}

/// A value as a bulk read has it: as text, with U+FFFD for every byte that is none.
#[derive(Debug, Clone)]
pub(crate) struct HeldText {
    pub(crate) text: String,
    pub(crate) metadata: Option<Metadata>,
}

/// A key of a listing.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) name: String,
    /// Seconds since the UNIX epoch.
    pub(crate) expiration: Option<u64>,
    pub(crate) metadata: Option<Metadata>,
}

/// A page of a listing, in the order of the keys' bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listing {
    pub(crate) keys: Vec<Listed>,
    pub(crate) next: Option<String>,
}

/// A KV namespace. Every method is one call of the request's.
#[async_trait]
pub(crate) trait Namespace: fmt::Debug + Send + Sync + 'static {
    async fn get(&self, key: &str, cache_ttl: Option<u32>) -> Result<Option<Held>, Failure>;

    /// Up to 100 values; those that are missing are left out.
    async fn get_bulk(
        &self,
        keys: &[&str],
        cache_ttl: Option<u32>,
    ) -> Result<HashMap<String, HeldText>, Failure>;

    /// What stands beside the value, which is not transferred; `None` where there is no value.
    async fn metadata(
        &self,
        key: &str,
        cache_ttl: Option<u32>,
    ) -> Result<Option<Option<Metadata>>, Failure>;

    /// `expiration_ttl` in seconds, at least 60.
    async fn put(
        &self,
        key: &str,
        value: &[u8],
        metadata: &Metadata,
        expiration_ttl: u64,
    ) -> Result<(), Failure>;

    async fn delete(&self, key: &str) -> Result<(), Failure>;

    /// Up to 1,000 keys.
    async fn list(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Listing, Failure>;
}
