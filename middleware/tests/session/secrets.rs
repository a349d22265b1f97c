//! What cookies are made with.

use larder_core::Error;
use larder_http::SessionLayer;
use larder_http::session::{Secret, Secrets};

use super::world::{SECRET, World, get_with, named, signed, who};
use crate::runtime::test;

fn problem(secrets: impl Into<Secrets>) -> String {
    match SessionLayer::new(World::new().sessions, secrets) {
        Err(Error::Config { setting, problem }) => format!("{setting}: {problem}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn secrets_that_are_too_short_are_refused_and_not_shown() {
    let short = problem("keyboard cat");
    assert!(short.starts_with("secrets: the one at place 1 has 12 bytes, where 32"), "{short}");
    assert!(!short.contains("keyboard"), "{short}");
    assert!(problem([SECRET, &SECRET[..31]]).starts_with("secrets: the one at place 2 has 31"));
    assert!(problem([Secret::new(SECRET), Secret::short("")]).contains("place 2 is empty"));
    assert!(problem(Vec::<Secret>::new()).starts_with("secrets: there is none"));
    assert!(SessionLayer::new(World::new().sessions, &SECRET[..32]).is_ok());
}

#[test]
fn cookies_are_those_of_express_with_its_name_and_secret() {
    let world = World::new();
    let express = SessionLayer::builder(world.sessions.clone(), Secret::short("keyboard cat"))
        .name("connect.sid")
        .insecure();
    world.with(express).run(async |world| {
        let browser = world.signed_in("zoe").await;
        assert_eq!(
            browser.cookies(),
            format!("connect.sid={}", signed(browser.id().expose(), "keyboard cat"))
        );
        // Express accepts a value without percent-encoding too.
        let plain = browser.cookies().replace("%3A", ":").replace("%2B", "+").replace("%2F", "/");
        assert_eq!(who(&world.app, &[&plain]).await, "zoe");
    });
}

#[test]
fn encrypted_cookies_show_no_id_and_replace_signed_ones() {
    World::new().run(async |world| {
        let signed_in = world.signed_in("zoe").await;
        let layer = SessionLayer::builder(world.sessions.clone(), SECRET).encrypted();
        let encrypted = world.with(layer);
        let seen = get_with(&encrypted.app, "/me", &[&named(&signed_in.value())]).await.ok();
        let cookie = seen.set_cookie().unwrap().split(';').next().unwrap();
        assert!(!cookie.contains(signed_in.id().expose()), "{cookie}");
        assert_eq!(who(&encrypted.app, &[cookie]).await, "zoe");
        assert_eq!(who(&world.app, &[cookie]).await, "nobody", "a layer that only signs");
        let seen = get_with(&encrypted.app, "/me", &[cookie]).await.ok();
        assert_eq!(seen.set_cookie(), None);
    });
}
