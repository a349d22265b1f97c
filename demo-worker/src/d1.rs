//! The shop's database on D1.

use std::fmt;

use async_trait::async_trait;
use larder_demo::model::{
    Account, Page, PageRequest, Product, ProductDetails, Seen, Settings, User, UserChange,
};
use larder_demo::{Database, DatabaseError, sql};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use worker::send::SendFuture;
use worker::wasm_bindgen::JsValue;
use worker::{D1Database, D1PreparedStatement, Error, Result};

/// What D1 says where a row would have another's address.
const USERS_ADDRESS_TAKEN: &str = "UNIQUE constraint failed: users.email";
const ACCOUNTS_ADDRESS_TAKEN: &str = "UNIQUE constraint failed: accounts.email";

/// The database of a binding. D1 itself ends every query within 30 seconds.
pub(crate) struct D1(D1Database);

impl D1 {
    pub(crate) fn new(database: D1Database) -> Self {
        Self(database)
    }

    fn statement(&self, sql: &str, parameters: &[JsValue]) -> Result<D1PreparedStatement> {
        self.0.prepare(sql).bind(parameters)
    }

    /// One row, if there is one.
    async fn row<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        sql: &str,
        parameters: &[JsValue],
    ) -> Result<Option<T>, DatabaseError> {
        let row = async { self.statement(sql, parameters)?.first(None).await };
        row.await.map_err(|error| unavailable(operation, &error))
    }

    /// How many rows there are, and some of them: of one state, as a batch is a transaction.
    async fn page<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        count: (&str, &[JsValue]),
        rows: (&str, &[JsValue]),
    ) -> Result<(i64, Vec<T>), DatabaseError> {
        let page = async {
            let statements =
                vec![self.statement(count.0, count.1)?, self.statement(rows.0, rows.1)?];
            let [count, rows] = &self.0.batch(statements).await?[..] else {
                return Err(Error::RustError("D1 answered another number of results".into()));
            };
            let count: Vec<Count> = count.results()?;
            Ok((count.first().map_or(0, |count| count.count), rows.results()?))
        };
        page.await.map_err(|error| unavailable(operation, &error))
    }
}

#[async_trait]
impl Database for D1 {
    async fn products(
        &self,
        request: PageRequest,
        q: &str,
    ) -> Result<Page<Product>, DatabaseError> {
        SendFuture::new(async {
            let found = [q.into()];
            let shown = [q.into(), request.limit.into(), number(request.offset())];
            let (total, rows): (_, Vec<ProductRow>) = self
                .page("products", (sql::COUNT_PRODUCTS, &found), (sql::PRODUCTS, &shown))
                .await?;
            Ok(request.with(rows.into_iter().map(Product::from).collect(), total))
        })
        .await
    }

    async fn product(&self, id: i64) -> Result<Option<ProductDetails>, DatabaseError> {
        SendFuture::new(async {
            let row: Option<ProductRow> = self.row("product", sql::PRODUCT, &[number(id)]).await?;
            Ok(row.map(|row| ProductDetails { stock: row.stock, product: row.into() }))
        })
        .await
    }

    async fn users(&self, request: PageRequest) -> Result<Page<User>, DatabaseError> {
        SendFuture::new(async {
            let shown = [request.limit.into(), number(request.offset())];
            let (total, rows): (_, Vec<UserRow>) =
                self.page("users", (sql::COUNT_USERS, &[]), (sql::USERS, &shown)).await?;
            Ok(request.with(rows.into_iter().map(User::from).collect(), total))
        })
        .await
    }

    async fn user(&self, id: i64) -> Result<Option<User>, DatabaseError> {
        SendFuture::new(async {
            let row: Option<UserRow> = self.row("user", sql::USER, &[number(id)]).await?;
            Ok(row.map(User::from))
        })
        .await
    }

    async fn update_user(
        &self,
        id: i64,
        change: &UserChange,
    ) -> Result<Option<User>, DatabaseError> {
        SendFuture::new(async {
            let text = |text: &Option<String>| text.as_deref().map_or(JsValue::NULL, JsValue::from);
            let parameters = [number(id), text(&change.email), text(&change.name)];
            let updated = async {
                self.statement(sql::UPDATE_USER, &parameters)?.first::<UserRow>(None).await
            };
            match (updated.await, &change.email) {
                (Ok(row), _) => Ok(row.map(User::from)),
                (Err(error), Some(email)) if said(&error).contains(USERS_ADDRESS_TAKEN) => {
                    Err(DatabaseError::EmailTaken { email: email.clone() })
                }
                (Err(error), _) => Err(unavailable("update_user", &error)),
            }
        })
        .await
    }

    async fn delete_user(&self, id: i64) -> Result<bool, DatabaseError> {
        SendFuture::new(async {
            let deleted = async {
                let result = self.statement(sql::DELETE_USER, &[number(id)])?.run().await?;
                Ok(result.meta()?.and_then(|meta| meta.changes).unwrap_or(0) > 0)
            };
            deleted.await.map_err(|error| unavailable("delete_user", &error))
        })
        .await
    }

