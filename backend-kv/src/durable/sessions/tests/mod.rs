//! Sessions over objects in real SQLite databases, on a virtual clock.

mod model;
mod network;
mod races;

use std::time::Duration;

use larder_core::session::{SessionId, SessionRecord, TOMBSTONE, Touch, Updated, Value};
use larder_core::{
    Runtime, SessionStore, Sessions, StoreErrorKind, VirtualRuntime, days, hours, millis, minutes,
    seconds,
};

use super::DurableSessions;
use network::Network;

fn set_up() -> (VirtualRuntime, Network, DurableSessions) {
    let runtime = VirtualRuntime::seeded(1);
    let network = Network::new(&runtime, 1, 0);
    let sessions = network.sessions();
    (runtime, network, sessions)
}

fn record(runtime: &VirtualRuntime, user: Option<&str>, n: u64, life: Duration) -> SessionRecord {
    let now = runtime.now();
    let mut record = SessionRecord::new(now, now + life);
    record.user = user.map(str::to_owned);
    record.data.insert("n".into(), Value::of(&n).unwrap());
    record
}

async fn signed_in(sessions: &Sessions, user: &str) -> SessionId {
    let visit = sessions.open(None);
    visit.sign_in(user).await.unwrap();
    visit.save().await.unwrap().cookie.id().cloned().unwrap()
}

#[test]
fn a_request_that_reads_or_saves_is_one_request_to_an_object() {
    let (runtime, network, store) = set_up();
    let sessions = Sessions::builder(store).build().unwrap();
    runtime.block_on(async {
        let id = signed_in(&sessions, "zoë").await;
        assert_eq!(network.calls(), 2, "the index, and the session");
        let visit = sessions.open(Some(id.clone()));
        assert!(visit.user().await.unwrap().is_some());
        visit.save().await.unwrap();
        assert_eq!(network.calls(), 1, "a request that reads");
        visit.insert("cart", &1).await.unwrap();
        visit.save().await.unwrap();
        assert_eq!(network.calls(), 1, "a save");
        let mut calls = 0;
        for _ in 0..28 {
            runtime.advance(hours(12));
            let visit = sessions.open(Some(id.clone()));
            assert!(visit.user().await.unwrap().is_some());
            visit.save().await.unwrap();
            calls += network.calls();
        }
        // Twice in two weeks the index is told that the session lives on.
        assert_eq!(calls, 28 * 2 + 2 * 2);
        assert_eq!(sessions.end_of_user("zoë").await.unwrap(), 1);
    });
}

#[test]
fn the_index_knows_of_a_session_as_long_as_it_lives() {
    let (runtime, network, store) = set_up();
    let sessions = Sessions::builder(store).idle(hours(1)).absolute(days(3)).build().unwrap();
    runtime.block_on(async {
        let id = signed_in(&sessions, "zoë").await;
        for n in 0..140 {
            runtime.advance(minutes(30));
            network.sweep();
            let visit = sessions.open(Some(id.clone()));
            if n % 3 == 0 {
                visit.insert("cart", &n).await.unwrap();
            }
            assert!(visit.user().await.unwrap().is_some());
            visit.save().await.unwrap();
            assert_eq!(sessions.of_user("zoë").await.unwrap().len(), 1, "after {n} half hours");
        }
        runtime.advance(hours(3));
        network.sweep();
        assert_eq!(network.rows(), 0);
    });
}

#[test]
fn a_session_in_use_is_swept_when_it_is_over_and_not_before() {
    let (runtime, network, store) = set_up();
    runtime.block_on(async {
        let it = record(&runtime, None, 1, minutes(1));
        store.create("a", &it).await.unwrap().unwrap();
        runtime.advance(seconds(30));
        let now = runtime.now();
        let touch = Touch::new(now, None, now + minutes(1));
        assert!(store.touch("a", &touch).await.unwrap());
        runtime.advance(seconds(31));
        network.sweep();
        assert!(store.load("a").await.unwrap().is_some());
        runtime.advance(seconds(29));
        assert!(store.load("a").await.unwrap().is_none());
        network.sweep();
        assert_eq!(network.rows(), 0);

        store.create("b", &record(&runtime, None, 1, days(1))).await.unwrap().unwrap();
        assert!(store.remove("b").await.unwrap());
        runtime.advance(TOMBSTONE);
        network.sweep();
        assert_eq!(network.rows(), 0, "a tombstone stands for as long as the session would have");
    });
}

