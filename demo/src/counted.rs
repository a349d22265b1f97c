//! A database whose calls are counted, so that everyone can see what the caches spare it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use larder_core::{Runtime, Timestamp};

use crate::database::{Database, DatabaseError};
use crate::model::{
    Account, Page, PageRequest, Product, ProductDetails, Seen, Settings, User, UserChange,
};

#[derive(Debug, Clone)]
pub(crate) struct Counted {
    database: Arc<dyn Database>,
    runtime: Arc<dyn Runtime>,
    calls: Arc<AtomicU64>,
}

impl Counted {
    pub(crate) fn new(database: Arc<dyn Database>, runtime: Arc<dyn Runtime>) -> Self {
        Self { database, runtime, calls: Arc::default() }
    }

    /// The same, timed by another clock.
    pub(crate) fn on(&self, runtime: &Arc<dyn Runtime>) -> Self {
        Self { runtime: Arc::clone(runtime), ..self.clone() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.runtime.now()
    }

    /// How often the database was asked for data. Readiness checks do not count.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    async fn counted<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, DatabaseError>>,
    ) -> Result<T, DatabaseError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let started = self.runtime.now();
        let result = call.await;
        let took = self.runtime.now().since(started);
        metrics::histogram!("shop_database_seconds", "operation" => operation)
            .record(took.as_secs_f64());
        if let Err(DatabaseError::Unavailable { .. }) = &result {
            metrics::counter!("shop_database_errors_total", "operation" => operation).increment(1);
        }
        result
    }
}

#[async_trait]
impl Database for Counted {
    async fn products(
        &self,
        request: PageRequest,
        q: &str,
    ) -> Result<Page<Product>, DatabaseError> {
        self.counted("products", self.database.products(request, q)).await
    }

    async fn product(&self, id: i64) -> Result<Option<ProductDetails>, DatabaseError> {
        self.counted("product", self.database.product(id)).await
    }

    async fn users(&self, request: PageRequest) -> Result<Page<User>, DatabaseError> {
        self.counted("users", self.database.users(request)).await
    }

    async fn user(&self, id: i64) -> Result<Option<User>, DatabaseError> {
        self.counted("user", self.database.user(id)).await
    }

    async fn update_user(
        &self,
        id: i64,
        change: &UserChange,
    ) -> Result<Option<User>, DatabaseError> {
        self.counted("update_user", self.database.update_user(id, change)).await
    }

    async fn delete_user(&self, id: i64) -> Result<bool, DatabaseError> {
        self.counted("delete_user", self.database.delete_user(id)).await
    }

    async fn add_account(
        &self,
        email: &str,
        password_hash: &str,
    ) -> Result<Account, DatabaseError> {
        self.counted("add_account", self.database.add_account(email, password_hash)).await
    }

    async fn account(&self, email: &str) -> Result<Option<(Account, String)>, DatabaseError> {
        self.counted("account", self.database.account(email)).await
    }

    async fn last_seen(&self, account: i64) -> Result<Option<String>, DatabaseError> {
        self.counted("last_seen", self.database.last_seen(account)).await
    }

    async fn save_last_seen(&self, seen: &[Seen]) -> Result<(), DatabaseError> {
        self.counted("save_last_seen", self.database.save_last_seen(seen)).await
    }

    async fn settings(&self) -> Result<Settings, DatabaseError> {
        self.counted("settings", self.database.settings()).await
    }

    async fn ready(&self) -> Result<(), DatabaseError> {
        self.database.ready().await
    }
}
