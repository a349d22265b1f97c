//! The store on the simulation: what a local KV, which is strongly consistent, cannot show.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use larder_core::{
    Cache, Consistency, Cursor, PutEntry, Runtime, Store, StoreErrorKind, Timestamp,
    VirtualRuntime, millis, minutes, seconds,
};

use super::{KvStore, SimulatedKv};

/// A runtime with a number of calls, as a request's.
#[derive(Debug, Clone)]
struct Limited {
    runtime: VirtualRuntime,
    calls: Arc<AtomicU32>,
}

impl Limited {
    fn new(runtime: &VirtualRuntime, calls: u32) -> Self {
        Self { runtime: runtime.clone(), calls: Arc::new(AtomicU32::new(calls)) }
    }

    fn left(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Runtime for Limited {
    fn now(&self) -> Timestamp {
        self.runtime.now()
    }

    fn take_calls(&self, calls: u32) -> bool {
        let take = |left: u32| left.checked_sub(calls);
        self.calls.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.runtime.sleep(duration)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.runtime.spawn(task);
    }
}

fn simulated() -> (VirtualRuntime, SimulatedKv, KvStore) {
    let runtime = VirtualRuntime::seeded(1);
    let kv = SimulatedKv::new(runtime.clone());
    let store = kv.reader(Duration::ZERO).store().unwrap();
    (runtime, kv, store)
}

#[test]
fn no_value_is_served_past_its_life_however_late_it_is_seen() {
    let (runtime, kv, near) = simulated();
    let far = kv.reader(seconds(20)).store().unwrap();
    runtime.block_on(async {
        near.put("a", "1".into(), seconds(30)).await.unwrap();
        runtime.sleep(seconds(29)).await;
        assert_eq!(far.get("a").await.unwrap().unwrap(), "1");
        // The far location keeps what it has read for a minute, and KV keeps the value as long.
        runtime.sleep(millis(999)).await;
        assert_eq!(far.get("a").await.unwrap().unwrap(), "1");
        runtime.sleep(millis(1)).await;
        for store in [&near, &far] {
            assert_eq!(store.get("a").await.unwrap(), None);
            assert_eq!(store.get_many(&["a", "b"]).await.unwrap(), [None, None]);
            assert!(!store.contains("a").await.unwrap());
            assert_eq!(store.time_to_live("a").await.unwrap(), None);
            assert!(store.scan(&"*".into(), None).await.unwrap().keys.is_empty());
        }
    });
}

#[test]
fn a_removal_may_stay_unseen_for_as_long_as_the_capabilities_say() {
    let (runtime, kv, near) = simulated();
    let far = kv.reader(seconds(5)).store().unwrap();
    runtime.block_on(async {
        near.put("a", "1".into(), minutes(10)).await.unwrap();
        runtime.sleep(seconds(5)).await;
        assert!(far.get("a").await.unwrap().is_some());
        near.remove("a").await.unwrap();
        assert_eq!(near.get("a").await.unwrap(), None);
        runtime.sleep(seconds(59)).await;
        assert!(far.get("a").await.unwrap().is_some());
        runtime.sleep(seconds(1)).await;
        assert_eq!(far.get("a").await.unwrap(), None);
    });
}

/// What «as a rule» means in the documentation of [`KvStore`].
#[test]
fn a_location_that_read_before_a_removal_reached_it_keeps_the_value_longer_but_not_past_its_life() {
    let (runtime, kv, near) = simulated();
    let far = kv.reader(seconds(20)).store().unwrap();
    runtime.block_on(async {
        near.put("a", "1".into(), minutes(10)).await.unwrap();
        near.put("b", "1".into(), seconds(90)).await.unwrap();
        runtime.sleep(seconds(20)).await;
        near.remove_many(&["a", "b"]).await.unwrap();
        runtime.sleep(seconds(19)).await;
        assert!(far.get("a").await.unwrap().is_some() && far.get("b").await.unwrap().is_some());
        runtime.sleep(seconds(50)).await;
        assert!(far.get("b").await.unwrap().is_some());
        runtime.sleep(seconds(1)).await;
        assert_eq!(far.get("b").await.unwrap(), None);
        // 78 s after its removal.
        runtime.sleep(seconds(8)).await;
        assert!(far.get("a").await.unwrap().is_some());
        runtime.sleep(seconds(1)).await;
        assert_eq!(far.get("a").await.unwrap(), None);
    });
}

#[test]
fn a_removal_by_pattern_passes_by_what_cannot_be_seen_yet() {
    let (runtime, kv, near) = simulated();
    let far = Cache::builder(kv.reader(seconds(20)).store().unwrap()).build().unwrap();
    let near = Cache::builder(near).build().unwrap();
    runtime.block_on(async {
        near.put("users:1", &1).await.unwrap();
        assert_eq!(far.remove_matching("users:*").await.unwrap(), 0);
        assert_eq!(near.get::<u32>("users:1").await.unwrap().as_deref(), Some(&1));
        runtime.sleep(seconds(20)).await;
        assert_eq!(far.remove_matching("users:*").await.unwrap(), 1);
    });
}

#[test]
fn a_longer_cache_ttl_is_asked_for_and_claimed() {
    let (runtime, kv, near) = simulated();
    let settings = KvStore::builder().cache_ttl(minutes(5));
    let far = kv.reader(Duration::ZERO).store_with(settings).unwrap();
    let claimed = far.capabilities().consistency;
    assert_eq!(claimed, Consistency::Eventual { within: minutes(5) });
    // A change may need a minute with a shorter one, too.
    let short = KvStore::builder().cache_ttl(seconds(30));
    let short = kv.reader(Duration::ZERO).store_with(short).unwrap();
    let claimed = short.capabilities().consistency;
    assert_eq!(claimed, Consistency::Eventual { within: seconds(60) });
    runtime.block_on(async {
        near.put_many(&["a", "b", "c"].map(|key| PutEntry {
            key,
            value: "1".into(),
            ttl: minutes(10),
        }))
        .await
        .unwrap();
        assert!(far.get("a").await.unwrap().is_some());
        assert!(far.contains("b").await.unwrap());
        assert!(far.get_many(&["c", "none"]).await.unwrap()[0].is_some());
        runtime.sleep(seconds(1)).await;
        near.remove_many(&["a", "b", "c"]).await.unwrap();
        runtime.sleep(seconds(298)).await;
        assert!(far.get("a").await.unwrap().is_some());
        assert!(far.contains("b").await.unwrap());
        assert!(far.get_many(&["c", "none"]).await.unwrap()[0].is_some());
        runtime.sleep(seconds(1)).await;
        assert_eq!(far.get_many(&["a", "b", "c"]).await.unwrap(), [None, None, None]);
    });
}

#[test]
fn a_miss_is_remembered_by_kv() {
    let (runtime, kv, near) = simulated();
    let far = kv.reader(Duration::ZERO).store().unwrap();
    runtime.block_on(async {
        assert_eq!(far.get("a").await.unwrap(), None);
        near.put("a", "1".into(), minutes(10)).await.unwrap();
        runtime.sleep(seconds(59)).await;
        assert_eq!(far.get("a").await.unwrap(), None);
        runtime.sleep(seconds(1)).await;
        assert!(far.get("a").await.unwrap().is_some());
    });
}

#[test]
fn a_write_that_came_too_soon_is_made_later() {
    let (runtime, kv, store) = simulated();
    runtime.block_on(async {
        for value in ["1", "2", "3"] {
            store.put("a", value.into(), minutes(1)).await.unwrap();
        }
        assert_eq!(store.get("a").await.unwrap().unwrap(), "3");
        assert!(store.remove("a").await.unwrap());
        assert_eq!(store.get("a").await.unwrap(), None);
    });
    assert!(kv.refused() >= 3);
}

#[test]
fn a_write_that_is_refused_for_good_is_an_error_and_counted() {
    let (runtime, kv, _) = simulated();
    let settings = KvStore::builder().write_retries(0);
    let store = kv.reader(Duration::ZERO).store_with(settings).unwrap();
    let cache = Cache::builder(store).runtime(runtime.clone()).build().unwrap();
    runtime.block_on(async {
        cache.put("a", &1).await.unwrap();
        let error = cache.put("a", &2).await.unwrap_err().to_string();
        assert!(error.contains("one write a second") && error.contains("\"a\""), "{error}");
    });
    assert_eq!((kv.refused(), cache.stats().store_errors), (1, 1));
}

/// Writers at many locations, of one key: the last write wins, and none is lost silently.
#[test]
fn writers_of_one_key_all_succeed_or_are_told() {
    let (runtime, kv, store) = simulated();
    let outcomes = runtime.block_on(async {
        join_all((0..20).map(|n| {
            let writer = kv.reader(seconds(n)).store().unwrap();
            async move { writer.put("a", n.to_string().into(), minutes(5)).await }
        }))
        .await
    });
    let written = outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64;
    for error in outcomes.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        assert!(error.is_retryable());
    }
    assert!((1..20).contains(&written), "{written}");
    // 3 retries each, before it is an error.
    assert!(kv.refused() >= (20 - written) * 4);
    runtime.block_on(async { assert!(store.get("a").await.unwrap().is_some()) });
}

#[test]
fn a_retry_does_not_lengthen_a_life() {
    let (runtime, _, store) = simulated();
    runtime.block_on(async {
        store.put("a", "1".into(), minutes(5)).await.unwrap();
        let until = runtime.now() + minutes(2);
        store.put("a", "2".into(), minutes(2)).await.unwrap();
        let now = runtime.now();
        assert!(now >= until - seconds(119));
        assert_eq!(store.time_to_live("a").await.unwrap(), Some(until.since(now)));
    });
}

/// Text for longer than a label has room for.
const LATE_BYTES: [u8; 300] = {
    let mut bytes = [b'x'; 300];
    bytes[299] = 0xFF;
    bytes
};

#[test]
fn text_is_read_in_bulk_and_the_rest_by_itself() {
    let (runtime, kv, _) = simulated();
    kv.write_foreign("foreign", "text");
    kv.write_foreign("foreign-bytes", &b"\xFF\xFE"[..]);
    let limited = Limited::new(&runtime, 1_000);
    let store = kv.reader(Duration::ZERO).store_on(limited.clone()).unwrap();
    let entry = |key, value: &'static [u8]| PutEntry { key, value: value.into(), ttl: minutes(5) };
    runtime.block_on(async {
        let entries = [
            entry("json", b"{}"),
            entry("framed", b"\xCA\x01\x9A{}"),
            entry("bytes", &LATE_BYTES),
            entry("empty", b""),
        ];
        store.put_many(&entries).await.unwrap();
        let before = limited.left();
        let keys = ["json", "none", "framed", "bytes", "empty", "foreign", "foreign-bytes", "json"];
        let found = store.get_many(&keys).await.unwrap();
        let expected: [Option<&[u8]>; 8] = [
            Some(b"{}"),
            None,
            Some(b"\xCA\x01\x9A{}"),
            Some(&LATE_BYTES),
            Some(b""),
            Some(b"text"),
            Some(b"\xFF\xFE"),
            Some(b"{}"),
        ];
        assert_eq!(found, expected.map(|value| value.map(Bytes::from_static)));
        // One for all, and one each for those that are no text.
        assert_eq!(before - limited.left(), 3);
    });
}

#[test]
fn what_is_too_large_for_a_bulk_read_is_read_in_smaller_ones() {
    let (runtime, kv, _) = simulated();
    let limited = Limited::new(&runtime, 1_000);
    let store = kv.reader(Duration::ZERO).store_on(limited.clone()).unwrap();
    let large = Bytes::from(vec![b'x'; 10 << 20]);
    let largest = Bytes::from(vec![b'y'; 25 << 20]);
    runtime.block_on(async {
        for (key, value) in [("a", &large), ("b", &large), ("c", &large), ("d", &largest)] {
            store.put(key, value.clone(), minutes(5)).await.unwrap();
        }
        let before = limited.left();
        let found = store.get_many(&["a", "none", "b", "c", "d"]).await.unwrap();
        for (found, expected) in
            found.iter().zip([Some(&large), None, Some(&large), Some(&large), Some(&largest)])
        {
            assert!(found.as_ref() == expected, "{:?}", found.as_ref().map(Bytes::len));
        }
        // The five keys, and halves of what was too large: at most each key by itself.
        assert!((3..=9).contains(&(before - limited.left())), "{}", before - limited.left());
        assert_eq!(store.remove_many(&["a", "none", "b", "c", "d"]).await.unwrap(), 4);
    });
}

#[test]
fn keys_of_others_live_as_their_writers_said() {
    let (runtime, kv, store) = simulated();
    kv.write_foreign("a", "1");
    runtime.block_on(async {
        assert_eq!(store.get("a").await.unwrap().unwrap(), "1");
        assert_eq!(store.time_to_live("a").await.unwrap(), Some(Duration::MAX));
        assert_eq!(store.scan(&"*".into(), None).await.unwrap().keys, ["a"]);
        // A key that another begins with is not taken for it.
        assert_eq!(store.time_to_live("").await.unwrap_err().kind(), StoreErrorKind::Unsupported);
        store.put("ab", "2".into(), minutes(5)).await.unwrap();
        assert_eq!(store.time_to_live("a").await.unwrap(), Some(Duration::MAX));
        store.remove("a").await.unwrap();
        assert_eq!(store.time_to_live("a").await.unwrap(), None);
    });
}

#[test]
fn limits_are_errors_before_the_call() {
    let (runtime, kv, _) = simulated();
    let limited = Limited::new(&runtime, 0);
    let store = kv.reader(Duration::ZERO).store_on(limited).unwrap();
    let long = "k".repeat(513);
    let large = Bytes::from(vec![0; (25 << 20) + 1]);
    runtime.block_on(async {
        for key in [".", "..", ""] {
            let kind = store.get(key).await.unwrap_err().kind();
            assert_eq!(kind, StoreErrorKind::Unsupported, "{key:?}");
        }
        let too_large = StoreErrorKind::TooLarge;
        assert_eq!(store.get(&long).await.unwrap_err().kind(), too_large);
        assert_eq!(store.get_many(&["a", &long]).await.unwrap_err().kind(), too_large);
        assert_eq!(store.remove(&long).await.unwrap_err().kind(), too_large);
        assert_eq!(store.remove_many(&[&long]).await.unwrap_err().kind(), too_large);
        assert_eq!(store.put("a", large, minutes(1)).await.unwrap_err().kind(), too_large);
        // No call may be made, and a good one says so.
        let error = store.get("a").await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Exhausted);
        assert!(error.to_string().contains("another request"), "{error}");
    });
}

