//! Requests of one session at the same time, through `Sessions`.

use larder_core::Sessions;
use larder_core::session::SessionId;

use super::Subject;
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Failure, Need};

cases!("sessions::together", "13":
    different_keys_are_all_kept [Need::StrongSessions],
    one_of_many_creations_wins [Need::StrongSessions],
    a_log_out_is_final [Need::StrongSessions],
);

/// How many requests there are at once: few enough for what a request may do on Workers.
const REQUESTS: u32 = 8;

async fn signed_in(it: &Subject) -> Result<(Sessions, SessionId), Failure> {
    let sessions = Sessions::eventual(it.store.clone()).namespace(it.key("s")).build()?;
    let visit = sessions.open(None);
    visit.sign_in(it.key("zoë")).await?;
    let saved = visit.save().await?;
    let id = saved.cookie.id().cloned();
    Ok((sessions, id.ok_or_else(|| Failure::new("no id was given"))?))
}

async fn different_keys_are_all_kept(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let (sessions, id) = signed_in(&it).await?;
    let requests = (0..REQUESTS).map(|n| {
        let visit = sessions.open(Some(id.clone()));
        async move {
            visit.user().await?;
            visit.insert(format!("k{n}"), &n).await?;
            visit.save().await
        }
    });
    for saved in it.bench.together(requests).await? {
        let saved = saved?;
        ensure!(!saved.is_lost && saved.overwritten.is_empty(), "a save says {saved:?}");
    }
    let visit = sessions.open(Some(id));
    for n in 0..REQUESTS {
        ensure_eq!(visit.get::<u32>(format!("k{n}")).await?, Some(n), "k{n}");
    }
    Ok(())
}

async fn one_of_many_creations_wins(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let key = it.key("a");
    let creations = (0..REQUESTS).map(|n| {
        let (store, key, record) = (it.store.clone(), key.clone(), it.of_user("zoë", n));
        async move { store.create(&key, &record).await }
    });
    let mut created = 0;
    for version in it.bench.together(creations).await? {
        created += u32::from(version?.is_some());
    }
    ensure_eq!(created, 1, "how many were made");
    Ok(())
}

async fn a_log_out_is_final(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let (sessions, id) = signed_in(&it).await?;
    let requests = (0..REQUESTS).map(|n| {
        let visit = sessions.open(Some(id.clone()));
        async move {
            visit.user().await?;
            match n {
                3 => drop(visit.end().await?),
                n if n % 2 == 0 => visit.insert(format!("k{n}"), &n).await?,
                _ => visit.renew().await?,
            }
            visit.save().await
        }
    });
    let mut ids = Vec::new();
    for saved in it.bench.together(requests).await? {
        ids.extend(saved?.cookie.id().cloned());
    }
    ids.push(id);
    let list = sessions.of_user(&it.key("zoë")).await?;
    ensure_eq!(list, [], "the user's sessions");
    for id in ids {
        ensure_eq!(sessions.open(Some(id)).user().await?, None, "who is signed in");
    }
    Ok(())
}
