//! Clients that go away.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use futures::future::select;
use http::Method;
use larder_core::{Runtime, VirtualRuntime, millis, seconds};

use super::world::{KEYS, WITHOUT_USER_1, World, ask};
use crate::runtime::test;

/// A shop that takes its time for a change.
fn slow(runtime: &VirtualRuntime, takes: Duration) -> (Router, Arc<AtomicBool>) {
    let (runtime, is_saved) = (runtime.clone(), Arc::new(AtomicBool::new(false)));
    let saved = Arc::clone(&is_saved);
    let save = async move || {
        runtime.sleep(takes).await;
        saved.store(true, Ordering::SeqCst);
    };
    (Router::new().route("/users/{id}", any(save)), is_saved)
}

/// Polls it for a second, and drops it.
async fn for_a_second(world: &World, request: impl Future) {
    drop(select(pin!(request), world.runtime.sleep(seconds(1))).await);
}

#[test]
fn what_was_begun_is_ended_without_them() {
    World::run(async |world| {
        let (app, is_saved) = slow(&world.runtime, seconds(5));
        let app = app.layer(world.layer());
        for_a_second(&world, ask(&app, Method::PUT, "/users/1")).await;
        assert!(!is_saved.load(Ordering::SeqCst));
        world.runtime.sleep(seconds(4) + millis(1)).await;
        assert!(is_saved.load(Ordering::SeqCst));
        assert_eq!(world.left().await, WITHOUT_USER_1);
    });
}

#[test]
fn an_invalidation_that_was_begun_too() {
    World::run(async |world| {
        world.bad.remove_millis.store(1_500, Ordering::SeqCst);
        let (app, is_saved) = slow(&world.runtime, millis(100));
        let app = app.layer(world.layer());
        for_a_second(&world, ask(&app, Method::PUT, "/users/1")).await;
        assert!(is_saved.load(Ordering::SeqCst));
        assert_eq!(world.left().await, KEYS);
        world.runtime.sleep(seconds(1)).await;
        assert_eq!(world.left().await, WITHOUT_USER_1);
    });
}

#[test]
fn but_not_for_ever() {
    World::run(async |world| {
        for (finish, takes) in [(Duration::ZERO, seconds(2)), (seconds(3), seconds(10))] {
            let (app, is_saved) = slow(&world.runtime, takes);
            let app = app.layer(world.layer().finish(finish));
            for_a_second(&world, ask(&app, Method::PUT, "/users/1")).await;
            world.runtime.sleep(seconds(60)).await;
            assert!(!is_saved.load(Ordering::SeqCst), "{finish:?}");
            assert_eq!(world.left().await, KEYS, "{finish:?}");
        }
    });
}

#[test]
fn a_request_that_changes_nothing_ends_with_them() {
    World::run(async |world| {
        let (app, is_saved) = slow(&world.runtime, seconds(2));
        let app = app.layer(world.layer());
        for_a_second(&world, ask(&app, Method::GET, "/users/1")).await;
        world.runtime.sleep(seconds(60)).await;
        assert!(!is_saved.load(Ordering::SeqCst));
    });
}
