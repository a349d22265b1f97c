//! Rate limits: how many are allowed, and what is said beside the pure function.

use std::ops::Range;
use std::sync::Arc;

use larder_core::rate_limit::Check;
use larder_core::{
    Quota, RateLimitStore, Runtime, Timestamp, VirtualRuntime, hours, millis, minutes, seconds,
};
use larder_kv::{DurableRateLimits, KvRateLimits, Prefilter, WorkerRuntime};
use larder_tests::histories::{self, HostileClock};
use serde_json::{Value, json};
use worker::{DurableObject, Env, Request, Response, Result, State, durable_object, wasm_bindgen};

use crate::backends::into_worker;

pub(crate) async fn take(
    env: &Env,
    runtime: &WorkerRuntime,
    key: &str,
    limit: u64,
) -> Result<&'static str> {
    let limits = DurableRateLimits::open(env, "LARDER", runtime).map_err(into_worker)?;
    let quotas = [Quota::new(limit, hours(1))];
    let decision = limits.check(&Check::new(key, &quotas)).await.map_err(into_worker)?;
    Ok(if decision.is_allowed() { "allowed" } else { "refused" })
}

/// What thirty checks at once of one key come to behind a binding that lets 5 pass in 10 seconds,
/// with a quota of twenty.
pub(crate) async fn prefilter(env: &Env, runtime: &WorkerRuntime) -> Result<Value> {
    let store = DurableRateLimits::open(env, "LARDER", runtime).map_err(into_worker)?;
    let flood = Quota::new(5, seconds(10)).named("flood");
    let limits = Prefilter::open(env, "PREFILTER", flood, store).map_err(into_worker)?;
    let quotas = [Quota::new(20, hours(1))];
    let key = format!("prefilter:{}", runtime.now().as_millis());
    let (mut allowed, mut by_binding) = (0, 0);
    for _ in 0..30 {
        let decision = limits.check(&Check::new(&key, &quotas)).await.map_err(into_worker)?;
        match decision.refused_by() {
            None => allowed += 1,
            Some("flood") => by_binding += 1,
            Some(_) => {}
        }
    }
    let left = limits.check(&Check::new(&key, &quotas).peek()).await.map_err(into_worker)?;
    let other = Check::new("prefilter:other", &quotas);
    let other = limits.check(&other).await.map_err(into_worker)?;
    let missing = Prefilter::open(env, "LARDER", Quota::new(5, seconds(10)), limits).err();
    Ok(json!({
        "allowed": allowed, "by_binding": by_binding, "left": left.remaining(),
        "other": other.is_allowed(), "missing": missing.map(|error| error.to_string()),
    }))
}

/// What two isolates count on one namespace, and hear of each other.
pub(crate) async fn kv(env: &Env, runtime: &WorkerRuntime) -> Result<Value> {
    let isolate = || KvRateLimits::open(env, "KV", runtime).map_err(into_worker);
    let (here, there) = (isolate()?, isolate()?);
    let quotas = [Quota::new(100, hours(1))];
    let key = format!("limits:{}", runtime.now().as_millis());
    let check = Check::new(&key, &quotas);
    here.check(&check.cost(30)).await.map_err(into_worker)?;
    there.check(&check.cost(5)).await.map_err(into_worker)?;
    let begun = runtime.now();
    let mut left = [None, None];
    while left != [Some(65), Some(65)] && runtime.now().since(begun) < minutes(1) {
        runtime.sleep(millis(500)).await;
        for (left, limits) in left.iter_mut().zip([&here, &there]) {
            let decision = limits.check(&check.cost(0)).await.map_err(into_worker)?;
            *left = decision.remaining();
        }
    }
    let late = isolate()?.check(&check.cost(1)).await.map_err(into_worker)?;
    Ok(json!({ "left": left, "late": late.remaining() }))
}

/// An object that plays histories in its own storage.
#[durable_object(fetch)]
struct Histories {
    state: State,
}

impl DurableObject for Histories {
    fn new(state: State, _env: Env) -> Self {
        Self { state }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        let url = request.url()?;
        let number = |name| crate::number(&url, name);
        self.play(number("from")..number("to")).await
    }
}

impl Histories {
    /// Each history under a key of its own.
    async fn play(&self, seeds: Range<u64>) -> Result<Response> {
        let mut checks = 0;
        let histories = seeds.end.saturating_sub(seeds.start);
        for seed in seeds {
            let start = Timestamp::from_millis(worker::Date::now().as_millis());
            let clock = HostileClock::new(Arc::new(VirtualRuntime::seeded(seed)), start);
            let sql = self.state.storage().sql();
            let limits = DurableRateLimits::in_storage(sql, clock.clone())?;
            let key = format!("history:{seed}");
            match histories::play(seed, &key, &limits, &clock).await {
                Ok(played) => checks += played,
                Err(failure) => return Response::error(failure.to_string(), 500),
            }
        }
        Response::from_json(&json!({ "histories": histories, "checks": checks }))
    }
}
