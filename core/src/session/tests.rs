use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{join, join_all};
use proptest::prelude::*;

use super::race::{Act, Remains, judge};
use super::*;
use crate::error::{Error, StoreError, StoreErrorKind};
use crate::runtime::{Runtime, VirtualRuntime, natively, test};
use crate::time::{days, hours, millis, minutes};

/// Sessions behind a network: every call takes a random time on its way there and back, and fails
/// when it is told to.
#[derive(Debug, Clone)]
struct Remote(Arc<Wire>);

#[derive(Debug)]
struct Wire {
    sessions: MemorySessions,
    runtime: VirtualRuntime,
    slowest: u64,
    is_down: AtomicBool,
    calls: AtomicU64,
    random: std::sync::Mutex<fastrand::Rng>,
}

impl Remote {
    fn new(runtime: &VirtualRuntime, seed: u64, slowest: u64) -> Self {
        Self(Arc::new(Wire {
            sessions: MemorySessions::builder().on(runtime.clone()),
            runtime: runtime.clone(),
            slowest,
            is_down: AtomicBool::new(false),
            calls: AtomicU64::new(0),
            random: std::sync::Mutex::new(fastrand::Rng::with_seed(seed)),
        }))
    }

    async fn way(&self) {
        if self.0.slowest > 0 {
            let time = crate::sync::lock(&self.0.random).u64(0..=self.0.slowest);
            self.0.runtime.sleep(millis(time)).await;
        }
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        self.way().await;
        if self.0.is_down.load(Ordering::Relaxed) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "remote", "call", "down"));
        }
        let result = call.await;
        self.way().await;
        result
    }

    fn calls(&self) -> u64 {
        self.0.calls.swap(0, Ordering::Relaxed)
    }
}

#[async_trait]
impl SessionStore for Remote {
    fn name(&self) -> &'static str {
        "remote"
    }

    fn capabilities(&self) -> &SessionCapabilities {
        self.0.sessions.capabilities()
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(self.0.runtime.clone())
    }

    async fn load(&self, key: &str) -> Result<Option<StoredSession>, StoreError> {
        self.call(self.0.sessions.load(key)).await
    }

    async fn create(
        &self,
        key: &str,
        session: &SessionRecord,
    ) -> Result<Option<Version>, StoreError> {
        self.call(self.0.sessions.create(key, session)).await
    }

    async fn update(
        &self,
        key: &str,
        expected: &Version,
        session: &SessionRecord,
    ) -> Result<Updated, StoreError> {
        self.call(self.0.sessions.update(key, expected, session)).await
    }

    async fn touch(&self, key: &str, touch: &Touch) -> Result<bool, StoreError> {
        self.call(self.0.sessions.touch(key, touch)).await
    }

    async fn renew(
        &self,
        key: &str,
        expected: &Version,
        new_key: &str,
        session: &SessionRecord,
    ) -> Result<Updated, StoreError> {
        self.call(self.0.sessions.renew(key, expected, new_key, session)).await
    }

    async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        self.call(self.0.sessions.remove(key)).await
    }

    async fn of_user(&self, user: &str) -> Result<Vec<UserSession>, StoreError> {
        self.call(self.0.sessions.of_user(user)).await
    }

    async fn remove_of_user(&self, user: &str, except: Option<&str>) -> Result<u64, StoreError> {
        self.call(self.0.sessions.remove_of_user(user, except)).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.0.sessions.ready().await
    }
}

impl StrongSessionStore for Remote {}

fn set_up() -> (VirtualRuntime, Remote, Sessions) {
    let runtime = VirtualRuntime::seeded(1);
    let store = Remote::new(&runtime, 1, 0);
    let sessions = Sessions::builder(store.clone()).build().unwrap();
    (runtime, store, sessions)
}

async fn save(session: &Session) -> Option<SessionId> {
    session.save().await.unwrap().cookie.id().cloned()
}

/// A visitor who is signed in, and whose cart has one value.
async fn signed_in(sessions: &Sessions, user: &str) -> SessionId {
    let visit = sessions.open(None);
    visit.sign_in(user).await.unwrap();
    visit.insert("cart", &1).await.unwrap();
    save(&visit).await.unwrap()
}

async fn value(sessions: &Sessions, id: &SessionId, key: &str) -> Option<u32> {
    sessions.open(Some(id.clone())).get(key).await.unwrap()
}

