//! The demo application of Larder on Cloudflare Workers: D1 for data, KV and Durable Objects for
//! Larder.
//!
//! In the order a reader needs it:
//!
//! - `fetch`, what Workers calls for each request.
//! - `shop`: the application, opened once for an isolate.
//! - `d1`: the shop's database.
//! - `exchange`: the router's requests and answers as those of Workers.
//! - `recorder`, `log`: the isolate's metrics, and what it says.

mod d1;
mod exchange;
mod log;
mod recorder;
mod shop;

use larder_http::RequestRuntime;
use larder_kv::WorkerRuntime;
use worker::{Context, Env, HttpRequest, Response, Result, event};

// The class of the objects, as wrangler.toml names it.
larder_kv::durable_object!(LarderObject);

#[event(fetch)]
async fn fetch(request: HttpRequest, env: Env, ctx: Context) -> Result<Response> {
    let runtime = WorkerRuntime::new(&ctx);
    let router = shop::router(&env, &runtime)?;
    let request = RequestRuntime::new(runtime.clone()).attach(request);
    // Others may wait for what this request loads: it goes on if its client leaves.
    runtime.run_to_end(exchange::answer(router, request)).await?
}
