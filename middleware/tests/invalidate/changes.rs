//! Which requests change something, and what is stale after them.

use axum::Router;
use axum::routing::any;
use http::{Method, StatusCode};
use larder_core::{Error, Targets};
use larder_http::{Invalidate, RequestRuntime};
use tower::{ServiceBuilder, ServiceExt, service_fn};

use super::world::{KEYS, WITHOUT_USER_1, World, answering, ask};
use crate::runtime::test;

#[test]
fn an_unsafe_request_that_was_answered_well_invalidates() {
    World::run(async |world| {
        let unsafe_methods = [Method::PUT, Method::DELETE, Method::POST, Method::PATCH];
        let methods = unsafe_methods.into_iter().chain([Method::from_bytes(b"RENAME").unwrap()]);
        for method in methods {
            for status in [200, 201, 204, 303] {
                world.fill().await;
                let app = answering(StatusCode::from_u16(status).unwrap()).layer(world.layer());
                let response = ask(&app, method.clone(), "/users/1?a=b").await;
                assert_eq!(response.status(), status);
                assert!(!response.headers().contains_key("x-invalidation"));
                assert_eq!(world.left().await, WITHOUT_USER_1, "{method} {status}");
            }
        }
    });
}

#[test]
fn nothing_else_does() {
    World::run(async |world| {
        for (method, status) in [
            (Method::GET, 200),
            (Method::HEAD, 200),
            (Method::OPTIONS, 204),
            (Method::TRACE, 200),
            (Method::PUT, 400),
            (Method::DELETE, 404),
            (Method::PUT, 500),
        ] {
            let app = answering(StatusCode::from_u16(status).unwrap()).layer(world.layer());
            assert_eq!(ask(&app, method.clone(), "/users/1").await.status(), status);
            assert_eq!(world.left().await, KEYS, "{method} {status}");
        }
        for uri in ["/users/zoe", "/users", "/users/1/", "/", "/users/%FF"] {
            let app = answering(StatusCode::OK).layer(world.layer().tell(true));
            let response = ask(&app, Method::PUT, uri).await;
            assert_eq!(world.left().await, KEYS, "{uri}");
            assert_eq!(response.headers().get("x-invalidation"), None, "{uri}");
        }
    });
}

#[test]
fn a_service_that_fails_changes_nothing() {
    World::run(async |world| {
        let service = ServiceBuilder::new()
            .layer(world.layer())
            .service(service_fn(|_| async { Err::<http::Response<()>, _>("broken") }));
        let request = http::Request::put("/users/1").body(()).unwrap();
        assert_eq!(service.oneshot(request).await.unwrap_err(), "broken");
        assert_eq!(world.left().await, KEYS);
    });
}

#[test]
fn a_change_may_be_several_events_and_all_rules_count() {
    World::run(async |world| {
        let layer = world.layer().on("/{*any}", |change| {
            assert_eq!((change.method(), change.path()), (&Method::PUT, "/users/1/team/a%2Fb"));
            assert_eq!(change.request().headers["x-from"], "test");
            assert_eq!(change.response().status, StatusCode::OK);
            assert_eq!(change.param("id"), None);
            [super::world::Event::UserChanged(2)]
        });
        let app = answering(StatusCode::OK).layer(layer.unwrap());
        let request = http::Request::put("/users/1/team/a%2Fb").header("x-from", "test");
        app.oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
        assert_eq!(world.left().await, [""; 0]);
    });
}

#[test]
fn inside_of_a_nested_router_the_path_is_whole() {
    World::run(async |world| {
        let users = Router::new().route("/{id}", any(|| async { "done" })).layer(world.layer());
        let app = Router::new().nest("/users", users);
        ask(&app, Method::PUT, "/users/1").await;
        assert_eq!(world.left().await, WITHOUT_USER_1);
    });
}

#[test]
fn a_path_that_cannot_be_read_is_an_error_that_names_it() {
    World::run(async |world| {
        for path in ["users", "/users/{id", "/{*rest}/more", "/{}"] {
            let layer = Invalidate::targets(world.cache.clone());
            let error = layer.on(path, |_| None::<Targets>).unwrap_err();
            assert!(matches!(error, Error::Config { setting: "Invalidate::on", .. }), "{error}");
            assert!(error.to_string().contains(path), "{error}");
        }
    });
}

#[test]
fn a_request_may_bring_its_runtime() {
    World::run(async |world| {
        let stopped = larder_core::VirtualRuntime::seeded(2);
        let store = std::sync::Arc::clone(world.cache.store());
        let cache = larder_core::Cache::builder(store).runtime(stopped).build().unwrap();
        let layer = Invalidate::targets(cache)
            .on("/users", |_| Some(Targets::new().key("user:1")))
            .unwrap()
            .tell(true);
        world.bad.remove_millis.store(3_000, std::sync::atomic::Ordering::SeqCst);
        let app = answering(StatusCode::OK).layer(layer);
        let request = http::Request::post("/users").body(axum::body::Body::empty()).unwrap();
        let request = RequestRuntime::new(world.runtime.clone()).attach(request);
        // By a clock that stands still the time-out would never be over.
        let response = app.oneshot(request).await.unwrap();
        assert_eq!(response.headers()["x-invalidation"], "late");
    });
}
