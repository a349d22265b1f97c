//! The demo application of Larder on Cloudflare Workers.

use worker::{Context, Env, HttpRequest, Response, Result, event};

#[event(fetch)]
async fn fetch(_request: HttpRequest, _env: Env, _ctx: Context) -> Result<Response> {
    Response::error("the shop is not open yet", 503)
}
