//! Write-behind on a journal in memory and a virtual clock.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use futures::future::BoxFuture;

use super::pace::Pace;
use super::*;
use crate::error::{Error, StoreErrorKind};
use crate::runtime::{Runtime, VirtualRuntime, test};
use crate::sync::lock;
use crate::time::{Timestamp, hours, millis, minutes, seconds};

/// A table, and how it takes writes.
#[derive(Clone, Default)]
struct Table(Arc<State>);

#[derive(Default)]
struct State {
    rows: Mutex<BTreeMap<String, String>>,
    batches: Mutex<Vec<Vec<String>>>,
    is_down: Mutex<bool>,
    poison: Mutex<Option<String>>,
}

impl Table {
    fn is_down(&self, is_down: bool) {
        *lock(&self.0.is_down) = is_down;
    }

    fn fails_with(&self, value: Option<&str>) {
        *lock(&self.0.poison) = value.map(String::from);
    }

    fn row(&self, key: &str) -> Option<String> {
        lock(&self.0.rows).get(key).cloned()
    }

    fn batches(&self) -> Vec<Vec<String>> {
        lock(&self.0.batches).clone()
    }
}

#[async_trait::async_trait]
impl Sink<String> for Table {
    async fn save(&self, writes: Vec<Write<String>>) -> Result<(), SinkError> {
        let shown = writes.iter().map(|write| format!("{}={}", write.key, write.value));
        lock(&self.0.batches).push(shown.collect());
        let poison = lock(&self.0.poison).clone();
        if *lock(&self.0.is_down)
            || writes.iter().any(|write| Some(&write.value) == poison.as_ref())
        {
            return Err(SinkError::retry("the table is locked"));
        }
        lock(&self.0.rows).extend(writes.into_iter().map(|write| (write.key, write.value)));
        Ok(())
    }
}

fn journal(runtime: &VirtualRuntime) -> MemoryJournal {
    MemoryJournal::builder().max_writes(20).on(runtime.clone())
}

fn on(journal: &MemoryJournal, table: &Table) -> WriteBehindBuilder<String, Table> {
    WriteBehind::volatile(journal.clone(), table.clone())
}

/// Runs a test on a virtual clock, with a journal and a table.
fn run<F: Future<Output = ()>>(test: impl FnOnce(VirtualRuntime, MemoryJournal, Table) -> F) {
    let runtime = VirtualRuntime::seeded(1);
    let journal = journal(&runtime);
    runtime.block_on(test(runtime.clone(), journal, Table::default()));
}

#[test]
fn the_newest_of_a_key_is_saved_and_covers_the_others() {
    run(async |runtime, journal, table| {
        let it = on(&journal, &table).build().unwrap();
        for value in ["1", "2", "3"] {
            it.write("a", &value.into()).await.unwrap();
        }
        it.write("b", &"4".into()).await.unwrap();
        runtime.sleep(millis(30)).await;
        assert_eq!(table.batches(), [["a=3", "b=4"]]);
        assert!(journal.is_empty());
        let stats = it.stats();
        assert_eq!((stats.written, stats.saved, stats.coalesced), (4, 2, 2));
    });
}

#[test]
fn a_full_batch_does_not_linger() {
    run(async |runtime, journal, table| {
        let it = on(&journal, &table).batch(3).linger(minutes(1)).build().unwrap();
        for key in ["a", "b", "c", "d"] {
            it.write(key, &"1".into()).await.unwrap();
        }
        runtime.sleep(millis(1)).await;
        assert_eq!(table.batches(), [["a=1", "b=1", "c=1"]]);
        runtime.sleep(minutes(2)).await;
        assert_eq!(table.batches().len(), 2);
    });
}

