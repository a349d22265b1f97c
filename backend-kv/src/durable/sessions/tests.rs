//! Sessions over a network of objects that lie in real SQLite databases, on a virtual clock.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{join, join_all};
use larder_core::session::race::{Act, Remains, judge};
use larder_core::session::{
    SessionId, SessionRecord, TOMBSTONE, Touch, Updated, UserSession, Value, Version,
};
use larder_core::{
    MemorySessions, Runtime, SessionStore, Sessions, StoreErrorKind, VirtualRuntime, days, hours,
    millis, minutes, seconds,
};
use proptest::prelude::*;

use super::super::engine::Engine;
use super::super::fleet::{Fleet, Transport};
use super::super::placement::Placement;
use super::super::tests::{Sqlite, engine};
use super::{DurableSessions, FAMILY};
use crate::error::Failure;

/// Objects, each with a database of its own, and the way to them, which takes a random time in both
/// directions.
#[derive(Clone)]
struct Network(Arc<Shared>);

struct Shared {
    runtime: VirtualRuntime,
    slowest: u64,
    state: Mutex<State>,
}

struct State {
    objects: HashMap<String, Engine<Sqlite>>,
    random: fastrand::Rng,
    calls: usize,
    /// Every such request is carried out, and its answer lost. Where it is made again it is answered.
    loses_every: Option<usize>,
    lost: HashSet<Vec<u8>>,
}

