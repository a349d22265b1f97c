//! Who may flush.

use larder_core::write_behind::Settled;
use larder_core::{millis, seconds};

use super::{JournalBench, case_list};
use crate::conformance::CaseResult;
use crate::conformance::case::{ensure, ensure_eq};

case_list!("journals::terms":
    one_leads_at_a_time,
    who_resigns_makes_way,
    a_term_that_ran_out_is_not_prolonged,
    nothing_is_settled_after_the_term,
);

async fn one_leads_at_a_time(it: JournalBench) -> CaseResult {
    let other = it.another_handle().await?;
    let term = it.lead("one").await?;
    ensure_eq!(term.flusher, "one", "whose it is");
    ensure_eq!(other.lead("two", seconds(60)).await?, None, "another's");
    ensure_eq!(it.lead("one").await?, term, "the same, prolonged");
    Ok(())
}

async fn who_resigns_makes_way(it: JournalBench) -> CaseResult {
    let one = it.lead("one").await?;
    it.journal.resign(&one).await?;
    let two = it.lead("two").await?;
    ensure!(two.number > one.number, "the number {} after {}", two.number, one.number);
    // Too late.
    it.journal.resign(&one).await?;
    ensure_eq!(it.journal.lead("one", seconds(60)).await?, None, "the first again");
    it.journal.resign(&two).await?;
    let again = it.lead("two").await?;
    ensure!(again.number > two.number, "the number {} after {}", again.number, two.number);
    Ok(())
}

async fn a_term_that_ran_out_is_not_prolonged(it: JournalBench) -> CaseResult {
    let Some(first) = it.journal.lead("one", millis(30)).await? else {
        return Err(crate::conformance::Failure::new("one may not lead"));
    };
    it.journal.runtime().sleep(millis(60)).await;
    let second = it.lead("one").await?;
    ensure!(second.number > first.number, "the number {} again", second.number);
    ensure!(!it.journal.settle(&first, &[]).await?, "the first still settles");
    it.settle(&second, &[]).await
}

async fn nothing_is_settled_after_the_term(it: JournalBench) -> CaseResult {
    let place = it.append("a", "1").await?;
    let Some(late) = it.journal.lead("late", millis(30)).await? else {
        return Err(crate::conformance::Failure::new("late may not lead"));
    };
    let next = loop {
        match it.journal.lead("next", seconds(60)).await? {
            Some(term) => break term,
            None => it.pause().await,
        }
    };
    for settled in
        [Settled::saved("a", vec![place]), Settled::dead("a", vec![place], it.death("why"))]
    {
        ensure!(!it.journal.settle(&late, &[settled]).await?, "it is settled");
    }
    ensure_eq!(it.waiting().await?.len(), 1, "what waits");
    ensure_eq!(it.dead().await?, [], "what is dead");
    it.settle(&next, &[Settled::saved("a", vec![place])]).await?;
    ensure_eq!(it.waiting().await?, [], "what waits then");
    Ok(())
}
