//! What stands in the file, and what becomes of it.

use bytes::Bytes;
use larder_core::write_behind::Room;
use larder_core::{Journal, StoreErrorKind};
use larder_sqlite::SqliteJournal;
use rusqlite::Connection;

#[tokio::test]
async fn what_was_appended_is_there_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let journal = SqliteJournal::open(&path).unwrap();
    let id = journal.id().to_owned();
    let place = journal.append("a", Bytes::from_static(b"1")).await.unwrap();
    drop(journal);
    let journal = SqliteJournal::open(&path).unwrap();
    assert_eq!(journal.id(), id);
    let writes = journal.read(None, Room::of_writes(10)).await.unwrap();
    assert_eq!((writes.len(), writes[0].sequence), (1, place));
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_process_that_closes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let journal = SqliteJournal::open(&path).unwrap();
    journal.append("a", Bytes::from_static(b"1")).await.unwrap();
    // As after a crash: another connection, and nothing was closed.
    let crashed = folder.path().join("crashed");
    for suffix in ["", "-wal"] {
        let name = |path: &std::path::Path| format!("{}{suffix}", path.display());
        std::fs::copy(name(&path), name(&crashed)).unwrap();
    }
    let journal = SqliteJournal::open(&crashed).unwrap();
    assert_eq!(journal.backlog().await.unwrap().writes, 1);
}

#[tokio::test]
async fn the_journal_of_a_later_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    drop(SqliteJournal::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let error = SqliteJournal::open(&path).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Config);
    assert!(error.to_string().contains("has the version 2"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_journal_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    std::fs::write(&path, "no journal at all, but some text of a hundred bytes".repeat(3)).unwrap();
    let error = SqliteJournal::open(&path).unwrap_err();
    assert!(error.to_string().contains("no journal"), "{error}");
    let error = SqliteJournal::open(folder.path().join("nowhere/journal")).unwrap_err();
    assert!(error.to_string().contains("does the folder exist"), "{error}");
}

#[tokio::test]
async fn what_was_closed_refuses_and_has_done_what_came_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let journal = SqliteJournal::open(&path).unwrap();
    let (appended, closed) =
        futures::join!(journal.append("a", Bytes::from_static(b"1")), journal.close());
    closed.unwrap();
    appended.unwrap();
    journal.close().await.unwrap();
    let error = journal.backlog().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Closed);
}