#[test]
fn what_nobody_touches_costs_nothing() {
    let (runtime, store, sessions) = set_up();
    runtime.block_on(async {
        let empty = sessions.open(None);
        assert_eq!(empty.get::<u32>("cart").await.unwrap(), None);
        empty.remove("cart").await;
        assert_eq!(empty.save().await.unwrap(), Saved::default());
        assert_eq!(store.calls(), 0, "an empty session was stored");

        let id = signed_in(&sessions, "zoë").await;
        assert_eq!(store.calls(), 1);
        let untouched = sessions.open(Some(id.clone()));
        assert_eq!(untouched.save().await.unwrap(), Saved::default());
        assert_eq!(store.calls(), 0, "an untouched session was loaded");
        assert_eq!(value(&sessions, &id, "cart").await, Some(1));
        assert_eq!(store.calls(), 1, "a read is one call");
    });
}

#[test]
fn an_id_that_a_client_invented_is_never_taken() {
    let (runtime, store, sessions) = set_up();
    runtime.block_on(async {
        let invented = SessionId::parse("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").unwrap();
        let visit = sessions.open(Some(invented.clone()));
        visit.insert("cart", &1).await.unwrap();
        let given = save(&visit).await.unwrap();
        assert_ne!(given, invented);
        assert_eq!(value(&sessions, &invented, "cart").await, None);

        store.calls();
        let visit = sessions.open(Some(invented));
        assert_eq!(visit.user().await.unwrap(), None);
        assert_eq!(visit.save().await.unwrap(), Saved::default());
    });
}

#[test]
fn signing_in_moves_the_session_to_a_new_id() {
    let (runtime, _, sessions) = set_up();
    runtime.block_on(async {
        let visit = sessions.open(None);
        visit.insert("cart", &7).await.unwrap();
        let before = save(&visit).await.unwrap();

        let visit = sessions.open(Some(before.clone()));
        visit.sign_in("zoë").await.unwrap();
        let after = save(&visit).await.unwrap();
        assert_ne!(after, before);
        assert_eq!(value(&sessions, &after, "cart").await, Some(7));
        let old = sessions.open(Some(before));
        assert_eq!(
            (old.user().await.unwrap(), old.get::<u32>("cart").await.unwrap()),
            (None, None)
        );
    });
}

#[test]
fn of_two_requests_both_keep_their_changes_and_the_later_is_told() {
    let (runtime, _, sessions) = set_up();
    runtime.block_on(async {
        let id = signed_in(&sessions, "zoë").await;
        let (one, other) = (sessions.open(Some(id.clone())), sessions.open(Some(id.clone())));
        for visit in [&one, &other] {
            assert_eq!(visit.get::<u32>("cart").await.unwrap(), Some(1));
        }
        one.insert("theme", &1).await.unwrap();
        one.insert("cart", &2).await.unwrap();
        other.insert("language", &1).await.unwrap();
        other.insert("cart", &3).await.unwrap();
        assert!(one.save().await.unwrap().overwritten.is_empty());
        assert_eq!(other.save().await.unwrap().overwritten, ["cart"]);
        for (key, expected) in [("theme", 1), ("language", 1), ("cart", 3)] {
            assert_eq!(value(&sessions, &id, key).await, Some(expected), "{key}");
        }
    });
}

#[test]
fn a_save_after_a_log_out_brings_nothing_back() {
    let (runtime, _, sessions) = set_up();
    runtime.block_on(async {
        let id = signed_in(&sessions, "zoë").await;
        let slow = sessions.open(Some(id.clone()));
        assert_eq!(slow.user().await.unwrap().as_deref(), Some("zoë"));
        slow.insert("cart", &2).await.unwrap();

        let leaving = sessions.open(Some(id.clone()));
        assert!(leaving.end().await.unwrap());
        assert_eq!(leaving.save().await.unwrap().cookie, SessionCookie::Remove);
        let saved = slow.save().await.unwrap();
        assert!(saved.is_lost);
        let why = "the client may have signed in again";
        assert_eq!(saved.cookie, SessionCookie::Keep, "{why}");
        assert_eq!(sessions.open(Some(id)).user().await.unwrap(), None);
        assert!(sessions.of_user("zoë").await.unwrap().is_empty());
    });
}

