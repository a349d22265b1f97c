//! How the connection is made, and what is said where it cannot be.

mod support;

use std::time::{Duration, Instant};

use larder_core::{Store, StoreErrorKind, millis, seconds};
use larder_redis::{BreakerState, RedisStore};
use larder_tests::eventually;
use larder_tests::redis_server::RedisServer;
use support::{Answer, Events, FakeServer, empty, handshake};

#[tokio::test]
async fn a_lazy_store_connects_at_its_first_use() {
    let server = FakeServer::start(empty).await;
    let store = RedisStore::lazy(server.url()).unwrap();
    tokio::task::yield_now().await;
    assert_eq!(server.count("(connection)"), 0);
    assert!(!store.is_connected());
    assert_eq!(store.get("a").await.unwrap(), None);
    assert_eq!(server.count("(connection)"), 1);
    assert!(store.is_connected());
}

#[tokio::test]
async fn connect_fails_at_once_where_nobody_listens() {
    let mut redis = RedisServer::start();
    redis.kill();
    let started = Instant::now();
    let error = RedisStore::connect(redis.url()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error.to_string().contains("is Redis running there?"), "{error}");
    assert!(started.elapsed() < seconds(1));
}

#[tokio::test]
async fn settings_reach_the_server() {
    let redis = RedisServer::builder().password("hunter2").start();
    redis.command(&["ACL", "SETUSER", "shop", "on", ">secret", "~*", "+@all"]);
    let store = RedisStore::builder()
        .host("127.0.0.1")
        .port(redis.port())
        .user("shop")
        .password("secret")
        .database(3)
        .client_name("shop-api")
        .connect()
        .await
        .unwrap();
    store.put("a", "1".into(), seconds(60)).await.unwrap();
    let clients = redis.command(&["CLIENT", "LIST"]);
    let own = clients.lines().find(|line| line.contains("name=shop-api")).unwrap();
    assert!(own.contains("user=shop") && own.contains("db=3"), "{own}");
}

#[tokio::test]
async fn a_unix_socket_works() {
    let socket = std::env::temp_dir().join(format!("larder-{}.sock", std::process::id()));
    let path = socket.display().to_string();
    let redis = RedisServer::builder().arguments(["--unixsocket", &path]).start();
    let store = RedisStore::connect(format!("unix://{path}?db=2")).await.unwrap();
    store.put("a", "1".into(), seconds(60)).await.unwrap();
    assert_eq!(store.get("a").await.unwrap().as_deref(), Some(&b"1"[..]));
    assert!(redis.command(&["INFO", "keyspace"]).contains("db2:keys=1"));
}

#[tokio::test]
async fn refused_credentials_say_so_and_are_not_shown() {
    let redis = RedisServer::builder().password("hunter2").start();
    let address = format!("127.0.0.1:{}", redis.port());
    for (url, said) in [
        (format!("redis://{address}"), "wants a password"),
        (format!("redis://:hunter3@{address}"), "check the user and the password"),
        (format!("redis://nobody:hunter3@{address}"), "check the user and the password"),
    ] {
        let eager = RedisStore::connect(&url).await.unwrap_err();
        let lazy = RedisStore::lazy(&url).unwrap();
        let started = Instant::now();
        let first = lazy.get("a").await.unwrap_err();
        let second = lazy.get("a").await.unwrap_err();
        assert!(started.elapsed() < seconds(1), "no retry mends a password");
        for error in [eager, first, second] {
            assert_eq!(error.kind(), StoreErrorKind::Denied, "{error}");
            let text = format!("{error} {error:?} {error:#?}");
            assert!(text.contains(said), "{text}");
            assert!(!text.contains("hunter"), "{text}");
        }
        assert_eq!(lazy.breaker_state(), BreakerState::Closed);
    }
}

#[tokio::test]
async fn a_forbidden_command_is_denied() {
    let redis = RedisServer::start();
    redis.command(&["ACL", "SETUSER", "reader", "on", ">pw", "~*", "+get", "+mget"]);
    let url = format!("redis://reader:pw@127.0.0.1:{}", redis.port());
    // It may not even PING, which is no reason to refuse it.
    let store = RedisStore::connect(url).await.unwrap();
    assert_eq!(store.get("a").await.unwrap(), None);
    let error = store.put("a", "1".into(), seconds(1)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Denied);
    assert!(error.to_string().contains("ACL SETUSER"), "{error}");
}

