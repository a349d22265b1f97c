//! Concurrent reads, gathered into `MGET`s, and writes, gathered into runs of a script.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use larder_core::write_behind::{Room, Sequence};
use larder_core::{Journal, PutEntry, Store, StoreErrorKind, millis, seconds};
use larder_redis::RedisStore;
use larder_tests::eventually;
use larder_tests::redis_server::RedisServer;
use support::{Answer, FakeServer, empty};

async fn filled(redis: &RedisServer, keys: usize) -> RedisStore {
    let store = RedisStore::builder()
        .url(redis.url())
        .command_timeout(seconds(20))
        .connect()
        .await
        .unwrap();
    let keys: Vec<String> = (0..keys).map(|i| format!("k{i}")).collect();
    let entries: Vec<_> = keys
        .iter()
        .map(|key| PutEntry { key, value: Bytes::from(key.clone()), ttl: seconds(600) })
        .collect();
    store.put_many(&entries).await.unwrap();
    store
}

#[tokio::test]
async fn a_lone_read_goes_out_by_itself() {
    let redis = RedisServer::start();
    let store = filled(&redis, 100).await;
    for i in 0..100 {
        let found = store.get(&format!("k{i}")).await.unwrap();
        assert_eq!(found, Some(Bytes::from(format!("k{i}"))));
    }
    assert_eq!((redis.calls_of("GET"), redis.calls_of("MGET")), (100, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_reads_take_few_commands_and_everybody_gets_its_own() {
    let redis = RedisServer::start();
    let store = filled(&redis, 2_000).await;
    let readers: Vec<_> = (0..200)
        .map(|reader| {
            let store = store.clone();
            tokio::spawn(async move {
                for i in 0..50 {
                    // Every fourth key is not there.
                    let key = format!("k{}", (reader * 37 + i * 101) % 2_666);
                    let there = key[1..].parse::<usize>().unwrap() < 2_000;
                    let found = store.get(&key).await.unwrap();
                    // Who keeps a value keeps no other of its batch with it.
                    assert!(found.as_ref().is_none_or(Bytes::is_unique));
                    assert_eq!(found, there.then(|| Bytes::from(key)));
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    let (alone, batches) = (redis.calls_of("GET"), redis.calls_of("MGET"));
    assert!(batches > 0);
    assert!(alone + batches < 10_000 / 4, "10,000 reads took {alone} GETs and {batches} MGETs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_go_away_take_nothing_from_the_others() {
    let redis = RedisServer::start();
    let store = filled(&redis, 500).await;
    for round in 0..20 {
        let readers: Vec<_> = (0..500)
            .map(|i| {
                let store = store.clone();
                tokio::spawn(async move { store.get(&format!("k{i}")).await })
            })
            .collect();
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        // The first of them hold the direct places and began the batches.
        for reader in readers.iter().step_by(2) {
            reader.abort();
        }
        for (i, reader) in readers.into_iter().enumerate() {
            match reader.await {
                Ok(found) => assert_eq!(found.unwrap(), Some(Bytes::from(format!("k{i}")))),
                Err(error) => assert!(error.is_cancelled() && i % 2 == 0),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_after_a_write_sees_it() {
    let redis = RedisServer::start();
    let store = filled(&redis, 1).await;
    let writers: Vec<_> = (0..100)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let key = format!("w{writer}");
                for i in 0..100 {
                    let value = Bytes::from(i.to_string());
                    store.put(&key, value.clone(), seconds(60)).await.unwrap();
                    assert_eq!(store.get(&key).await.unwrap(), Some(value));
                    store.remove(&key).await.unwrap();
                    assert_eq!(store.get(&key).await.unwrap(), None);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(redis.calls_of("MGET") > 0, "nothing was gathered, so nothing was shown");
}

#[tokio::test]
async fn one_forbidden_key_fails_its_reader_only() {
    let redis = RedisServer::start();
    let owner = filled(&redis, 200).await;
    redis.command(&["ACL", "SETUSER", "reader", "on", ">pw", "~k*", "+@all"]);
    let url = format!("redis://reader:pw@127.0.0.1:{}", redis.port());
    let store = RedisStore::connect(url).await.unwrap();
    let readers: Vec<_> = (0..200)
        .map(|i| {
            let store = store.clone();
            let key = if i % 20 == 19 { format!("x{i}") } else { format!("k{i}") };
            tokio::spawn(async move { store.get(&key).await })
        })
        .collect();
    for (i, reader) in readers.into_iter().enumerate() {
        let found = reader.await.unwrap();
        if i % 20 == 19 {
            assert_eq!(found.unwrap_err().kind(), StoreErrorKind::Denied);
        } else {
            assert_eq!(found.unwrap(), Some(Bytes::from(format!("k{i}"))));
        }
    }
    owner.close().await.unwrap();
}

#[tokio::test]
async fn a_list_among_the_keys_is_a_miss_for_its_reader_only() {
    let redis = RedisServer::start();
    let store = filled(&redis, 100).await;
    redis.command(&["RPUSH", "list", "1"]);
    let readers: Vec<_> = (0..100)
        .map(|i| {
            let store = store.clone();
            let key = if i == 50 { String::from("list") } else { format!("k{i}") };
            tokio::spawn(async move { store.get(&key).await.unwrap() })
        })
        .collect();
    for (i, reader) in readers.into_iter().enumerate() {
        let expected = (i != 50).then(|| Bytes::from(format!("k{i}")));
        assert_eq!(reader.await.unwrap(), expected);
    }
    assert!(redis.calls_of("MGET") > 0);
}

#[tokio::test]
async fn a_huge_value_among_small_ones_fails_nobody() {
    let redis = RedisServer::start();
    let store = filled(&redis, 200).await;
    let huge = Bytes::from(vec![7; 50 << 20]);
    store.put("huge", huge.clone(), seconds(60)).await.unwrap();
    let readers: Vec<_> = (0..200)
        .map(|i| {
            let store = store.clone();
            let key = if i == 100 { String::from("huge") } else { format!("k{i}") };
            tokio::spawn(async move { store.get(&key).await.unwrap().unwrap() })
        })
        .collect();
    for (i, reader) in readers.into_iter().enumerate() {
        let found = reader.await.unwrap();
        if i == 100 {
            assert!(found == huge);
        } else {
            assert_eq!(found, format!("k{i}"));
        }
    }
}

#[tokio::test]
async fn a_batch_is_bounded_and_waits_for_no_timer() {
    // Nothing is answered, so that what is sent first is all that may be on its way: eight reads
    // alone and four batches of 128 at most.
    let sizes = Arc::new(std::sync::Mutex::new(Vec::new()));
    let server = FakeServer::start({
        let sizes = Arc::clone(&sizes);
        move |command| match command[0].as_str() {
            "GET" => Answer::Silence,
            "MGET" => {
                sizes.lock().unwrap().push(command.len() - 1);
                Answer::Silence
            }
            _ => empty(command),
        }
    })
    .await;
    let builder = RedisStore::builder().url(server.url()).without_circuit_breaker();
    let store = builder.command_timeout(millis(500)).connect().await.unwrap();
    let started = Instant::now();
    let readers: Vec<_> = (0..1_000)
        .map(|i| {
            let store = store.clone();
            tokio::spawn(async move { store.get(&format!("k{i}")).await.unwrap_err().kind() })
        })
        .collect();
    eventually("four batches are sent", async || sizes.lock().unwrap().len() == 4).await;
    assert!(started.elapsed() < millis(500), "they waited for no answer");
    assert_eq!(server.count("GET"), 8);
    assert!(sizes.lock().unwrap().iter().all(|size| *size <= 128));
    for reader in readers {
        assert_eq!(reader.await.unwrap(), StoreErrorKind::Timeout);
    }
}

/// One worker thread, so that a flusher is the next task to run when it is started.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn batches_that_are_answered_together_do_not_become_one() {
    const READERS: usize = 64;
    const HELD: usize = 40;
    let sizes = Arc::new(std::sync::Mutex::new(Vec::new()));
    let server = FakeServer::start({
        let sizes = Arc::clone(&sizes);
        let held = std::sync::Mutex::new(Vec::new());
        move |command| {
            let (keys, head) = match command[0].as_str() {
                "GET" => (1, String::new()),
                "MGET" => (command.len() - 1, format!("*{}\r\n", command.len() - 1)),
                _ => return empty(command),
            };
            let (mut sizes, mut held) = (sizes.lock().unwrap(), held.lock().unwrap());
            sizes.push(keys);
            held.push(head + &"_\r\n".repeat(keys));
            // Two at a time, unless there is no second one to come.
            if held.len() == 2 || keys == READERS || sizes.len() > HELD {
                Answer::Say(held.drain(..).collect())
            } else {
                Answer::Silence
            }
        }
    })
    .await;
    let store = RedisStore::connect(server.url()).await.unwrap();
    let readers: Vec<_> = (0..READERS)
        .map(|i| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    store.get(&format!("k{i}")).await.unwrap();
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    let sizes = sizes.lock().unwrap();
    assert!(sizes[HELD / 2..HELD].iter().all(|size| *size <= READERS * 3 / 4), "{sizes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_gathering_off_every_read_is_a_get() {
    let redis = RedisServer::start();
    let store = RedisStore::builder()
        .url(redis.url())
        .gather_reads(false)
        .command_timeout(seconds(20))
        .connect()
        .await
        .unwrap();
    let readers: Vec<_> = (0..300)
        .map(|i| {
            let store = store.clone();
            tokio::spawn(async move { store.get(&format!("k{i}")).await.unwrap() })
        })
        .collect();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), None);
    }
    assert_eq!((redis.calls_of("GET"), redis.calls_of("MGET")), (300, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gathered_writes_stand_one_after_the_other_across_a_second() {
    const WRITES: u64 = 200;
    // Ahead of the clock, so that places go on from here; the second ends among the batches.
    const LAST: u64 = 4_000_000_000_999_900;
    let redis = RedisServer::start();
    redis.command(&["SET", "{larder-journal:places}:last", &LAST.to_string()]);
    let journal = RedisStore::connect(redis.url()).await.unwrap().journal("places").unwrap();
    let writers: Vec<_> = (0..WRITES)
        .map(|writer| {
            let (journal, key) = (journal.clone(), format!("k{writer}"));
            tokio::spawn(async move { (journal.append(&key, Bytes::new()).await.unwrap(), key) })
        })
        .collect();
    let mut written = Vec::new();
    for writer in writers {
        written.push(writer.await.unwrap());
    }
    written.sort();
    let places: Vec<_> = written.iter().map(|(place, _)| *place).collect();
    let expected: Vec<_> = (1..=WRITES).map(|n| Sequence::from_number(LAST + n)).collect();
    assert_eq!(places, expected);
    let read = journal.read(None, Room::of_writes(1_000)).await.unwrap();
    let read: Vec<_> = read.into_iter().map(|write| (write.sequence, write.key)).collect();
    assert_eq!(read, written);
    assert!(redis.calls_of("EVALSHA") < 100, "little was gathered, so little was shown");
}
