//! The figures, under the names that the documentation has for them.

use std::sync::atomic::Ordering;

use http::{Method, StatusCode};
use larder_core::{millis, seconds};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::world::{World, answering, ask};

#[test]
fn invalidations_are_counted_by_what_came_of_them() {
    use larder_core::Runtime as _;

    let recorder = PrometheusBuilder::new().build_recorder();
    World::run(async |world| {
        let layer = metrics::with_local_recorder(&recorder, || world.layer().timeout(millis(100)));
        let app = answering(StatusCode::OK).layer(layer);
        for uri in ["/users/1", "/users/2", "/elsewhere"] {
            ask(&app, Method::PUT, uri).await;
        }
        world.is_down(true);
        ask(&app, Method::PUT, "/users/1").await;
        world.is_down(false);
        world.bad.remove_millis.store(1_000, Ordering::SeqCst);
        ask(&app, Method::PUT, "/users/1").await;
        world.runtime.sleep(seconds(3)).await;
    });
    let text = recorder.handle().render();
    for line in [
        r#"larder_http_invalidations_total{cache="shop",result="done"} 3"#,
        r#"larder_http_invalidations_total{cache="shop",result="failed"} 1"#,
        r#"larder_http_late_invalidations_total{cache="shop"} 1"#,
        r#"larder_http_invalidation_seconds_count{cache="shop"} 4"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}