#[test]
fn what_a_table_did_not_take_is_tried_until_it_does() {
    run(async |runtime, journal, table| {
        table.is_down(true);
        let it = on(&journal, &table).build().unwrap();
        it.write("a", &"1".into()).await.unwrap();
        runtime.sleep(minutes(10)).await;
        assert_eq!(it.backlog().await.unwrap().writes, 1);
        assert!(it.backlog().await.unwrap().lag(runtime.now()) >= minutes(10));
        // Seven times up to the cap of half a minute, and then twice a minute, or more often.
        assert!((20..50).contains(&table.batches().len()), "{}", table.batches().len());
        table.is_down(false);
        runtime.sleep(seconds(31)).await;
        assert_eq!(table.row("a").as_deref(), Some("1"));
        assert_eq!(it.stats().dead, 0);
    });
}

/// Lets others succeed until the write of the key is given up.
async fn until_dead(it: &WriteBehind<String>, runtime: &VirtualRuntime) -> DeadWrite<String> {
    for _ in 0..10_000 {
        it.write("other", &"1".into()).await.unwrap();
        runtime.sleep(millis(100)).await;
        if let Some(dead) = it.dead_letters(None, 10).await.unwrap().pop() {
            return dead;
        }
    }
    panic!("it never died");
}

#[test]
fn a_dead_letter_is_listed_and_takes_its_old_place_when_it_is_replayed() {
    run(async |runtime, journal, table| {
        table.fails_with(Some("poison"));
        let it = on(&journal, &table).build().unwrap();
        let id = it.write("a", &"poison".into()).await.unwrap();
        let dead = until_dead(&it, &runtime).await;
        assert_eq!((&*dead.key, dead.value.as_deref()), ("a", Some("poison")));
        assert_eq!((&dead.id, &*dead.reason), (&id, "the table is locked"));
        // Five times, and those before which nothing else was saved.
        assert!((6..=8).contains(&dead.attempts), "{}", dead.attempts);
        assert_eq!(it.drain(seconds(1)).await.unwrap().writes, 0);
        assert_eq!(it.backlog().await.unwrap().dead, 1);

        // It fails again: it is dead again.
        assert!(it.replay(id.sequence()).await.unwrap());
        runtime.sleep(millis(1)).await;
        until_dead(&it, &runtime).await;
        for _ in 0..600 {
            it.write("other", &"1".into()).await.unwrap();
            runtime.sleep(millis(100)).await;
        }
        assert_eq!(it.backlog().await.unwrap().writes, 0, "it is still being tried");

        table.fails_with(None);
        assert!(it.replay(id.sequence()).await.unwrap());
        assert_eq!(it.drain(seconds(1)).await.unwrap().dead, 0);
        assert_eq!(table.row("a").as_deref(), Some("poison"));
        assert!(!it.replay(id.sequence()).await.unwrap());
    });
}

#[test]
fn a_later_write_makes_a_dead_letter_obsolete() {
    run(async |runtime, journal, table| {
        table.fails_with(Some("poison"));
        let it = on(&journal, &table).build().unwrap();
        let id = it.write("a", &"poison".into()).await.unwrap();
        until_dead(&it, &runtime).await;
        table.fails_with(None);
        let tries = || table.batches().iter().flatten().filter(|it| *it == "a=poison").count();
        let before = tries();
        // Both at once: the later write covers the dead one.
        it.write("a", &"later".into()).await.unwrap();
        it.replay(id.sequence()).await.unwrap();
        assert_eq!(it.drain(seconds(1)).await.unwrap().dead, 0);
        assert_eq!(table.row("a").as_deref(), Some("later"));
        assert_eq!(tries(), before);
    });
}

#[test]
fn what_is_discarded_is_gone() {
    run(async |runtime, journal, table| {
        table.fails_with(Some("poison"));
        let it = on(&journal, &table).build().unwrap();
        let id = it.write("a", &"poison".into()).await.unwrap();
        until_dead(&it, &runtime).await;
        assert!(it.discard(id.sequence()).await.unwrap());
        assert!(!it.discard(id.sequence()).await.unwrap());
        assert!(it.dead_letters(None, 10).await.unwrap().is_empty());
    });
}

