//! The shop's database in SQLite.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_sqlite::rusqlite::{
    self, Connection, OptionalExtension, Row, Statement, TransactionBehavior, ffi, params,
};
use deadpool_sqlite::{Config, Hook, HookError, Pool, Runtime};
use larder_demo::model::{
    Account, Page, PageRequest, Product, ProductDetails, Seen, Settings, User, UserChange,
};
use larder_demo::{Database, DatabaseError, sql};

use crate::fill::{self, Filling};

const CONNECTIONS: usize = 8;
/// How long a request waits for a connection.
const WAIT: Duration = Duration::from_secs(5);

/// The shop's database in an SQLite file.
///
/// Statements run on Tokio's threads for blocking work, over a small pool of connections. The file
/// is in WAL mode: reads go on while one connection writes.
///
/// ```
/// use larder_demo::Database;
/// use larder_demo_server::SqliteDatabase;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("shop.db");
/// let (database, _) = SqliteDatabase::open(path, |_| std::ops::ControlFlow::Continue(())).await?;
/// assert_eq!(database.user(1).await?.unwrap().id, 1);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct SqliteDatabase {
    pool: Pool,
}

impl SqliteDatabase {
    /// Opens the database, and creates and fills it where there is none; whether it did.
    ///
    /// `progress` is told how far it is, and may break it off: then nothing is kept.
    ///
    /// # Errors
    ///
    /// An [`OpenError`](crate::OpenError), where the file cannot be used.
    pub async fn open(
        path: impl Into<PathBuf>,
        mut progress: impl FnMut(Filling) -> ControlFlow<()> + Send + 'static,
    ) -> anyhow::Result<(Self, bool)> {
        let path = path.into();
        let file = path.clone();
        let prepare = move || fill::prepare(&file, &mut progress);
        let filled = tokio::task::spawn_blocking(prepare).await??;
        let pool = Config::new(&path)
            .builder(Runtime::Tokio1)?
            .max_size(CONNECTIONS)
            .wait_timeout(Some(WAIT))
            .post_create(Hook::async_fn(|connection, _| {
                Box::pin(async move {
                    let configured =
                        connection.interact(|connection| fill::configure(connection)).await;
                    configured
                        .map_err(|error| HookError::message(error.to_string()))?
                        .map_err(HookError::Backend)
                })
            }))
            .build()?;
        Ok((Self { pool }, filled))
    }

    async fn on_a_connection<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<Result<T, rusqlite::Error>, DatabaseError> {
        let connection =
            self.pool.get().await.map_err(|error| DatabaseError::unavailable(operation, error))?;
        connection
            .interact(work)
            .await
            .map_err(|error| DatabaseError::unavailable(operation, error))
    }

    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        self.on_a_connection(operation, work)
            .await?
            .map_err(|error| DatabaseError::unavailable(operation, error))
    }
}

#[async_trait]
impl Database for SqliteDatabase {
    async fn products(
        &self,
        request: PageRequest,
        q: &str,
    ) -> Result<Page<Product>, DatabaseError> {
        let q = q.to_owned();
        self.run("products", move |connection| {
            // One transaction: the count and the page are of one state.
            let transaction = connection.transaction()?;
            let total = transaction
                .prepare_cached(sql::COUNT_PRODUCTS)?
                .query_one([&q], |row| row.get(0))?;
            let items = rows(
                &mut *transaction.prepare_cached(sql::PRODUCTS)?,
                params![q, request.limit, request.offset()],
                product,
            )?;
            Ok(request.with(items, total))
        })
        .await
    }

    async fn product(&self, id: i64) -> Result<Option<ProductDetails>, DatabaseError> {
        self.run("product", move |connection| {
            connection
                .prepare_cached(sql::PRODUCT)?
                .query_one([id], |row| {
                    Ok(ProductDetails { product: product(row)?, stock: row.get("stock")? })
                })
                .optional()
        })
        .await
    }

    async fn users(&self, request: PageRequest) -> Result<Page<User>, DatabaseError> {
        self.run("users", move |connection| {
            let transaction = connection.transaction()?;
            let total =
                transaction.prepare_cached(sql::COUNT_USERS)?.query_one([], |row| row.get(0))?;
            let items = rows(
                &mut *transaction.prepare_cached(sql::USERS)?,
                params![request.limit, request.offset()],
                user,
            )?;
            Ok(request.with(items, total))
        })
        .await
    }

