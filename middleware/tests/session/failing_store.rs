//! A store of sessions that is down, takes its time, or is asked too much.

use http::StatusCode;
use larder_core::{Runtime as _, days, millis};

use super::world::{Seen, World};
use crate::runtime::test;

fn assert_unavailable(seen: &Seen, retry_after: &str) {
    assert_eq!(seen.status, StatusCode::SERVICE_UNAVAILABLE, "{seen:?}");
    assert_eq!(seen.header("retry-after"), Some(retry_after));
    assert_eq!(seen.set_cookie(), None);
    seen.problem();
}

#[test]
fn nobody_is_taken_for_a_stranger_whatever_the_handler_makes_of_the_failure() {
    World::new().run(async |world| {
        let browser = world.signed_in("zoe").await;
        assert_eq!(browser.get("/careless").await.ok().text(), "hello, zoe");
        world.store.is_down(true);
        for uri in ["/careless", "/me", "/get/theme"] {
            assert_unavailable(&browser.get(uri).await, "2");
        }
        world.store.is_down(false);
        assert_eq!(browser.get("/careless").await.ok().text(), "hello, zoe");
    });
}

#[test]
fn what_was_not_saved_is_not_acknowledged() {
    World::new().run(async |world| {
        let browser = world.signed_in("zoe").await;
        world.store.is_down(true);
        for uri in ["/put/theme/dark", "/sign-in/max", "/sign-out", "/careless-sign-out", "/renew"]
        {
            assert_unavailable(&browser.post(uri).await, "2");
            assert_unavailable(&world.browser().post("/sign-in/max").await, "2");
        }
        world.store.is_down(false);
        assert_eq!(browser.get("/me").await.ok().text(), "zoe", "still, and nobody else");
        assert_eq!(browser.get("/get/theme").await.ok().text(), "nothing");
    });
}

#[test]
fn who_does_not_need_the_session_does_not_notice() {
    World::new().run(async |world| {
        let browser = world.signed_in("zoe").await;
        world.store.is_down(true);
        assert_eq!(browser.get("/untouched").await.ok().text(), "untouched");
        // A stranger has nothing to be loaded.
        assert_eq!(world.browser().get("/careless").await.ok().text(), "hello, stranger");
        assert_eq!(world.browser().get("/me").await.status, 401);
    });
}

#[test]
fn who_was_served_is_not_told_that_the_use_is_not_noted() {
    World::new().run(async |world| {
        let browser = world.signed_in("zoe").await;
        world.store.fails_to_touch();
        world.runtime.advance(days(1));
        world.store.calls();
        assert_eq!(browser.get("/me").await.ok().text(), "zoe");
        assert_eq!(world.store.calls(), 2, "it was tried");
    });
}

#[test]
fn a_store_that_takes_too_long_has_failed() {
    let world = World::set_up(|sessions| sessions.timeout(millis(300)), |layer| layer);
    world.run(async |world| {
        let browser = world.signed_in("zoe").await;
        world.store.takes_millis(10_000);
        let began = world.runtime.now();
        assert_unavailable(&browser.get("/careless").await, "2");
        assert_eq!(world.runtime.now().since(began), millis(300));
        let began = world.runtime.now();
        assert_unavailable(&browser.post("/put/theme/dark").await, "2");
        assert_eq!(world.runtime.now().since(began), millis(300));
    });
}

#[test]
fn a_session_that_too_many_change_is_to_be_tried_again() {
    World::new().run(async |world| {
        let browser = world.signed_in("zoe").await;
        world.store.is_contended();
        assert_unavailable(&browser.post("/put/theme/dark").await, "1");
    });
}
