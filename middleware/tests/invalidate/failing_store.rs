//! A store that is slow, or down.

use std::sync::atomic::Ordering;

use http::{Method, StatusCode};
use larder_core::{Runtime, millis, seconds};

use super::world::{KEYS, WITHOUT_USER_1, World, answering, ask};
use crate::runtime::test;

#[test]
fn the_answer_waits_for_the_invalidation() {
    World::run(async |world| {
        world.bad.remove_millis.store(900, Ordering::SeqCst);
        let app = answering(StatusCode::OK).layer(world.layer().tell(true));
        let start = world.runtime.now();
        let response = ask(&app, Method::PUT, "/users/1").await;
        assert_eq!(response.headers()["x-invalidation"], "done");
        assert_eq!(world.runtime.now().since(start), millis(900), "keys and patterns at once");
        assert_eq!(world.left().await, WITHOUT_USER_1);
    });
}

#[test]
fn it_waits_for_a_bounded_time_and_the_invalidation_goes_on() {
    World::run(async |world| {
        world.bad.remove_millis.store(5_000, Ordering::SeqCst);
        let app = answering(StatusCode::OK).layer(world.layer().tell(true).timeout(millis(300)));
        let start = world.runtime.now();
        let response = ask(&app, Method::PUT, "/users/1").await;
        assert_eq!(response.headers()["x-invalidation"], "late");
        assert_eq!(world.runtime.now().since(start), millis(300));
        assert_eq!(world.left().await, KEYS);
        world.runtime.sleep(seconds(6)).await;
        assert_eq!(world.left().await, WITHOUT_USER_1);
    });
}

#[test]
fn a_store_that_is_down_makes_no_error_of_a_change() {
    World::run(async |world| {
        world.is_down(true);
        let app = answering(StatusCode::OK).layer(world.layer().tell(true));
        let response = ask(&app, Method::PUT, "/users/1").await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["x-invalidation"], "failed");
        world.is_down(false);
        assert!(world.left().await.contains(&"user:1"));
    });
}
