//! Writes, from their being appended to their being settled.

use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use larder_core::StoreErrorKind;
use larder_core::write_behind::{Backlog, Room, Settled};

use super::{JournalBench, case_list, pairs};
use crate::conformance::CaseResult;
use crate::conformance::case::{ensure, ensure_eq};

case_list!("journals::writes":
    what_is_appended_is_read_in_order,
    no_more_is_read_than_there_is_room_for,
    keys_and_values_may_hold_anything,
    another_handle_sees_what_was_appended,
    places_grow_however_many_write_at_once,
    what_is_settled_is_gone,
    a_thousand_writes_are_settled_at_once,
    the_backlog_tells_how_much_waits_and_since_when,
    a_full_journal_takes_no_more_until_something_is_settled,
);

async fn what_is_appended_is_read_in_order(it: JournalBench) -> CaseResult {
    it.journal.ready().await?;
    ensure_eq!(it.journal.read(None, Room::of_writes(10)).await?, [], "an empty journal");
    let mut places = Vec::new();
    for (key, value) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", ""), ("a", "4")] {
        places.push(it.append(key, value).await?);
    }
    ensure!(places.is_sorted_by(|a, b| a < b), "the places are {places:?}");
    let all = it.journal.read(None, Room::of_writes(10)).await?;
    let read: Vec<_> = all.iter().map(|write| write.sequence).collect();
    ensure_eq!(read, places, "the places");
    let expected = pairs(&[("a", "1"), ("b", "2"), ("a", "3"), ("c", ""), ("a", "4")]);
    ensure_eq!(it.waiting().await?, expected, "what waits");
    ensure_eq!(it.journal.read(Some(places[1]), Room::of_writes(2)).await?, all[2..4], "a page");
    ensure_eq!(
        it.journal.read(Some(places[4]), Room::of_writes(2)).await?,
        [],
        "what comes after the last"
    );
    Ok(())
}

async fn no_more_is_read_than_there_is_room_for(it: JournalBench) -> CaseResult {
    // So many that a journal which reads by pages of its own has several.
    for _ in 0..100 {
        it.append("a", "0123456789").await?;
    }
    let read = async |writes, bytes| {
        let read = it.journal.read(None, Room::new(writes, bytes)).await?;
        Ok::<_, larder_core::StoreError>(read.len())
    };
    for (writes, bytes, expected) in [
        (0, 100, 0),
        (1, 100, 1),
        (70, 10_000, 70),
        (1_000, usize::MAX, 100),
        // It ends with the value that reaches the bytes.
        (50, 30, 3),
        (50, 31, 4),
        (100, 645, 65),
        (100, 1, 1),
    ] {
        ensure_eq!(read(writes, bytes).await?, expected, "{writes} writes and {bytes} bytes");
    }
    Ok(())
}

async fn keys_and_values_may_hold_anything(it: JournalBench) -> CaseResult {
    let bytes: Bytes = (0..=255).collect();
    let large = Bytes::from(vec![7; it.journal.capabilities().max_value_bytes]);
    let long = "k".repeat(it.journal.capabilities().max_key_bytes);
    for (key, value) in [("Zoë: {a} \u{1F600} '\"", &bytes), (&long, &Bytes::new()), ("l", &large)]
    {
        let place = it.journal.append(key, value.clone()).await?;
        let found = it.journal.read(None, Room::of_writes(10)).await?.pop();
        let Some(found) = found else {
            return Err(crate::conformance::Failure::new("it is not there"));
        };
        ensure_eq!((found.sequence, found.key.as_str()), (place, key), "the write");
        ensure!(found.value == *value, "the value of {key:.20}");
    }
    Ok(())
}

async fn another_handle_sees_what_was_appended(it: JournalBench) -> CaseResult {
    let other = it.another_handle().await?;
    ensure_eq!(other.id(), it.journal.id(), "the id");
    let place = it.append("a", "1").await?;
    ensure_eq!(other.read(None, Room::of_writes(10)).await?.len(), 1, "what the other sees");
    let next = other.append("a", Bytes::from_static(b"2")).await?;
    ensure!(place < next, "{next} after {place}");
    ensure_eq!(it.waiting().await?, pairs(&[("a", "1"), ("a", "2")]), "what both appended");
    Ok(())
}

