//! The figures, under the names that the documentation has for them.

use larder_core::{Cache, Layout, MemoryStore, VirtualRuntime};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::origin::{Origin, World, get, request, text, with};

/// A world whose figures are rendered by the handle.
fn measured(layout: Layout, origin: Origin) -> (PrometheusHandle, World) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let world = metrics::with_local_recorder(&recorder, || {
        let runtime = VirtualRuntime::seeded(1);
        let store = MemoryStore::builder().on(runtime.clone());
        let cache = Cache::builder(store).layout(layout).name("shop");
        World::on(&runtime, cache, origin, |layer| layer)
    });
    (recorder.handle(), world)
}

#[test]
fn requests_and_refusals_are_counted() {
    let origin = Origin::new(|request| match request.uri().path() {
        "/cookie" => with("a", &[("set-cookie", "id=1")]),
        _ => text("a"),
    });
    let (figures, world) = measured(Layout::default(), origin);
    world.run(async |world| {
        world.get("/").await;
        world.get("/").await;
        world.get("/").await;
        world.get("/cookie").await;
        world.ask(request(http::Method::POST, "/", &[])).await;
        world.ask(get("/", &[("range", "bytes=0-1")])).await;
        drop(world.head_of(get("/unread", &[])).await);
    });
    let text = figures.render();
    for line in [
        r#"larder_http_requests_total{cache="shop",result="hit"} 2"#,
        r#"larder_http_requests_total{cache="shop",result="miss"} 3"#,
        r#"larder_http_requests_total{cache="shop",result="bypass"} 2"#,
        r#"larder_http_bypassed_total{cache="shop",reason="method"} 1"#,
        r#"larder_http_bypassed_total{cache="shop",reason="range"} 1"#,
        r#"larder_http_not_stored_total{cache="shop",reason="set_cookie"} 1"#,
        r#"larder_http_not_stored_total{cache="shop",reason="abandoned"} 1"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn what_the_plain_layout_cannot_hold_is_refused_for_that() {
    let origin = Origin::new(|request| match request.uri().path() {
        "/vary" => with("a", &[("content-type", "text/plain"), ("vary", "Accept")]),
        "/encoded" => with("a", &[("content-type", "text/plain"), ("content-encoding", "br")]),
        _ => text("a"),
    });
    let (figures, world) = measured(Layout::Plain, origin);
    world.run(async |world| {
        for (before, path) in ["/vary", "/encoded", "/untyped"].into_iter().enumerate() {
            world.get(path).await;
            let refused = r#"larder_http_not_stored_total{cache="shop",reason="layout"}"#;
            let (text, line) = (figures.render(), format!("{refused} {}", before + 1));
            assert!(text.contains(&line), "{path}: {line}\n{text}");
        }
    });
}
