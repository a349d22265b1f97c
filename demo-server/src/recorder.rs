use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

/// From what a hit in memory takes to what a request may take, in seconds.
const SECONDS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0,
];
const KEYS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
const UPKEEP: Duration = Duration::from_secs(5);

/// Installs the recorder of this process, and returns what renders it in Prometheus' text format.
///
/// To be called before any cache or store is built, as they bind their metrics then, and inside a
/// Tokio runtime.
///
/// # Errors
///
/// Where one is installed already.
pub fn install_recorder() -> anyhow::Result<impl Fn() -> String + Send + Sync + 'static> {
    let handle = builder()
        .and_then(PrometheusBuilder::install_recorder)
        .context("the recorder for metrics cannot be installed")?;
    Ok(kept_up(handle))
}

/// A recorder for some threads of this process, whose metrics [`kept_up`] renders.
pub(crate) fn recorder() -> anyhow::Result<PrometheusRecorder> {
    let builder = builder().context("a recorder for metrics cannot be made")?;
    Ok(builder.build_recorder())
}

/// What renders the metrics; called inside of a Tokio runtime.
pub(crate) fn kept_up(handle: PrometheusHandle) -> impl Fn() -> String + Send + Sync + 'static {
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut every = tokio::time::interval(UPKEEP);
        loop {
            every.tick().await;
            // Histograms gather samples until they are drained.
            upkeep.run_upkeep();
        }
    });
    move || handle.render()
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_keys".into()), &KEYS)
}