#[test]
fn what_is_announced_is_not_made_after_a_log_out_everywhere() {
    let (runtime, network, store) = set_up();
    runtime.block_on(async {
        let session = record(&runtime, Some("zoë"), 1, hours(1));
        // A creation that was overtaken between its two requests.
        let call = store.call("create");
        store.note(&call, "zoë", ("a", session.expires_at)).await.unwrap();
        assert_eq!(store.remove_of_user("zoë", None).await.unwrap(), 0);
        assert_eq!(store.create("a", &session).await.unwrap(), None);
        assert_eq!(store.of_user("zoë").await.unwrap(), []);
        // Nobody leaves anything under a key by logging out of what never was.
        let rows = network.rows();
        assert!(!store.remove("never").await.unwrap());
        assert_eq!(network.rows(), rows);
    });
}

#[test]
fn what_ended_is_taken_out_of_the_index() {
    let (runtime, network, store) = set_up();
    runtime.block_on(async {
        let of_zoë = || record(&runtime, Some("zoë"), 1, hours(1));
        let version = store.create("a", &of_zoë()).await.unwrap().unwrap();
        store.create("c", &of_zoë()).await.unwrap().unwrap();
        assert!(matches!(
            store.renew("a", &version, "b", &of_zoë()).await.unwrap(),
            Updated::Done(_)
        ));
        let call = store.call("of_user");
        let noted = async || {
            runtime.sleep(millis(1)).await;
            store.noted(&call, "zoë", None).await.unwrap().0
        };
        assert_eq!(noted().await, ["b", "c"]);
        store.remove("b").await.unwrap();
        assert_eq!(noted().await, ["c"]);
        assert_eq!(store.remove_of_user("zoë", None).await.unwrap(), 1);
        assert!(noted().await.is_empty());
        network.calls();
    });
}

#[test]
fn one_user_is_no_beginning_of_another() {
    let (runtime, _, store) = set_up();
    runtime.block_on(async {
        for (key, user) in [("a", "é"), ("b", "é:1"), ("c", "é:"), ("d", "")] {
            store.create(key, &record(&runtime, Some(user), 1, hours(1))).await.unwrap().unwrap();
        }
        for (key, user) in [("a", "é"), ("b", "é:1"), ("c", "é:"), ("d", "")] {
            let keys: Vec<_> =
                store.of_user(user).await.unwrap().into_iter().map(|it| it.key).collect();
            assert_eq!(keys, [key], "{user:?}");
        }
    });
}

#[test]
fn services_with_users_of_their_own_do_not_end_each_others() {
    let (runtime, network, shop) = set_up();
    let staff = network.sessions_of("staff:");
    runtime.block_on(async {
        for (store, key) in [(&shop, "shop:a"), (&staff, "staff:a")] {
            store.create(key, &record(&runtime, Some("zoë"), 1, hours(1))).await.unwrap().unwrap();
        }
        assert_eq!(shop.of_user("zoë").await.unwrap()[0].key, "shop:a");
        assert_eq!(shop.remove_of_user("zoë", None).await.unwrap(), 1);
        assert_eq!(staff.of_user("zoë").await.unwrap()[0].key, "staff:a");
    });
}

#[test]
fn a_list_of_many_sessions_is_whole() {
    let (runtime, network, store) = set_up();
    runtime.block_on(async {
        for n in 0..2_100 {
            let session = record(&runtime, Some("zoë"), n, hours(1));
            store.create(&format!("s{n}"), &session).await.unwrap().unwrap();
        }
        network.calls();
        assert_eq!(store.of_user("zoë").await.unwrap().len(), 2_100);
        assert_eq!(network.calls(), 3 * 5, "three pages, and each of four objects for each");
        assert_eq!(store.remove_of_user("zoë", Some("s7")).await.unwrap(), 2_099);
        assert_eq!(store.of_user("zoë").await.unwrap().len(), 1);
    });
}

#[test]
fn what_is_too_large_is_refused_before_the_call() {
    let (runtime, network, store) = set_up();
    runtime.block_on(async {
        let long = "x".repeat(2_049);
        let of_nobody = record(&runtime, None, 1, hours(1));
        let of_long = record(&runtime, Some(&long), 1, hours(1));
        let mut large = of_nobody.clone();
        large.data.insert("large".into(), Value::of(&"x".repeat(2 << 20)).unwrap());
        for refused in [
            store.create(&long, &of_nobody).await.map(drop),
            store.create("a", &of_long).await.map(drop),
            store.create("a", &large).await.map(drop),
            store.load(&long).await.map(drop),
        ] {
            assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::TooLarge);
        }
        assert_eq!(network.calls(), 0);
    });
}