#[test]
fn a_value_that_cannot_be_read_dies_and_the_others_are_saved() {
    run(async |_, journal, table| {
        journal.append("a", Bytes::from_static(b"what?")).await.unwrap();
        let it = on(&journal, &table).build().unwrap();
        it.write("b", &"1".into()).await.unwrap();
        assert_eq!(it.drain(seconds(1)).await.unwrap().writes, 0);
        assert_eq!(table.batches(), [["b=1"]]);
        let dead = it.dead_letters(None, 10).await.unwrap();
        assert_eq!(
            (dead[0].value.as_deref(), &*dead[0].reason),
            (None, "not a value of a journal")
        );
    });
}

#[test]
fn rejected_writes_die_by_their_index_and_the_others_are_saved() {
    run(async |_, journal, _| {
        journal.append("a", Bytes::from_static(b"what?")).await.unwrap();
        let save = async |writes: Vec<Write<u32>>| {
            let odd = writes.iter().enumerate().filter(|(_, write)| write.value % 2 == 1);
            let odd: Vec<_> = odd.map(|(at, write)| (at, write.value.to_string())).collect();
            if odd.is_empty() { Ok(()) } else { Err(SinkError::rejected(odd)) }
        };
        let it = WriteBehind::volatile(journal, save).build().unwrap();
        for n in 0..6 {
            it.write(format!("n{n}"), &n).await.unwrap();
        }
        assert_eq!(it.drain(seconds(1)).await.unwrap().writes, 0);
        let dead = it.dead_letters(None, 10).await.unwrap();
        let dead: Vec<_> = dead.iter().map(|dead| (&*dead.key, &*dead.reason)).collect();
        let unreadable = "not a value of a journal";
        assert_eq!(dead, [("a", unreadable), ("n1", "1"), ("n3", "3"), ("n5", "5")]);
        assert_eq!(it.stats().saved, 3);
    });
}

#[test]
fn a_sink_that_rejects_what_there_is_not_loses_nothing() {
    run(async |_, journal, _| {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let save = move |_: Vec<Write<u32>>| {
            let is_first = counted.fetch_add(1, Ordering::Relaxed) == 0;
            let saved = if is_first { Err(SinkError::rejected([(1, "which?")])) } else { Ok(()) };
            std::future::ready(saved)
        };
        let it = WriteBehind::volatile(journal, save).build().unwrap();
        it.write("a", &1).await.unwrap();
        assert_eq!(it.drain(seconds(60)).await.unwrap().writes, 0);
        assert_eq!((calls.load(Ordering::Relaxed), it.stats().saved, it.stats().dead), (2, 1, 0));
    });
}

#[test]
fn a_journal_that_is_full_waits_and_then_refuses() {
    run(async |runtime, journal, table| {
        table.is_down(true);
        let it = on(&journal, &table).when_full(WhenFull::Wait(seconds(2))).build().unwrap();
        for n in 0..20 {
            it.write(format!("n{n}"), &"1".into()).await.unwrap();
        }
        let began = runtime.now();
        let error = it.write("more", &"1".into()).await.unwrap_err();
        assert!(matches!(&error, Error::Store(error) if error.kind() == StoreErrorKind::Full));
        assert_eq!(runtime.now().since(began), seconds(2));
        assert_eq!(it.stats().refused, 1);

        drop(it);
        let it = on(&journal, &table).when_full(WhenFull::Wait(minutes(1))).build().unwrap();
        let relief = async {
            runtime.sleep(seconds(1)).await;
            table.is_down(false);
        };
        let value = "2".into();
        let (waited, ()) = futures::join!(it.write("more", &value), relief);
        waited.unwrap();
        it.drain(minutes(1)).await.unwrap();
        drop(it);

        let it = on(&journal, &table).when_full(WhenFull::Refuse).flushes(false).build().unwrap();
        for n in 0..20 {
            it.write(format!("n{n}"), &"1".into()).await.unwrap();
        }
        let began = runtime.now();
        it.write("more", &"1".into()).await.unwrap_err();
        assert_eq!(runtime.now(), began);
    });
}

