//! What the store asks of a namespace: the operations of Workers KV.

use std::collections::HashMap;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Failure;

/// What stands beside a value: of any JSON, of up to 1,024 bytes, the fields that are asked for.
///
/// It goes to JavaScript and back field by field. By way of text it would link a parser of JSON, which
/// a Worker may have no other use for.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Metadata(Vec<(&'static str, Field)>);

/// A field of metadata, as JavaScript has it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Field {
    Number(f64),
    Text(String),
    Flag(bool),
    /// Something else.
    Other,
}

impl Metadata {
    pub(crate) fn with(mut self, name: &'static str, field: Field) -> Self {
        self.0.push((name, field));
        self
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Field> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, field)| field)
    }

    /// Those of the fields that are there.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'static str, &Field)> {
        self.0.iter().map(|(name, field)| (*name, field))
    }
}

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
