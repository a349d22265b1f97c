//! What somebody tries who wants another's session.

use http::Method;
use http::header::COOKIE;
use larder_core::session::SessionId;
use larder_core::{Runtime as _, SessionStore as _, days, hours, minutes, seconds};
use larder_http::SessionLayer;
use larder_http::session::Secret;

use super::world::{COOKIE_NAME, SECRET, World, get_with, named, request, send, signed, who};
use crate::runtime::test;

#[test]
fn a_session_that_was_planted_before_is_not_the_one_that_is_signed_in() {
    World::new().run(async |world| {
        let attacker = world.browser();
        attacker.post("/put/theme/dark").await.ok();
        let planted = named(&attacker.value());

        let mut sign_in = request(Method::POST, "/sign-in/zoe");
        sign_in.headers_mut().insert(COOKIE, planted.parse().unwrap());
        let victim = send(&world.app, sign_in).await.ok();
        let victims = victim.set_cookie().unwrap().split(';').next().unwrap();
        assert_ne!(victims, planted);
        assert_eq!(who(&world.app, &[victims]).await, "zoe");
        assert_eq!(get_with(&world.app, "/get/theme", &[victims]).await.text(), "dark", "kept");

        assert_eq!(who(&world.app, &[&planted]).await, "nobody");
        assert_eq!(attacker.get("/get/theme").await.ok().text(), "nothing", "the old id is dead");
    });
}

#[test]
fn an_id_that_a_client_invented_is_nobodys_and_never_given_out() {
    World::new().run(async |world| {
        let invented = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        // Without a signature, and with one that only somebody with the secret can make: the id of
        // a session that has ended long ago.
        for value in [invented.to_owned(), signed(invented, SECRET)] {
            let cookie = named(&value);
            assert_eq!(who(&world.app, &[&cookie]).await, "nobody");
            let mut change = request(Method::POST, "/put/theme/dark");
            change.headers_mut().insert(COOKIE, cookie.parse().unwrap());
            let seen = send(&world.app, change).await.ok();
            let given = seen.set_cookie().unwrap();
            assert!(!given.contains(invented), "{given}");
            assert_eq!(get_with(&world.app, "/get/theme", &[&cookie]).await.text(), "nothing");
        }
    });
}

#[test]
fn a_cookie_that_was_tampered_with_is_none() {
    World::new().run(async |world| {
        let zoe = world.signed_in("zoe").await;
        let max = world.signed_in("max").await;
        let (mine, others) = (max.value(), zoe.value());
        assert_eq!(who(&world.app, &[&named(&others)]).await, "zoe");
        let id = zoe.id();
        let my_signature = mine.rsplit_once('.').unwrap().1;
        let its_signature = others.rsplit_once('.').unwrap().1;
        for wrong in [
            id.expose().to_owned(),
            format!("s%3A{}", id.expose()),
            format!("s%3A{}.", id.expose()),
            format!("s%3A{}.{my_signature}", id.expose()),
            format!("s%3A{}.{its_signature}", max.id().expose()),
            format!("s%3A{}.x.{its_signature}", id.expose()),
            format!("j%3A{}.{its_signature}", id.expose()),
            signed(id.expose(), "keyboard cat"),
            signed(id.expose(), ""),
            signed(&id.digest()[..32], SECRET),
            others.to_uppercase(),
            others[..others.len() - 1].to_owned(),
            String::new(),
        ] {
            assert_eq!(who(&world.app, &[&named(&wrong)]).await, "nobody", "{wrong}");
        }
    });
}

#[test]
fn an_old_secret_is_accepted_replaced_and_then_dropped() {
    World::new().run(async |world| {
        let new = "another secret of at least 32 bytes, say";
        let before = world.signed_in("zoe").await;
        let changing = world.with(SessionLayer::builder(world.sessions.clone(), [new, SECRET]));
        let after = world.with(SessionLayer::builder(world.sessions.clone(), new));
        let old = named(&before.value());

        assert_eq!(who(&after.app, &[&old]).await, "nobody");
        let seen = get_with(&changing.app, "/me", &[&old]).await.ok();
        assert_eq!(seen.text(), "zoe");
        let replaced = seen.set_cookie().expect("a new cookie").split(';').next().unwrap();
        assert_eq!(replaced, named(&signed(before.id().expose(), new)));
        assert_eq!(who(&after.app, &[replaced]).await, "zoe");
        let seen = get_with(&changing.app, "/me", &[replaced]).await.ok();
        assert_eq!(seen.set_cookie(), None, "it need not be replaced again");

        // Of a session that has ended nothing is signed anew.
        before.post("/sign-out").await.ok();
        let seen = get_with(&changing.app, "/get/theme", &[&old]).await.ok();
        assert_eq!(seen.set_cookie(), None);
    });
}

