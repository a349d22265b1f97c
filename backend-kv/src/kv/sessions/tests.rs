//! Sessions on a namespace that shows writes late, on a virtual clock.

use std::time::Duration;

use larder_core::session::{SessionId, SessionRecord, Touch, Updated, Value, Version};
use larder_core::{
    Runtime, SessionStore, Sessions, Store, StoreErrorKind, VirtualRuntime, days, hours, millis,
    minutes, seconds,
};

use super::KvSessions;
use crate::SimulatedKv;

/// After how long a change shows elsewhere at the latest: the delay, and what is remembered.
const SHOWN: Duration = seconds(60);

struct World {
    runtime: VirtualRuntime,
    kv: SimulatedKv,
}

impl World {
    fn new() -> Self {
        let runtime = VirtualRuntime::seeded(1);
        Self { kv: SimulatedKv::new(runtime.clone()), runtime }
    }

    /// A place that sees the writes of others after half a minute.
    fn store(&self) -> KvSessions {
        KvSessions::simulated(&self.kv.reader(seconds(30))).unwrap()
    }

    fn place(&self) -> Sessions {
        Sessions::eventual(self.store()).build().unwrap()
    }

    fn record(&self, user: Option<&str>, n: u32) -> SessionRecord {
        let now = self.runtime.now();
        let mut record = SessionRecord::new(now, now + hours(1));
        record.user = user.map(str::to_owned);
        record.data.insert("n".into(), Value::of(&n).unwrap());
        record
    }

    async fn pass(&self, time: Duration) {
        self.runtime.sleep(time).await;
    }
}

async fn signed_in(sessions: &Sessions, user: &str) -> SessionId {
    let visit = sessions.open(None);
    visit.sign_in(user).await.unwrap();
    visit.insert("cart", &1).await.unwrap();
    visit.save().await.unwrap().cookie.id().cloned().unwrap()
}

async fn user(sessions: &Sessions, id: &SessionId) -> Option<String> {
    sessions.open(Some(id.clone())).user().await.unwrap()
}

async fn number_at(store: &KvSessions, key: &str) -> Option<String> {
    let found = store.load(key).await.unwrap()?;
    Some(found.session.data["n"].as_json().to_owned())
}

