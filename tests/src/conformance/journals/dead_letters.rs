//! What could not be saved.

use larder_core::write_behind::{Backlog, DeadLetter, Room, Sequence, Settled};

use super::{JournalBench, case_list, pairs};
use crate::conformance::CaseResult;
use crate::conformance::case::{ensure, ensure_eq};

case_list!("journals::dead_letters":
    what_died_is_listed_as_it_was,
    the_list_has_pages,
    there_is_one_of_a_key_and_it_is_the_newest,
    a_later_write_that_is_saved_removes_it,
    what_is_replayed_is_handed_out_until_it_is_settled,
    what_dies_again_waits_to_be_asked_for_again,
    what_is_discarded_is_gone,
);

async fn what_died_is_listed_as_it_was(it: JournalBench) -> CaseResult {
    let (first, second) = (it.append("Zoë", "1").await?, it.append("Zoë", "2").await?);
    let term = it.lead("me").await?;
    let death = it.death("it is «too» long");
    it.settle(&term, &[Settled::dead("Zoë", vec![first, second], death.clone())]).await?;
    let letter = DeadLetter::new(second, "Zoë", death);
    ensure_eq!(it.another_handle().await?.dead_letters(None, 9).await?, [letter], "the list");
    ensure_eq!(it.waiting().await?, [], "what waits");
    Ok(())
}

async fn the_list_has_pages(it: JournalBench) -> CaseResult {
    let term = it.lead("me").await?;
    for key in ["c", "a", "b"] {
        let place = it.append(key, "1").await?;
        it.settle(&term, &[Settled::dead(key, vec![place], it.death("why"))]).await?;
    }
    let page = async |after: Option<Sequence>, limit| {
        let page = it.journal.dead_letters(after, limit).await?;
        Ok::<Vec<_>, larder_core::StoreError>(
            page.into_iter().map(|letter| (letter.key, letter.sequence)).collect(),
        )
    };
    let first = page(None, 2).await?;
    ensure_eq!(first.iter().map(|it| it.0.as_str()).collect::<Vec<_>>(), ["c", "a"], "the first");
    let second = page(Some(first[1].1), 2).await?;
    ensure_eq!(second.iter().map(|it| it.0.as_str()).collect::<Vec<_>>(), ["b"], "the second");
    ensure_eq!(page(Some(second[0].1), 2).await?, [], "the third");
    Ok(())
}

async fn there_is_one_of_a_key_and_it_is_the_newest(it: JournalBench) -> CaseResult {
    let (old, new) = (it.append("a", "1").await?, it.append("a", "2").await?);
    let term = it.lead("me").await?;
    it.settle(&term, &[Settled::dead("a", vec![old], it.death("old"))]).await?;
    it.settle(&term, &[Settled::dead("a", vec![new], it.death("new"))]).await?;
    ensure_eq!(it.dead().await?, pairs(&[("a", "new")]), "what is dead");
    // As after a lost answer.
    it.settle(&term, &[Settled::dead("a", vec![old], it.death("old"))]).await?;
    ensure_eq!(it.dead().await?, pairs(&[("a", "new")]), "what is dead then");
    ensure_eq!(it.journal.backlog().await?, Backlog::new(0, None, 1), "the backlog");
    Ok(())
}

async fn a_later_write_that_is_saved_removes_it(it: JournalBench) -> CaseResult {
    let (a, b) = (it.append("a", "1").await?, it.append("b", "2").await?);
    let (dead, later) = (it.append("a", "3").await?, it.append("a", "4").await?);
    let term = it.lead("me").await?;
    it.settle(&term, &[Settled::dead("a", vec![dead], it.death("why"))]).await?;
    let others = [Settled::saved("a", vec![a]), Settled::saved("b", vec![b])];
    it.settle(&term, &others).await?;
    ensure_eq!(it.dead().await?.len(), 1, "after an older one, and another key's");
    it.settle(&term, &[Settled::saved("a", vec![later])]).await?;
    ensure_eq!(it.dead().await?, [], "after a later one");
    ensure!(!it.journal.replay(dead).await?, "it can be replayed");
    ensure_eq!(it.journal.backlog().await?, Backlog::default(), "the backlog");
    Ok(())
}

async fn what_is_replayed_is_handed_out_until_it_is_settled(it: JournalBench) -> CaseResult {
    let (a, b) = (it.append("a", "1").await?, it.append("b", "2").await?);
    let term = it.lead("me").await?;
    let death = it.death("why");
    let died = |(key, place)| Settled::dead(key, vec![place], death.clone());
    it.settle(&term, &[("a", a), ("b", b)].map(died)).await?;
    ensure_eq!(it.journal.replayed(Room::of_writes(10)).await?, [], "before");
    ensure!(!it.journal.replay(Sequence::from_number(1)).await?, "one that is not there");
    ensure!(it.another_handle().await?.replay(b).await?, "one that is there");
    ensure!(it.journal.replay(b).await?, "and again");
    let replayed = it.journal.replayed(Room::of_writes(10)).await?;
    ensure_eq!(replayed, [DeadLetter::new(b, "b", death)], "what is asked for");
    ensure_eq!(it.journal.replayed(Room::of_writes(0)).await?, [], "without room");
    ensure!(it.journal.replay(a).await?, "the other");
    ensure_eq!(it.journal.replayed(Room::new(9, 1)).await?.len(), 1, "with room for a byte");
    it.settle(&term, &[Settled::dead("a", vec![a], it.death("why"))]).await?;
    ensure_eq!(it.dead().await?.len(), 2, "the list");
    ensure_eq!(it.journal.backlog().await?, Backlog::new(1, None, 2), "the backlog");
    it.settle(&term, &[Settled::saved("b", vec![b])]).await?;
    ensure_eq!(it.journal.replayed(Room::of_writes(10)).await?, [], "after");
    ensure_eq!(it.dead().await?, pairs(&[("a", "why")]), "the list after");
    Ok(())
}

async fn what_dies_again_waits_to_be_asked_for_again(it: JournalBench) -> CaseResult {
    let a = it.append("a", "1").await?;
    let term = it.lead("me").await?;
    it.settle(&term, &[Settled::dead("a", vec![a], it.death("first"))]).await?;
    it.journal.replay(a).await?;
    it.settle(&term, &[Settled::dead("a", vec![a], it.death("second"))]).await?;
    ensure_eq!(it.dead().await?, pairs(&[("a", "second")]), "the list");
    ensure_eq!(it.journal.replayed(Room::of_writes(10)).await?, [], "what is asked for");
    ensure_eq!(it.journal.backlog().await?, Backlog::new(0, None, 1), "the backlog");
    ensure!(it.journal.replay(a).await?, "it can be replayed again");
    Ok(())
}

async fn what_is_discarded_is_gone(it: JournalBench) -> CaseResult {
    let a = it.append("a", "1").await?;
    ensure!(!it.journal.discard(a).await?, "a write that is not dead");
    let term = it.lead("me").await?;
    it.settle(&term, &[Settled::dead("a", vec![a], it.death("why"))]).await?;
    it.journal.replay(a).await?;
    ensure!(it.journal.discard(a).await?, "a dead letter");
    ensure!(!it.journal.discard(a).await?, "and again");
    ensure_eq!(it.dead().await?, [], "the list");
    ensure_eq!(it.journal.replayed(Room::of_writes(10)).await?, [], "what is asked for");
    ensure_eq!(it.journal.backlog().await?, Backlog::default(), "the backlog");
    Ok(())
}
