//! What the API speaks of. The JSON names are camelCase, as the clients of such APIs expect.

use std::collections::BTreeMap;

use larder_core::Timestamp;
use larder_core::write_behind::Sequence;
use serde::{Deserialize, Serialize};

/// A product as lists show it, with what its reviews come to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Product {
    /// From 1 on.
    pub id: i64,
    /// What it is called.
    pub name: String,
    /// The shelf that it stands on.
    pub category: String,
    /// In cents of the shop's currency.
    pub price_cents: i64,
    /// The mean of its stars, 1 to 5; `None` without a review.
    pub rating: Option<f64>,
    /// How many reviews it has.
    pub reviews: i64,
}

/// A product on its own page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProductDetails {
    /// What lists show of it too.
    #[serde(flatten)]
    pub product: Product,
    /// How many are in stock.
    pub stock: i64,
}

/// A customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// From 1 on.
    pub id: i64,
    /// Unique among users.
    pub email: String,
    /// The full name.
    pub name: String,
    /// When the account was opened, as RFC 3339 has it, in UTC.
    pub created_at: String,
}

/// What an update of a user changes; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserChange {
    /// The new address.
    pub email: Option<String>,
    /// The new name.
    pub name: Option<String>,
}

/// Who may sign in. Not one of the [users](User), whom everybody may change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// From 1 on.
    pub id: i64,
    /// In lower case; unique among accounts.
    pub email: String,
    /// When it was opened, as RFC 3339 has it, in UTC.
    pub created_at: String,
}

/// That somebody was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The id of the account.
    pub account: i64,
    /// When.
    pub at: Timestamp,
    /// The number of the write that says so. Of two the later has the larger.
    pub write: Sequence,
}

/// What somebody is about to buy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cart {
    /// Each product once.
    pub items: Vec<CartItem>,
}

/// A product in a [`Cart`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartItem {
    /// Its id.
    pub product: i64,
    /// How many of it, from 1 on.
    pub amount: u32,
}

/// The shop's settings, by name.
pub type Settings = BTreeMap<String, String>;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// What is on it; nothing beyond the last page.
    pub items: Vec<T>,
    /// Its number, from 1 on.
    pub page: u32,
    /// How many items a page has at most.
    pub limit: u32,
    /// How many items there are on all pages.
    pub total: i64,
}

/// Which page of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// Its number, from 1 on.
    pub page: u32,
    /// How many items it may have.
    pub limit: u32,
}

impl PageRequest {
    /// How many items stand before it.
    #[must_use]
    pub fn offset(self) -> i64 {
        i64::from(self.page.saturating_sub(1)) * i64::from(self.limit)
    }

    /// The page, with what was found for it.
    #[must_use]
    pub fn with<T>(self, items: Vec<T>, total: i64) -> Page<T> {
        Page { items, page: self.page, limit: self.limit, total }
    }
}
