//! Rate limits by the session.

use axum::Router;
use http::Method;
use http::header::COOKIE;
use larder_core::{MemoryRateLimits, Quota, RateLimiter};
use larder_http::rate_limit::{By, ClientIp, PeerAddr};
use larder_http::{RateLimit, SessionLayer};
use std::net::IpAddr;

use super::world::{SECRET, World, request, routes, send};
use crate::runtime::test;

fn app(world: &World) -> Router {
    let counts = MemoryRateLimits::builder().on(world.runtime.clone());
    let limiter = RateLimiter::builder(counts).quota(Quota::per_hour(10)).build().unwrap();
    let limit = RateLimit::new(limiter).by(By::session().or(ClientIp::peer()));
    let sessions = SessionLayer::new(world.sessions.clone(), SECRET).unwrap();
    routes().layer(limit).layer(sessions)
}

#[test]
fn a_user_is_counted_over_all_sessions_and_strangers_by_their_address() {
    World::new().run(async |world| {
        let app = app(&world);
        let desk = world.signed_in("zoe").await.cookies();
        let phone = world.signed_in("zoe").await.cookies();
        let anonymous = world.browser();
        anonymous.post("/put/theme/dark").await.ok();
        let anonymous = anonymous.cookies();
        let ask = async |cookies: &str, last: u8| {
            let mut request = request(Method::GET, "/untouched");
            request.extensions_mut().insert(PeerAddr::from(IpAddr::from([192, 0, 2, last])));
            if !cookies.is_empty() {
                request.headers_mut().insert(COOKIE, cookies.parse().unwrap());
            }
            let seen = send(&app, request).await;
            (seen.status.as_u16(), seen.header("x-ratelimit-remaining").unwrap_or("?").to_owned())
        };
        let passes = |left: u32| (200, left.to_string());
        assert_eq!(ask(&desk, 1).await, passes(9));
        assert_eq!(ask(&phone, 2).await, passes(8), "one user, wherever");
        assert_eq!(ask(&anonymous, 1).await, passes(9), "a session without a user");
        assert_eq!(ask(&anonymous, 2).await, passes(8));
        world.store.calls();
        assert_eq!(ask("", 1).await, passes(9), "a stranger at the first address");
        assert_eq!(ask("__Host-session=invented", 1).await, passes(8), "and who invents a cookie");
        assert_eq!(world.store.calls(), 0, "nothing is loaded for a stranger");

        world.store.is_down(true);
        assert_eq!(ask(&desk, 1).await.0, 503);
        assert_eq!(ask("", 3).await, passes(9));
    });
}
