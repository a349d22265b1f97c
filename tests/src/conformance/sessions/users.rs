//! The sessions of a user.

use larder_core::seconds;
use larder_core::session::Touch;

use super::{Subject, done};
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Need};

cases!("sessions::users", "13":
    a_list_shows_who_was_seen_last_first [Need::Sessions],
    a_list_holds_nothing_of_others [Need::Sessions],
    all_but_one_end [Need::Sessions],
    a_renewed_session_stays_its_users [Need::Sessions],
    the_one_that_stays_does_not_end_by_its_old_key [Need::Sessions],
    what_is_ended_by_one_handle_is_gone_for_another [Need::StrongSessions],
);

async fn a_list_shows_who_was_seen_last_first(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let (user, names) = (it.key("zoë"), ["a", "b", "c"]);
    for (n, name) in (0..).zip(names) {
        let mut record = it.of_user(&user, n);
        record.seen_at = record.seen_at + seconds(u64::from(n));
        record.seen_from = Some(name.into());
        it.create(&it.key(name), &record).await?;
    }
    let places = async || {
        let list = it.store.of_user(&user).await?;
        Ok::<Vec<_>, crate::conformance::Failure>(
            list.into_iter().map(|it| it.seen_from.unwrap_or_default()).collect(),
        )
    };
    ensure_eq!(places().await?, ["c", "b", "a"], "the list");
    let now = it.store.runtime().now();
    let touch = Touch::new(now + seconds(60), Some("A".into()), now + seconds(600));
    it.store.touch(&it.key("a"), &touch).await?;
    ensure_eq!(places().await?, ["A", "c", "b"], "the list after a touch");
    it.store.remove(&it.key("c")).await?;
    ensure_eq!(places().await?, ["A", "b"], "the list after an end");
    Ok(())
}

async fn a_list_holds_nothing_of_others(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let (zoë, max) = (it.key("zoë"), it.key("max"));
    ensure_eq!(it.store.of_user(&zoë).await?, [], "a user without sessions");
    let version = it.create(&it.key("a"), &it.of_user(&zoë, 1)).await?;
    it.create(&it.key("b"), &it.of_user(&max, 2)).await?;
    let keys = async |user: &str| {
        let list = it.store.of_user(user).await?;
        Ok::<Vec<_>, crate::conformance::Failure>(list.into_iter().map(|it| it.key).collect())
    };
    ensure_eq!(keys(&zoë).await?, [it.key("a")], "the one's");
    ensure_eq!(keys(&max).await?, [it.key("b")], "the other's");
    done(it.store.update(&it.key("a"), &version, &it.of_user(&max, 1)).await?)?;
    ensure_eq!(keys(&zoë).await?.len(), 0, "the one's, when the session is another's");
    ensure_eq!(keys(&max).await?.len(), 2, "the other's");
    ensure_eq!(it.store.remove_of_user(&zoë, None).await?, 0, "ends of the one's");
    ensure_eq!(keys(&max).await?.len(), 2, "the other's after that");
    Ok(())
}

async fn all_but_one_end(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let user = it.key("zoë");
    for (n, name) in (0..).zip(["a", "b", "c"]) {
        it.create(&it.key(name), &it.of_user(&user, n)).await?;
    }
    it.create(&it.key("stranger"), &it.record(9, seconds(60))).await?;
    let ended = it.store.remove_of_user(&user, Some(&it.key("b"))).await?;
    ensure_eq!(ended, 2, "how many ended");
    for (name, left) in [("a", None), ("b", Some(1)), ("c", None), ("stranger", Some(9))] {
        ensure_eq!(it.number_at(&it.key(name)).await?, left, "{name}");
    }
    ensure_eq!(it.store.remove_of_user(&user, None).await?, 1, "how many are left to end");
    ensure_eq!(it.store.of_user(&user).await?, [], "the list in the end");
    Ok(())
}

async fn a_renewed_session_stays_its_users(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let user = it.key("zoë");
    let version = it.create(&it.key("old"), &it.of_user(&user, 1)).await?;
    let record = it.of_user(&user, 2);
    done(it.store.renew(&it.key("old"), &version, &it.key("new"), &record).await?)?;
    let list = it.store.of_user(&user).await?;
    ensure_eq!(list.len(), 1, "how many the list has");
    ensure_eq!(list[0].key, it.key("new"), "which one");
    ensure_eq!(it.store.remove_of_user(&user, None).await?, 1, "how many ended");
    ensure_eq!(it.number_at(&it.key("new")).await?, None, "what is left of it");
    Ok(())
}

async fn the_one_that_stays_does_not_end_by_its_old_key(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let (user, new) = (it.key("zoë"), it.key("new"));
    let version = it.create(&it.key("old"), &it.of_user(&user, 1)).await?;
    it.create(&it.key("other"), &it.of_user(&user, 2)).await?;
    done(it.store.renew(&it.key("old"), &version, &new, &it.of_user(&user, 3)).await?)?;
    ensure_eq!(it.store.remove_of_user(&user, Some(&new)).await?, 1, "how many ended");
    ensure_eq!(it.number_at(&new).await?, Some(3), "the one that was to stay");
    Ok(())
}

async fn what_is_ended_by_one_handle_is_gone_for_another(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let (user, key) = (it.key("zoë"), it.key("a"));
    let other = it.bench.another_handle_on_sessions().await?;
    it.create(&key, &it.of_user(&user, 1)).await?;
    ensure_eq!(other.of_user(&user).await?.len(), 1, "what the other lists");
    ensure!(other.load(&key).await?.is_some(), "what the other loads");
    ensure!(it.store.remove(&key).await?, "it ends");
    ensure!(other.load(&key).await?.is_none(), "what the other loads then");
    ensure_eq!(other.of_user(&user).await?, [], "what the other lists then");
    Ok(())
}
