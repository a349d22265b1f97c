//! What the layer counts beside its limiter. The name stands in the documentation of the crate.

use std::sync::atomic::{AtomicBool, Ordering};

use metrics::{Counter, counter};

pub(super) struct Meter {
    keyless: Counter,
    has_warned: AtomicBool,
}

impl Meter {
    pub(super) fn new(limiter: &str) -> Self {
        let keyless =
            counter!("larder_http_keyless_requests_total", "limiter" => limiter.to_owned());
        Self { keyless, has_warned: AtomicBool::new(false) }
    }

    pub(super) fn keyless(&self, limiter: &str, lacks_address: bool) {
        self.keyless.increment(1);
        // Once, as clients may be able to bring it about.
        if lacks_address && !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                limiter,
                "a request's address is not known: is the server told its clients' addresses, and \
                 the number of proxies in front of it right? (this is said once)"
            );
        }
    }
}
