//! The cookie: its attributes, and the rules that browsers have for them.

use larder_core::{Error, days, hours, minutes};
use larder_http::SessionLayer;
use larder_http::rate_limit::ClientIp;
use larder_http::session::{SameSite, SessionLayerBuilder};

use super::world::{SECRET, World, request, send};
use crate::runtime::test;

/// The cookie without its value.
async fn attributes(world: &World) -> String {
    let seen = world.browser().post("/put/a/b").await.ok();
    let cookie = seen.set_cookie().unwrap();
    let (name, rest) = cookie.split_once('=').unwrap();
    format!("{name}; {}", rest.split_once("; ").unwrap().1)
}

fn set(layer: impl FnOnce(SessionLayerBuilder) -> SessionLayerBuilder) -> String {
    World::layered(layer).run(async |world| attributes(&world).await)
}

#[test]
fn by_default_it_is_as_safe_as_a_cookie_can_be() {
    assert_eq!(
        set(|layer| layer),
        "__Host-session; Max-Age=604800; Path=/; Secure; HttpOnly; SameSite=Lax"
    );
}

#[test]
fn it_has_the_attributes_it_is_given() {
    for (layer, expected) in [
        (
            (|layer| layer.name("shop")) as fn(SessionLayerBuilder) -> SessionLayerBuilder,
            "shop; Max-Age=604800; Path=/; Secure; HttpOnly; SameSite=Lax",
        ),
        (
            |layer| layer.path("/shop"),
            "__Secure-session; Max-Age=604800; Path=/shop; Secure; HttpOnly; SameSite=Lax",
        ),
        (
            |layer| layer.domain("example.org"),
            "__Secure-session; Max-Age=604800; Path=/; Domain=example.org; Secure; HttpOnly; \
             SameSite=Lax",
        ),
        (|layer| layer.insecure(), "session; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax"),
        (
            |layer| layer.same_site(SameSite::Strict).http_only(false),
            "__Host-session; Max-Age=604800; Path=/; Secure; SameSite=Strict",
        ),
        (
            |layer| layer.same_site(SameSite::None).partitioned(true),
            "__Host-session; Max-Age=604800; Path=/; Secure; HttpOnly; SameSite=None; Partitioned",
        ),
        (
            |layer| layer.until_browser_closes(),
            "__Host-session; Path=/; Secure; HttpOnly; SameSite=Lax",
        ),
    ] {
        assert_eq!(set(layer), expected);
    }
}

#[test]
fn rules_that_browsers_have_are_kept_when_the_layer_is_built() {
    let problem = |layer: fn(SessionLayerBuilder) -> SessionLayerBuilder| {
        let world = World::new();
        match layer(SessionLayer::builder(world.sessions, SECRET)).build() {
            Err(Error::Config { setting, problem }) => format!("{setting}: {problem}"),
            other => format!("{other:?}"),
        }
    };
    for (layer, expected) in [
        (
            (|it| it.name("__Host-a").insecure()) as fn(SessionLayerBuilder) -> SessionLayerBuilder,
            "name: the prefix of \"__Host-a\" asks for Secure",
        ),
        (|it| it.name("__Host-a").path("/a"), "name: the prefix of \"__Host-a\" asks for Path=/"),
        (
            |it| it.name("__Host-a").domain("example.org"),
            "name: the prefix of \"__Host-a\" allows no Domain",
        ),
        // Browsers look at it in any case, so that a server which does not is not outwitted.
        (|it| it.name("__hOsT-a").path("/a"), "name: the prefix of \"__hOsT-a\" asks for Path=/"),
        (
            |it| it.name("__Secure-a").insecure(),
            "name: the prefix of \"__Secure-a\" asks for Secure",
        ),
        (
            |it| it.name("__Host-Http-a").http_only(false),
            "name: the prefix of \"__Host-Http-a\" asks for HttpOnly",
        ),
        (|it| it.insecure().same_site(SameSite::None), "same_site: None asks for Secure"),
        (|it| it.insecure().partitioned(true), "partitioned: it asks for Secure"),
        (|it| it.name("a b"), "name: \"a b\" is no token"),
        (|it| it.name("a=b"), "name: \"a=b\" is no token"),
        (|it| it.name(""), "name: \"\" is no token"),
        (|it| it.path("shop"), "path: \"shop\" does not begin with /"),
        (|it| it.path("/a; Domain=evil.example"), "path: \"/a; Domain=evil.example\" does not"),
        (|it| it.path("/a\r\nX: y"), "path: \"/a\\r\\nX: y\" does not"),
        (|it| it.domain(".example.org"), "domain: \".example.org\" is none"),
        (|it| it.domain("example.org; Path=/"), "domain: \"example.org; Path=/\" is none"),
        (|it| it.domain(""), "domain: \"\" is none"),
    ] {
        let problem = problem(layer);
        assert!(problem.starts_with(expected), "{problem:?} in place of {expected:?}");
    }
}

