//! The application: what is opened for the first request of an isolate serves all that follow.

use std::sync::{Arc, OnceLock};

use axum::Router;
use larder_demo::{App, Stores};
use larder_kv::{DurableStore, KvStore, WorkerRuntime};
use worker::{Env, Error, Result};

use crate::d1::D1;
use crate::{log, recorder};

static ROUTER: OnceLock<Router> = OnceLock::new();

/// A change of a user asks each of them for the lists to forget.
const OBJECTS: u16 = 4;

pub(crate) fn router(env: &Env, runtime: &WorkerRuntime) -> Result<Router> {
    if let Some(router) = ROUTER.get() {
        return Ok(router.clone());
    }
    let router = open(env, runtime)?;
    Ok(ROUTER.get_or_init(|| router).clone())
}

fn open(env: &Env, runtime: &WorkerRuntime) -> Result<Router> {
    log::install(env);
    // Before the caches, which bind their metrics when they are built.
    let render = recorder::install();
    let database = D1::new(env.d1("DATABASE")?);
    let kv = KvStore::open(env, "CACHE", runtime).map_err(refused)?;
    let objects = DurableStore::builder().objects(OBJECTS).open(env, "LARDER", runtime);
    let objects = objects.map_err(refused)?;
    let stores = Stores::new(kv).users(objects.clone()).leases(objects);
    let app = App::new(Arc::new(database), stores).map_err(refused)?;
    Ok(app.metrics(render).router())
}

fn refused(error: impl std::error::Error) -> Error {
    Error::RustError(error.to_string())
}
