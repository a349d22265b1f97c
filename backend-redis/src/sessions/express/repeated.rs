//! Calls whose answer was lost, and that were sent again; and those that came too late.

use larder_core::session::{SessionRecord, TOMBSTONE};
use larder_core::{SessionStore, hours};
use larder_tests::redis_server::RedisServer;
use redis::Value;

use super::ExpressSessions;
use super::port::Buried;
use super::standing::{Standing, State};
use crate::sessions::{draw, frame};

#[tokio::test]
async fn a_call_that_is_sent_again_knows_its_own_work() {
    let server = RedisServer::start();
    let store = ExpressSessions::connect(server.url()).await.unwrap();
    let now = store.base.now();
    let session = SessionRecord::new(now, now + hours(1));
    let written = store.written("create", "a", &session, None, now).unwrap();
    for _ in 0..2 {
        let arguments: [&[u8]; 2] = [&written.text, &written.note];
        let script = &store.scripts.create;
        let reply = store.run("create", None, script, ("a", now), &arguments).await.unwrap();
        assert!(matches!(reply, Value::BulkString(_)), "{reply:?}");
    }
    let created = State::of(&store.load("a").await.unwrap().unwrap().version);
    let written = store.written("update", "a", &session, Some(created.kept.clone()), now).unwrap();
    for _ in 0..2 {
        let token = created.token().unwrap();
        let arguments: [&[u8]; 4] = [&written.text, &written.note, &token, created.sum.as_bytes()];
        let script = &store.scripts.update;
        let reply = store.run("update", None, script, ("a", now), &arguments).await.unwrap();
        assert!(matches!(reply, Value::BulkString(_)), "{reply:?}");
    }
    let updated = State::of(&store.load("a").await.unwrap().unwrap().version);
    assert_ne!(updated.token, created.token);

    let tombstone = frame::tombstone(draw("renew").unwrap(), now + TOMBSTONE, Some("b"));
    for _ in 0..2 {
        let buried = store.bury("renew", ("a", now), Some(&updated), &tombstone).await.unwrap();
        assert!(matches!(buried, Buried::Done(_)));
    }
    // Another call does not take it for its own.
    let another = frame::tombstone(draw("remove").unwrap(), now + TOMBSTONE, None);
    let buried = store.bury("remove", ("a", now), None, &another).await.unwrap();
    assert!(matches!(buried, Buried::Not(Standing::MovedTo(to)) if to == "b"));
}

#[tokio::test]
async fn a_note_of_what_has_changed_is_not_put() {
    let server = RedisServer::start();
    let store = ExpressSessions::connect(server.url()).await.unwrap();
    let now = store.base.now();
    let session = SessionRecord::new(now, now + hours(1));
    let version = store.create("a", &session).await.unwrap().unwrap();
    let find = async || match store.find("touch", "a").await.unwrap() {
        Standing::Session(found) => found,
        _ => panic!(),
    };
    let stale = find().await;
    store.update("a", &version, &session).await.unwrap();
    let mut session = session;
    session.seen_from = Some("elsewhere".into());
    let put = store.put_note("touch", ("a", now), &stale, &session).await.unwrap();
    assert!(matches!(put, Some(Standing::Session(_))), "after a change here");
    let stale = find().await;
    server.command(&["SET", "a", r#"{"cookie":{},"user":"zoë"}"#, "EX", "60"]);
    let put = store.put_note("touch", ("a", now), &stale, &session).await.unwrap();
    assert!(matches!(put, Some(Standing::Session(_))), "after a change there");
    let found = find().await;
    let put = store.put_note("touch", ("a", now), &found, &session).await.unwrap();
    assert!(put.is_none());
    server.command(&["DEL", "a"]);
    let put = store.put_note("touch", ("a", now), &found, &session).await.unwrap();
    assert!(matches!(put, Some(Standing::Nothing)), "after its end there");
}
