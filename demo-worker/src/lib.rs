//! The demo application of Larder on Cloudflare Workers: D1 for data, KV and Durable Objects for
//! Larder.
//!
//! In the order a reader needs it:
//!
//! - `fetch`, what Workers calls for each request.
//! - `shop`: the application, opened once for an isolate.
//! - `d1`: the shop's database.
//! - `exchange`: the router's requests and answers as those of Workers.
//! - `queue`, what Workers calls for each batch of the queue, and `seen`: when users were last seen.
//! - `recorder`, `log`: the isolate's metrics, and what it says.

mod d1;
mod exchange;
mod log;
mod recorder;
mod seen;
mod shop;

use larder_http::RequestRuntime;
use larder_kv::WorkerRuntime;
use worker::{Context, Env, HttpRequest, MessageBatch, Response, Result, event};

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

#[event(queue)]
async fn queue(batch: MessageBatch<seen::Note>, env: Env, _context: Context) -> Result<()> {
    log::install(&env);
    seen::save(&batch, &env).await
}