#[test]
fn a_save_that_meets_a_renewal_follows_the_session() {
    let (runtime, _, sessions) = set_up();
    runtime.block_on(async {
        let old = signed_in(&sessions, "zoë").await;
        let slow = sessions.open(Some(old.clone()));
        assert_eq!(slow.get::<u32>("cart").await.unwrap(), Some(1));
        slow.insert("theme", &5).await.unwrap();

        let renewing = sessions.open(Some(old.clone()));
        renewing.renew().await.unwrap();
        let new = save(&renewing).await.unwrap();

        let saved = slow.save().await.unwrap();
        assert_eq!(
            saved.cookie,
            SessionCookie::Keep,
            "the id is not for those who know the old one"
        );
        assert_eq!(value(&sessions, &new, "theme").await, Some(5));
        assert_eq!(value(&sessions, &old, "theme").await, None);
    });
}

#[test]
fn who_signs_in_shares_the_session_with_nobody_who_renewed_it_meanwhile() {
    let (runtime, _, sessions) = set_up();
    runtime.block_on(async {
        let visit = sessions.open(None);
        visit.insert("cart", &1).await.unwrap();
        let shared = save(&visit).await.unwrap();
        let victim = sessions.open(Some(shared.clone()));
        victim.sign_in("zoë").await.unwrap();

        let attacker = sessions.open(Some(shared));
        attacker.renew().await.unwrap();
        let attackers = save(&attacker).await.unwrap();

        let victims = save(&victim).await.unwrap();
        assert_eq!(sessions.open(Some(attackers)).user().await.unwrap(), None);
        assert_eq!(sessions.open(Some(victims)).user().await.unwrap().as_deref(), Some("zoë"));
    });
}

#[test]
fn who_planted_an_id_follows_nobody_who_signed_in() {
    let (runtime, _, sessions) = set_up();
    runtime.block_on(async {
        for signs_in in [false, true] {
            let visit = sessions.open(None);
            visit.insert("cart", &1).await.unwrap();
            let planted = save(&visit).await.unwrap();
            // Slow: it has loaded the session before the victim signs in.
            let attacker = sessions.open(Some(planted.clone()));
            assert_eq!(attacker.user().await.unwrap(), None);
            let victim = sessions.open(Some(planted.clone()));
            victim.sign_in("zoë").await.unwrap();
            victim.insert("address", &7).await.unwrap();
            let victims = save(&victim).await.unwrap();

            match signs_in {
                true => attacker.sign_in("mallory").await.unwrap(),
                false => attacker.renew().await.unwrap(),
            }
            let saved = attacker.save().await.unwrap();
            assert_eq!(saved.is_lost, !signs_in);
            if let Some(attackers) = saved.cookie.id() {
                let own = sessions.open(Some(attackers.clone()));
                assert_eq!(own.user().await.unwrap().as_deref(), Some("mallory"));
                assert_eq!(own.get::<u32>("address").await.unwrap(), None);
            }
            assert_eq!(attacker.get::<u32>("address").await.unwrap(), None);
            let victim = sessions.open(Some(victims));
            assert_eq!(victim.user().await.unwrap().as_deref(), Some("zoë"), "still signed in");
        }
    });
}

#[test]
fn a_save_that_follows_a_session_reads_nothing_of_who_signed_in() {
    let (runtime, _, sessions) = set_up();
    runtime.block_on(async {
        let visit = sessions.open(None);
        visit.insert("cart", &1).await.unwrap();
        let planted = save(&visit).await.unwrap();
        let slow = sessions.open(Some(planted.clone()));
        assert_eq!(slow.get::<u32>("cart").await.unwrap(), Some(1));
        let victim = sessions.open(Some(planted));
        victim.sign_in("zoë").await.unwrap();
        victim.insert("address", &7).await.unwrap();
        let victims = save(&victim).await.unwrap();

        slow.insert("theme", &5).await.unwrap();
        assert_eq!(slow.save().await.unwrap().cookie, SessionCookie::Keep);
        assert_eq!(value(&sessions, &victims, "theme").await, Some(5), "it is kept all the same");
        assert_eq!(slow.user().await.unwrap(), None);
        assert_eq!(slow.get::<u32>("address").await.unwrap(), None);
    });
}

