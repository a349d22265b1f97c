//! Sessions that are shared with express-session, in a real Redis; what Express does there are the
//! commands of connect-redis.
#![allow(clippy::unwrap_used)] // A helper of a test may panic as the test may.

mod support;

use larder_core::session::{SessionId, SessionRecord, Touch, Updated, Value};
use larder_core::{
    Error, Session, SessionStore, Sessions, StoreErrorKind, hours, millis, minutes, seconds,
};
use larder_redis::{ExpressCookie, ExpressSessions, RedisStore};
use larder_tests::eventually;
use larder_tests::redis_server::RedisServer;

use support::{cluster, reads};

/// How often requests meet.
const ROUNDS: u32 = 300;

async fn store(server: &RedisServer) -> ExpressSessions {
    let store = RedisStore::builder().url(server.url()).command_timeout(seconds(30));
    store.connect().await.unwrap().express_sessions()
}

async fn sessions(server: &RedisServer) -> Sessions {
    Sessions::builder(store(server).await).idle(hours(1)).build().unwrap()
}

/// As express-session makes it, and its keys: of the session, and of the note.
fn visit() -> (SessionId, String, String) {
    let id = SessionId::random().unwrap();
    let key = format!("sess:{}", id.expose());
    let note = format!("larder:{{{key}}}");
    (id, key, note)
}

/// What express-session writes of a session that lives for an hour, with these members.
fn aged(members: &str) -> String {
    let cookie = r#"{"originalMaxAge":3600000,"expires":"2020-01-01T00:00:00.000Z","httpOnly":true,"path":"/"}"#;
    format!("{{\"cookie\":{cookie}{members}}}")
}

/// A save of connect-redis.
fn express_saves(server: &RedisServer, key: &str, text: &str) {
    assert_eq!(server.command(&["SET", key, text, "EX", "3600"]), "+OK");
}

async fn loaded(sessions: &Sessions, id: &SessionId) -> Session {
    let visit = sessions.open(Some(id.clone()));
    visit.user().await.unwrap();
    visit
}

async fn sign_in(sessions: &Sessions, user: &str) -> SessionId {
    let visit = sessions.open(None);
    visit.sign_in(user).await.unwrap();
    visit.save().await.unwrap().cookie.id().cloned().unwrap()
}

/// Milliseconds until a key expires.
fn life(server: &RedisServer, key: &str) -> i64 {
    server.command(&["PTTL", key]).trim_start_matches(':').parse().unwrap()
}

fn exists(server: &RedisServer, key: &str) -> bool {
    server.command(&["EXISTS", key]) == ":1"
}

