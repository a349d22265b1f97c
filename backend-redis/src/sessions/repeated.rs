//! Calls whose answer was lost, and that were sent again.

use larder_core::session::{SessionRecord, TOMBSTONE};
use larder_core::{SessionStore, hours};
use larder_tests::redis_server::RedisServer;
use redis::Value;

use super::frame::{self, Standing};
use super::{Buried, RedisSessions, Which, draw};

#[tokio::test]
async fn a_call_that_is_sent_again_knows_its_own_work() {
    let server = RedisServer::start();
    let store = RedisSessions::connect(server.url()).await.unwrap();
    let now = store.now();
    let mut session = SessionRecord::new(now, now + hours(1));
    session.user = Some("zoë".into());
    let scripts = &store.shared.scripts;
    let (created, frame) = store.frame("create", "a", &session).unwrap();
    for _ in 0..2 {
        let reply = store.run("create", None, &scripts.create, ("a", now), &[&frame]).await;
        assert_eq!(reply.unwrap(), Value::Int(1));
    }
    let (updated, frame) = store.frame("update", "a", &session).unwrap();
    let expected = frame::token(&created);
    for _ in 0..2 {
        let arguments: [&[u8]; 2] = [&frame, &expected];
        let reply = store.run("update", None, &scripts.update, ("a", now), &arguments).await;
        assert_eq!(reply.unwrap(), Value::Int(1));
    }
    assert_eq!(store.load("a").await.unwrap().unwrap().version, updated);

    let tombstone = frame::tombstone(draw("renew").unwrap(), now + TOMBSTONE, Some("b"));
    for _ in 0..2 {
        let unchanged = Which::Unchanged(&updated);
        let buried = store.bury("renew", ("a", now), unchanged, &tombstone).await.unwrap();
        assert!(matches!(buried, Buried::Done { was_live: true, .. }));
    }
    // Another call does not take it for its own.
    let another = frame::tombstone(draw("remove").unwrap(), now + TOMBSTONE, None);
    let buried = store.bury("remove", ("a", now), Which::Any, &another).await.unwrap();
    assert!(matches!(buried, Buried::Not(Standing::MovedTo(to)) if to == "b"));
}
