//! The statements, in the SQL that SQLite and D1 have in common.
//!
//! Tables and indexes are files of their own, as wrangler runs them for D1.
//!
//! Parameters are numbered. Within D1's limits: no statement has more than 100 parameters, and
//! none a LIKE pattern, which D1 allows 50 bytes.

/// Creates the tables. Several statements, separated by semicolons.
pub const SCHEMA: &str = include_str!("../migrations/0001_tables.sql");

/// Creates the indexes; after the rows are in, as that is faster.
pub const INDEXES: &str = include_str!("../migrations/0002_indexes.sql");

/// Creates the table of accounts, which is empty at first; after the others.
pub const ACCOUNTS: &str = include_str!("../migrations/0003_accounts.sql");

/// Gives accounts the columns of when they were last seen.
pub const LAST_SEEN: &str = include_str!("../migrations/0004_last_seen.sql");

/// One product: id, name, category, price in cents, stock.
pub const INSERT_PRODUCT: &str = "INSERT INTO products (id, name, category, price_cents, stock) \
     VALUES (?1, ?2, ?3, ?4, ?5)";

/// One review: product, stars.
pub const INSERT_REVIEW: &str = "INSERT INTO reviews (product_id, stars) VALUES (?1, ?2)";

/// One user: id, e-mail address, name, and when the account was opened, in seconds since the epoch.
pub const INSERT_USER: &str = "INSERT INTO users (id, email, name, created_at) \
     VALUES (?1, ?2, ?3, strftime('%Y-%m-%dT%H:%M:%fZ', ?4, 'unixepoch'))";

/// One setting: name, value.
pub const INSERT_SETTING: &str = "INSERT INTO settings (name, value) VALUES (?1, ?2)";

/// A page of products: what the name contains, in lower case; limit; offset.
///
/// Sorted by what is aggregated, so each page costs a join over all reviews of what was found.
pub const PRODUCTS: &str = "SELECT p.id, p.name, p.category, p.price_cents, \
            AVG(r.stars) AS rating, COUNT(r.id) AS reviews \
     FROM products p LEFT JOIN reviews r ON r.product_id = p.id \
     WHERE ?1 = '' OR instr(lower(p.name), ?1) > 0 \
     GROUP BY p.id \
     ORDER BY rating DESC, reviews DESC, p.id \
     LIMIT ?2 OFFSET ?3";

/// How many products there are whose name contains this, in lower case.
pub const COUNT_PRODUCTS: &str =
    "SELECT COUNT(*) FROM products WHERE ?1 = '' OR instr(lower(name), ?1) > 0";

/// A product, by id.
pub const PRODUCT: &str = "SELECT p.id, p.name, p.category, p.price_cents, \
            AVG(r.stars) AS rating, COUNT(r.id) AS reviews, p.stock \
     FROM products p LEFT JOIN reviews r ON r.product_id = p.id \
     WHERE p.id = ?1 \
     GROUP BY p.id";

/// A page of users: limit, offset.
pub const USERS: &str =
    "SELECT id, email, name, created_at FROM users ORDER BY id LIMIT ?1 OFFSET ?2";

/// How many users there are.
pub const COUNT_USERS: &str = "SELECT COUNT(*) FROM users";

/// A user, by id.
pub const USER: &str = "SELECT id, email, name, created_at FROM users WHERE id = ?1";

/// Changes a user and returns it: id, address or NULL, name or NULL.
pub const UPDATE_USER: &str = "UPDATE users SET email = coalesce(?2, email), \
            name = coalesce(?3, name) \
     WHERE id = ?1 \
     RETURNING id, email, name, created_at";

/// Deletes a user, by id.
pub const DELETE_USER: &str = "DELETE FROM users WHERE id = ?1";

/// Opens an account now and returns it: e-mail address, hash of the password.
pub const INSERT_ACCOUNT: &str = "INSERT INTO accounts (email, password_hash, created_at) \
     VALUES (?1, ?2, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) \
     RETURNING id, email, created_at";

/// An account with the hash of its password, by its address.
pub const ACCOUNT: &str =
    "SELECT id, email, created_at, password_hash FROM accounts WHERE email = ?1";

/// Says when somebody was last seen: the account's id, milliseconds since the epoch, the number of the
/// write. Changes nothing where a later write is known.
pub const UPDATE_LAST_SEEN: &str = "UPDATE accounts \
     SET last_seen_at = strftime('%Y-%m-%dT%H:%M:%fZ', ?2 / 1000.0, 'unixepoch'), \
         last_seen_write = ?3 \
     WHERE id = ?1 AND last_seen_write < ?3";

/// When somebody was last seen, or NULL: by the account's id.
pub const ACCOUNT_LAST_SEEN: &str = "SELECT last_seen_at FROM accounts WHERE id = ?1";

/// All settings.
pub const SETTINGS: &str = "SELECT name, value FROM settings";

/// Whether the database answers and has been filled.
pub const READY: &str = "SELECT 1 FROM settings LIMIT 1";