async fn places_grow_however_many_write_at_once(it: JournalBench) -> CaseResult {
    let other = it.another_handle().await?;
    let writer = async |number: usize| {
        let journal = if number.is_multiple_of(2) { &other } else { &it.journal };
        let mut places = Vec::new();
        for _ in 0..10 {
            places.push(journal.append(&number.to_string(), Bytes::from_static(b"v")).await?);
        }
        Ok::<_, larder_core::StoreError>(places)
    };
    let places = try_join_all((0..40).map(writer)).await?;
    for places in &places {
        ensure!(places.is_sorted_by(|a, b| a < b), "of one writer: {places:?}");
    }
    let mut places: Vec<_> = places.into_iter().flatten().collect();
    places.sort_unstable();
    let read = it.journal.read(None, Room::of_writes(1_000)).await?;
    let read: Vec<_> = read.iter().map(|write| write.sequence).collect();
    ensure_eq!(read, places, "all places");
    Ok(())
}

async fn what_is_settled_is_gone(it: JournalBench) -> CaseResult {
    let (a, b) = (it.append("a", "1").await?, it.append("b", "2").await?);
    let (c, d) = (it.append("a", "3").await?, it.append("d", "4").await?);
    let term = it.lead("me").await?;
    it.settle(&term, &[]).await?;
    let settled = [Settled::saved("a", vec![a, c]), Settled::saved("d", vec![d])];
    it.settle(&term, &settled).await?;
    ensure_eq!(it.waiting().await?, pairs(&[("b", "2")]), "what waits");
    // As after a lost answer.
    it.settle(&term, &settled).await?;
    it.settle(&term, &[Settled::saved("b", vec![b])]).await?;
    ensure_eq!(it.waiting().await?, [], "what waits in the end");
    let next = it.append("a", "5").await?;
    ensure!(next > d, "the place {next} after {d}, in a journal that was empty");
    Ok(())
}

async fn a_thousand_writes_are_settled_at_once(it: JournalBench) -> CaseResult {
    let keys: Vec<String> = (0..100).map(|key| key.to_string()).collect();
    let mut settled: Vec<_> =
        keys.iter().map(|key| Settled::saved(key.as_str(), Vec::new())).collect();
    for _ in 0..100 {
        let appended = join_all(keys.iter().map(|key| it.append(key, "v"))).await;
        for (settled, place) in settled.iter_mut().zip(appended) {
            settled.sequences.push(place?);
        }
    }
    let rest = it.append("rest", "v").await.err().map(|error| error.kind());
    ensure_eq!(rest, Some(StoreErrorKind::Full), "beyond the limit");
    let term = it.lead("me").await?;
    it.settle(&term, &settled).await?;
    ensure_eq!(it.journal.backlog().await?, Backlog::default(), "the backlog");
    ensure_eq!(it.waiting().await?, [], "what waits");
    Ok(())
}

async fn the_backlog_tells_how_much_waits_and_since_when(it: JournalBench) -> CaseResult {
    ensure_eq!(it.journal.backlog().await?, Backlog::default(), "of an empty journal");
    let (a, b) = (it.append("a", "1").await?, it.append("b", "2").await?);
    ensure_eq!(it.journal.backlog().await?, Backlog::new(2, Some(a), 0), "of two writes");
    let now = it.journal.runtime().now();
    let age = now.since(a.written_at());
    ensure!(age < larder_core::seconds(60), "a write that was just appended is {age:?} old");
    let term = it.lead("me").await?;
    it.settle(&term, &[Settled::saved("a", vec![a])]).await?;
    ensure_eq!(it.journal.backlog().await?, Backlog::new(1, Some(b), 0), "of the second");
    it.settle(&term, &[Settled::dead("b", vec![b], it.death("why"))]).await?;
    ensure_eq!(it.journal.backlog().await?, Backlog::new(0, None, 1), "of a dead letter");
    Ok(())
}

async fn a_full_journal_takes_no_more_until_something_is_settled(it: JournalBench) -> CaseResult {
    let it = it.with_room_for(3).await?;
    let (a, b) = (it.append("a", "1").await?, it.append("b", "2").await?);
    it.append("c", "3").await?;
    let refused = async || it.append("d", "4").await.err().map(|error| error.kind());
    ensure_eq!(refused().await, Some(StoreErrorKind::Full), "a fourth");
    ensure_eq!(it.waiting().await?.len(), 3, "what waits");
    let term = it.lead("me").await?;
    // A dead letter takes the room of its write.
    it.settle(&term, &[Settled::dead("a", vec![a], it.death("why"))]).await?;
    ensure_eq!(refused().await, Some(StoreErrorKind::Full), "with a dead letter");
    it.settle(&term, &[Settled::saved("b", vec![b])]).await?;
    ensure_eq!(refused().await, None, "after one was saved");
    ensure_eq!(refused().await, Some(StoreErrorKind::Full), "and another");
    ensure!(it.journal.discard(a).await?, "the dead letter is gone");
    ensure_eq!(refused().await, None, "after it was discarded");
    Ok(())
}