#[test]
fn stopping_saves_what_is_there_and_refuses_more() {
    run(async |runtime, journal, table| {
        let it = on(&journal, &table).linger(minutes(5)).batch(4).build().unwrap();
        for n in 0..10 {
            it.write(format!("n{n}"), &"1".into()).await.unwrap();
        }
        let began = runtime.now();
        assert_eq!(it.stop(seconds(5)).await.unwrap().writes, 0);
        assert!(runtime.now().since(began) < seconds(1));
        assert_eq!(lock(&table.0.rows).len(), 10);
        let error = it.write("a", &"1".into()).await.unwrap_err();
        assert!(matches!(error, Error::Store(error) if error.kind() == StoreErrorKind::Closed));
        assert_eq!(it.stop(seconds(5)).await.unwrap().writes, 0);
    });
}

#[test]
fn stopping_takes_no_longer_than_told() {
    run(async |runtime, journal, table| {
        table.is_down(true);
        let it = on(&journal, &table).build().unwrap();
        it.write("a", &"1".into()).await.unwrap();
        let began = runtime.now();
        assert_eq!(it.stop(seconds(5)).await.unwrap().writes, 1);
        assert_eq!(runtime.now().since(began), seconds(5));
        let asked = table.batches().len();
        runtime.sleep(minutes(5)).await;
        assert_eq!(table.batches().len(), asked, "it goes on after its end");

        // The next takes over where it left.
        table.is_down(false);
        let it = on(&journal, &table).build().unwrap();
        assert_eq!(it.drain(minutes(1)).await.unwrap().writes, 0);
        assert_eq!(table.row("a").as_deref(), Some("1"));
    });
}

#[test]
fn with_the_last_handle_the_flusher_leaves_and_the_next_begins_at_once() {
    run(async |runtime, journal, table| {
        let it = on(&journal, &table).linger(minutes(5)).build().unwrap();
        it.write("a", &"1".into()).await.unwrap();
        drop(it.clone());
        runtime.sleep(millis(1)).await;
        drop(it);
        runtime.sleep(millis(1)).await;
        let began = runtime.now();
        let it = on(&journal, &table).build().unwrap();
        it.drain(seconds(1)).await.unwrap();
        assert!(runtime.now().since(began) < millis(10));
        assert_eq!(table.row("a").as_deref(), Some("1"));
    });
}

#[test]
fn one_flusher_works_at_a_time_and_another_takes_over() {
    run(async |runtime, journal, table| {
        // Nobody prolongs what a process held that crashed.
        let crashed = journal.lead("crashed", seconds(30)).await.unwrap().unwrap();
        let it = on(&journal, &table).build().unwrap();
        it.write("a", &"1".into()).await.unwrap();
        runtime.sleep(seconds(29)).await;
        assert!(table.batches().is_empty());
        runtime.sleep(seconds(11)).await;
        assert_eq!(table.row("a").as_deref(), Some("1"));
        assert!(!journal.settle(&crashed, &[]).await.unwrap(), "it settles after its term");
        assert_eq!(journal.lead("third", seconds(30)).await.unwrap(), None);
        runtime.sleep(minutes(5)).await;
        assert_eq!(journal.lead("third", seconds(30)).await.unwrap(), None, "it was not prolonged");
    });
}

#[test]
fn a_sink_that_hangs_or_panics_has_failed() {
    run(async |runtime, journal, _| {
        let calls = Arc::new(AtomicUsize::new(0));
        let save = {
            let calls = Arc::clone(&calls);
            move |_: Vec<Write<String>>| {
                let call = calls.fetch_add(1, Ordering::SeqCst);
                async move {
                    match call {
                        0 => pending().await,
                        1 if cfg!(panic = "unwind") => panic!("on purpose"),
                        _ => Ok::<_, SinkError>(()),
                    }
                }
            }
        };
        let it = WriteBehind::volatile(journal, save).build().unwrap();
        it.write("a", &"1".into()).await.unwrap();
        runtime.sleep(seconds(10)).await;
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert_eq!(it.drain(seconds(10)).await.unwrap().writes, 0);
        assert!(calls.load(Ordering::SeqCst) >= 2);
    });
}