#[test]
fn who_signs_in_anew_can_end_the_other_sessions_at_once() {
    let (runtime, _, sessions) = set_up();
    runtime.block_on(async {
        let old = signed_in(&sessions, "zoë").await;
        let visit = sessions.open(None);
        visit.sign_in("zoë").await.unwrap();
        assert_eq!(visit.end_others().await.unwrap(), 1);
        let new = save(&visit).await.unwrap();
        assert_eq!(sessions.open(Some(old)).user().await.unwrap(), None);
        assert_eq!(sessions.open(Some(new)).user().await.unwrap().as_deref(), Some("zoë"));
    });
}

#[test]
fn an_id_that_is_presented_many_times_is_looked_up_once() {
    let (runtime, store, sessions) = set_up();
    runtime.block_on(async {
        let dead = SessionId::random().unwrap();
        let presented = (0..16).fold(Presented::new(None), |it, _| it.or(dead.clone()));
        store.calls();
        assert_eq!(sessions.open_presented(presented).user().await.unwrap(), None);
        assert_eq!(store.calls(), 1);
    });
}

#[test]
fn a_save_in_conflict_hides_no_session_of_its_user() {
    let runtime = VirtualRuntime::seeded(1);
    let store = MemorySessions::builder().on(runtime.clone());
    runtime.block_on(async {
        let now = runtime.now();
        let record = |life| {
            let mut record = SessionRecord::new(now, now + life);
            record.user = Some("zoë".to_owned());
            record
        };
        let first = store.create("key", &record(hours(1))).await.unwrap().unwrap();
        let second = store.update("key", &first, &record(hours(1))).await.unwrap();
        assert!(matches!(second, Updated::Done(_)));
        let stale = store.update("key", &first, &record(millis(1))).await.unwrap();
        assert!(matches!(stale, Updated::Conflict(_)));
        runtime.advance(millis(1));
        store.create("another", &record(millis(1))).await.unwrap();
        assert_eq!(store.of_user("zoë").await.unwrap().len(), 1);
        assert_eq!(store.remove_of_user("zoë", None).await.unwrap(), 1);
    });
}

#[test]
fn a_user_who_comes_and_goes_leaves_nothing_in_memory() {
    let runtime = VirtualRuntime::seeded(1);
    let store = MemorySessions::builder().on(runtime.clone());
    let sessions = Sessions::builder(store.clone()).build().unwrap();
    runtime.block_on(async {
        let stays = signed_in(&sessions, "max").await;
        for _ in 0..16 {
            let id = signed_in(&sessions, "zoë").await;
            let visit = sessions.open(Some(id));
            visit.renew().await.unwrap();
            let id = save(&visit).await;
            sessions.open(id).end().await.unwrap();
        }
        assert_eq!(store.indexed("zoë"), 0);
        assert_eq!(store.indexed("max"), 1, "who is signed in");
        assert_eq!(sessions.open(Some(stays)).end_all().await.unwrap(), 1);
        assert_eq!(store.indexed("max"), 0);
    });
}

#[test]
fn a_session_ends_when_it_is_idle_and_at_its_age() {
    let runtime = VirtualRuntime::seeded(1);
    let store = Remote::new(&runtime, 1, 0);
    let sessions = Sessions::builder(store.clone())
        .idle(hours(1))
        .absolute(hours(5))
        .touch_every(minutes(10))
        .build()
        .unwrap();
    runtime.block_on(async {
        let idle = signed_in(&sessions, "zoë").await;
        runtime.advance(hours(1) - millis(1));
        assert_eq!(value(&sessions, &idle, "cart").await, Some(1), "nobody saved that it was used");
        runtime.advance(millis(1));
        assert_eq!(value(&sessions, &idle, "cart").await, None);

        let busy = signed_in(&sessions, "zoë").await;
        store.calls();
        let (mut used, mut end) = (0, None);
        for minute in 1..600 {
            runtime.advance(minutes(1));
            let visit = sessions.open(Some(busy.clone()));
            if visit.get::<u32>("cart").await.unwrap().is_none() {
                end = Some(minute);
                break;
            }
            used += 1;
            if let Some(id) = save(&visit).await {
                assert_eq!(id, busy, "the cookie is to live on");
            }
        }
        assert_eq!(end, Some(300), "minutes until the absolute end");
        let touches = store.calls() - used - 1;
        assert_eq!(touches, 29, "touches, one in ten minutes");
    });
}

