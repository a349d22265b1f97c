//! Objects beside sessions in memory: both say the same, whatever is asked.

use larder_core::session::{StoredSession, Touch, Updated, UserSession, Version};
use larder_core::{MemorySessions, Runtime, SessionStore, millis};
use proptest::prelude::*;

use super::{record, set_up};

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
        network.lose_every(loses_every);
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
                    let data = |found: Option<StoredSession>| {
                        found.map(|found| (found.session.data.clone(), found.session.user.clone()))
                    };
                    prop_assert_eq!(data(here), data(there));
                }
            }
            Ok(())
        })?;
    }
}
