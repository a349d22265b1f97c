//! What a response says to caches that depends on a session.

use axum::Router;
use axum::routing::get;
use http::header::{CACHE_CONTROL, SET_COOKIE, VARY};
use larder_core::{Cache, MemoryStore, Runtime as _, millis};
use larder_http::session::SessionError;
use larder_http::{ResponseCache, Session, SessionLayer};

use super::world::{Browser, SECRET, World};
use crate::runtime::test;

/// A handler that reads the session, changes it or does not touch it, and says this to caches.
fn app(says: &'static [(&'static str, &'static str)]) -> Router {
    let headers = move || {
        let lines =
            says.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        lines.collect::<http::HeaderMap>()
    };
    let reads = async move |session: Session| {
        let user = session.user().await?;
        Ok::<_, SessionError>((headers(), user.unwrap_or_else(|| "stranger".into())))
    };
    let changes = async move |session: Session| {
        session.insert("seen", &true).await?;
        Ok::<_, SessionError>((headers(), "changed"))
    };
    let sign_in = async |session: Session| Ok::<_, SessionError>(session.sign_in("zoe").await?);
    Router::new()
        .route("/reads", get(reads))
        .route("/changes", get(changes))
        .route("/untouched", get(async move |_: Session| (headers(), "untouched")))
        .route("/sign-in", get(sign_in))
}

fn browser(world: &World, app: Router) -> Browser {
    Browser { app, ..world.browser() }
}

fn sessions(world: &World) -> SessionLayer {
    SessionLayer::new(world.sessions.clone(), SECRET).unwrap()
}

fn cache(world: &World) -> ResponseCache {
    let store = MemoryStore::builder().on(world.runtime.clone());
    ResponseCache::new(Cache::builder(store).build().unwrap())
}

/// `Cache-Control` and `Vary` of what says this, for a visitor who reads, and for one whose cookie
/// is set.
fn told(says: &'static [(&'static str, &'static str)]) -> [(String, String); 2] {
    World::new().run(async |world| {
        let app = app(says).layer(sessions(&world));
        let mut told = Vec::new();
        for uri in ["/reads", "/changes"] {
            let seen = browser(&world, app.clone()).get(uri).await.ok();
            assert_eq!(seen.headers.contains_key(SET_COOKIE), uri == "/changes");
            let lines = |name| {
                let lines = seen.headers.get_all(name).iter().map(|it| it.to_str().unwrap());
                lines.collect::<Vec<_>>().join(" | ")
            };
            told.push((lines(CACHE_CONTROL), lines(VARY)));
        }
        told.try_into().unwrap()
    })
}

#[test]
fn a_response_that_depends_on_a_session_is_for_one_visitor() {
    for (says, to_a_reader, where_a_cookie_is_set) in [
        (&[][..], ("private", "Cookie"), ("private", "Cookie")),
        (
            &[("cache-control", "max-age=60")],
            ("private, max-age=60", "Cookie"),
            ("private, max-age=60", "Cookie"),
        ),
        (
            &[("cache-control", "public, max-age=60, s-maxage=600")],
            ("public, max-age=60, s-maxage=600", "Cookie"),
            ("private, max-age=60", "Cookie"),
        ),
        (
            &[("cache-control", "S-MaxAge=600"), ("cache-control", "must-revalidate, x=\"a, b\"")],
            ("S-MaxAge=600 | must-revalidate, x=\"a, b\"", "Cookie"),
            ("private, must-revalidate, x=\"a, b\"", "Cookie"),
        ),
        (
            &[("cache-control", "private=\"set-cookie\", max-age=60")],
            ("private=\"set-cookie\", max-age=60", "Cookie"),
            ("private, max-age=60", "Cookie"),
        ),
        (&[("cache-control", "no-store")], ("no-store", ""), ("no-store", "")),
        (
            &[("vary", "accept, cookie")],
            ("private", "accept, cookie"),
            ("private", "accept, cookie"),
        ),
        (&[("vary", "accept")], ("private", "accept | Cookie"), ("private", "accept | Cookie")),
        (&[("vary", "*")], ("private", "*"), ("private", "*")),
    ] {
        let [reader, with_cookie] = told(says);
        assert_eq!((&*reader.0, &*reader.1), to_a_reader, "{says:?}");
        assert_eq!((&*with_cookie.0, &*with_cookie.1), where_a_cookie_is_set, "{says:?}");
    }
}

#[test]
fn a_response_that_does_not_is_left_alone() {
    World::new().run(async |world| {
        let app = app(&[("cache-control", "public, max-age=60")]).layer(sessions(&world));
        let visitor = browser(&world, app);
        visitor.get("/sign-in").await.ok();
        let seen = visitor.get("/untouched").await.ok();
        assert_eq!(seen.header("cache-control"), Some("public, max-age=60"));
        assert_eq!(seen.header("vary"), None);
    });
}

/// On either side of the sessions, the response cache gives nobody the page of another.
#[test]
fn the_response_cache_keeps_nothing_that_is_for_one_visitor() {
    for says in
        [&[][..], &[("cache-control", "max-age=60")], &[("cache-control", "public, max-age=60")]]
    {
        for is_cache_inside in [true, false] {
            World::new().run(async |world| {
                let app = app(says);
                let app = match is_cache_inside {
                    true => app.layer(cache(&world)).layer(sessions(&world)),
                    false => app.layer(sessions(&world)).layer(cache(&world)),
                };
                let zoe = browser(&world, app.clone());
                zoe.get("/sign-in").await.ok();
                let stranger = browser(&world, app);
                for uri in ["/reads", "/changes"] {
                    let mine = zoe.get(uri).await.ok();
                    world.runtime.sleep(millis(1)).await;
                    let others = stranger.get(uri).await.ok();
                    let way = format!("{uri} {says:?} {is_cache_inside}");
                    assert_eq!(mine.header("x-cache"), Some("MISS"), "{way}");
                    assert_eq!(others.header("x-cache"), Some("MISS"), "{way}");
                    if uri == "/reads" {
                        assert_eq!((mine.text(), others.text()), ("zoe", "stranger"), "{way}");
                        // Nor to herself: she may have signed out meanwhile.
                        let again = zoe.get(uri).await.ok();
                        assert_eq!(again.header("x-cache"), Some("MISS"), "{way}");
                    }
                    world.runtime.sleep(millis(1)).await;
                }

                // What is for all is kept, whoever asked first.
                zoe.get("/untouched").await.ok();
                world.runtime.sleep(millis(1)).await;
                let seen = stranger.get("/untouched").await.ok();
                assert_eq!(seen.header("x-cache"), Some("HIT"), "{says:?} {is_cache_inside}");
            });
        }
    }
}
