//! The database's first start, its second, and starts that cannot work.
#![allow(clippy::unwrap_used)]

mod common;

use std::ops::ControlFlow;

use common::{filled, on};
use deadpool_sqlite::rusqlite::Connection;
use larder_core::Timestamp;
use larder_core::write_behind::Sequence;
use larder_demo::model::{PageRequest, Seen, UserChange};
use larder_demo::{Database, DatabaseError, seed, sql};
use larder_demo_server::{OpenError, SqliteDatabase};
use tempfile::TempDir;

fn dump(connection: &Connection) -> String {
    let mut all = String::new();
    for table in ["products", "reviews", "users", "settings"] {
        let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                all.push_str(&format!("{:?} ", row.get_ref(column).unwrap()));
            }
        }
    }
    all
}

#[tokio::test]
async fn two_first_starts_fill_in_the_same() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("other.db");
    SqliteDatabase::open(&path, on).await.unwrap();
    let (_dir, first) = filled().await;
    let [first, other] = [first, path].map(|path| dump(&Connection::open(path).unwrap()));
    assert!(first == other);
}

#[tokio::test]
async fn as_sql_the_seed_is_the_same_and_changes_nothing_that_is_there() {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(sql::SCHEMA).unwrap();
    connection.execute_batch(sql::INDEXES).unwrap();
    let fill = || {
        for statement in seed::statements(seed::PRODUCTS) {
            connection.execute_batch(&statement).unwrap();
        }
    };
    fill();
    let (_dir, path) = filled().await;
    assert!(dump(&connection) == dump(&Connection::open(path).unwrap()));

    connection.execute("UPDATE users SET name = 'Zoë' WHERE id = 7", []).unwrap();
    let before = dump(&connection);
    fill();
    assert!(dump(&connection) == before);
}