#[test]
fn settings_that_kv_refuses_are_errors() {
    let (_, kv, _) = simulated();
    let reader = kv.reader(Duration::ZERO);
    let error = reader.store_with(KvStore::builder().cache_ttl(seconds(29))).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Config);
    assert!(reader.store_with(KvStore::builder().cache_ttl(seconds(30))).is_ok());
    assert!(reader.store_with(KvStore::builder().timeout(Duration::ZERO)).is_err());
}

#[test]
fn a_removal_goes_on_in_another_request() {
    let (runtime, kv, all) = simulated();
    let keys: Vec<String> = (0..1_234).map(|n| format!("users:{n:04}")).collect();
    let reader = kv.reader(Duration::ZERO);
    runtime.block_on(async {
        for key in keys.iter().map(String::as_str).chain(["user:1"]) {
            all.put(key, "1".into(), minutes(60)).await.unwrap();
        }
        runtime.sleep(seconds(2)).await;
        let cache = Cache::builder(all.clone()).build().unwrap();
        let (mut removed, mut requests) = (0, 0);
        let mut next: Option<String> = None;
        loop {
            let limited = Limited::new(&runtime, 250);
            let cache = Cache::builder(reader.store_on(limited.clone()).unwrap()).build().unwrap();
            let from = next.map(Cursor::new);
            let removal = cache.remove_matching_from("users:*", from).await.unwrap();
            removed += removal.removed;
            requests += 1;
            // Of 250 calls: a page, and each hundred keys with their look-up.
            assert!(removal.next.is_none() || removal.removed == 200, "{removal:?}");
            match removal.next {
                Some(cursor) => next = Some(cursor.position().to_owned()),
                None => break,
            }
        }
        assert_eq!((removed, requests), (1_234, 6));
        assert!(all.contains("user:1").await.unwrap());

        // As a whole it is an error, not a part that looks like the whole.
        all.put("users:1", "1".into(), minutes(5)).await.unwrap();
        let poor: Arc<dyn Runtime> = Arc::new(Limited::new(&runtime, 2));
        let error = cache.on(poor).remove_matching("users:*").await.unwrap_err().to_string();
        assert!(error.contains("another request"), "{error}");
    });
}

#[test]
fn each_request_has_calls_of_its_own() {
    let (runtime, _, store) = simulated();
    let cache = Cache::builder(store).build().unwrap();
    let (first, second) = (Limited::new(&runtime, 1), Limited::new(&runtime, 1));
    runtime.block_on(async {
        for (key, request) in [("first", first), ("second", second)] {
            let cache = cache.on(Arc::new(request.clone()));
            cache.put(key, &1).await.unwrap();
            assert_eq!(request.left(), 0);
            assert!(cache.put("b", &1).await.is_err());
        }
    });
}
