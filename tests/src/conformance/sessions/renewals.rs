//! A session that moves to another key.

use larder_core::minutes;
use larder_core::session::{Touch, Updated};

use super::{Subject, done};
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Need};

cases!("sessions::renewals", "12":
    nothing_stands_under_the_old_key [Need::Sessions],
    nothing_is_created_under_the_old_key [Need::StrongSessions],
    an_update_is_told_where_it_went [Need::Sessions],
    a_renewal_needs_the_version [Need::Sessions],
    a_renewal_takes_no_key_that_is_taken [Need::StrongSessions],
    an_end_follows [Need::Sessions],
);

async fn nothing_stands_under_the_old_key(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let (old, new) = (it.key("old"), it.key("new"));
    let version = it.create(&old, &it.record(1, minutes(1))).await?;
    let record = it.record(2, minutes(1));
    let moved = done(it.store.renew(&old, &version, &new, &record).await?)?;
    ensure!(moved != version, "the version stayed");
    ensure_eq!(it.number_at(&new).await?, Some(2), "what stands under the new key");
    ensure_eq!(it.number_at(&old).await?, None, "what stands under the old key");
    let touch = Touch::new(record.seen_at, None, record.expires_at);
    ensure!(!it.store.touch(&old, &touch).await?, "a touch under the old key");
    done(it.store.update(&new, &moved, &it.record(3, minutes(1))).await?)?;
    Ok(())
}

async fn nothing_is_created_under_the_old_key(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let (old, new) = (it.key("old"), it.key("new"));
    let version = it.create(&old, &it.record(1, minutes(1))).await?;
    done(it.store.renew(&old, &version, &new, &it.record(2, minutes(1))).await?)?;
    let anew = it.store.create(&old, &it.record(3, minutes(1))).await?;
    ensure_eq!(anew, None, "a creation under the old key");
    Ok(())
}

async fn an_update_is_told_where_it_went(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let (old, new, newest) = (it.key("old"), it.key("new"), it.key("newest"));
    let first = it.create(&old, &it.record(1, minutes(1))).await?;
    let second = done(it.store.renew(&old, &first, &new, &it.record(2, minutes(1))).await?)?;
    done(it.store.renew(&new, &second, &newest, &it.record(3, minutes(1))).await?)?;
    let (mut key, mut hops) = (old, 0);
    let theirs = loop {
        match it.store.update(&key, &first, &it.record(9, minutes(1))).await? {
            Updated::Moved(to) => (key, hops) = (to, hops + 1),
            Updated::Conflict(theirs) => break theirs,
            other => ensure!(false, "after {hops} hops: {other:?}"),
        }
        ensure!(hops <= 2, "it goes in a circle");
    };
    ensure_eq!((key, hops), (newest.clone(), 2), "where it went");
    ensure_eq!(theirs.session.data["n"].as_json(), "3", "what stands there");
    ensure_eq!(it.number_at(&newest).await?, Some(3), "what stands there afterwards");
    Ok(())
}

async fn a_renewal_needs_the_version(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let (old, new) = (it.key("old"), it.key("new"));
    let first = it.create(&old, &it.record(1, minutes(1))).await?;
    done(it.store.update(&old, &first, &it.record(2, minutes(1))).await?)?;
    let renewed = it.store.renew(&old, &first, &new, &it.record(3, minutes(1))).await?;
    ensure!(matches!(renewed, Updated::Conflict(_)), "of an old version: {renewed:?}");
    ensure_eq!(it.number_at(&old).await?, Some(2), "what stands under the old key");
    ensure_eq!(it.number_at(&new).await?, None, "what stands under the new key");
    it.store.remove(&old).await?;
    let renewed = it.store.renew(&old, &first, &new, &it.record(4, minutes(1))).await?;
    ensure!(matches!(renewed, Updated::Gone), "of what ended: {renewed:?}");
    ensure_eq!(it.number_at(&new).await?, None, "what stands under the new key");
    Ok(())
}

async fn a_renewal_takes_no_key_that_is_taken(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let (old, taken) = (it.key("old"), it.key("taken"));
    let version = it.create(&old, &it.record(1, minutes(1))).await?;
    it.create(&taken, &it.record(7, minutes(1))).await?;
    let renewed = it.store.renew(&old, &version, &taken, &it.record(2, minutes(1))).await?;
    ensure!(matches!(renewed, Updated::Taken), "it says {renewed:?}");
    ensure_eq!(it.number_at(&old).await?, Some(1), "what stands under the old key");
    ensure_eq!(it.number_at(&taken).await?, Some(7), "what stands under the other");
    Ok(())
}

async fn an_end_follows(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let (old, new) = (it.key("old"), it.key("new"));
    let version = it.create(&old, &it.record(1, minutes(1))).await?;
    done(it.store.renew(&old, &version, &new, &it.record(2, minutes(1))).await?)?;
    ensure!(it.store.remove(&old).await?, "there was a session");
    ensure_eq!(it.number_at(&new).await?, None, "what stands under the new key");
    Ok(())
}
