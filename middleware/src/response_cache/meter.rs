//! What the layer counts. The names stand in the documentation of the crate.

use std::fmt;

use metrics::{Counter, counter};

use crate::policy::{Bypass, Refusal};

pub(super) struct Meter {
    hits: Counter,
    misses: Counter,
    bypasses: Counter,
    bypassed: [Counter; Bypass::ALL.len()],
    not_stored: [Counter; Refusal::ALL.len()],
}

impl Meter {
    pub(super) fn new(cache: &str) -> Self {
        let requests = |result: &'static str| counter!("larder_http_requests_total", "cache" => cache.to_owned(), "result" => result);
        Self {
            hits: requests("hit"),
            misses: requests("miss"),
            bypasses: requests("bypass"),
            bypassed: Bypass::ALL.map(|why| {
                counter!("larder_http_bypassed_total",
                    "cache" => cache.to_owned(), "reason" => why.as_str())
            }),
            not_stored: Refusal::ALL.map(|why| {
                counter!("larder_http_not_stored_total",
                    "cache" => cache.to_owned(), "reason" => why.as_str())
            }),
        }
    }

    pub(super) fn hit(&self) {
        self.hits.increment(1);
    }

    pub(super) fn miss(&self) {
        self.misses.increment(1);
    }

    pub(super) fn bypass(&self, why: Bypass) {
        self.bypasses.increment(1);
        if let Some(counter) = self.bypassed.get(why as usize) {
            counter.increment(1);
        }
    }

    pub(super) fn not_stored(&self, why: Refusal) {
        if let Some(counter) = self.not_stored.get(why as usize) {
            counter.increment(1);
        }
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::test;

    #[test]
    fn every_reason_has_the_counter_of_its_number() {
        for (at, why) in Bypass::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, at);
        }
        for (at, why) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, at);
        }
    }
}