#[test]
fn it_lives_as_long_as_its_session() {
    let short = |sessions: larder_core::SessionsBuilder| sessions.idle(hours(2)).absolute(hours(3));
    World::set_up(short, |layer| layer).run(async |world| {
        let life = async |browser: &super::world::Browser| {
            let seen = browser.get("/me").await.ok();
            let cookie = seen.set_cookie()?;
            let life = cookie.split("Max-Age=").nth(1)?.split(';').next()?;
            life.parse::<u64>().ok()
        };
        let browser = world.signed_in("zoe").await;
        assert_eq!(life(&browser).await, None, "a use within a minute is not noted");
        world.runtime.advance(minutes(30));
        assert_eq!(life(&browser).await, Some(2 * 3_600));
        world.runtime.advance(minutes(90));
        assert_eq!(life(&browser).await, Some(3_600), "until the absolute end");
    });
}

#[test]
fn a_handler_that_saves_for_itself_takes_nothing_from_the_client() {
    World::new().run(async |world| {
        let browser = world.browser();
        let seen = browser.post("/saved-by-itself/zoe").await.ok();
        assert!(seen.set_cookie().is_some() && seen.text().contains("overwritten: []"), "{seen:?}");
        assert_eq!(browser.get("/me").await.ok().text(), "zoe");
        // A session there moves to a new id.
        browser.post("/saved-by-itself/max").await.ok();
        assert_eq!(browser.get("/me").await.ok().text(), "max");
    });
}

#[test]
fn a_visitor_who_has_nothing_gets_none() {
    World::new().run(async |world| {
        for uri in ["/untouched", "/get/theme", "/careless"] {
            let seen = world.browser().get(uri).await.ok();
            assert_eq!(seen.set_cookie(), None, "{uri}");
        }
        assert_eq!(world.store.calls(), 0);
        assert_eq!(world.store.sessions.len(), 0);
    });
}

#[test]
fn a_request_that_only_reads_asks_the_store_once_and_one_that_does_not_touch_it_never() {
    World::new().run(async |world| {
        let browser = world.signed_in("zoe").await;
        world.store.calls();
        browser.get("/me").await.ok();
        assert_eq!(world.store.calls(), 1);
        browser.get("/untouched").await.ok();
        assert_eq!(world.store.calls(), 0);
        world.runtime.advance(days(1));
        browser.get("/me").await.ok();
        assert_eq!(world.store.calls(), 2, "the use is noted now and then");
    });
}

#[test]
fn a_list_of_sessions_shows_where_they_were_used() {
    let place = |layer: fn(SessionLayerBuilder) -> SessionLayerBuilder| {
        World::layered(layer).run(async |world| {
            let mut sign_in = request(http::Method::POST, "/sign-in/zoe");
            let headers = sign_in.headers_mut();
            headers.insert("x-forwarded-for", "198.51.100.7".parse().unwrap());
            send(&world.app, sign_in).await.ok();
            world.sessions.of_user("zoe").await.unwrap()[0].seen_from.clone()
        })
    };
    let shown = |place: Option<String>| place.unwrap_or_else(|| "nothing".into());
    assert_eq!(shown(place(|layer| layer)), "203.0.113.9 Tester/1.0 (virtual)");
    assert_eq!(
        shown(place(|layer| layer.seen_from(ClientIp::behind_proxies(1)))),
        "198.51.100.7 Tester/1.0 (virtual)"
    );
    assert_eq!(shown(place(|layer| layer.place(|_| None))), "nothing");
    assert_eq!(shown(place(|layer| layer.place(|_| Some("é".repeat(1_000))))).len(), 200);
}