impl Network {
    fn new(runtime: &VirtualRuntime, seed: u64, slowest: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let (objects, lost) = (HashMap::new(), HashSet::new());
        let state = State { objects, random, calls: 0, loses_every: None, lost };
        let runtime = runtime.clone();
        Self(Arc::new(Shared { runtime, slowest, state: Mutex::new(state) }))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> DurableSessions {
        self.sessions_of("")
    }

    /// Those of a service with users of its own.
    fn sessions_of(&self, prefix: &'static str) -> DurableSessions {
        let fleet = Fleet::new(self.clone(), Placement::new(FAMILY, 4));
        let settings = DurableSessions::builder().index_prefix(prefix);
        settings.over(fleet, Arc::new(self.0.runtime.clone()))
    }

    /// How many requests there were since it was asked last.
    fn calls(&self) -> usize {
        std::mem::take(&mut self.state().calls)
    }

    fn rows(&self) -> u64 {
        self.state().objects.values().map(|object| object.rows().unwrap()).sum()
    }

    fn sweep(&self) {
        let now = self.0.runtime.now().as_millis();
        for object in self.state().objects.values() {
            assert!(!object.sweep(now, 1_000).unwrap().is_partial);
        }
    }

    async fn way(&self) {
        if self.0.slowest > 0 {
            let time = self.state().random.u64(0..=self.0.slowest);
            self.0.runtime.sleep(millis(time)).await;
        }
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Network")
    }
}

#[async_trait]
impl Transport for Network {
    async fn call(&self, name: &str, message: &[u8]) -> Result<Bytes, Failure> {
        self.way().await;
        let (reply, is_lost) = {
            let mut state = self.state();
            state.calls += 1;
            let is_lost = state.loses_every.is_some_and(|n| state.calls.is_multiple_of(n))
                && state.lost.insert(message.to_vec());
            let object = state.objects.entry(name.to_owned()).or_insert_with(engine);
            (object.handle(message, self.0.runtime.now().as_millis()).reply, is_lost)
        };
        self.way().await;
        if is_lost {
            return Err(Failure { retryable: true, ..Failure::new("the object moved") });
        }
        Ok(reply.into())
    }
}

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

/// A call of the port.
#[derive(Debug, Clone)]
enum Step {
    Create { user: Option<usize>, life: u64 },
    Update { key: usize, is_stale: bool, user: Option<usize>, life: u64 },
    Touch { key: usize, life: u64 },
    Renew { key: usize, is_stale: bool, user: Option<usize> },
    Remove { key: usize },
    RemoveOfUser { user: usize, except: Option<usize> },
    Pass { millis: u64 },
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    let user = || prop::option::of(0..2_usize);
    let (key, life) = (0..8_usize, 1..900_000_u64);
    prop_oneof![
        3 => (user(), life.clone()).prop_map(|(user, life)| Step::Create { user, life }),
        4 => (key.clone(), prop::bool::weighted(0.2), user(), life.clone())
            .prop_map(|(key, is_stale, user, life)| Step::Update { key, is_stale, user, life }),
        3 => (key.clone(), life.clone()).prop_map(|(key, life)| Step::Touch { key, life }),
        3 => (key.clone(), prop::bool::weighted(0.2), user())
            .prop_map(|(key, is_stale, user)| Step::Renew { key, is_stale, user }),
        1 => key.clone().prop_map(|key| Step::Remove { key }),
        1 => (0..2_usize, prop::option::of(key))
            .prop_map(|(user, except)| Step::RemoveOfUser { user, except }),
        3 => (0..200_000_u64).prop_map(|millis| Step::Pass { millis }),
        1 => Just(Step::Sweep),
    ]
}

/// A session's key, and the versions it had: here, and in memory.
struct Known {
    key: String,
    versions: Vec<(Version, Version)>,
}

fn said(updated: &Updated) -> String {
    match updated {
        Updated::Done(_) => "done".into(),
        Updated::Conflict(theirs) => {
            format!("conflict with {:?}", theirs.session.data["n"].as_json())
        }
        other => format!("{other:?}"),
    }
}

fn sorted(mut list: Vec<UserSession>) -> Vec<UserSession> {
    list.sort_by(|one, other| one.key.cmp(&other.key));
    list
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn objects_say_what_memory_says(
        steps in prop::collection::vec(step(), 1..60),
        loses_every in prop::option::of(2..5_usize),
    ) {
        let (runtime, network, store) = set_up();
        network.state().loses_every = loses_every;
        let model = MemorySessions::builder().on(runtime.clone());
        let users = ["zoë", "max"];
        let mut known: Vec<Known> = Vec::new();
        runtime.block_on(async {
            for (n, step) in (0..).zip(steps) {
                let fresh = format!("k{n}");
                let of = |user: Option<usize>, life| {
                    record(&runtime, user.map(|user| users[user]), n, millis(life))
                };
                let chosen = |key: usize| (!known.is_empty()).then(|| key % known.len().max(1));
                match step {
                    Step::Create { user, life } => {
                        let session = of(user, life);
                        let here = store.create(&fresh, &session).await.unwrap().unwrap();
                        let there = model.create(&fresh, &session).await.unwrap().unwrap();
                        known.push(Known { key: fresh, versions: vec![(here, there)] });
                    }
                    Step::Update { key, is_stale, user, life } => {
                        let Some(at) = chosen(key) else { continue };
                        let Known { key, versions } = &mut known[at];
                        let expected = if is_stale { versions.first() } else { versions.last() };
                        let (here, there) = expected.unwrap();
                        let session = of(user, life);
                        let here = store.update(key, here, &session).await.unwrap();
                        let there = model.update(key, there, &session).await.unwrap();
                        prop_assert_eq!(said(&here), said(&there));
                        if let (Updated::Done(here), Updated::Done(there)) = (here, there) {
                            versions.push((here, there));
                        }
                    }
                    Step::Touch { key, life } => {
                        let Some(at) = chosen(key) else { continue };
                        let now = runtime.now();
                        let touch = Touch::new(now, Some(n.to_string()), now + millis(life));
                        let here = store.touch(&known[at].key, &touch).await.unwrap();
                        prop_assert_eq!(here, model.touch(&known[at].key, &touch).await.unwrap());
                    }
                    Step::Renew { key, is_stale, user } => {
                        let Some(at) = chosen(key) else { continue };
                        let Known { key, versions } = &known[at];
                        let expected = if is_stale { versions.first() } else { versions.last() };
                        let (here, there) = expected.unwrap();
                        let session = of(user, 600_000);
                        let here = store.renew(key, here, &fresh, &session).await.unwrap();
                        let there = model.renew(key, there, &fresh, &session).await.unwrap();
                        prop_assert_eq!(said(&here), said(&there));
                        if let (Updated::Done(here), Updated::Done(there)) = (here, there) {
                            known.push(Known { key: fresh, versions: vec![(here, there)] });
                        }
                    }
                    Step::Remove { key } => {
                        let Some(at) = chosen(key) else { continue };
                        let here = store.remove(&known[at].key).await.unwrap();
                        prop_assert_eq!(here, model.remove(&known[at].key).await.unwrap());
                    }
                    Step::RemoveOfUser { user, except } => {
                        let except = except.and_then(chosen).map(|at| known[at].key.as_str());
                        let here = store.remove_of_user(users[user], except).await.unwrap();
                        let there = model.remove_of_user(users[user], except).await.unwrap();
                        prop_assert_eq!(here, there);
                    }
                    Step::Pass { millis } => runtime.advance(larder_core::millis(millis)),
                    Step::Sweep => network.sweep(),
                }
                for user in users {
                    prop_assert_eq!(
                        sorted(store.of_user(user).await.unwrap()),
                        sorted(model.of_user(user).await.unwrap())
                    );
                }
                for Known { key, .. } in &known {
                    let here = store.load(key).await.unwrap();
                    let there = model.load(key).await.unwrap();
                    let data = |found: Option<larder_core::session::StoredSession>| {
                        found.map(|found| (found.session.data.clone(), found.session.user.clone()))
                    };
                    prop_assert_eq!(data(here), data(there));
                }
            }
            Ok(())
        })?;
    }
}

fn acts() -> impl Strategy<Value = Vec<(Act, u64)>> {
    let act = prop_oneof![Just(Act::Save), prop::sample::select(&Act::ALL[..])];
    prop::collection::vec((act, 0..40_u64), 2..8)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000, failure_persistence: None, ..Default::default()
    })]

    /// Requests whose messages to the objects overtake one another.
    #[test]
    fn requests_that_overtake_one_another_lose_and_revive_nothing(
        acts in acts(),
        loses_every in prop::option::of(2..7_usize),
        seed: u64,
    ) {
        let runtime = VirtualRuntime::seeded(seed);
        let network = Network::new(&runtime, seed, 30);
        let sessions = Sessions::builder(network.sessions()).touch_every(Duration::ZERO);
        let sessions = sessions.build().unwrap();
        network.state().loses_every = loses_every;
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

    /// What was announced before a log-out everywhere began is over afterwards, or never was.
    #[test]
    fn a_log_out_everywhere_misses_nobody(starts in prop::collection::vec(0..100_u64, 1..6), seed: u64) {
        let runtime = VirtualRuntime::seeded(seed);
        let network = Network::new(&runtime, seed, 30);
        let store = network.sessions();
        runtime.block_on(async {
            let creations = starts.iter().enumerate().map(|(n, start)| {
                let (store, runtime) = (&store, &runtime);
                async move {
                    runtime.sleep(millis(*start)).await;
                    let (key, begun) = (format!("k{n}"), runtime.now());
                    let session = record(runtime, Some("zoë"), 1, hours(1));
                    let made = store.create(&key, &session).await.unwrap();
                    (key, begun, made.is_some())
                }
            });
            let log_out = async {
                runtime.sleep(millis(60)).await;
                let began = runtime.now();
                store.remove_of_user("zoë", None).await.unwrap();
                (began, runtime.now())
            };
            let (created, (began, ended)) = join(join_all(creations), log_out).await;
            let list = store.of_user("zoë").await.unwrap();
            let mut live = 0;
            for (key, begun, was_made) in created {
                let is_live = store.load(&key).await.unwrap().is_some();
                live += usize::from(is_live);
                prop_assert!(was_made || !is_live, "what was refused lives");
                // The index is told within 30 ms.
                prop_assert!(!is_live || begun + millis(30) > began, "it was missed");
                prop_assert!(is_live || begun < ended, "it ended before it began");
            }
            prop_assert_eq!(list.len(), live, "the list shows something else");
            Ok(())
        })?;
    }
}
