//! What the application asks of a database.

use std::fmt;

use async_trait::async_trait;

use crate::model::{
    Account, Page, PageRequest, Product, ProductDetails, Seen, Settings, User, UserChange,
};

/// The shop's database. Implementations run the statements of [`sql`](crate::sql).
///
/// # Errors
///
/// Every method ends within a bounded time, and fails with [`DatabaseError::Unavailable`] where the
/// database does not answer or refuses.
#[async_trait]
pub trait Database: fmt::Debug + Send + Sync + 'static {
    /// A page of the products whose name contains `q`, which is in lower case and may be empty;
    /// best rated first.
    async fn products(&self, request: PageRequest, q: &str)
    -> Result<Page<Product>, DatabaseError>;

    /// One product.
    async fn product(&self, id: i64) -> Result<Option<ProductDetails>, DatabaseError>;

    /// A page of the users, by their id.
    async fn users(&self, request: PageRequest) -> Result<Page<User>, DatabaseError>;

    /// One user.
    async fn user(&self, id: i64) -> Result<Option<User>, DatabaseError>;

    /// Changes a user, and returns it as it is then; `None` where there is no such user.
    ///
    /// Fails with [`DatabaseError::EmailTaken`] where another user has the address.
    async fn update_user(
        &self,
        id: i64,
        change: &UserChange,
    ) -> Result<Option<User>, DatabaseError>;

    /// Deletes a user; whether there was one.
    async fn delete_user(&self, id: i64) -> Result<bool, DatabaseError>;

    /// Opens an account. `password_hash` is a text that only [`account`](Self::account) returns.
    ///
    /// Fails with [`DatabaseError::EmailTaken`] where there is an account of that address.
    async fn add_account(&self, email: &str, password_hash: &str)
    -> Result<Account, DatabaseError>;

    /// The account of an address, and the hash of its password.
    async fn account(&self, email: &str) -> Result<Option<(Account, String)>, DatabaseError>;

    /// When somebody was last seen, as RFC 3339 has it, by the id of the account; `None` where that is
    /// not known.
    async fn last_seen(&self, account: i64) -> Result<Option<String>, DatabaseError>;

    /// Keeps when these were seen, all or none. What is older than what is kept already changes
    /// nothing.
    async fn save_last_seen(&self, seen: &[Seen]) -> Result<(), DatabaseError>;

    /// The shop's settings.
    async fn settings(&self) -> Result<Settings, DatabaseError>;

    /// Whether the database answers now.
    async fn ready(&self) -> Result<(), DatabaseError>;
}

/// Why a [`Database`] failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// Another user, or account, has this e-mail address.
    #[error("the address {email:?} is taken")]
    EmailTaken {
        /// The address.
        email: String,
    },

    /// The database did not answer, or refused.
    #[error("the database failed at {operation}: {detail}")]
    Unavailable {
        /// What it was asked for.
        operation: &'static str,
        /// What it said.
        detail: String,
    },
}

impl DatabaseError {
    /// The database did not answer `operation`, or refused it.
    pub fn unavailable(operation: &'static str, detail: impl fmt::Display) -> Self {
        Self::Unavailable { operation, detail: detail.to_string() }
    }
}
