//! Sessions in a real Redis: what stands there, and what requests at the same time make of it.
#![allow(clippy::unwrap_used)] // A helper of a test may panic as the test may.

mod support;

use larder_core::session::race::{Act, Remains, judge};
use larder_core::session::{SessionId, SessionRecord, Touch, Updated, Value};
use larder_core::{
    Error, Session, SessionStore, Sessions, Store, StoreErrorKind, hours, millis, minutes, seconds,
};
use larder_redis::{RedisSessions, RedisStore};
use larder_tests::eventually;
use larder_tests::redis_server::RedisServer;

use support::{cluster, reads};

/// How often requests meet.
const ROUNDS: u32 = 1_000;

async fn store(server: &RedisServer) -> RedisSessions {
    let store = RedisStore::builder().url(server.url()).command_timeout(seconds(30));
    store.connect().await.unwrap().sessions()
}

/// Two services on the same Redis, each with a connection of its own.
async fn services(server: &RedisServer) -> [Sessions; 2] {
    let service = async || Sessions::builder(store(server).await).build().unwrap();
    [service().await, service().await]
}

async fn sign_in(sessions: &Sessions, user: &str) -> SessionId {
    let visit = sessions.open(None);
    visit.sign_in(user).await.unwrap();
    visit.save().await.unwrap().cookie.id().cloned().unwrap()
}

/// The session, as a request has it that knows who is signed in.
async fn loaded(sessions: &Sessions, id: &SessionId) -> Session {
    let visit = sessions.open(Some(id.clone()));
    visit.user().await.unwrap();
    visit
}

fn record(store: &RedisSessions, user: Option<&str>) -> SessionRecord {
    let now = store.runtime().now();
    let mut record = SessionRecord::new(now, now + hours(1));
    record.user = user.map(String::from);
    record.data.insert("n".into(), Value::of(&1).unwrap());
    record
}

/// The keys that would stay for ever.
fn eternal(server: &RedisServer) -> String {
    let script = "local found = '' for _, key in ipairs(redis.call('KEYS', '*')) do \
                  if redis.call('PTTL', key) < 0 then found = found .. key .. ' ' end end \
                  return found";
    server.command(&["EVAL", script, "0"])
}

