//! The variants of a resource that its responses tell apart by `Vary`.

use http::HeaderMap;
use larder_core::Timestamp;
use sha2::{Digest, Sha256};

use crate::key_text::push_hex;
use crate::policy::FieldNames;

/// What stands under the key of a resource with variants: on which fields of the request it
/// depends. Each variant stands under a key of its own, which is made from their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variants {
    pub(super) names: FieldNames,
    /// Part of every variant's key. A new one is made whenever the names are written anew, so that
    /// variants from before the removal of the resource's key are not found again.
    pub(super) generation: u128,
}

const INFIX: &str = ":vary:";

/// How much longer than its resource's a variant's key is.
pub(super) const SUFFIX_BYTES: usize = INFIX.len() + 64;

impl Variants {
    pub(super) fn new(names: FieldNames, now: Timestamp) -> Self {
        // The time, too: where nothing seeds the generator of random numbers, as on wasm32, it
        // starts again with every instance.
        let generation = u128::from(now.as_micros()) << 64 | u128::from(fastrand::u64(..));
        Self { names, generation }
    }

    /// The key of the variant that answers a request with these headers.
    pub(super) fn key(&self, resource: &str, request: &HeaderMap) -> String {
        let mut hash = Sha256::new_with_prefix(self.generation.to_le_bytes());
        self.names.selecting_values(request, |bytes| hash.update(bytes));
        let mut key = String::with_capacity(resource.len() + SUFFIX_BYTES);
        key.push_str(resource);
        key.push_str(INFIX);
        push_hex(&mut key, &hash.finalize());
        key
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT_LANGUAGE, HeaderValue};

    use super::*;
    use crate::runtime::test;

    #[test]
    fn a_variant_is_found_by_its_values_in_its_generation() {
        let now = Timestamp::from_millis(1_767_225_600_000);
        let variants = Variants::new([ACCEPT_LANGUAGE].into_iter().collect(), now);
        let request = |language: &'static str| {
            HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static(language))])
        };
        let key = variants.key("a", &request("de"));
        assert_eq!(key.len(), 1 + SUFFIX_BYTES);
        assert!(key.starts_with("a:vary:"));
        assert_eq!(variants.key("a", &request("DE")), key);
        assert_ne!(variants.key("a", &request("en")), key);
        let next = Variants::new(variants.names.clone(), now);
        assert_ne!(next.key("a", &request("de")), key);
    }
}
