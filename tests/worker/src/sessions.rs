//! Requests of visitors whose sessions are in Durable Objects, each of which is a request of HTTP.

use std::time::Duration;

use larder_core::session::SessionId;
use larder_core::session::race::{Act, Remains};
use larder_core::{Sessions, seconds};
use larder_kv::{DurableSessions, WorkerRuntime};
use serde_json::{Value, json};
use worker::{Env, Error, Result, Url};

use crate::asked;
use crate::backends::into_worker;

/// What a store does that is overloaded is not the question here.
const PATIENCE: Duration = seconds(60);

/// Answers what a request saw.
pub(crate) async fn answer(
    path: &[&str],
    url: &Url,
    env: &Env,
    runtime: &WorkerRuntime,
) -> Result<Value> {
    let store = DurableSessions::builder().timeout(PATIENCE).open(env, "LARDER", runtime);
    let store = store.map_err(into_worker)?;
    // So that a request that reads writes as well.
    let sessions = Sessions::builder(store).touch_every(Duration::ZERO).timeout(PATIENCE);
    let sessions = sessions.build().map_err(into_worker)?;
    let user = asked(url, "user").unwrap_or_default();
    match path {
        ["begin"] => begin(&sessions, &user).await.map_err(into_worker),
        ["act"] => {
            let wanted = asked(url, "act").unwrap_or_default();
            let act: Act = serde_json::from_value(json!(wanted)).map_err(into_worker)?;
            let id = asked(url, "id").as_deref().and_then(SessionId::parse);
            let id = id.ok_or_else(|| Error::RustError("there is no id".into()))?;
            let number = usize::try_from(crate::number(url, "number")).unwrap_or(0);
            let outcome = act.perform(number, &sessions, &user, id).await;
            Ok(json!(outcome.map_err(into_worker)?))
        }
        ["remains"] => Ok(json!(Remains::of(&sessions, &user).await.map_err(into_worker)?)),
        _ => Err(Error::RustError(format!("there is no {path:?} of sessions"))),
    }
}

async fn begin(sessions: &Sessions, user: &str) -> larder_core::Result<Value> {
    let visit = sessions.open(None);
    visit.sign_in(user).await?;
    let saved = visit.save().await?;
    Ok(json!(saved.cookie.id().map(SessionId::expose)))
}