/// Milliseconds until a key expires.
fn life(server: &RedisServer, key: &str) -> i64 {
    server.command(&["PTTL", key]).trim_start_matches(':').parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_save_never_undoes_a_log_out() {
    let server = RedisServer::start();
    let [one, other] = services(&server).await;
    for round in 0..ROUNDS {
        let user = format!("user{}", round % 7);
        let id = sign_in(&one, &user).await;
        let (leaving, saving) = (loaded(&one, &id).await, loaded(&other, &id).await);
        saving.insert("n", &round).await.unwrap();
        if round % 3 == 0 {
            saving.renew().await.unwrap();
        }
        let end = tokio::spawn(async move { leaving.end().await.unwrap() });
        let save = tokio::spawn(async move { saving.save().await.unwrap() });
        let (was_there, saved) = (end.await.unwrap(), save.await.unwrap());
        assert!(was_there, "round {round}");
        for id in [Some(&id), saved.cookie.id()].into_iter().flatten() {
            let visit = one.open(Some(id.clone()));
            assert_eq!(visit.user().await.unwrap(), None, "round {round}: it is back");
        }
        assert_eq!(one.of_user(&user).await.unwrap(), [], "round {round}");
    }
    assert_eq!(eternal(&server), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_renewal_and_a_save_keep_what_each_did() {
    let server = RedisServer::start();
    let [one, other] = services(&server).await;
    let (mut id, mut followed) = (sign_in(&one, "zoë").await, 0);
    for round in 0..ROUNDS {
        let (moving, saving) = (loaded(&one, &id).await, loaded(&other, &id).await);
        moving.renew().await.unwrap();
        moving.insert("by the renewal", &round).await.unwrap();
        saving.insert("by the save", &round).await.unwrap();
        let renewal = tokio::spawn(async move { moving.save().await.unwrap() });
        let save = tokio::spawn(async move { saving.save().await.unwrap() });
        let (renewed, saved) = (renewal.await.unwrap(), save.await.unwrap());
        assert!(!renewed.is_lost && !saved.is_lost, "round {round}: {renewed:?}, {saved:?}");
        // Whoever followed the move does not know the new id.
        followed += u32::from(saved.cookie.id().is_none());
        let old = std::mem::replace(&mut id, renewed.cookie.id().cloned().unwrap());
        assert_ne!(old, id);
        assert_eq!(one.open(Some(old)).user().await.unwrap(), None, "round {round}");
        let visit = loaded(&one, &id).await;
        for key in ["by the renewal", "by the save"] {
            assert_eq!(visit.get(key).await.unwrap(), Some(round), "round {round}: {key}");
        }
    }
    assert!(followed > 0, "no save ever met a renewal");
    assert_eq!(one.of_user("zoë").await.unwrap().len(), 1);
    assert_eq!(eternal(&server), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn saves_of_different_keys_are_both_kept() {
    let server = RedisServer::start();
    let services = services(&server).await;
    let id = sign_in(&services[0], "zoë").await;
    for round in 0..ROUNDS {
        let mut saves = Vec::new();
        for (key, service) in ["a", "b"].into_iter().zip(&services) {
            let visit = loaded(service, &id).await;
            visit.insert(key, &round).await.unwrap();
            saves.push(tokio::spawn(async move { visit.save().await.unwrap() }));
        }
        for save in saves {
            let saved = save.await.unwrap();
            assert!(!saved.is_lost && saved.overwritten.is_empty(), "round {round}: {saved:?}");
        }
        let visit = loaded(&services[0], &id).await;
        for key in ["a", "b"] {
            assert_eq!(visit.get(key).await.unwrap(), Some(round), "round {round}: {key}");
        }
    }
    assert_eq!(eternal(&server), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn signing_out_everywhere_finds_a_session_that_moves() {
    let server = RedisServer::start();
    let [one, other] = services(&server).await;
    for round in 0..ROUNDS {
        let id = sign_in(&one, "zoë").await;
        let moving = loaded(&other, &id).await;
        moving.renew().await.unwrap();
        let everywhere = one.clone();
        let end = tokio::spawn(async move { everywhere.end_of_user("zoë").await.unwrap() });
        let renewal = tokio::spawn(async move { moving.save().await.unwrap() });
        let (ended, renewed) = (end.await.unwrap(), renewal.await.unwrap());
        assert!(ended > 0, "round {round}");
        for id in [Some(&id), renewed.cookie.id()].into_iter().flatten() {
            let user = one.open(Some(id.clone())).user().await.unwrap();
            assert_eq!(user, None, "round {round}: {ended} ended, {renewed:?}");
        }
        assert_eq!(one.of_user("zoë").await.unwrap(), [], "round {round}");
    }
}

/// Of each visitor several requests at the same time, of any kind, over two services.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_meets_nothing_is_lost_and_nobody_is_back() {
    let server = RedisServer::start();
    // So that a request that reads writes as well.
    let service =
        async || Sessions::builder(store(&server).await).touch_every(seconds(0)).build().unwrap();
    let services = [service().await, service().await];
    let (mut lost, mut late) = (0, 0);
    for visitor in 0..u64::from(ROUNDS) {
        let mut random = fastrand::Rng::with_seed(visitor);
        let acts: Vec<Act> =
            (0..random.usize(2..6)).filter_map(|_| random.choice(Act::ALL)).collect();
        let user = format!("visitor {visitor}");
        let id = sign_in(&services[0], &user).await;
        let requests: Vec<_> = acts
            .into_iter()
            .enumerate()
            .map(|(number, act)| {
                let sessions = services[number % services.len()].clone();
                let (user, id) = (user.clone(), id.clone());
                tokio::spawn(async move { act.perform(number, &sessions, &user, id).await })
            })
            .collect();
        let mut outcomes = Vec::new();
        for request in requests {
            outcomes.push(request.await.unwrap().unwrap());
        }
        let remains = Remains::of(&services[1], &user).await.unwrap();
        judge(&outcomes, &remains).unwrap_or_else(|wrong| panic!("{user}: {wrong}"));
        lost += outcomes.iter().filter(|it| it.is_lost).count();
        late += outcomes.iter().filter(|it| !it.was_signed_in).count();
    }
    assert!(lost > 0 && late > 0, "none met another: {lost} were lost, {late} came too late");
    assert_eq!(eternal(&server), "");
}

#[tokio::test]
async fn every_key_expires_whatever_is_done() {
    let server = RedisServer::start();
    let store = store(&server).await;
    let (session, index) = (record(&store, Some("zoë")), "sess-user:zoë");
    let near = |key: &str, expected: i64| {
        let life = life(&server, key);
        assert!((expected - 5_000..=expected + 1).contains(&life), "{key}: {life}");
        assert_eq!(eternal(&server), "");
    };
    const HOUR: i64 = 3_600_000;
    const SPARE: i64 = 300_000;

    let first = store.create("a", &session).await.unwrap().unwrap();
    near("a", HOUR);
    near(index, HOUR + SPARE);
    let Updated::Done(second) = store.update("a", &first, &session).await.unwrap() else {
        panic!()
    };
    near("a", HOUR);
    let touch = Touch::new(session.seen_at, None, session.expires_at + hours(1));
    assert!(store.touch("a", &touch).await.unwrap());
    near("a", 2 * HOUR);
    near(index, 2 * HOUR + SPARE);
    // What is used no longer than before lives no shorter.
    let touch = Touch::new(session.seen_at, None, session.expires_at);
    assert!(store.touch("a", &touch).await.unwrap());
    near("a", 2 * HOUR);
    near(index, 2 * HOUR + SPARE);
    let renewed = store.renew("a", &second, "b", &session).await.unwrap();
    assert!(matches!(renewed, Updated::Done(_)));
    near("a", SPARE);
    near("b", HOUR);
    assert!(store.remove("b").await.unwrap());
    near("b", SPARE);
    // Nothing of the user is left to be found.
    assert_eq!(server.command(&["EXISTS", index]), ":0");

    let anonymous = record(&store, None);
    store.create("c", &anonymous).await.unwrap().unwrap();
    near("c", HOUR);
    assert_eq!(server.command(&["DBSIZE"]), ":3");
    store.create("d", &session).await.unwrap().unwrap();
    assert_eq!(store.remove_of_user("zoë", None).await.unwrap(), 1);
    near("d", SPARE);
    assert_eq!(server.command(&["EXISTS", index]), ":0");
    let stale = store.renew("c", &first, "e", &session).await.unwrap();
    assert!(matches!(stale, Updated::Conflict(_)));
    assert_eq!(server.command(&["EXISTS", "e", index]), ":0");
}

#[tokio::test]
async fn an_index_holds_nothing_for_ever() {
    let server = RedisServer::start();
    let store = store(&server).await.index_prefix("of:");
    let long_over = (store.runtime().now() - minutes(6)).as_millis().to_string();
    let just_over = (store.runtime().now() - minutes(4)).as_millis().to_string();
    for step in ["a read", "a write"] {
        server.command(&["ZADD", "of:zoë", &long_over, "x", &just_over, "y"]);
        match step {
            "a read" => assert_eq!(store.of_user("zoë").await.unwrap(), []),
            _ => drop(store.create("a", &record(&store, Some("zoë"))).await.unwrap().unwrap()),
        }
        assert_eq!(server.command(&["ZSCORE", "of:zoë", "x"]), "$-1", "after {step}");
        // By the clock of another server it may not be over.
        assert_eq!(server.command(&["ZSCORE", "of:zoë", "y"]), just_over, "after {step}");
    }
    assert_eq!(eternal(&server), "");
}

#[tokio::test]
async fn nothing_is_handed_out_after_its_end_though_redis_holds_it() {
    let server = RedisServer::start();
    let store = store(&server).await;
    let mut session = record(&store, Some("zoë"));
    session.expires_at = store.runtime().now() + millis(50);
    let version = store.create("a", &session).await.unwrap().unwrap();
    server.command(&["PERSIST", "a"]);
    eventually("its time is over", async || store.runtime().now() >= session.expires_at).await;
    assert_eq!(server.command(&["EXISTS", "a"]), ":1");
    assert!(store.load("a").await.unwrap().is_none());
    assert_eq!(store.of_user("zoë").await.unwrap(), []);
    let touch = Touch::new(session.expires_at, None, session.expires_at + hours(1));
    assert!(!store.touch("a", &touch).await.unwrap());
    let later = record(&store, None);
    assert!(matches!(store.update("a", &version, &later).await.unwrap(), Updated::Gone));
    assert!(matches!(store.renew("a", &version, "b", &later).await.unwrap(), Updated::Gone));
    assert!(store.load("b").await.unwrap().is_none());
    // By the clock of another server it may not be over: a log-out holds there, too.
    assert!(!store.remove("a").await.unwrap());
    assert!(store.create("a", &later).await.unwrap().is_none());
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_and_nobody_a_stranger() {
    let server = RedisServer::start();
    let store = store(&server).await;
    let sessions = Sessions::builder(store.clone()).build().unwrap();
    let session = record(&store, Some("zoë"));
    for (bytes, why) in [
        ("nonsense", "no session of Larder's"),
        ("", "no session of Larder's"),
        ("\\206\\2later", "another version"),
        ("\\206\\1\\1", "cut off"),
    ] {
        let id = sign_in(&sessions, "zoë").await;
        let key = format!("sess:{}", id.digest());
        let version = store.load(&key).await.unwrap().unwrap().version;
        let set = format!("return redis.call('SET', KEYS[1], '{bytes}', 'PX', 60000)");
        assert_eq!(server.command(&["EVAL", &set, "1", &key]), "+OK");

        let error = sessions.open(Some(id.clone())).user().await.unwrap_err();
        assert!(matches!(&error, Error::Store(error) if error.kind() == StoreErrorKind::Other));
        let said = error.to_string();
        assert!(said.contains(&key) && said.contains(why) && said.contains("remove"), "{said}");
        let touch = Touch::new(session.seen_at, None, session.expires_at);
        for error in [
            store.update(&key, &version, &session).await.map(drop).unwrap_err(),
            store.touch(&key, &touch).await.map(drop).unwrap_err(),
            store.renew(&key, &version, "new", &session).await.map(drop).unwrap_err(),
            store.of_user("zoë").await.map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), StoreErrorKind::Other, "{error}");
        }
        assert!(store.create(&key, &session).await.unwrap().is_none());
        assert!(sessions.end_of_user("zoë").await.unwrap() > 0);
        assert_eq!(sessions.of_user("zoë").await.unwrap(), []);
        assert_eq!(sessions.open(Some(id)).user().await.unwrap(), None);
        server.command(&["DEL", "new"]);
    }
    server.command(&["LPUSH", "list", "1"]);
    let error = store.load("list").await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::WrongType);
}

#[tokio::test]
async fn a_broken_connection_is_an_error_and_nobody_a_stranger() {
    let mut server = RedisServer::start();
    let store = RedisStore::builder().url(server.url()).command_timeout(millis(300));
    let sessions = Sessions::builder(store.connect().await.unwrap().sessions()).build().unwrap();
    let id = sign_in(&sessions, "zoë").await;
    let (changed, renewed) = (loaded(&sessions, &id).await, loaded(&sessions, &id).await);
    changed.insert("n", &1).await.unwrap();
    renewed.renew().await.unwrap();

    // A connection that is cut is made anew, and nobody notices.
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    eventually("the session is known again", async || {
        sessions.open(Some(id.clone())).user().await.is_ok_and(|user| user.is_some())
    })
    .await;

    server.kill();
    for result in [
        sessions.open(Some(id.clone())).user().await.map(drop),
        sessions.open(Some(id.clone())).sign_in("max").await,
        sessions.open(Some(id.clone())).end().await.map(drop),
        changed.save().await.map(drop),
        renewed.save().await.map(drop),
        changed.end_others().await.map(drop),
        changed.end_all().await.map(drop),
        sessions.of_user("zoë").await.map(drop),
        sessions.end_of_user("zoë").await.map(drop),
    ] {
        assert!(matches!(result, Err(Error::Store(_))), "{result:?}");
    }
}

#[tokio::test]
async fn a_users_sessions_end_many_at_once_and_what_is_done_is_done() {
    const SESSIONS: u64 = 150;
    let server = RedisServer::start();
    let store = store(&server).await;
    let session = record(&store, Some("max"));
    for n in 0..SESSIONS {
        store.create(&format!("sess:{n}"), &session).await.unwrap().unwrap();
    }
    // Cannot be ended, and is the last.
    server.command(&["LPUSH", "sess:list", "1"]);
    server.command(&["ZADD", "sess-user:max", "9e15", "sess:list"]);
    server.command(&["CONFIG", "RESETSTAT"]);
    store.remove_of_user("max", None).await.unwrap_err();
    let reads = reads(&server);
    assert!(reads < SESSIONS, "one by one: {reads} reads");
    assert_eq!(server.calls_of("ZREM"), 3);
    assert_eq!(server.command(&["ZCARD", "sess-user:max"]), ":1");
    server.command(&["DEL", "sess:list"]);
    assert_eq!(store.remove_of_user("max", None).await.unwrap(), 0);
    store.create("sess:one", &session).await.unwrap().unwrap();
    assert_eq!(store.remove_of_user("max", None).await.unwrap(), 1);
}

#[tokio::test]
async fn a_script_that_redis_forgot_is_sent_again() {
    let server = RedisServer::start();
    let store = store(&server).await;
    let session = record(&store, Some("zoë"));
    let forget = || assert_eq!(server.command(&["SCRIPT", "FLUSH"]), "+OK");
    forget();
    let version = store.create("a", &session).await.unwrap().unwrap();
    forget();
    let Updated::Done(version) = store.update("a", &version, &session).await.unwrap() else {
        panic!()
    };
    forget();
    let touch = Touch::new(session.seen_at + seconds(1), None, session.expires_at);
    assert!(store.touch("a", &touch).await.unwrap());
    forget();
    let renewed = store.renew("a", &version, "b", &session).await.unwrap();
    assert!(matches!(renewed, Updated::Done(_)));
    forget();
    assert!(store.remove("a").await.unwrap());
    assert_eq!(store.of_user("zoë").await.unwrap(), []);
}

#[tokio::test]
async fn a_load_and_a_save_are_one_round_trip_each() {
    let server = RedisServer::start();
    let store = store(&server).await;
    let session = record(&store, None);
    let mut version = store.create("a", &session).await.unwrap().unwrap();
    for signed_in in [None, Some("zoë")] {
        let session = record(&store, signed_in);
        // Redis knows the script from here on.
        for _ in 0..2 {
            server.command(&["CONFIG", "RESETSTAT"]);
            match store.update("a", &version, &session).await.unwrap() {
                Updated::Done(next) => version = next,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(server.calls_of("EVALSHA"), 1);
        // The note in the index, in the same pipeline.
        assert_eq!(server.calls_of("EVAL"), u64::from(signed_in.is_some()));
    }
    server.command(&["CONFIG", "RESETSTAT"]);
    store.load("a").await.unwrap().unwrap();
    assert_eq!((server.calls_of("GET"), server.calls_of("EVALSHA")), (1, 0));
}

#[tokio::test]
async fn no_script_has_keys_of_two_slots() {
    let server = cluster().await;
    let [one, other] = services(&server).await;
    let id = sign_in(&one, "zoë").await;
    let second = sign_in(&other, "zoë").await;
    let visit = loaded(&one, &id).await;
    visit.insert("n", &1).await.unwrap();
    visit.renew().await.unwrap();
    let id = visit.save().await.unwrap().cookie.id().cloned().unwrap();
    assert_eq!(one.of_user("zoë").await.unwrap().len(), 2);
    assert_eq!(loaded(&one, &id).await.end_others().await.unwrap(), 1);
    assert_eq!(one.open(Some(second)).user().await.unwrap(), None);
    assert_eq!(one.open(Some(id.clone())).user().await.unwrap().as_deref(), Some("zoë"));
    assert!(one.open(Some(id)).end().await.unwrap());
    assert_eq!(one.of_user("zoë").await.unwrap(), []);
}

#[tokio::test]
async fn sessions_share_a_stores_connection_and_leave_it_open() {
    let server = RedisServer::start();
    let store = RedisStore::connect(server.url()).await.unwrap();
    let sessions = store.sessions();
    sessions.ready().await.unwrap();
    sessions.close().await.unwrap();
    let error = sessions.load("a").await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Closed);
    store.ready().await.unwrap();

    let sessions = RedisSessions::connect(server.url()).await.unwrap();
    sessions.ready().await.unwrap();
    sessions.close().await.unwrap();
    sessions.close().await.unwrap();
    let shown = format!("{sessions:?}");
    assert!(shown.contains("sess-user:") && shown.contains("redis://127.0.0.1"), "{shown}");
}
