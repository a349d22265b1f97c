//! A page that keeps what it has fetched in a [`Cache`] over memory.
//!
//! ```sh
//! cargo xtask browser
//! ```
//!
//! builds it, serves it with an origin that takes its time, and says what to open.

use std::cell::Cell;

use gloo_net::http::Request;
use larder::{Cache, CacheStats, MemoryStore, seconds};
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsError, UnwrapThrowExt};

/// What the page shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Product {
    name: String,
    price: f64,
}

/// The products of a shop, as the page sees them.
#[wasm_bindgen]
pub struct Products {
    cache: Cache,
}

/// The answer to one question for a product.
#[wasm_bindgen(getter_with_clone)]
pub struct Answer {
    /// Its name; none where there is no such product.
    pub name: Option<String>,
    /// Its price.
    pub price: Option<f64>,
    /// Whether this very question was sent to the origin.
    #[wasm_bindgen(js_name = "fromOrigin")]
    pub from_origin: bool,
}

/// What the cache has counted.
#[wasm_bindgen]
pub struct Stats {
    /// Reads that found a value, or that there is none.
    pub hits: u32,
    /// Reads that found nothing.
    pub misses: u32,
    /// Questions to the origin.
    pub loads: u32,
    /// Callers that waited for another's question.
    pub waited: u32,
}

#[wasm_bindgen]
impl Products {
    /// No products yet; each stays for half a minute.
    ///
    /// # Errors
    ///
    /// None with these settings.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Result<Self, JsError> {
        let store = MemoryStore::builder().capacity_bytes(4 << 20).build();
        let cache = Cache::builder(store).ttl(seconds(30)).absent_ttl(seconds(10)).build()?;
        Ok(Self { cache })
    }

    /// A product: from the cache, or from the origin where it is not there. However many ask at
    /// once, the origin is asked once.
    ///
    /// # Errors
    ///
    /// Where the origin cannot be reached or answers with an error.
    pub async fn get(&self, id: u32) -> Result<Answer, JsError> {
        let from_origin = Cell::new(false);
        let fetch = async || {
            from_origin.set(true);
            fetch(id).await
        };
        let product = self.cache.get_or_find(format!("product:{id}"), fetch).await?;
        Ok(Answer {
            name: product.as_ref().map(|product| product.name.clone()),
            price: product.as_ref().map(|product| product.price),
            from_origin: from_origin.get(),
        })
    }

    /// Forgets a product.
    ///
    /// # Errors
    ///
    /// None: a store in memory does not fail.
    pub async fn remove(&self, id: u32) -> Result<bool, JsError> {
        Ok(self.cache.remove(format!("product:{id}")).await?)
    }

    /// What the cache has counted so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let CacheStats { hits, misses, loads, coalesced, .. } = self.cache.stats();
        let count = |n: u64| u32::try_from(n).unwrap_throw();
        Stats {
            hits: count(hits),
            misses: count(misses),
            loads: count(loads),
            waited: count(coalesced),
        }
    }
}

/// Asks the origin. That there is no such product is an answer, and is kept too.
async fn fetch(id: u32) -> Result<Option<Product>, gloo_net::Error> {
    let response = Request::get(&format!("products/{id}.json")).send().await?;
    match response.status() {
        404 => Ok(None),
        200 => response.json().await.map(Some),
        status => Err(gloo_net::Error::GlooError(format!("the origin answered {status}"))),
    }
}