#[test]
fn nothing_can_be_replayed_after_a_sign_out() {
    World::new().run(async |world| {
        let browser = world.signed_in("zoe").await;
        let kept = named(&browser.value());
        let seen = browser.post("/sign-out").await.ok();
        let removed = format!("{COOKIE_NAME}=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax");
        assert_eq!(seen.set_cookie(), Some(&*removed));
        assert_eq!(browser.cookies(), "");
        for _ in 0..2 {
            assert_eq!(who(&world.app, &[&kept]).await, "nobody");
            world.runtime.advance(hours(1));
        }
    });
}

#[test]
fn nothing_can_be_replayed_after_a_renewal() {
    World::new().run(async |world| {
        let browser = world.signed_in("zoe").await;
        let old = named(&browser.value());
        browser.post("/renew").await.ok();
        assert_ne!(named(&browser.value()), old);
        assert_eq!(browser.get("/me").await.ok().text(), "zoe");
        assert_eq!(who(&world.app, &[&old]).await, "nobody");
    });
}

#[test]
fn nothing_can_be_replayed_after_the_idle_time() {
    let world = World::set_up(|sessions| sessions.idle(hours(1)), |layer| layer);
    world.run(async |world| {
        let browser = world.signed_in("zoe").await;
        let cookie = named(&browser.value());
        world.runtime.advance(hours(1) - seconds(1));
        assert_eq!(who(&world.app, &[&cookie]).await, "zoe");
        world.runtime.advance(hours(1) - seconds(1));
        assert_eq!(who(&world.app, &[&cookie]).await, "zoe", "its use was noted");
        world.runtime.advance(hours(1));
        assert_eq!(who(&world.app, &[&cookie]).await, "nobody");
    });
}

#[test]
fn nothing_can_be_replayed_after_the_absolute_time() {
    let world = World::set_up(|sessions| sessions.idle(hours(1)).absolute(hours(3)), |layer| layer);
    world.run(async |world| {
        let browser = world.signed_in("zoe").await;
        let cookie = named(&browser.value());
        for _ in 0..6 {
            world.runtime.advance(minutes(30) - seconds(1));
            assert_eq!(who(&world.app, &[&cookie]).await, "zoe");
        }
        world.runtime.advance(seconds(6));
        assert_eq!(who(&world.app, &[&cookie]).await, "nobody");
    });
}

#[test]
fn a_slow_request_does_not_bring_back_who_signed_out() {
    World::new().run(async |world| {
        let browser = world.signed_in("zoe").await;
        let cookie = named(&browser.value());
        world.store.takes_millis(100);
        let slow = browser.clone();
        let (changed, _) = futures::join!(slow.post("/put/theme/dark"), async {
            world.runtime.sleep(larder_core::millis(150)).await;
            world.store.takes_millis(0);
            // Between the load of the other request and its save.
            assert!(world.sessions.open(Some(browser.id())).end().await.unwrap());
        });
        assert_eq!(changed.status, 409, "what it changed is lost, and it is told");
        changed.problem();
        assert_eq!(changed.set_cookie(), None);
        assert_eq!(who(&world.app, &[&cookie]).await, "nobody");
        assert!(world.sessions.of_user("zoe").await.unwrap().is_empty());
    });
}

#[test]
fn cookies_that_are_slipped_in_lock_nobody_out() {
    World::new().run(async |world| {
        let browser = world.signed_in("zoe").await;
        let mine = named(&browser.value());
        let ended = world.signed_in("mallory").await;
        let dead = named(&ended.value());
        ended.post("/sign-out").await.ok();
        let forged = named(&signed(browser.id().expose(), "keyboard cat"));
        let garbage = named("garbage");
        for first in [&dead, &forged, &garbage] {
            for lines in [
                vec![format!("{first}; {mine}")],
                vec![format!("{mine}; {first}")],
                vec![first.clone(), mine.clone()],
                vec![format!("a=b;{first};c;{garbage};{mine} ; d=e")],
                vec!["a=b".into(), first.clone(), "c=d".into(), mine.clone()],
            ] {
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                assert_eq!(who(&world.app, &lines).await, "zoe", "{lines:?}");
            }
        }

        // Whoever signs out is signed out, whatever stands before the cookie.
        let mut sign_out = request(Method::POST, "/sign-out");
        sign_out.headers_mut().insert(COOKIE, format!("{dead}; {mine}").parse().unwrap());
        send(&world.app, sign_out).await.ok();
        assert_eq!(who(&world.app, &[&mine]).await, "nobody");
    });
}