    async fn add_account(
        &self,
        email: &str,
        password_hash: &str,
    ) -> Result<Account, DatabaseError> {
        SendFuture::new(async {
            let parameters = [email.into(), password_hash.into()];
            let added = async {
                self.statement(sql::INSERT_ACCOUNT, &parameters)?.first::<AccountRow>(None).await
            };
            match added.await {
                Ok(Some(row)) => Ok(row.into()),
                Ok(None) => Err(DatabaseError::unavailable("add_account", "D1 returned no row")),
                Err(error) if said(&error).contains(ACCOUNTS_ADDRESS_TAKEN) => {
                    Err(DatabaseError::EmailTaken { email: email.to_owned() })
                }
                Err(error) => Err(unavailable("add_account", &error)),
            }
        })
        .await
    }

    async fn account(&self, email: &str) -> Result<Option<(Account, String)>, DatabaseError> {
        SendFuture::new(async {
            let row: Option<AccountRow> =
                self.row("account", sql::ACCOUNT, &[email.into()]).await?;
            Ok(row.map(|mut row| {
                let password_hash = std::mem::take(&mut row.password_hash);
                (row.into(), password_hash)
            }))
        })
        .await
    }

    async fn last_seen(&self, account: i64) -> Result<Option<String>, DatabaseError> {
        SendFuture::new(async {
            let row: Option<LastSeenRow> =
                self.row("last_seen", sql::ACCOUNT_LAST_SEEN, &[number(account)]).await?;
            Ok(row.and_then(|row| row.last_seen_at))
        })
        .await
    }

    async fn save_last_seen(&self, seen: &[Seen]) -> Result<(), DatabaseError> {
        SendFuture::new(async {
            let saved = async {
                let update = |Seen { account, at, write }: &Seen| {
                    let numbers = [at.as_millis(), write.number()].map(|it| number(it as i64));
                    let [at, write] = numbers;
                    self.statement(sql::UPDATE_LAST_SEEN, &[number(*account), at, write])
                };
                let updates = seen.iter().map(update).collect::<Result<Vec<_>>>()?;
                // A batch is a transaction.
                self.0.batch(updates).await.map(drop)
            };
            saved.await.map_err(|error| unavailable("save_last_seen", &error))
        })
        .await
    }

    async fn settings(&self) -> Result<Settings, DatabaseError> {
        SendFuture::new(async {
            let settings = async {
                let rows = self.statement(sql::SETTINGS, &[])?.all().await?.results()?;
                Ok(rows.into_iter().map(|Setting { name, value }| (name, value)).collect())
            };
            settings.await.map_err(|error| unavailable("settings", &error))
        })
        .await
    }

    async fn ready(&self) -> Result<(), DatabaseError> {
        SendFuture::new(async {
            let row: Option<Ready> = self.row("ready", sql::READY, &[]).await?;
            let is_empty = || DatabaseError::unavailable("ready", "it is empty; run its seed");
            row.map(|_| ()).ok_or_else(is_empty)
        })
        .await
    }
}

/// D1 takes numbers as JavaScript has them: exact up to 2^53, which no id and no number of a write here comes near.
fn number(number: i64) -> JsValue {
    JsValue::from_f64(number as f64)
}

fn unavailable(operation: &'static str, error: &Error) -> DatabaseError {
    DatabaseError::unavailable(operation, said(error))
}

/// What D1 said. The error itself is an object of JavaScript, which must not leave here.
fn said(error: &Error) -> String {
    match error {
        Error::D1(error) => error.cause(),
        other => other.to_string(),
    }
}

#[derive(Deserialize)]
struct Count {
    #[serde(rename = "COUNT(*)")]
    count: i64,
}

/// A row of lists, or of a product's own page, which has its stock.
#[derive(Deserialize)]
struct ProductRow {
    id: i64,
    name: String,
    category: String,
    price_cents: i64,
    rating: Option<f64>,
    reviews: i64,
    #[serde(default)]
    stock: i64,
}

impl From<ProductRow> for Product {
    fn from(row: ProductRow) -> Self {
        let ProductRow { id, name, category, price_cents, rating, reviews, stock: _ } = row;
        Self { id, name, category, price_cents, rating, reviews }
    }
}

#[derive(Deserialize)]
struct UserRow {
    id: i64,
    email: String,
    name: String,
    created_at: String,
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        let UserRow { id, email, name, created_at } = row;
        Self { id, email, name, created_at }
    }
}

/// A new account, or one that is looked for, which has the hash of its password.
#[derive(Deserialize)]
struct AccountRow {
    id: i64,
    email: String,
    created_at: String,
    #[serde(default)]
    password_hash: String,
}

impl From<AccountRow> for Account {
    fn from(row: AccountRow) -> Self {
        let AccountRow { id, email, created_at, password_hash: _ } = row;
        Self { id, email, created_at }
    }
}

#[derive(Deserialize)]
struct LastSeenRow {
    last_seen_at: Option<String>,
}

#[derive(Deserialize)]
struct Setting {
    name: String,
    value: String,
}

#[derive(Deserialize)]
struct Ready {}

impl fmt::Debug for D1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("D1")
    }
}
