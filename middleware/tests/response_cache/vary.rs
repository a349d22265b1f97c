//! Responses that depend on fields of the request.

use futures::future::join_all;
use http::{HeaderValue, Method, Request, Response};
use larder_core::{Cache, MemoryStore, Runtime, VirtualRuntime, seconds};

use super::origin::{Answer, Origin, Seen, World, full, get, request};
use crate::runtime::test;

/// Answers with the request's language and the number of the call, and says that it varies by
/// `vary`.
fn speaking(request: &Request<()>, vary: &'static str) -> Answer {
    let language = request.headers().get("accept-language");
    let language = language.map_or("none", |value| value.to_str().unwrap()).to_lowercase();
    let mut response = Response::new(full(language));
    response.headers_mut().insert("vary", HeaderValue::from_static(vary));
    response
}

fn polyglot() -> Origin {
    Origin::new(|request| speaking(&request, "Accept-Language"))
}

async fn ask(world: &World, language: &str) -> Seen {
    world.ask(get("/", &[("accept-language", language)])).await
}

#[test]
fn each_variant_is_stored_for_itself() {
    World::new(polyglot()).run(async |world| {
        for language in ["de", "en"] {
            let seen = ask(&world, language).await;
            assert_eq!((seen.cache(), seen.text()), ("MISS", language));
        }
        for language in ["de", "en", "DE", " en "] {
            let seen = ask(&world, language).await;
            assert_eq!(seen.cache(), "HIT");
            assert_eq!(seen.text(), language.trim().to_lowercase());
            assert_eq!(seen.header("vary"), Some("Accept-Language"));
        }
        let seen = world.get("/").await;
        assert_eq!((seen.cache(), seen.text()), ("MISS", "none"));
        assert_eq!(world.get("/").await.cache(), "HIT");
        assert_eq!(world.origin.calls(), 3);
    });
}

#[test]
fn head_is_answered_from_its_variant() {
    World::new(polyglot()).run(async |world| {
        ask(&world, "de").await;
        let head = |language| request(Method::HEAD, "/", &[("accept-language", language)]);
        assert_eq!(world.ask(head("de")).await.cache(), "HIT");
        assert_eq!(world.ask(head("en")).await.cache(), "MISS");
    });
}

#[test]
fn a_field_that_turns_up_later_divides_the_variants() {
    let origin = Origin::new(|request| {
        let german = request.headers()["accept-language"] == "de";
        let mut response =
            speaking(&request, if german { "Accept-Language, X-Kind" } else { "Accept-Language" });
        let kind = request.headers().get("x-kind").map_or("", |kind| kind.to_str().unwrap());
        *response.body_mut() = full(kind.to_owned());
        response
    });
    World::new(origin).run(async |world| {
        let ask = async |language, kind| {
            world.ask(get("/", &[("accept-language", language), ("x-kind", kind)])).await
        };
        ask("en", "1").await;
        // Only the German response tells that the kind matters.
        assert_eq!(ask("de", "1").await.cache(), "MISS");
        for (language, kind) in [("de", "1"), ("de", "2"), ("en", "1")] {
            let seen = ask(language, kind).await;
            assert_eq!((seen.cache(), seen.text()), ("MISS", kind));
            let seen = ask(language, kind).await;
            assert_eq!((seen.cache(), seen.text()), ("HIT", kind));
        }
    });
}

#[test]
fn what_is_removed_takes_its_variants_along() {
    World::new(polyglot()).run(async |world| {
        ask(&world, "de").await;
        ask(&world, "en").await;
        world.cache.remove("http-cache:GET:/").await.unwrap();
        assert_eq!(ask(&world, "de").await.cache(), "MISS");
        // The fields are known again, and the English variant is still in the store.
        assert_eq!(ask(&world, "en").await.cache(), "MISS");
        assert_eq!(ask(&world, "de").await.cache(), "HIT");
    });
}

#[test]
fn a_removal_while_the_first_variant_is_under_way_wins() {
    World::new(polyglot()).run(async |world| {
        let german = || get("/", &[("accept-language", "de")]);
        let response = world.head_of(german()).await;
        world.cache.remove_matching("http-cache:*").await.unwrap();
        super::origin::read(response).await.unwrap();
        world.settle().await;
        assert_eq!(world.ask(german()).await.cache(), "MISS");
    });
}

#[test]
fn concurrent_misses_make_one_call_for_each_variant() {
    let runtime = VirtualRuntime::seeded(3);
    let clock = runtime.clone();
    let origin = Origin::with_future(move |request| {
        let sleep = clock.sleep(seconds(1));
        async move {
            sleep.await;
            speaking(&request, "Accept-Language")
        }
    });
    let store = MemoryStore::builder().on(runtime.clone());
    World::on(&runtime, Cache::builder(store), origin, |layer| layer).run(async |world| {
        let start = world.runtime.now();
        let languages = ["de", "en", "fr"];
        let seen = join_all((0..60).map(|n| ask(&world, languages[n % 3]))).await;
        for (n, seen) in seen.iter().enumerate() {
            assert_eq!(seen.text(), languages[n % 3]);
        }
        assert_eq!(world.origin.calls(), 3);
        // The fields were known after the first second; then the others went on at once.
        assert!(world.runtime.now().since(start) < seconds(3));
    });
}

#[test]
fn a_new_answer_for_one_variant_leaves_the_others() {
    World::new(polyglot()).run(async |world| {
        ask(&world, "de").await;
        ask(&world, "en").await;
        let fresh = get("/", &[("accept-language", "de"), ("cache-control", "no-cache")]);
        assert_eq!(world.ask(fresh).await.cache(), "MISS");
        assert_eq!(ask(&world, "en").await.cache(), "HIT");
        assert_eq!(ask(&world, "de").await.cache(), "HIT");
        assert_eq!(world.origin.calls(), 3);
    });
}