#[test]
fn another_cookie_is_not_the_sessions() {
    World::new().run(async |world| {
        let value = world.signed_in("zoe").await.value();
        for other in ["session", "__Host-Session", "x__Host-session", "__Host-session2", ""] {
            assert_eq!(who(&world.app, &[&format!("{other}={value}")]).await, "nobody", "{other}");
        }
        assert_eq!(who(&world.app, &[&format!("a=\"{COOKIE_NAME}={value}\"")]).await, "nobody");
        assert_eq!(who(&world.app, &[&format!("{COOKIE_NAME}=\"{value}\"")]).await, "zoe");
    });
}

#[test]
fn cookies_that_are_too_large_or_too_many_are_no_work() {
    World::new().run(async |world| {
        let mine = named(&world.signed_in("zoe").await.value());
        let large = named(&format!("s%3A{}", "A".repeat(100_000)));
        let encoded = named(&"%41".repeat(100_000));
        for first in [&large, &encoded] {
            assert_eq!(who(&world.app, &[&format!("{first}; {mine}")]).await, "zoe");
        }
        world.store.calls();
        let dead = signed("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", SECRET);
        let many = vec![named(&dead); 1_000].join("; ");
        assert_eq!(who(&world.app, &[&many]).await, "nobody");
        let calls = world.store.calls();
        assert!(calls <= 16, "{calls} look-ups for one request");
    });
}

#[test]
fn a_session_that_grows_too_large_is_refused_and_stays_as_it_was() {
    World::new().run(async |world| {
        let browser = world.signed_in("zoe").await;
        browser.post("/put/theme/dark").await.ok();
        let seen = browser.post("/large").await;
        assert_eq!(seen.status, 500);
        assert!(seen.problem()["detail"].as_str().unwrap().contains("larger"), "{seen:?}");
        assert_eq!(seen.header("retry-after"), None, "no wait will help");
        assert_eq!(browser.get("/get/theme").await.ok().text(), "dark");
        assert_eq!(browser.get("/get/large").await.ok().text(), "nothing");
    });
}

#[test]
fn who_reads_the_store_cannot_present_what_stands_there() {
    World::new().run(async |world| {
        let browser = world.signed_in("zoe").await;
        let list = world.sessions.of_user("zoe").await.unwrap();
        let key = list[0].key.strip_prefix("sess:").unwrap();
        assert_eq!(key, browser.id().digest());
        assert_eq!(SessionId::parse(key), None);
        let with_secret = named(&signed(key, SECRET));
        assert_eq!(who(&world.app, &[&with_secret]).await, "nobody");
        assert!(world.store.sessions.load(browser.id().expose()).await.unwrap().is_none());
    });
}

#[test]
fn nothing_that_is_shown_tells_a_secret_or_an_id() {
    World::new().run(async |world| {
        let secret = Secret::new(SECRET);
        let builder = SessionLayer::builder(world.sessions.clone(), [secret.clone()]);
        let shown = format!("{secret:?} {builder:?}");
        let shown = format!("{shown} {:?}", builder.build().unwrap());
        assert!(!shown.contains(&SECRET[..8]), "{shown}");

        let seen = world.browser().post("/sign-in/zoe").await;
        assert!(seen.headers["set-cookie"].is_sensitive(), "HTTP/2 must not index it");
        assert!(!format!("{:?}", seen.headers).contains("s%3A"));
    });
}

#[test]
fn a_session_is_not_fixed_by_its_cookies_life() {
    World::new().run(async |world| {
        // A browser may keep a cookie for longer than it was told.
        let kept = named(&world.signed_in("zoe").await.value());
        world.runtime.advance(days(400));
        assert_eq!(who(&world.app, &[&kept]).await, "nobody");
    });
}