#[tokio::test]
async fn a_database_from_before_there_were_accounts_is_given_them() {
    let (_dir, path) = filled().await;
    {
        let old = Connection::open(&path).unwrap();
        old.execute_batch("DROP TABLE accounts; UPDATE users SET name = 'Zoë' WHERE id = 7")
            .unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
    }
    for _ in 0..2 {
        let (database, filled) = SqliteDatabase::open(&path, |_| unreachable!()).await.unwrap();
        assert!(!filled);
        assert_eq!(database.user(7).await.unwrap().unwrap().name, "Zoë");
        assert_eq!(database.account("zoe@example.com").await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_database_that_knows_not_who_was_seen_is_told() {
    let (_dir, path) = filled().await;
    let account = {
        let (database, _) = SqliteDatabase::open(&path, on).await.unwrap();
        database.add_account("zoe@example.com", "a hash").await.unwrap()
    };
    {
        let old = Connection::open(&path).unwrap();
        for column in ["last_seen_at", "last_seen_write"] {
            old.execute_batch(&format!("ALTER TABLE accounts DROP COLUMN {column}")).unwrap();
        }
        old.pragma_update(None, "user_version", 2).unwrap();
    }
    for _ in 0..2 {
        let (database, filled) = SqliteDatabase::open(&path, |_| unreachable!()).await.unwrap();
        assert!(!filled);
        assert_eq!(database.account(&account.email).await.unwrap().unwrap().0, account);
        assert_eq!(database.last_seen(account.id).await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_older_time_does_not_take_the_place_of_a_later_one() {
    let (_dir, path) = filled().await;
    let (database, _) = SqliteDatabase::open(path, on).await.unwrap();
    let account = database.add_account("zoe@example.com", "a hash").await.unwrap().id;
    let seen = |seconds: u64, write: u64| Seen {
        account,
        at: Timestamp::from_millis(1_767_225_600_000 + seconds * 1_000),
        write: Sequence::from_number(write),
    };
    let nobody = Seen { account: account + 1, ..seen(1, 9) };
    for (saved, last) in [
        (vec![], None),
        (vec![seen(1, 5), nobody], Some("2026-01-01T00:00:01.000Z")),
        (vec![seen(3, 7), seen(2, 6)], Some("2026-01-01T00:00:03.000Z")),
        // Comes late; comes twice.
        (vec![seen(9, 4)], Some("2026-01-01T00:00:03.000Z")),
        (vec![seen(3, 7)], Some("2026-01-01T00:00:03.000Z")),
    ] {
        database.save_last_seen(&saved).await.unwrap();
        assert_eq!(database.last_seen(account).await.unwrap().as_deref(), last);
    }
    assert_eq!(database.last_seen(account + 1).await.unwrap(), None);
}

#[tokio::test]
async fn an_address_has_one_account() {
    let (_dir, path) = filled().await;
    let (database, _) = SqliteDatabase::open(path, on).await.unwrap();
    let account = database.add_account("zoe@example.com", "a hash").await.unwrap();
    assert_eq!((account.id, account.email.as_str()), (1, "zoe@example.com"));
    for taken in ["zoe@example.com", "Zoe@Example.com"] {
        let error = database.add_account(taken, "another").await.unwrap_err();
        assert!(matches!(error, DatabaseError::EmailTaken { email } if email == taken));
    }
    let found = database.account("ZOE@example.com").await.unwrap();
    assert_eq!(found, Some((account, "a hash".to_owned())));
    // The users are others: whose addresses do not matter here.
    let user = database.user(1).await.unwrap().unwrap();
    assert_eq!(database.add_account(&user.email, "a hash").await.unwrap().id, 2);
}

#[tokio::test]
async fn the_second_start_changes_nothing() {
    let (_dir, path) = filled().await;
    let change = UserChange { name: Some("Zoë".into()), email: None };
    {
        let (database, filled) = SqliteDatabase::open(&path, on).await.unwrap();
        assert!(!filled);
        database.update_user(7, &change).await.unwrap();
        assert!(database.delete_user(8).await.unwrap());
    }
    let (database, filled) = SqliteDatabase::open(&path, |_| unreachable!()).await.unwrap();
    assert!(!filled);
    assert_eq!(database.user(7).await.unwrap().unwrap().name, "Zoë");
    assert_eq!(database.user(8).await.unwrap(), None);
}

#[tokio::test]
async fn a_first_start_that_is_broken_off_is_begun_again() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("shop.db");
    let break_off = |filling: larder_demo_server::Filling| match filling.done < filling.of / 2 {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    };
    let error = SqliteDatabase::open(&path, break_off).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(OpenError::Interrupted { .. })), "{error}");
    let (database, filled) = SqliteDatabase::open(&path, on).await.unwrap();
    assert!(filled);
    let page = database.users(PageRequest { page: 1, limit: 1 }).await.unwrap();
    assert_eq!(page.total, 10_000);
}

#[tokio::test]
async fn of_two_first_starts_at_once_one_fills() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("shop.db");
    let (one, two) = tokio::join!(SqliteDatabase::open(&path, on), SqliteDatabase::open(&path, on));
    assert!(one.unwrap().1 != two.unwrap().1);
}

#[tokio::test]
async fn a_file_that_is_something_else_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let foreign = dir.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "These are notes, and no database at all. ".repeat(100)).unwrap();
    for path in [foreign, text] {
        let before = std::fs::read(&path).unwrap();
        let error = SqliteDatabase::open(&path, on).await.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(OpenError::Foreign { .. })), "{error}");
        assert!(std::fs::read(&path).unwrap() == before);
    }
}

#[tokio::test]
async fn a_database_of_another_version_is_named() {
    let (_dir, path) = filled().await;
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = SqliteDatabase::open(&path, on).await.unwrap_err();
    let expected = format!("the database {} has version 99", path.display());
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[tokio::test]
async fn a_folder_that_is_missing_is_named() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("missing").join("shop.db");
    let error = SqliteDatabase::open(&path, on).await.unwrap_err().to_string();
    assert!(error.contains(&path.display().to_string()) && error.contains("--database"), "{error}");
}