#[test]
fn settings_that_cannot_work_are_named() {
    type Change = fn(WriteBehindBuilder<String, Table>) -> WriteBehindBuilder<String, Table>;
    let cases: [(&str, Change); 7] = [
        ("batch: it is 0", |b| b.batch(0)),
        ("attempts: it is 0", |b| b.attempts(0)),
        ("backoff: the first wait is zero", |b| b.backoff(millis(0), seconds(1))),
        ("save_timeout: it is zero", |b| b.save_timeout(millis(0))),
        ("lease: it is shorter than twice", |b| b.lease(seconds(15))),
        ("poll: it is zero", |b| b.poll(millis(0))),
        ("window: it is smaller than a batch", |b| b.window(99, 1)),
    ];
    let runtime = VirtualRuntime::seeded(1);
    for (said, change) in cases {
        let error = change(on(&journal(&runtime), &Table::default())).build().unwrap_err();
        assert!(error.to_string().starts_with(said), "{error}");
    }
    let strict: WriteBehindBuilder<String, Table> =
        WriteBehindBuilder::new(Arc::new(journal(&runtime)), Table::default(), true);
    assert!(strict.build().unwrap_err().to_string().contains("WriteBehind::volatile"));
}

#[test]
fn keys_and_values_beyond_the_limits_are_refused() {
    run(async |_, journal, table| {
        let it = on(&journal, &table).build().unwrap();
        assert!(matches!(it.write("", &"1".into()).await, Err(Error::Key(_))));
        let error = it.write("a", &"x".repeat(1 << 20)).await.unwrap_err();
        assert!(matches!(error, Error::Store(error) if error.kind() == StoreErrorKind::TooLarge));
        assert!(journal.is_empty());
    });
}

/// A machine whose clock is set, and which sleeps.
#[derive(Debug, Clone)]
struct Machine {
    runtime: VirtualRuntime,
    set_back: Arc<Mutex<Duration>>,
    slept: Arc<Mutex<Duration>>,
}

impl Machine {
    fn on(runtime: &VirtualRuntime) -> Self {
        Self { runtime: runtime.clone(), set_back: Arc::default(), slept: Arc::default() }
    }

    /// The time passes, and the steady clock stands still.
    fn sleeps(&self, time: Duration) {
        self.runtime.advance(time);
        *lock(&self.slept) += time;
    }
}

impl Runtime for Machine {
    fn now(&self) -> Timestamp {
        self.runtime.now() - *lock(&self.set_back)
    }

    fn steady(&self) -> Duration {
        self.runtime.steady() - *lock(&self.slept)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.runtime.sleep(duration)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.runtime.spawn(task);
    }
}

#[test]
fn a_clock_that_is_set_back_holds_nothing_up() {
    run(async |runtime, journal, table| {
        let machine = Machine::on(&runtime);
        let it = on(&journal, &table).runtime(machine.clone()).linger(seconds(1)).build().unwrap();
        it.write("a", &"1".into()).await.unwrap();
        runtime.sleep(millis(10)).await;
        *lock(&machine.set_back) = hours(1);
        runtime.sleep(seconds(1)).await;
        assert_eq!(table.row("a").as_deref(), Some("1"));
        runtime.sleep(minutes(5)).await;
        assert_eq!(journal.lead("other", seconds(30)).await.unwrap(), None, "it was not prolonged");

        table.is_down(true);
        it.write("a", &"2".into()).await.unwrap();
        let set_back = async {
            runtime.sleep(seconds(1)).await;
            *lock(&machine.set_back) = hours(2);
        };
        let began = runtime.now();
        let (left, ()) = futures::join!(it.stop(seconds(5)), set_back);
        assert_eq!((left.unwrap().writes, runtime.now().since(began)), (1, seconds(5)));
    });
}

#[test]
fn a_flusher_counts_the_time_that_its_machine_slept() {
    let runtime = VirtualRuntime::seeded(1);
    let machine = Machine::on(&runtime);
    let pace = Pace::new(Arc::new(machine.clone()));
    let began = pace.now();
    machine.sleeps(hours(1));
    assert_eq!(pace.now().since(began), hours(1));
    *lock(&machine.set_back) = hours(2);
    assert_eq!(pace.now().since(began), hours(1));
    runtime.advance(seconds(1));
    assert_eq!(pace.now().since(began), hours(1) + seconds(1));
}
