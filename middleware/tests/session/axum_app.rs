//! Sessions as handlers of axum ask for them.

use axum::Router;
use axum::routing::get;
use larder_http::Session;
use larder_http::session::SignedIn;

use super::world::{World, get_with};
use crate::runtime::test;

#[test]
fn a_handler_without_the_layer_says_what_is_missing() {
    World::new().run(async |_| {
        let app: Router = Router::new()
            .route("/session", get(async |_: Session| "here"))
            .route("/signed-in", get(async |_: SignedIn| "here"))
            .route("/perhaps", get(async |it: Option<Session>| it.is_none().to_string()));
        for uri in ["/session", "/signed-in"] {
            let seen = get_with(&app, uri, &[]).await;
            assert_eq!(seen.status, 500);
            seen.problem();
        }
        assert_eq!(get_with(&app, "/perhaps", &[]).await.ok().text(), "true");
    });
}

#[test]
fn who_is_not_signed_in_is_told_so() {
    World::new().run(async |world| {
        let seen = world.browser().get("/me").await;
        assert_eq!(seen.status, 401);
        assert_eq!(seen.header("www-authenticate"), Some("Cookie"));
        assert_eq!(seen.problem()["detail"], "nobody is signed in");
        assert_eq!(world.signed_in("zoe").await.get("/me").await.ok().text(), "zoe");
    });
}

#[test]
fn a_handler_may_serve_strangers_too() {
    World::new().run(async |world| {
        let layer = larder_http::SessionLayer::new(world.sessions.clone(), super::world::SECRET);
        let greet = async |user: Option<SignedIn>| match user {
            Some(SignedIn(user)) => user,
            None => "stranger".into(),
        };
        let app = Router::new().route("/", get(greet)).layer(layer.unwrap());
        assert_eq!(get_with(&app, "/", &[]).await.ok().text(), "stranger");
        let cookies = world.signed_in("zoe").await.cookies();
        assert_eq!(get_with(&app, "/", &[&cookies]).await.ok().text(), "zoe");
        world.store.is_down(true);
        assert_eq!(get_with(&app, "/", &[&cookies]).await.status, 503);
    });
}
