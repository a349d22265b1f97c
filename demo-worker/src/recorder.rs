//! The isolate's metrics, in Prometheus' text format, version 0.0.4.
//!
//! The exporters for native servers ask a browser's window for the time, which Workers has not.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

/// Installs the recorder, and returns what renders it.
pub(crate) fn install() -> impl Fn() -> String + Send + Sync + 'static {
    let registry = Registry::default();
    // Fails where one is installed: by an earlier request, before it failed to open the shop. What
    // is counted from then on is not shown, and the next isolate does better.
    let _ = metrics::set_global_recorder(registry.clone());
    move || registry.render()
}

/// Every metric, by its name and its labels as they are rendered.
#[derive(Clone, Default)]
struct Registry(Arc<Mutex<BTreeMap<(String, String), Metric>>>);

#[derive(Clone)]
enum Metric {
    Counter(Arc<Whole>),
    Gauge(Arc<Float>),
    Summary(Arc<Summary>),
}

#[derive(Default)]
struct Whole(AtomicU64);

/// The bits of an `f64`.
#[derive(Default)]
struct Float(AtomicU64);

/// How often something was recorded, and what it came to.
#[derive(Default)]
struct Summary {
    count: Whole,
    sum: Float,
}

impl Registry {
    fn metrics(&self) -> MutexGuard<'_, BTreeMap<(String, String), Metric>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn register(&self, key: &Key, new: Metric) -> Metric {
        let labels = key.labels().map(|label| {
            let value =
                label.value().replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            format!("{}=\"{value}\"", label.key())
        });
        let labels = labels.collect::<Vec<_>>().join(",");
        self.metrics().entry((key.name().to_owned(), labels)).or_insert(new).clone()
    }

    fn render(&self) -> String {
        let mut text = String::new();
        let mut last = "";
        let metrics = self.metrics();
        for ((name, labels), metric) in &*metrics {
            let kind = match metric {
                Metric::Counter(_) => "counter",
                Metric::Gauge(_) => "gauge",
                Metric::Summary(_) => "summary",
            };
            if name != last {
                let _ = writeln!(text, "# TYPE {name} {kind}");
                last = name;
            }
            let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            let _ = match metric {
                Metric::Counter(counter) => writeln!(text, "{name}{braced} {}", counter.get()),
                Metric::Gauge(gauge) => writeln!(text, "{name}{braced} {}", gauge.get()),
                Metric::Summary(summary) => {
                    let Summary { count, sum } = &**summary;
                    writeln!(text, "{name}_sum{braced} {}", sum.get())
                        .and_then(|()| writeln!(text, "{name}_count{braced} {}", count.get()))
                }
            };
        }
        text
    }
}

impl Recorder for Registry {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match self.register(key, Metric::Counter(Arc::default())) {
            Metric::Counter(counter) => Counter::from_arc(counter),
            // The name is another kind's already.
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        match self.register(key, Metric::Gauge(Arc::default())) {
            Metric::Gauge(gauge) => Gauge::from_arc(gauge),
            _ => Gauge::noop(),
        }
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match self.register(key, Metric::Summary(Arc::default())) {
            Metric::Summary(summary) => Histogram::from_arc(summary),
            _ => Histogram::noop(),
        }
    }
}

impl Whole {
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl CounterFn for Whole {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Ordering::Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }
}

impl Float {
    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// An isolate has one thread: nothing comes in between.
impl GaugeFn for Float {
    fn increment(&self, value: f64) {
        self.set(self.get() + value);
    }

    fn decrement(&self, value: f64) {
        self.set(self.get() - value);
    }

    fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }
}

impl HistogramFn for Summary {
    fn record(&self, value: f64) {
        self.count.increment(1);
        self.sum.increment(value);
    }
}
