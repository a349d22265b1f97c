//! One session under one key.

use larder_core::session::{Touch, Updated, Value};
use larder_core::{millis, minutes, seconds};

use super::{Subject, done};
use crate::conformance::case::{cases, ensure, ensure_eq};
use crate::conformance::{Bench, CaseResult, Need};

cases!("sessions::records", "13":
    what_is_created_is_loaded [Need::Sessions],
    what_stands_is_not_created_anew [Need::StrongSessions],
    what_ended_is_not_created_anew [Need::StrongSessions],
    an_update_needs_the_version [Need::Sessions],
    nothing_is_updated_that_is_not_there [Need::Sessions],
    a_touch_moves_the_end_and_nothing_else [Need::Sessions],
    a_touch_brings_nothing_forward_and_nothing_back [Need::Sessions],
    a_session_is_gone_after_its_time [Need::Sessions],
);

async fn what_is_created_is_loaded(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let key = it.key("a");
    ensure!(it.load(&key).await?.is_none(), "there is something before");
    let mut record = it.of_user("zoë", 7);
    record.seen_from = Some("203.0.113.9 «Zoë's phone»".into());
    record.data.insert("umläut~\n".into(), Value::of(&["\"", "\u{1F600}", "\\"])?);
    record.data.insert(String::new(), Value::of(&())?);
    let version = it.create(&key, &record).await?;
    let Some(found) = it.load(&key).await? else {
        return Err(crate::conformance::Failure::new("it is not there"));
    };
    ensure_eq!(found.session.data, record.data, "the data");
    ensure_eq!(found.session.user, record.user, "the user");
    ensure_eq!(found.session.seen_from, record.seen_from, "where it was seen");
    for (what, found, put) in [
        ("its beginning", found.session.created_at, record.created_at),
        ("its last use", found.session.seen_at, record.seen_at),
        ("its end", found.session.expires_at, record.expires_at),
    ] {
        ensure_eq!(found.as_millis(), put.as_millis(), "{what}");
    }
    ensure_eq!(found.version, version, "the version");
    Ok(())
}

async fn what_stands_is_not_created_anew(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let key = it.key("a");
    it.create(&key, &it.record(1, minutes(1))).await?;
    let second = it.store.create(&key, &it.record(2, minutes(1))).await?;
    ensure_eq!(second, None, "what the second creation says");
    ensure_eq!(it.number_at(&key).await?, Some(1), "what stands there");
    Ok(())
}

async fn what_ended_is_not_created_anew(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let key = it.key("a");
    it.create(&key, &it.record(1, minutes(1))).await?;
    ensure!(it.store.remove(&key).await?, "it was there");
    ensure!(!it.store.remove(&key).await?, "it ended twice");
    ensure_eq!(it.number_at(&key).await?, None, "what stands there");
    let second = it.store.create(&key, &it.record(2, minutes(1))).await?;
    ensure_eq!(second, None, "what a creation says");
    ensure!(!it.store.remove(&it.key("b")).await?, "there never was another");
    Ok(())
}

async fn an_update_needs_the_version(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let key = it.key("a");
    let first = it.create(&key, &it.record(1, minutes(1))).await?;
    let second = done(it.store.update(&key, &first, &it.record(2, minutes(1))).await?)?;
    ensure!(second != first, "the version stayed");
    match it.store.update(&key, &first, &it.record(3, minutes(1))).await? {
        Updated::Conflict(theirs) => {
            ensure_eq!(theirs.version, second, "the version of what stands there");
            ensure_eq!(theirs.session.data["n"].as_json(), "2", "what stands there");
        }
        other => ensure!(false, "an update of an old version: {other:?}"),
    }
    ensure_eq!(it.number_at(&key).await?, Some(2), "what stands there");
    // An update that is sent again, as its answer was lost, meets its own work.
    let third = done(it.store.update(&key, &second, &it.record(4, minutes(1))).await?)?;
    ensure!(third != first && third != second, "a version was used twice");
    Ok(())
}

async fn nothing_is_updated_that_is_not_there(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let key = it.key("a");
    let version = it.create(&key, &it.record(1, minutes(1))).await?;
    it.store.remove(&key).await?;
    for (key, why) in [(key, "ended"), (it.key("b"), "never was")] {
        let updated = it.store.update(&key, &version, &it.record(2, minutes(1))).await?;
        ensure!(matches!(updated, Updated::Gone), "an update of what {why}: {updated:?}");
        ensure_eq!(it.number_at(&key).await?, None, "what stands there");
    }
    Ok(())
}

async fn a_touch_moves_the_end_and_nothing_else(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let key = it.key("a");
    let record = it.of_user("zoë", 1);
    let version = it.create(&key, &record).await?;
    let seen = record.seen_at + seconds(30);
    let touch = Touch::new(seen, Some("here".into()), record.expires_at + seconds(30));
    ensure!(it.store.touch(&key, &touch).await?, "it is there");
    let Some(found) = it.load(&key).await? else {
        return Err(crate::conformance::Failure::new("it is gone"));
    };
    ensure_eq!(found.session.seen_at.as_millis(), seen.as_millis(), "its last use");
    ensure_eq!(found.session.seen_from.as_deref(), Some("here"), "where");
    ensure_eq!(found.session.expires_at.as_millis(), touch.expires_at.as_millis(), "its end");
    ensure_eq!(found.session.user.as_deref(), Some("zoë"), "its user");
    ensure_eq!(found.session.data, record.data, "its data");
    done(it.store.update(&key, &version, &it.record(2, minutes(1))).await?)?;
    Ok(())
}

async fn a_touch_brings_nothing_forward_and_nothing_back(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let key = it.key("a");
    let record = it.record(1, minutes(5));
    let early = Touch::new(record.seen_at - seconds(9), None, record.expires_at - seconds(9));
    ensure!(!it.store.touch(&key, &early).await?, "a touch of nothing");
    it.create(&key, &record).await?;
    ensure!(it.store.touch(&key, &early).await?, "it is there");
    let found = it.load(&key).await?.map(|found| (found.session.seen_at, found.session.expires_at));
    let found = found.map(|(seen, end)| (seen.as_millis(), end.as_millis()));
    let put = (record.seen_at.as_millis(), record.expires_at.as_millis());
    ensure_eq!(found, Some(put), "its last use and its end");
    it.store.remove(&key).await?;
    ensure!(!it.store.touch(&key, &early).await?, "a touch of what ended");
    ensure_eq!(it.number_at(&key).await?, None, "what stands there");
    Ok(())
}

async fn a_session_is_gone_after_its_time(bench: Bench) -> CaseResult {
    let it = Subject::new(bench)?;
    let key = it.key("a");
    let mut record = it.record(1, millis(150));
    record.user = Some(it.key("zoë"));
    let version = it.create(&key, &record).await?;
    it.bench.pass(millis(151)).await;
    ensure_eq!(it.number_at(&key).await?, None, "what stands there");
    ensure_eq!(it.store.of_user(&it.key("zoë")).await?, [], "what the list shows");
    let updated = it.store.update(&key, &version, &it.record(2, minutes(1))).await?;
    ensure!(matches!(updated, Updated::Gone), "an update: {updated:?}");
    let now = it.store.runtime().now();
    let touch = Touch::new(now, None, now + minutes(1));
    ensure!(!it.store.touch(&key, &touch).await?, "a touch");
    ensure_eq!(it.number_at(&key).await?, None, "what stands there in the end");
    Ok(())
}