#[tokio::test]
async fn a_server_that_loads_is_waited_for() {
    let loading = "-LOADING Redis is loading the dataset in memory\r\n";
    let pings = std::sync::atomic::AtomicUsize::new(0);
    let server = FakeServer::start(move |command| {
        let order = std::sync::atomic::Ordering::SeqCst;
        if command[0] == "PING" && pings.fetch_add(1, order) < 3 {
            return Answer::Say(loading.into());
        }
        empty(command)
    })
    .await;
    let (builder, mut events) = Events::of(RedisStore::builder().url(server.url()));
    let store = builder.connect().await.unwrap();
    assert_eq!(server.count("PING"), 4);
    assert_eq!(server.count("(connection)"), 1);
    assert_eq!(events.next().await, "connected");
    assert_eq!(events.next().await, "ready");
    assert_eq!(store.get("a").await.unwrap(), None);
}

#[tokio::test]
async fn loading_is_waited_for_no_longer_than_the_connect_timeout() {
    let server = FakeServer::start(|command| match command[0].as_str() {
        "PING" => Answer::Say("-LOADING Redis is loading the dataset in memory\r\n".into()),
        _ => empty(command),
    })
    .await;
    let started = Instant::now();
    let builder = RedisStore::builder().url(server.url()).connect_timeout(millis(200));
    let error = builder.connect().await.unwrap_err();
    assert!(started.elapsed() >= millis(200));
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error.to_string().contains("not ready (LOADING"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_that_loads_is_waited_for() {
    let redis = std::sync::Arc::new(RedisServer::start());
    redis.command(&["DEBUG", "POPULATE", "20000"]);
    redis.command(&["CONFIG", "SET", "key-load-delay", "50"]);
    redis.command(&["CONFIG", "SET", "loading-process-events-interval-bytes", "1024"]);
    let reloading = std::thread::spawn({
        let redis = std::sync::Arc::clone(&redis);
        move || redis.command(&["DEBUG", "RELOAD"])
    });
    let loads = async || redis.command(&["INFO", "persistence"]).contains("\nloading:1");
    eventually("the server loads", loads).await;
    let builder = RedisStore::builder().url(redis.url()).connect_timeout(seconds(20));
    let store = builder.connect().await.unwrap();
    assert!(store.contains("key:19999").await.unwrap());
    assert!(redis.command(&["INFO", "errorstats"]).contains("errorstat_LOADING"));
    reloading.join().unwrap();
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let server = FakeServer::start(|_| Answer::Silence).await;
    let started = Instant::now();
    let builder = RedisStore::builder().url(server.url()).connect_timeout(millis(150));
    let error = builder.connect().await.unwrap_err();
    assert!(started.elapsed() < seconds(1));
    assert!(error.to_string().contains("no connection within 150ms"), "{error}");
}

#[tokio::test]
async fn another_protocol_is_named() {
    let server =
        FakeServer::start(|_| Answer::Say("HTTP/1.1 400 Bad Request\r\n\r\n".into())).await;
    let error = RedisStore::connect(server.url()).await.unwrap_err();
    assert!(error.to_string().contains("does not speak Redis' protocol"), "{error}");
}

#[tokio::test]
async fn an_old_redis_is_named() {
    let server = FakeServer::start(|command| match command[0].as_str() {
        "HELLO" => Answer::Say("-ERR unknown command `HELLO`, with args\r\n".into()),
        _ => empty(command),
    })
    .await;
    let error = RedisStore::connect(server.url()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Config);
    assert!(error.to_string().contains("Redis 6 or newer"), "{error}");
}

#[tokio::test]
async fn events_come_in_order() {
    let mut redis = RedisServer::start();
    let builder = RedisStore::builder().url(redis.url()).backoff(millis(100), seconds(1));
    let (builder, mut events) = Events::of(builder);
    let store = builder.connect().await.unwrap();
    assert_eq!(events.next().await, "connected");
    assert_eq!(events.next().await, "ready");
    // Nobody calls: the loss is noticed all the same.
    redis.kill();
    assert_eq!(events.next().await, "error");
    assert_eq!(events.next().await, "closed");
    assert_eq!(events.next().await, "reconnecting 1");
    assert_eq!(events.next().await, "error");
    assert_eq!(events.next().await, "reconnecting 2");
    redis.restart();
    events.until("connected").await;
    assert_eq!(events.next().await, "ready");
    store.ready().await.unwrap();
    store.close().await.unwrap();
    assert_eq!(events.next().await, "closed");
}

#[tokio::test]
async fn a_callback_that_panics_harms_nobody() {
    let redis = RedisServer::start();
    let builder = RedisStore::builder().url(redis.url()).on_event(|_| panic!("on purpose"));
    let store = builder.connect().await.unwrap();
    store.ready().await.unwrap();
}

#[tokio::test]
async fn close_lets_what_is_in_flight_finish_and_refuses_the_rest() {
    let redis = RedisServer::start();
    let store = RedisStore::connect(redis.url()).await.unwrap();
    redis.command(&["CLIENT", "PAUSE", "300", "ALL"]);
    let begun = std::rc::Rc::new(std::cell::Cell::new(0));
    let tasks = tokio::task::LocalSet::new();
    let calls: Vec<_> = (0..120)
        .map(|i| {
            let (store, begun) = (store.clone(), std::rc::Rc::clone(&begun));
            tasks.spawn_local(async move {
                begun.set(begun.get() + 1);
                let key = i.to_string();
                if i < 20 {
                    store.put(&key, "1".into(), seconds(60)).await
                } else {
                    store.get(&key).await.map(drop)
                }
            })
        })
        .collect();
    tasks.run_until(eventually("every call began", async || begun.get() == 120)).await;
    let closing = tokio::spawn({
        let store = store.clone();
        async move { store.close().await }
    });
    tokio::task::yield_now().await;
    let refused = store.get("a").await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Closed);
    tasks.await;
    for call in calls {
        call.await.unwrap().unwrap();
    }
    closing.await.unwrap().unwrap();
    assert!(!store.is_connected());
    store.close().await.unwrap();
    assert_eq!(store.ready().await.unwrap_err().kind(), StoreErrorKind::Closed);
    assert_eq!(redis.command(&["DBSIZE"]), ":20");
}

#[tokio::test]
async fn close_does_not_wait_for_ever() {
    let server = FakeServer::start(|command| handshake(command).unwrap_or(Answer::Silence)).await;
    let builder = RedisStore::builder().url(server.url()).command_timeout(millis(300));
    let store = builder.connect().await.unwrap();
    let hanging = tokio::spawn({
        let store = store.clone();
        async move { store.get("a").await }
    });
    tokio::task::yield_now().await;
    let started = Instant::now();
    // The call and the closing have the same time: either may be first.
    let _ = store.close().await;
    assert!(started.elapsed() < seconds(2));
    let error = hanging.await.unwrap().unwrap_err();
    assert!(matches!(error.kind(), StoreErrorKind::Timeout | StoreErrorKind::Closed), "{error}");
}

#[tokio::test]
async fn the_last_clone_takes_the_connection_with_it() {
    let redis = RedisServer::start();
    let builder = RedisStore::builder().url(redis.url()).client_name("short-lived");
    let store = builder.connect().await.unwrap();
    let clone = store.clone();
    drop(store);
    clone.ready().await.unwrap();
    drop(clone);
    let gone = async || !redis.command(&["CLIENT", "LIST"]).contains("short-lived");
    eventually("the connection is dropped", gone).await;
}

#[test]
fn a_store_outlives_the_runtime_it_was_first_used_on() {
    let redis = RedisServer::start();
    let store = RedisStore::lazy(redis.url()).unwrap();
    for _ in 0..3 {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            store.put("a", "1".into(), seconds(60)).await.unwrap();
            let reads = (0..50).map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.get("a").await.unwrap().unwrap() })
            });
            for read in reads.collect::<Vec<_>>() {
                read.await.unwrap();
            }
        });
        runtime.shutdown_timeout(Duration::from_millis(100));
    }
}
