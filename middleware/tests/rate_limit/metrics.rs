//! The figures, under the names that the documentation has for them.

use larder_core::Quota;
use larder_http::rate_limit::ClientIp;
use metrics_exporter_prometheus::PrometheusBuilder;

use super::world::{World, request};

#[test]
fn decisions_and_requests_without_a_key_are_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let [named, by_address] = metrics::with_local_recorder(&recorder, || {
        let by_address = |layer: larder_http::RateLimit| layer.by(ClientIp::peer());
        [World::new([Quota::per_minute(1)]), World::layered([Quota::per_minute(1)], by_address)]
    });
    named.run(async |world| {
        world.ask_as("a").await;
        world.ask_as("a").await;
        world.ask(request(&[])).await;
    });
    by_address.run(async |world| {
        world.ask(request(&[])).await;
    });
    let text = recorder.handle().render();
    for line in [
        r#"larder_limit_checks_total{limiter="ratelimit",result="allowed"} 1"#,
        r#"larder_limit_checks_total{limiter="ratelimit",result="refused"} 1"#,
        r#"larder_http_keyless_requests_total{limiter="ratelimit"} 2"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}
