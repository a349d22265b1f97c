//! Requests whose messages to the objects overtake one another.

use std::time::Duration;

use futures::future::{join, join_all};
use larder_core::session::race::{Act, Remains, judge};
use larder_core::{Runtime, SessionStore, Sessions, VirtualRuntime, hours, millis};
use proptest::prelude::*;

use super::network::Network;
use super::{record, signed_in};

fn acts() -> impl Strategy<Value = Vec<(Act, u64)>> {
    let act = prop_oneof![Just(Act::Save), prop::sample::select(&Act::ALL[..])];
    prop::collection::vec((act, 0..40_u64), 2..8)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000, failure_persistence: None, ..Default::default()
    })]

    /// Nothing that was acknowledged is lost, and nobody who logged out is signed in again.
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
        network.lose_every(loses_every);
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

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

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