    async fn user(&self, id: i64) -> Result<Option<User>, DatabaseError> {
        self.run("user", move |connection| {
            connection.prepare_cached(sql::USER)?.query_one([id], user).optional()
        })
        .await
    }

    async fn update_user(
        &self,
        id: i64,
        change: &UserChange,
    ) -> Result<Option<User>, DatabaseError> {
        let UserChange { email, name } = change.clone();
        let address = email.clone();
        let updated = self
            .on_a_connection("update_user", move |connection| {
                connection
                    .prepare_cached(sql::UPDATE_USER)?
                    .query_one(params![id, email, name], user)
                    .optional()
            })
            .await?;
        updated.map_err(|error| match address {
            Some(email) if is_taken(&error) => DatabaseError::EmailTaken { email },
            _ => DatabaseError::unavailable("update_user", error),
        })
    }

    async fn delete_user(&self, id: i64) -> Result<bool, DatabaseError> {
        self.run("delete_user", move |connection| {
            Ok(connection.prepare_cached(sql::DELETE_USER)?.execute([id])? > 0)
        })
        .await
    }

    async fn add_account(
        &self,
        email: &str,
        password_hash: &str,
    ) -> Result<Account, DatabaseError> {
        let row = [email.to_owned(), password_hash.to_owned()];
        let added = self
            .on_a_connection("add_account", move |connection| {
                connection.prepare_cached(sql::INSERT_ACCOUNT)?.query_one(row, account)
            })
            .await?;
        added.map_err(|error| match is_taken(&error) {
            true => DatabaseError::EmailTaken { email: email.to_owned() },
            false => DatabaseError::unavailable("add_account", error),
        })
    }

    async fn account(&self, email: &str) -> Result<Option<(Account, String)>, DatabaseError> {
        let email = email.to_owned();
        self.run("account", move |connection| {
            connection
                .prepare_cached(sql::ACCOUNT)?
                .query_one([email], |row| Ok((account(row)?, row.get("password_hash")?)))
                .optional()
        })
        .await
    }

    async fn last_seen(&self, account: i64) -> Result<Option<String>, DatabaseError> {
        self.run("last_seen", move |connection| {
            let last_seen = connection
                .prepare_cached(sql::ACCOUNT_LAST_SEEN)?
                .query_one([account], |row| row.get(0))
                .optional()?;
            Ok(last_seen.flatten())
        })
        .await
    }

    async fn save_last_seen(&self, seen: &[Seen]) -> Result<(), DatabaseError> {
        let seen = seen.to_vec();
        self.run("save_last_seen", move |connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut update = transaction.prepare_cached(sql::UPDATE_LAST_SEEN)?;
                for Seen { account, at, write } in seen {
                    // Both fit for hundreds of thousands of years.
                    update.execute([account, at.as_millis() as i64, write.number() as i64])?;
                }
            }
            transaction.commit()
        })
        .await
    }

    async fn settings(&self) -> Result<Settings, DatabaseError> {
        self.run("settings", |connection| {
            let mut statement = connection.prepare_cached(sql::SETTINGS)?;
            statement.query_map([], |row| Ok((row.get("name")?, row.get("value")?)))?.collect()
        })
        .await
    }

    async fn ready(&self) -> Result<(), DatabaseError> {
        self.run("ready", |connection| {
            connection.prepare_cached(sql::READY)?.query_one([], |_| Ok(()))
        })
        .await
    }
}

fn rows<T>(
    statement: &mut Statement<'_>,
    params: impl rusqlite::Params,
    of: fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    statement.query_map(params, of)?.collect()
}

/// Whether something that has to be unique is there already: of the tables here, an address.
fn is_taken(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|it| it.extended_code == ffi::SQLITE_CONSTRAINT_UNIQUE)
}

fn product(row: &Row<'_>) -> rusqlite::Result<Product> {
    Ok(Product {
        id: row.get("id")?,
        name: row.get("name")?,
        category: row.get("category")?,
        price_cents: row.get("price_cents")?,
        rating: row.get("rating")?,
        reviews: row.get("reviews")?,
    })
}

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get("id")?,
        email: row.get("email")?,
        name: row.get("name")?,
        created_at: row.get("created_at")?,
    })
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account { id: row.get("id")?, email: row.get("email")?, created_at: row.get("created_at")? })
}