fn done(updated: Updated) -> Version {
    match updated {
        Updated::Done(version) => version,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_session_shows_elsewhere_within_a_minute() {
    let world = World::new();
    world.runtime.block_on(async {
        let (here, there) = (world.place(), world.place());
        let id = signed_in(&here, "zoë").await;
        assert_eq!(user(&here, &id).await.as_deref(), Some("zoë"));
        assert_eq!(user(&there, &id).await, None);
        world.pass(SHOWN).await;
        assert_eq!(user(&there, &id).await.as_deref(), Some("zoë"));
        assert_eq!(there.of_user("zoë").await.unwrap().len(), 1);
    });
}

#[test]
fn a_log_out_holds_here_at_once_and_elsewhere_within_a_minute_for_good() {
    let world = World::new();
    world.runtime.block_on(async {
        let (here, there) = (world.place(), world.place());
        let id = signed_in(&here, "zoë").await;
        world.pass(SHOWN).await;
        assert!(user(&there, &id).await.is_some());

        assert!(here.open(Some(id.clone())).end().await.unwrap());
        assert_eq!(user(&here, &id).await, None);
        // The other place does not know yet, and saves.
        world.pass(seconds(20)).await;
        let slow = there.open(Some(id.clone()));
        slow.insert("cart", &2).await.unwrap();
        assert!(!slow.save().await.unwrap().is_lost, "it cannot know");
        world.pass(SHOWN).await;
        for place in [&here, &there, &world.place()] {
            assert_eq!(user(place, &id).await, None, "the save brought it back");
            assert!(place.of_user("zoë").await.unwrap().is_empty());
        }
        for _ in 0..8 {
            world.pass(days(1)).await;
            assert_eq!(user(&world.place(), &id).await, None);
        }
    });
}

#[test]
fn a_tombstone_stands_for_as_long_as_a_save_may_live_that_does_not_see_it() {
    for absolute in [days(30), minutes(80)] {
        let world = World::new();
        let place =
            || Sessions::eventual(world.store()).idle(hours(1)).absolute(absolute).build().unwrap();
        world.runtime.block_on(async {
            let (here, there) = (place(), place());
            let id = signed_in(&here, "zoë").await;
            world.pass(minutes(30)).await;
            let slow = there.open(Some(id.clone()));
            slow.insert("cart", &2).await.unwrap();
            assert!(slow.user().await.unwrap().is_some());
            assert!(here.open(Some(id.clone())).end().await.unwrap());
            world.pass(seconds(20)).await;
            assert!(!slow.save().await.unwrap().is_lost, "it cannot know");
            for _ in 0..65 {
                world.pass(minutes(1)).await;
                assert_eq!(user(&place(), &id).await, None, "the save brought it back");
            }
            // By then nothing is left, of the save and of the tombstone.
            world.pass(hours(1)).await;
            let key = format!("sess:{}", id.digest());
            for key in [format!("{key}:ended"), key] {
                let left = world.kv.reader(seconds(0)).store().unwrap().get(&key).await.unwrap();
                assert_eq!(left, None, "{key} with {absolute:?}");
            }
        });
    }
}

#[test]
fn who_logs_out_where_the_session_cannot_be_seen_yet_is_out() {
    let world = World::new();
    world.runtime.block_on(async {
        let (here, there) = (world.place(), world.place());
        let id = signed_in(&here, "zoë").await;
        assert!(!there.open(Some(id.clone())).end().await.unwrap(), "it was not seen");
        world.pass(SHOWN).await;
        assert_eq!(user(&here, &id).await, None);
        world.pass(days(6)).await;
        assert_eq!(user(&here, &id).await, None);
    });
}

#[test]
fn a_renewal_leaves_nothing_under_the_old_id() {
    let world = World::new();
    world.runtime.block_on(async {
        let (here, there) = (world.place(), world.place());
        let old = signed_in(&here, "zoë").await;
        world.pass(SHOWN).await;
        let slow = there.open(Some(old.clone()));
        slow.insert("theme", &5).await.unwrap();
        assert!(slow.user().await.unwrap().is_some());

        let visit = here.open(Some(old.clone()));
        visit.renew().await.unwrap();
        let new = visit.save().await.unwrap().cookie.id().cloned().unwrap();
        assert_eq!(user(&here, &old).await, None);
        world.pass(SHOWN).await;
        // It follows the session, once it sees where that went.
        assert!(!slow.save().await.unwrap().is_lost);
        assert_eq!(user(&there, &old).await, None);
        let moved = there.open(Some(new.clone()));
        assert_eq!(moved.get::<u32>("theme").await.unwrap(), Some(5));
        assert_eq!(there.of_user("zoë").await.unwrap().len(), 1);
        // A log-out by the old id ends it.
        assert!(there.open(Some(old)).end().await.unwrap());
        assert_eq!(user(&there, &new).await, None);
    });
}

#[test]
fn in_one_place_a_save_needs_the_version() {
    let world = World::new();
    world.runtime.block_on(async {
        let store = world.store();
        let first = store.create("a", &world.record(None, 1)).await.unwrap().unwrap();
        world.pass(seconds(2)).await;
        let second = done(store.update("a", &first, &world.record(None, 2)).await.unwrap());
        assert_ne!(first, second);
        match store.update("a", &first, &world.record(None, 3)).await.unwrap() {
            Updated::Conflict(theirs) => assert_eq!(theirs.version, second),
            other => panic!("{other:?}"),
        }
        let renewed = store.renew("a", &first, "b", &world.record(None, 3)).await.unwrap();
        assert!(matches!(renewed, Updated::Conflict(_)), "{renewed:?}");
        assert_eq!(number_at(&store, "b").await, None);
        assert_eq!(number_at(&store, "a").await.as_deref(), Some("2"));
        let gone = store.update("c", &first, &world.record(None, 3)).await.unwrap();
        assert!(matches!(gone, Updated::Gone));
    });
}

#[test]
fn a_touch_moves_the_end_and_nothing_else() {
    let world = World::new();
    world.runtime.block_on(async {
        let store = world.store();
        let record = world.record(Some("zoë"), 1);
        let version = store.create("a", &record).await.unwrap().unwrap();
        world.pass(minutes(50)).await;
        let now = world.runtime.now();
        let touch = Touch::new(now, Some("here".into()), now + hours(1));
        assert!(store.touch("a", &touch).await.unwrap());
        let early = Touch::new(record.seen_at, None, record.seen_at + seconds(1));
        world.pass(seconds(2)).await;
        assert!(store.touch("a", &early).await.unwrap());
        let found = store.load("a").await.unwrap().unwrap();
        assert_eq!(found.version, version);
        assert_eq!(found.session.seen_from.as_deref(), Some("here"));
        assert_eq!(found.session.expires_at, now + hours(1));
        assert_eq!(store.of_user("zoë").await.unwrap()[0].seen_at, now);
        world.pass(minutes(59)).await;
        assert_eq!(store.of_user("zoë").await.unwrap().len(), 1, "the index forgot it");
        world.pass(minutes(1)).await;
        assert!(store.load("a").await.unwrap().is_none());
        assert!(!store.touch("a", &touch).await.unwrap());
        assert!(store.of_user("zoë").await.unwrap().is_empty());
    });
}

#[test]
fn all_sessions_of_a_user_end_but_one() {
    let world = World::new();
    world.runtime.block_on(async {
        let store = world.store();
        for (n, (key, user)) in (0..).zip([("a", "é"), ("b", "é"), ("c", "é:1"), ("d", "*")]) {
            store.create(key, &world.record(Some(user), n)).await.unwrap().unwrap();
        }
        let keys = async |user: &str| {
            let list = store.of_user(user).await.unwrap();
            list.into_iter().map(|it| it.key).collect::<Vec<_>>()
        };
        assert_eq!(keys("é").await.len(), 2);
        assert_eq!(keys("*").await, ["d"]);
        let version = store.load("b").await.unwrap().unwrap().version;
        done(store.renew("b", &version, "B", &world.record(Some("é"), 5)).await.unwrap());
        assert_eq!(store.remove_of_user("é", Some("B")).await.unwrap(), 1);
        assert_eq!((keys("é").await, keys("é:1").await), (vec!["B".into()], vec!["c".into()]));
        assert_eq!(store.remove_of_user("é", None).await.unwrap(), 1);
        assert!(keys("é").await.is_empty());
    });
}

#[test]
fn a_list_of_many_sessions_is_whole() {
    let world = World::new();
    world.runtime.block_on(async {
        let store = world.store();
        for n in 0..120 {
            store.create(&format!("s{n}"), &world.record(Some("zoë"), n)).await.unwrap().unwrap();
        }
        assert_eq!(store.of_user("zoë").await.unwrap().len(), 120);
        assert_eq!(store.remove_of_user("zoë", None).await.unwrap(), 120);
        assert!(store.of_user("zoë").await.unwrap().is_empty());
    });
}

#[test]
fn two_saves_within_a_second_both_succeed() {
    let world = World::new();
    world.runtime.block_on(async {
        let place = world.place();
        let id = signed_in(&place, "zoë").await;
        for n in 0..3 {
            world.pass(millis(100)).await;
            let visit = place.open(Some(id.clone()));
            visit.insert(format!("k{n}"), &n).await.unwrap();
            visit.save().await.unwrap();
        }
        let visit = place.open(Some(id));
        for n in 0..3 {
            assert_eq!(visit.get::<u32>(format!("k{n}")).await.unwrap(), Some(n));
        }
    });
}

#[test]
fn a_failure_is_an_error_and_nobody_a_stranger() {
    let world = World::new();
    world.runtime.block_on(async {
        let (store, place) = (world.store(), world.place());
        let id = signed_in(&place, "zoë").await;
        world.kv.fail(true);
        assert!(place.open(Some(id.clone())).user().await.is_err());
        assert!(place.open(Some(id)).end().await.is_err());
        world.kv.fail(false);

        // What cannot be read is no stranger either, and can be ended.
        world.kv.write_foreign("a", "not a session");
        let error = store.load("a").await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Other);
        assert!(!error.to_string().contains("not a session"), "{error}");
        assert!(store.remove("a").await.unwrap());
        assert!(store.load("a").await.unwrap().is_none());

        let long = "x".repeat(500);
        let refused = store.create("a", &world.record(Some(&long), 1)).await.unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::TooLarge);
    });
}