#[test]
fn a_store_that_fails_makes_nobody_a_stranger() {
    let (runtime, store, sessions) = set_up();
    runtime.block_on(async {
        let id = signed_in(&sessions, "zoë").await;
        let visit = sessions.open(Some(id.clone()));
        visit.insert("cart", &2).await.unwrap();
        store.0.is_down.store(true, Ordering::Relaxed);
        let down = |error: Error| matches!(error, Error::Store(_));
        assert!(down(sessions.open(Some(id.clone())).user().await.unwrap_err()));
        assert!(down(sessions.open(Some(id.clone())).end().await.unwrap_err()));
        assert!(down(visit.save().await.unwrap_err()));

        store.0.is_down.store(false, Ordering::Relaxed);
        assert!(!visit.save().await.unwrap().is_lost, "it can be tried again");
        assert_eq!(value(&sessions, &id, "cart").await, Some(2));
        store.0.is_down.store(true, Ordering::Relaxed);
        visit.insert("cart", &3).await.unwrap();
        assert!(down(visit.save().await.unwrap_err()));
        store.0.is_down.store(false, Ordering::Relaxed);
        visit.save().await.unwrap();
        assert_eq!(value(&sessions, &id, "cart").await, Some(3));
    });
}

#[test]
fn what_was_asked_in_vain_is_told_again_by_the_save() {
    let (runtime, store, sessions) = set_up();
    let is_down = |is_down| store.0.is_down.store(is_down, Ordering::Relaxed);
    let down = |saved: Result<Saved, Error>| matches!(saved, Err(Error::Store(_)));
    runtime.block_on(async {
        let id = signed_in(&sessions, "zoë").await;
        let visit = sessions.open(Some(id.clone()));
        is_down(true);
        assert!(visit.user().await.is_err());
        is_down(false);
        visit.insert("cart", &2).await.unwrap();
        assert!(down(visit.save_now().unwrap()));
        assert!(down(visit.save().await), "the store answers, but the request had no session");
        assert_eq!(value(&sessions, &id, "cart").await, Some(1));
        assert_eq!(visit.user().await.unwrap().as_deref(), Some("zoë"));
        assert!(visit.save().await.is_ok(), "asked again, and answered");
        assert_eq!(value(&sessions, &id, "cart").await, Some(2));

        let leaving = sessions.open(Some(id.clone()));
        is_down(true);
        assert!(leaving.end().await.is_err());
        is_down(false);
        assert_eq!(leaving.user().await.unwrap().as_deref(), Some("zoë"));
        assert!(down(leaving.save().await), "it goes on, and the client must hear that");
        assert_eq!(leaving.user().await.unwrap().as_deref(), Some("zoë"));
        is_down(true);
        assert!(leaving.end_others().await.is_err());
        is_down(false);
        assert!(leaving.end().await.unwrap());
        assert!(down(leaving.save().await), "the others go on");
        leaving.end_all().await.unwrap();
        assert_eq!(leaving.save().await.unwrap().cookie, SessionCookie::Remove);
    });
}

#[test]
fn a_save_that_has_nothing_to_do_is_done_at_once() {
    let (runtime, store, sessions) = set_up();
    runtime.block_on(async {
        let id = signed_in(&sessions, "zoë").await;
        store.calls();
        let visit = sessions.open(Some(id.clone()));
        assert_eq!(visit.save_now().unwrap().unwrap(), Saved::default());
        assert!(!visit.is_touched());
        visit.user().await.unwrap();
        assert!(visit.is_touched());
        assert_eq!(visit.save_now().unwrap().unwrap(), Saved::default());
        assert_eq!(store.calls(), 1);
        visit.insert("cart", &2).await.unwrap();
        assert!(visit.save_now().is_none());
        save(&visit).await;
        visit.renew().await.unwrap();
        assert!(visit.save_now().is_none());

        let later = sessions.open(Some(save(&visit).await.unwrap()));
        runtime.advance(minutes(2));
        later.user().await.unwrap();
        assert!(later.save_now().is_none(), "its use is to be noted");
        later.end().await.unwrap();
        assert_eq!(later.save_now().unwrap().unwrap().cookie, SessionCookie::Remove);
    });
}