#[tokio::test]
async fn what_express_wrote_stays_what_it_was_but_for_what_changed() {
    let server = RedisServer::start();
    let sessions = sessions(&server).await;
    for cookie in [
        r#"{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"}"#,
        r#"{"sameSite":"lax","of a later version":[1.50,{}],"path":"/"}"#,
        "{}",
    ] {
        let (id, key, _) = visit();
        let text = format!(
            r#"{{"cookie":{cookie},"a":1.50,"passport":{{"user":7}},"user":42,"ß":"ü\u0000"}}"#
        );
        assert_eq!(server.command(&["SET", &key, &text, "EX", "86400"]), "+OK");
        let visit = loaded(&sessions, &id).await;
        assert_eq!(visit.user().await.unwrap().as_deref(), Some("42"));
        assert_eq!(visit.get::<f64>("a").await.unwrap(), Some(1.5));
        assert_eq!(visit.get::<String>("ß").await.unwrap().as_deref(), Some("ü\0"));
        visit.save().await.unwrap();
        assert_eq!(server.command(&["GET", &key]), text, "after a look");

        visit.insert("b", "new").await.unwrap();
        visit.save().await.unwrap();
        let changed = text.replace(r#""passport""#, r#""b":"new","passport""#);
        assert_eq!(server.command(&["GET", &key]), changed, "after a change");
        // The shorter of a day, as the cookie does not say, and of the hour here.
        assert!((3_590_000..=3_600_000).contains(&life(&server, &key)));

        // And under another id.
        let visit = loaded(&sessions, &id).await;
        visit.renew().await.unwrap();
        let new = visit.save().await.unwrap().cookie.id().cloned().unwrap();
        let renewed = server.command(&["GET", &format!("sess:{}", new.expose())]);
        assert_eq!(renewed, changed, "after a renewal");
        assert!(!exists(&server, &key));
    }
}

#[tokio::test]
async fn a_session_ends_with_its_key() {
    let server = RedisServer::start();
    let store = store(&server).await;
    let (_, key, _) = visit();
    let left = async || {
        let session = store.load(&key).await.unwrap().unwrap().session;
        let left = session.expires_at.since(store.runtime().now()).as_secs();
        (left, store.runtime().now().since(session.seen_at).as_secs())
    };
    let near = |(left, unused): (u64, u64), expected: u64| {
        assert!((expected - 5..=expected).contains(&left), "{left} s are left");
        assert!((3_600 - expected..3_606 - expected).contains(&unused), "{unused} s unused");
    };
    server.command(&["SET", &key, &aged(""), "EX", "600"]);
    near(left().await, 600);
    server.command(&["EXPIRE", &key, "3600"]);
    near(left().await, 3_600);
    server.command(&["EXPIRE", &key, "1200"]);
    near(left().await, 1_200);

    // A use here lets it live on, and no longer than a use there would.
    let now = store.runtime().now();
    assert!(store.touch(&key, &Touch::new(now, None, now + hours(9))).await.unwrap());
    near(left().await, 3_600);
    assert!((3_590_000..=3_600_000).contains(&life(&server, &key)));
    // And never shortens it.
    server.command(&["EXPIRE", &key, "7200"]);
    assert!(store.touch(&key, &Touch::new(now, None, now + minutes(1))).await.unwrap());
    assert!(life(&server, &key) > 7_190_000);
    assert_eq!(server.command(&["GET", &key]), aged(""));

    // Of a service without expiries.
    server.command(&["PERSIST", &key]);
    near(left().await, 3_600);
    assert!(store.touch(&key, &Touch::new(now, None, now + minutes(1))).await.unwrap());
    assert_eq!(life(&server, &key), -1);
    server.command(&["DEL", &key]);
    assert!(store.load(&key).await.unwrap().is_none());
}

#[tokio::test]
async fn a_note_lives_longer_than_its_session() {
    let server = RedisServer::start();
    let store = store(&server).await;
    let (_, key, note) = visit();
    server.command(&["SET", &key, &aged("")]);
    store.load(&key).await.unwrap().unwrap();
    assert!(life(&server, &note) > 86_400_000, "of one that does not expire");
    server.command(&["EXPIRE", &key, "1"]);
    server.command(&["EXPIRE", &note, "1"]);
    for seconds in ["600", "36000"] {
        server.command(&["EXPIRE", &key, seconds]);
        store.load(&key).await.unwrap().unwrap();
        let (session, note) = (life(&server, &key), life(&server, &note));
        assert!(note > session, "{note} ms, and {session} of the session");
    }
}

#[tokio::test]
async fn who_is_too_old_is_a_stranger_however_it_is_used_there() {
    let server = RedisServer::start();
    let sessions = Sessions::builder(store(&server).await)
        .idle(millis(300))
        .absolute(millis(300))
        .touch_every(millis(1))
        .build()
        .unwrap();
    let (id, key, _) = visit();
    express_saves(&server, &key, &aged(r#","user":"zoë""#));
    assert_eq!(sessions.open(Some(id.clone())).user().await.unwrap().as_deref(), Some("zoë"));
    eventually("it is too old", async || {
        server.command(&["EXPIRE", &key, "3600"]);
        sessions.open(Some(id.clone())).user().await.unwrap().is_none()
    })
    .await;
    assert!(exists(&server, &key));
}

#[tokio::test]
async fn whatever_is_asked_first_ends_what_express_brought_back() {
    let server = RedisServer::start();
    let store = store(&server).await;
    let text = aged(r#","user":"zoë""#);
    for call in ["load", "create", "update", "touch", "renew", "remove", "of_user"] {
        let (_, key, note) = visit();
        express_saves(&server, &key, &text);
        let found = store.load(&key).await.unwrap().unwrap();
        assert!(store.remove(&key).await.unwrap());
        assert!(!exists(&server, &key));
        // Longer than the session lives that a request writes now.
        assert!(life(&server, &note) > 3_600_000, "{}", life(&server, &note));
        express_saves(&server, &key, &text);
        let now = store.runtime().now();
        let touch = Touch::new(now, None, now + hours(1));
        match call {
            "load" => assert!(store.load(&key).await.unwrap().is_none()),
            "create" => assert!(store.create(&key, &found.session).await.unwrap().is_none()),
            "update" => {
                let updated = store.update(&key, &found.version, &found.session).await.unwrap();
                assert!(matches!(updated, Updated::Gone), "{updated:?}");
            }
            "touch" => assert!(!store.touch(&key, &touch).await.unwrap()),
            "renew" => {
                let renewed = store.renew(&key, &found.version, "sess:new", &found.session).await;
                assert!(matches!(renewed.unwrap(), Updated::Gone));
                assert!(!exists(&server, "sess:new"));
            }
            "remove" => assert!(!store.remove(&key).await.unwrap()),
            _ => {
                assert_eq!(store.of_user("zoë").await.unwrap(), []);
                assert_eq!(store.remove_of_user("zoë", None).await.unwrap(), 0);
                assert!(store.load(&key).await.unwrap().is_none());
            }
        }
        assert!(!exists(&server, &key), "{call}");
    }
}

#[tokio::test]
async fn a_log_out_after_that_of_express_holds_as_well() {
    let server = RedisServer::start();
    let sessions = sessions(&server).await;
    let (id, key, _) = visit();
    express_saves(&server, &key, &aged(r#","user":"zoë""#));
    let visit = loaded(&sessions, &id).await;
    server.command(&["DEL", &key]);
    visit.insert("n", &1).await.unwrap();
    assert!(visit.save().await.unwrap().is_lost);
    assert!(!sessions.open(Some(id.clone())).end().await.unwrap());
    express_saves(&server, &key, &aged(r#","user":"zoë""#));
    assert_eq!(sessions.open(Some(id)).user().await.unwrap(), None);
    assert!(!exists(&server, &key));
}

#[tokio::test]
async fn a_log_out_is_known_for_as_long_as_express_keeps_the_session() {
    const WEEK: i64 = 7 * 24 * 3_600_000;
    let server = RedisServer::start();
    let store = store(&server).await;
    let save = |key: &str, max_age: &str| {
        let text = format!(r#"{{"cookie":{{"originalMaxAge":{max_age},"path":"/"}}}}"#);
        assert_eq!(server.command(&["SET", key, &text, "PX", &WEEK.to_string()]), "+OK");
    };

    // The cookie does not say, and connect-redis' `ttl` is longer than the one here.
    let (_, key, note) = visit();
    save(&key, "null");
    assert!(store.remove(&key).await.unwrap());
    assert!(life(&server, &note) > WEEK, "{} ms", life(&server, &note));

    // Express was first, and no cookie says anything any more.
    let (_, key, note) = visit();
    save(&key, &WEEK.to_string());
    store.load(&key).await.unwrap().unwrap();
    server.command(&["DEL", &key]);
    assert!(!store.remove(&key).await.unwrap());
    assert!(life(&server, &note) > WEEK, "{} ms", life(&server, &note));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_log_out_meets_saves_of_express_and_of_larder() {
    let server = RedisServer::start();
    let [one, other] = [sessions(&server).await, sessions(&server).await];
    for round in 0..ROUNDS {
        let id = sign_in(&one, "zoë").await;
        let key = format!("sess:{}", id.expose());
        let text = server.command(&["GET", &key]);
        let (leaving, saving) = (loaded(&one, &id).await, loaded(&other, &id).await);
        saving.insert("n", &round).await.unwrap();
        if round % 3 == 0 {
            saving.renew().await.unwrap();
        }
        let end = tokio::spawn(async move { leaving.end().await.unwrap() });
        let save = tokio::spawn(async move { saving.save().await.unwrap() });
        if round % 2 == 0 {
            express_saves(&server, &key, &text);
        }
        end.await.unwrap();
        let saved = save.await.unwrap();
        express_saves(&server, &key, &text);
        for id in [Some(&id), saved.cookie.id()].into_iter().flatten() {
            let visit = one.open(Some(id.clone()));
            assert_eq!(visit.user().await.unwrap(), None, "round {round}: it is back");
        }
        assert!(!exists(&server, &key), "round {round}");
        assert_eq!(one.of_user("zoë").await.unwrap(), [], "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_express_saves_is_never_lost_to_a_save_here() {
    let server = RedisServer::start();
    let sessions = sessions(&server).await;
    let (id, key, _) = visit();
    express_saves(&server, &key, &aged(r#","there":0"#));
    for round in 1..=ROUNDS {
        let visit = loaded(&sessions, &id).await;
        visit.insert("here", &round).await.unwrap();
        let text = aged(&format!(r#","there":{round}"#));
        let save = tokio::spawn(async move { visit.save().await.unwrap() });
        express_saves(&server, &key, &text);
        let saved = save.await.unwrap();
        assert!(!saved.is_lost, "round {round}: {saved:?}");
        let visit = loaded(&sessions, &id).await;
        assert_eq!(visit.get("there").await.unwrap(), Some(round));
        // It comes before or after, and whole.
        let here: Option<u32> = visit.get("here").await.unwrap();
        assert!(here.is_none_or(|here| here == round), "round {round}: {here:?}");
    }
}

#[tokio::test]
async fn a_user_who_signed_in_at_express_is_found_once_seen() {
    let server = RedisServer::start();
    let store = store(&server).await;
    let (_, key, note) = visit();
    express_saves(&server, &key, &aged(r#","user":"zoë""#));
    assert_eq!(store.of_user("zoë").await.unwrap(), []);
    store.load(&key).await.unwrap().unwrap();
    let list = store.of_user("zoë").await.unwrap();
    assert_eq!(list.iter().map(|it| &it.key).collect::<Vec<_>>(), [&key]);
    server.command(&["CONFIG", "RESETSTAT"]);
    store.load(&key).await.unwrap().unwrap();
    assert_eq!((server.calls_of("EVALSHA"), server.calls_of("EVAL")), (1, 0), "known already");

    // Another signs in there.
    express_saves(&server, &key, &aged(r#","user":"max""#));
    store.load(&key).await.unwrap().unwrap();
    assert_eq!(store.of_user("zoë").await.unwrap(), []);
    assert_eq!(store.remove_of_user("zoë", None).await.unwrap(), 0);
    assert_eq!(store.of_user("max").await.unwrap().len(), 1);

    // It lives on there for longer than the index would know of it.
    let ends = || -> f64 { server.command(&["ZSCORE", "sess-user:max", &key]).parse().unwrap() };
    let before = ends();
    server.command(&["EXPIRE", &key, "36000"]);
    let session = store.load(&key).await.unwrap().unwrap().session;
    assert!(ends() > before + 30_000_000.0);
    assert!(life(&server, &note) > 36_000_000 && life(&server, "sess-user:max") > 36_000_000);

    // What is saved here is told at once; where it stays, it stays.
    let Updated::Done(_) = store
        .update(&key, &store.load(&key).await.unwrap().unwrap().version, &session)
        .await
        .unwrap()
    else {
        panic!()
    };
    assert_eq!(store.remove_of_user("max", Some(&key)).await.unwrap(), 0);
    assert_eq!(store.remove_of_user("max", None).await.unwrap(), 1);
    assert!(!exists(&server, &key) && !exists(&server, "sess-user:max"));
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_and_nobody_a_stranger() {
    let server = RedisServer::start();
    let store = store(&server).await;
    let sessions = Sessions::builder(store.clone()).build().unwrap();
    let now = store.runtime().now();
    let session = SessionRecord::new(now, now + hours(1));
    for (text, why) in [
        ("nonsense", "no JSON object"),
        ("", "no JSON object"),
        (r#"{"user":"zoë"}"#, "no `cookie`"),
        (r#"{"cookie":7}"#, "no object"),
    ] {
        let id = sign_in(&sessions, "zoë").await;
        let key = format!("sess:{}", id.expose());
        let version = store.load(&key).await.unwrap().unwrap().version;
        express_saves(&server, &key, text);
        let error = sessions.open(Some(id.clone())).user().await.unwrap_err();
        assert!(matches!(&error, Error::Store(error) if error.kind() == StoreErrorKind::Other));
        let said = error.to_string();
        assert!(said.contains("SHA-256") && said.contains(why), "{said}");
        assert!(!said.contains(id.expose()) && !said.contains("zoë"), "{said}");
        let touch = Touch::new(session.seen_at, None, session.expires_at);
        for error in [
            store.update(&key, &version, &session).await.map(drop).unwrap_err(),
            store.touch(&key, &touch).await.map(drop).unwrap_err(),
            store.renew(&key, &version, "sess:new", &session).await.map(drop).unwrap_err(),
            store.of_user("zoë").await.map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), StoreErrorKind::Other, "{error}");
        }
        assert!(store.create(&key, &session).await.unwrap().is_none());
        let stands = server.command(&["GET", &key]);
        assert_eq!(stands, if text.is_empty() { "" } else { text });
        assert_eq!(sessions.end_of_user("zoë").await.unwrap(), 1);
        assert_eq!(sessions.open(Some(id)).user().await.unwrap(), None);
        assert!(!exists(&server, &key) && !exists(&server, "sess:new"));
    }
    // A note of a later version, and something that is no text.
    let id = sign_in(&sessions, "zoë").await;
    let key = format!("sess:{}", id.expose());
    let later = "return redis.call('SET', KEYS[1], '\\206\\2later', 'PX', 60000)";
    server.command(&["EVAL", later, "1", &format!("larder:{{{key}}}")]);
    let said = store.load(&key).await.unwrap_err().to_string();
    assert!(said.contains("another version"), "{said}");
    assert!(store.remove(&key).await.unwrap());
    server.command(&["LPUSH", "list", "1"]);
    assert_eq!(store.load("list").await.unwrap_err().kind(), StoreErrorKind::WrongType);
}

#[tokio::test]
async fn what_express_would_lose_is_refused() {
    let server = RedisServer::start();
    let store = store(&server).await.user_at(["userId"]).numeric_users();
    let sessions = Sessions::builder(store).build().unwrap();
    for (name, why) in [("cookie", "express-session"), ("save", "another"), ("userId", "sign_in")] {
        let visit = sessions.open(None);
        visit.insert(name, &7).await.unwrap();
        let said = visit.save().await.unwrap_err().to_string();
        assert!(said.contains(name) && said.contains(why) && !said.contains("sess:"), "{said}");
    }
    let visit = sessions.open(None);
    visit.sign_in("zoë").await.unwrap();
    assert!(visit.save().await.unwrap_err().to_string().contains("numeric_users"));
    assert_eq!(server.command(&["DBSIZE"]), ":0");
    let id = sign_in(&sessions, "42").await;
    let text = server.command(&["GET", &format!("sess:{}", id.expose())]);
    assert!(text.ends_with(r#","userId":42}"#), "{text}");
    assert_eq!(sessions.of_user("42").await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_too_large_is_refused_without_its_id() {
    let server = RedisServer::start();
    let store = RedisStore::builder().url(server.url()).max_value_bytes(100);
    let store = store.connect().await.unwrap().express_sessions();
    let (id, key, _) = visit();
    let now = store.runtime().now();
    let mut session = SessionRecord::new(now, now + hours(1));
    session.data.insert("n".into(), Value::of(&"n".repeat(100)).unwrap());
    let error = store.create(&key, &session).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::TooLarge);
    let said = error.to_string();
    assert!(said.contains("max_value_bytes") && !said.contains(id.expose()), "{said}");
}

#[tokio::test]
async fn a_users_sessions_end_many_at_once_and_what_is_done_is_done() {
    const SESSIONS: u64 = 150;
    let server = RedisServer::start();
    let store = store(&server).await;
    let now = store.runtime().now();
    let mut session = SessionRecord::new(now, now + hours(1));
    session.user = Some("max".into());
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
async fn every_key_expires_whatever_is_done() {
    let server = RedisServer::start();
    let cookie = ExpressCookie::new().until_browser_closes();
    let store = store(&server).await.cookie(cookie).ttl(hours(2));
    let now = store.runtime().now();
    let mut session = SessionRecord::new(now, now + hours(9));
    session.user = Some("zoë".into());
    session.data.insert("n".into(), Value::of(&1).unwrap());
    let eternal = || {
        let script = "local found = '' for _, key in ipairs(redis.call('KEYS', '*')) do \
                      if redis.call('PTTL', key) < 0 then found = found .. key .. ' ' end end \
                      return found";
        server.command(&["EVAL", script, "0"])
    };
    let first = store.create("sess:a", &session).await.unwrap().unwrap();
    // As long as the cookie, which does not say: by the setting.
    assert!((7_190_000..=7_200_000).contains(&life(&server, "sess:a")));
    assert_eq!(eternal(), "");
    let Updated::Done(second) = store.update("sess:a", &first, &session).await.unwrap() else {
        panic!()
    };
    assert_eq!(eternal(), "");
    assert!(store.touch("sess:a", &Touch::new(now, None, now + hours(9))).await.unwrap());
    assert_eq!(eternal(), "");
    let renewed = store.renew("sess:a", &second, "sess:b", &session).await.unwrap();
    assert!(matches!(renewed, Updated::Done(_)));
    assert_eq!(eternal(), "");
    let stale = store.renew("sess:b", &second, "sess:c", &session).await.unwrap();
    assert!(matches!(stale, Updated::Conflict(_)));
    assert!(!exists(&server, "sess:c") && !exists(&server, "larder:{sess:c}"));
    assert!(store.remove("sess:b").await.unwrap());
    assert_eq!(eternal(), "");
    // Of both a tombstone is left, and nothing else.
    assert_eq!(server.command(&["DBSIZE"]), ":2");
}

#[tokio::test]
async fn a_load_and_a_save_are_one_round_trip_each() {
    let server = RedisServer::start();
    let store = store(&server).await;
    let (_, key, _) = visit();
    express_saves(&server, &key, &aged(""));
    for _ in 0..2 {
        server.command(&["CONFIG", "RESETSTAT"]);
        let found = store.load(&key).await.unwrap().unwrap();
        let updated = store.update(&key, &found.version, &found.session).await.unwrap();
        assert!(matches!(updated, Updated::Done(_)), "{updated:?}");
    }
    assert_eq!((server.calls_of("EVALSHA"), server.calls_of("EVAL")), (2, 0));
}

#[tokio::test]
async fn no_script_has_keys_of_two_slots() {
    let server = cluster().await;
    for namespace in ["sess", "{shop}:sess", "odd}:sess", "{}sess"] {
        let sessions =
            Sessions::builder(store(&server).await).namespace(namespace).build().unwrap();
        let user = format!("zoë of {namespace}");
        let id = sign_in(&sessions, &user).await;
        let second = sign_in(&sessions, &user).await;
        let visit = loaded(&sessions, &id).await;
        visit.insert("n", &1).await.unwrap();
        visit.renew().await.unwrap();
        let id = visit.save().await.unwrap().cookie.id().cloned().unwrap();
        assert!(exists(&server, &format!("{namespace}:{}", id.expose())));
        assert_eq!(sessions.of_user(&user).await.unwrap().len(), 2);
        assert_eq!(loaded(&sessions, &id).await.end_others().await.unwrap(), 1);
        assert_eq!(sessions.open(Some(second)).user().await.unwrap(), None);
        assert!(sessions.open(Some(id)).end().await.unwrap());
        assert_eq!(sessions.of_user(&user).await.unwrap(), []);
    }
}
