//! Users: cache-aside, and forgotten when one is written.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::channel::oneshot;
use larder_core::Lookup;

use crate::app::App;
use crate::database::{Database, DatabaseError};
use crate::input::{Id, ListQuery, UserBody};
use crate::invalidation::{Invalidation, user_key};
use crate::model::{Page, User, UserChange};
use crate::problem::Problem;
use crate::source::Source;

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
/// `done`, or `deferred` while the cache's store is down.
const X_INVALIDATION: HeaderName = HeaderName::from_static("x-invalidation");

pub(crate) type Invalidated = [(HeaderName, &'static str); 1];

pub(crate) async fn show(app: App, Id(id): Id) -> Result<Response, Problem> {
    Ok(match find(&app, id).await? {
        (Some(user), source) => answer(source, Json(&*user)),
        (None, source) => answer(source, Problem::not_found("user", id)),
    })
}

/// The user, and where it came from.
pub(crate) async fn find(app: &App, id: i64) -> Result<(Option<Arc<User>>, Source), Problem> {
    let shop = &app.shared;
    let answered = Answered::default();
    let load = || answered.by_the_database(shop.database.user(id));
    let user = if shop.invalidations.is_deferred(id) {
        load().await?.map(Arc::new)
    } else {
        let key = user_key(id);
        match shop.users.lookup_local(&key)? {
            Lookup::Hit(user) => return Ok((Some(user), Source::Local)),
            Lookup::Absent => return Ok((None, Source::Local)),
            Lookup::Miss => shop.users.get_or_find(key, load).await?,
        }
    };
    Ok((user, answered.source()))
}

pub(crate) async fn list(app: App, query: ListQuery) -> Result<Response, Problem> {
    let shop = &app.shared;
    let answered = Answered::default();
    let load = || answered.by_the_database(shop.database.users(query.request));
    let page: Arc<Page<User>> = if shop.invalidations.any_deferred() {
        Arc::new(load().await?)
    } else {
        let key = format!("users:page:{}:limit:{}", query.request.page, query.request.limit);
        shop.users.get_or_load(key, load).await?
    };
    Ok(answer(answered.source(), Json(&*page)))
}

pub(crate) async fn update(
    app: App,
    Id(id): Id,
    UserBody(change): UserBody,
) -> Result<Response, Problem> {
    let (user, header) = change_user(&app, id, change).await?;
    let user = user.ok_or_else(|| Problem::not_found("user", id))?;
    Ok((header, Json(user)).into_response())
}

/// The user as it is then, and whether the cache has forgotten the old one.
pub(crate) async fn change_user(
    app: &App,
    id: i64,
    change: UserChange,
) -> Result<(Option<User>, Invalidated), Problem> {
    let write = {
        let app = app.clone();
        async move { app.shared.database.update_user(id, &change).await }
    };
    write_and_invalidate(app, id, write).await
}

pub(crate) async fn delete(app: App, Id(id): Id) -> Result<Response, Problem> {
    let write = {
        let app = app.clone();
        async move { app.shared.database.delete_user(id).await }
    };
    match write_and_invalidate(&app, id, write).await? {
        (true, header) => Ok((StatusCode::NO_CONTENT, header).into_response()),
        (false, _) => Err(Problem::not_found("user", id)),
    }
}

/// Writes, then invalidates, both to their end even if the client goes away in between.
///
/// Also where the database fails or finds no such user: a write that failed may have happened all
/// the same, and a client that asks again after one helps a cache that was not told.
async fn write_and_invalidate<T: Send + 'static>(
    app: &App,
    id: i64,
    write: impl Future<Output = Result<T, DatabaseError>> + Send + 'static,
) -> Result<(T, Invalidated), Problem> {
    let (done, wait) = oneshot::channel();
    let invalidations = app.shared.invalidations.clone();
    app.shared.users.runtime().spawn(Box::pin(async move {
        let written = write.await;
        let invalidation = match &written {
            Err(DatabaseError::EmailTaken { .. }) => Invalidation::Done,
            _ => invalidations.user_written(id).await,
        };
        // The client may be gone, and then nobody waits.
        let _ = done.send((written, invalidation));
    }));
    let Ok((written, invalidation)) = wait.await else {
        return Err(Problem::unavailable("the server is about to stop; try again shortly"));
    };
    let word = match invalidation {
        Invalidation::Done => "done",
        Invalidation::Deferred => "deferred",
    };
    Ok((written?, [(X_INVALIDATION, word)]))
}

/// Whether the database was asked for an answer.
#[derive(Default)]
pub(crate) struct Answered {
    by_the_database: AtomicBool,
}

impl Answered {
    pub(crate) async fn by_the_database<T>(&self, call: impl Future<Output = T>) -> T {
        self.by_the_database.store(true, Ordering::Relaxed);
        call.await
    }

    /// Where what a cache has found came from.
    pub(crate) fn source(&self) -> Source {
        match self.by_the_database.load(Ordering::Relaxed) {
            true => Source::Database,
            false => Source::Store,
        }
    }
}

/// The answer, with `X-Cache: MISS` where this very request asked the database. One that shared
/// another's load is a `HIT`: it cost nothing.
///
/// It is not to be kept on its way: nobody could invalidate it there.
pub(crate) fn answer(source: Source, body: impl IntoResponse) -> Response {
    let miss = source == Source::Database;
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(X_CACHE, HeaderValue::from_static(if miss { "MISS" } else { "HIT" }));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