#[test]
fn of_several_ids_the_first_that_lives_counts() {
    let (runtime, store, sessions) = set_up();
    runtime.block_on(async {
        let dead = || SessionId::random().unwrap();
        let (zoe, max) = (signed_in(&sessions, "zoë").await, signed_in(&sessions, "max").await);
        let open = |ids: [&SessionId; 3]| {
            let presented = ids.into_iter().fold(Presented::default(), |it, id| it.or(id.clone()));
            sessions.open_presented(presented)
        };
        store.calls();
        let visit = open([&dead(), &zoe, &max]);
        assert_eq!(visit.user().await.unwrap().as_deref(), Some("zoë"));
        assert_eq!(store.calls(), 2);
        assert!(open([&dead(), &zoe, &dead()]).end().await.unwrap());
        assert_eq!(sessions.open(Some(zoe)).user().await.unwrap(), None);
        assert_eq!(open([&dead(), &dead(), &dead()]).user().await.unwrap(), None);
    });
}

#[test]
fn a_client_is_told_its_id_again_where_that_is_asked_for() {
    let (runtime, _, sessions) = set_up();
    runtime.block_on(async {
        let id = signed_in(&sessions, "zoë").await;
        let open =
            |id: &SessionId| sessions.open_presented(Presented::new(Some(id.clone())).reissued());
        let untouched = open(&id);
        assert_eq!(save(&untouched).await, None, "it may have ended");
        let visit = open(&id);
        visit.user().await.unwrap();
        assert_eq!(save(&visit).await, Some(id));
        let invented = open(&SessionId::random().unwrap());
        invented.user().await.unwrap();
        assert_eq!(save(&invented).await, None);
    });
}

#[test]
fn a_store_that_takes_too_long_has_failed() {
    let runtime = VirtualRuntime::seeded(1);
    let store = Remote::new(&runtime, 1, 10_000);
    let sessions = Sessions::builder(store).timeout(millis(10)).build().unwrap();
    runtime.block_on(async {
        let began = runtime.now();
        let error = sessions.of_user("zoë").await.unwrap_err().to_string();
        let expected = "remote of_user: no answer within 10ms (see SessionsBuilder::timeout)";
        assert_eq!(error, expected);
        assert_eq!(runtime.now().since(began), millis(10));
        let visit = sessions.open(None);
        visit.insert("cart", &1).await.unwrap();
        assert!(matches!(visit.save().await, Err(Error::Store(_))));
    });
}

#[test]
fn a_users_sessions_are_listed_and_end_together() {
    let (runtime, _, sessions) = set_up();
    runtime.block_on(async {
        let phone = sessions.open_from(None, "phone");
        phone.sign_in("zoë").await.unwrap();
        let on_phone = save(&phone).await.unwrap();
        runtime.advance(minutes(2));
        let desk = signed_in(&sessions, "zoë").await;
        let stranger = signed_in(&sessions, "max").await;
        let list = sessions.of_user("zoë").await.unwrap();
        let places: Vec<_> = list.iter().map(|it| it.seen_from.as_deref()).collect();
        assert_eq!(places, [None, Some("phone")]);

        assert_eq!(sessions.open(Some(desk.clone())).end_others().await.unwrap(), 1);
        assert_eq!(sessions.open(Some(on_phone)).user().await.unwrap(), None);
        let at_desk = sessions.open(Some(desk.clone()));
        assert_eq!(at_desk.user().await.unwrap().as_deref(), Some("zoë"));
        assert_eq!(at_desk.end_all().await.unwrap(), 1);
        assert_eq!(sessions.open(Some(desk)).user().await.unwrap(), None);
        assert!(sessions.open(Some(stranger)).user().await.unwrap().is_some());
    });
}

#[test]
fn flash_values_live_for_one_request() {
    let (runtime, _, sessions) = set_up();
    runtime.block_on(async {
        let id = signed_in(&sessions, "zoë").await;
        let order = sessions.open(Some(id.clone()));
        order.flash("notice", "thanks").await.unwrap();
        assert_eq!(order.flashed::<String>("notice").await.unwrap(), None, "it is for the next");
        order.save().await.unwrap();

        let next = sessions.open(Some(id.clone()));
        assert_eq!(next.user().await.unwrap().as_deref(), Some("zoë"));
        assert_eq!(next.flashed::<String>("notice").await.unwrap().as_deref(), Some("thanks"));
        next.save().await.unwrap();
        assert_eq!(sessions.open(Some(id)).flashed::<String>("notice").await.unwrap(), None);
        let error = next.insert("~notice", "mine").await.unwrap_err();
        assert!(error.to_string().contains('~'), "{error}");
    });
}

#[test]
fn what_is_too_large_or_of_another_type_is_an_error() {
    let (runtime, _, sessions) = set_up();
    runtime.block_on(async {
        let visit = sessions.open(None);
        visit.insert("name", "zoë").await.unwrap();
        let error = visit.get::<u32>("name").await.unwrap_err();
        assert!(error.to_string().contains("\"name\"") && !error.to_string().contains("zoë"));
        visit.insert("large", &"x".repeat(2 << 20)).await.unwrap();
        assert!(matches!(visit.save().await, Err(Error::SessionTooLarge { .. })));
        visit.remove("large").await;
        assert!(save(&visit).await.is_some());
    });
}

#[test]
fn settings_that_cannot_work_are_named() {
    let runtime = VirtualRuntime::seeded(1);
    let memory = || MemorySessions::builder().on(runtime.clone());
    let config = |built: Result<Sessions, Error>| match built {
        Err(Error::Config { setting, .. }) => setting,
        Err(Error::Key(_)) => "namespace",
        _ => "none",
    };
    assert_eq!(config(Sessions::builder(memory()).build()), "none");
    assert_eq!(config(Sessions::builder(memory()).namespace("").build()), "namespace");
    assert_eq!(config(Sessions::builder(memory()).idle(days(90)).build()), "absolute");
    assert_eq!(config(Sessions::builder(memory()).timeout(millis(0)).build()), "timeout");
}

#[test]
fn a_log_out_ends_every_session_that_was_presented() {
    let (runtime, _, sessions) = set_up();
    runtime.block_on(async {
        let of = async |user: &str| signed_in(&sessions, user).await;
        let (moved, dead) = (of("ann").await, of("bob").await);
        let (one, other, last) = (of("zoë").await, of("max").await, of("eve").await);
        let visit = sessions.open(Some(moved.clone()));
        visit.renew().await.unwrap();
        save(&visit).await.unwrap();
        sessions.open(Some(dead.clone())).end().await.unwrap();

        let presented = [dead, one, other, last].into_iter();
        let presented = presented.fold(Presented::new(Some(moved)), Presented::or);
        let visit = sessions.open_presented(presented.clone());
        assert_eq!(visit.user().await.unwrap().as_deref(), Some("zoë"));
        assert!(visit.end().await.unwrap());
        assert_eq!(sessions.stats().ended, 5);
        for user in ["ann", "bob", "zoë", "max", "eve"] {
            assert!(sessions.of_user(user).await.unwrap().is_empty(), "{user} is signed in");
        }
        assert!(!sessions.open_presented(presented).end().await.unwrap());
    });
}

natively! {
    /// The figures, under the names that the documentation has for them.
    #[test]
    fn what_requests_do_is_counted_under_its_name() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let figures = recorder.handle();
        let stats = metrics::with_local_recorder(&recorder, || {
            let runtime = VirtualRuntime::seeded(1);
            let store = Remote::new(&runtime, 1, 10);
            let sessions = Sessions::builder(store.clone()).name("shop").build().unwrap();
            runtime.block_on(async {
                let id = signed_in(&sessions, "zoë").await;
                let open = || sessions.open(Some(id.clone()));
                let (slow, late, again) = (open(), open(), open());
                for visit in [&slow, &late, &again] {
                    visit.user().await.unwrap();
                }
                late.insert("a", &1).await.unwrap();
                save(&late).await;
                slow.insert("b", &1).await.unwrap();
                save(&slow).await;
                runtime.advance(minutes(2));
                let reader = open();
                reader.user().await.unwrap();
                save(&reader).await;

                let moving = open();
                moving.renew().await.unwrap();
                let id = save(&moving).await.unwrap();
                let open = || sessions.open(Some(id.clone()));
                let (lost, back) = (open(), open());
                lost.insert("c", &1).await.unwrap();
                lost.user().await.unwrap();
                back.sign_in("zoë").await.unwrap();
                open().end().await.unwrap();
                assert!(lost.save().await.unwrap().is_lost);
                save(&back).await;
                open().user().await.unwrap();
                assert_eq!(sessions.end_of_user("zoë").await.unwrap(), 1);
                store.0.is_down.store(true, Ordering::Relaxed);
                open().user().await.unwrap_err();
            });
            sessions.stats()
        });
        let text = figures.render();
        for line in [
            r#"larder_session_loads_total{sessions="shop",result="found"} 7"#,
            r#"larder_session_loads_total{sessions="shop",result="none"} 1"#,
            r#"larder_session_saves_total{sessions="shop",result="begun"} 1"#,
            r#"larder_session_saves_total{sessions="shop",result="written"} 2"#,
            r#"larder_session_saves_total{sessions="shop",result="renewed"} 1"#,
            r#"larder_session_saves_total{sessions="shop",result="lost"} 1"#,
            r#"larder_session_saves_total{sessions="shop",result="replaced"} 1"#,
            r#"larder_session_conflicts_total{sessions="shop"} 1"#,
            r#"larder_session_touches_total{sessions="shop"} 1"#,
            r#"larder_session_ended_total{sessions="shop",by="itself"} 1"#,
            r#"larder_session_ended_total{sessions="shop",by="user"} 1"#,
            r#"larder_session_store_errors_total{sessions="shop",operation="load",kind="unavailable"} 1"#,
            r#"larder_session_store_seconds_count{sessions="shop",operation="load"} 9"#,
            r#"larder_session_store_seconds_count{sessions="shop",operation="remove_of_user"} 1"#,
            r#"larder_memory_sessions_evicted_total{what="session"} 0"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert_eq!((stats.begun, stats.written, stats.ended), (2, 3, 2));
        let list = include_str!("../../../docs/metrics.md");
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE larder_")) {
            let name = line.split(' ').next().unwrap_or_default();
            assert!(list.contains(&format!("`larder_{name}`")), "larder_{name} is not listed");
        }
    }

    #[test]
    fn who_had_to_go_for_want_of_room_is_counted() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let figures = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let runtime = VirtualRuntime::seeded(1);
            let store = MemorySessions::builder().max_sessions(2).on(runtime.clone());
            let sessions = Sessions::builder(store).build().unwrap();
            runtime.block_on(async {
                for user in ["ann", "bob", "zoë", "max", "eve"] {
                    signed_in(&sessions, user).await;
                }
            });
        });
        let text = figures.render();
        for what in ["session", "user"] {
            let line = format!(r#"larder_memory_sessions_evicted_total{{what="{what}"}} 3"#);
            assert!(text.contains(&line), "{line}\n{text}");
        }
    }
}

fn acts() -> impl Strategy<Value = Vec<(Act, u64)>> {
    let act = prop_oneof![
        4 => Just(Act::Save),
        4 => prop::sample::select(&Act::ALL[1..]),
        1 => Just(Act::Renew),
    ];
    prop::collection::vec((act, 0..20_u64), 2..8)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        failure_persistence: None,
        ..Default::default()
    })]

    /// Requests of one visitor that overtake one another: nothing that was acknowledged is lost,
    /// and nobody who logged out is signed in again.
    #[test]
    fn requests_that_overtake_one_another_lose_and_revive_nothing(
        acts in acts(),
        seed: u64,
    ) {
        let runtime = VirtualRuntime::seeded(seed);
        let store = Remote::new(&runtime, seed, 30);
        let sessions = Sessions::builder(store.clone()).touch_every(Duration::ZERO).build().unwrap();
        runtime.block_on(async {
            let id = signed_in(&sessions, "zoë").await;
            let requests = acts.iter().enumerate().map(|(n, (act, start))| {
                let (sessions, id, runtime) = (sessions.clone(), id.clone(), runtime.clone());
                async move {
                    runtime.sleep(millis(*start)).await;
                    act.perform(n, &sessions, "zoë", id).await.unwrap()
                }
            });
            let outcomes = join_all(requests).await;
            let remains = Remains::of(&sessions, "zoë").await.unwrap();
            judge(&outcomes, &remains).map_err(TestCaseError::fail)
        })?;
    }
}

#[test]
fn two_saves_at_once_both_end() {
    let (runtime, _, sessions) = set_up();
    runtime.block_on(async {
        let id = signed_in(&sessions, "zoë").await;
        let visit = sessions.open(Some(id));
        visit.insert("a", &1).await.unwrap();
        let (one, other) = join(visit.save(), visit.clone().save()).await;
        assert!(one.is_ok() && other.is_ok());
        assert_eq!(visit.get::<u32>("a").await.unwrap(), Some(1));
    });
}
