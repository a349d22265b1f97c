//! The page of the documentation that says what each backend guarantees.

use std::time::Duration;

use super::{Claims, CountingClaim, Record, Report, markdown};

/// What a row says of a backend by its claims.
type Row = (&'static str, fn(&Claims) -> String);

const ROWS: [Row; 8] = [
    ("a write is seen", |claims| match claims.unseen_for {
        None => "by every read after it".into(),
        Some(within) => format!("elsewhere as a rule within {}", duration(within)),
    }),
    ("where the values are", |claims| {
        if claims.in_process { "in the process" } else { "in the service" }.into()
    }),
    ("the longest key", |claims| bytes(claims.max_key_bytes)),
    ("the largest value", |claims| {
        // How the store is split depends on the machine.
        if claims.in_process {
            "a part of its capacity".into()
        } else {
            bytes(claims.max_value_bytes)
        }
    }),
    ("the shortest life that the store keeps", |claims| duration(claims.min_ttl)),
    ("keys in one call", |claims| thousands(claims.max_batch_keys)),
    ("rate limits are counted", |claims| match claims.counting {
        None => "not".into(),
        Some(CountingClaim::Exact) => "exactly".into(),
        Some(CountingClaim::Approximate(within)) => {
            format!("by each isolate, elsewhere as a rule within {}", duration(within))
        }
    }),
    ("a log-out holds", |claims| match claims.sessions {
        None => "there are no sessions".into(),
        Some(Duration::ZERO) => "at once".into(),
        Some(within) => format!("elsewhere within {}", duration(within)),
    }),
];

/// Writes the page, in Markdown: each backend has a title, and the record of a run on it.
#[must_use]
pub fn page(backends: &[(&str, Record)]) -> String {
    let mut claims = String::from("| |");
    for (title, _) in backends {
        claims.push_str(&format!(" {title} |"));
    }
    claims.push_str(&format!("\n| --- |{}", " --- |".repeat(backends.len())));
    for (name, of) in ROWS {
        claims.push_str(&format!("\n| {name} |"));
        for (_, record) in backends {
            claims.push_str(&format!(" {} |", of(&record.claims)));
        }
    }
    let counts = backends.iter().map(|(title, Record { report, .. })| {
        let (passed, failed, not_claimed) =
            (report.passed(), report.failed(), report.not_claimed());
        let failed = if failed == 0 { String::new() } else { format!("**{failed} failed**, ") };
        format!("- {title}: {passed} passed, {failed}{not_claimed} not claimed")
    });
    let counts = counts.collect::<Vec<_>>().join("\n");
    let reports: Vec<Report> = backends
        .iter()
        .map(|(title, record)| Report { backend: (*title).into(), ..record.report.clone() })
        .collect();
    format!(
        "# What each backend guarantees\n\n\
         `cargo xtask docs backends` wrote this page from runs of the conformance suite: natively on \
         memory\nand on a real Redis and a real Redis Cluster, and inside workerd on a KV namespace and on Durable Objects. \
         `cargo xtask test`\nruns the same, and fails where this page says anything else.\n\n\
         ## Claims\n\n\
         What a store says of itself, in its `Capabilities`. A limit that is exceeded is an error \
         before the\nservice is asked.\n\n\
         {claims}\n\n\
         KV itself keeps whole seconds, and 60 at least: the rest of a life stands in the value's \
         metadata,\nwhich has 1,024 B. KV has no counters: what is counted on it is counted in \
         each isolate, which tells the\nothers; see `KvRateLimits`.\n\n\
         Of the time in which a write to KV is seen elsewhere Cloudflare says\n[«60 seconds or \
         more»](https://developers.cloudflare.com/kv/concepts/how-kv-works/). On one\nmachine \
         workerd shows it at once: the cases that KV does not claim because of that time are\nrun \
         on the local namespace all the same, and this page is written only where they pass. \
         What\nholds when a write is seen late is tested on a simulated namespace, whose readers \
         do see it late.\n\n\
         ## Cases\n\n\
         «yes» is a case that passed. «not claimed» is one that the backend does not promise, for \
         the reason\nbelow the table; there is no other way to be excused from one. A number in \
         the second column is\nthat of the [semantic](semantics.md) that the case belongs \
         to.\n\n\
         {counts}\n\n\
         {}\n",
        markdown(&reports)
    )
}

fn duration(time: Duration) -> String {
    match time.as_millis() {
        ms if ms.is_multiple_of(1_000) => format!("{} s", ms / 1_000),
        ms => format!("{ms} ms"),
    }
}

fn bytes(bytes: usize) -> String {
    match bytes {
        0 => "0 B".into(),
        whole if whole.is_multiple_of(1 << 20) => format!("{} MiB", whole >> 20),
        whole if whole.is_multiple_of(1 << 10) && whole >= 4 << 10 => {
            format!("{} KiB", whole >> 10)
        }
        _ => format!("{} B", thousands(bytes)),
    }
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_with_their_units() {
        for (number, text) in [
            (512, "512 B"),
            (4_096, "4 KiB"),
            (2_048, "2,048 B"),
            (25 << 20, "25 MiB"),
            (1_996_928, "1,996,928 B"),
        ] {
            assert_eq!(bytes(number), text);
        }
        assert_eq!(duration(Duration::from_millis(1)), "1 ms");
        assert_eq!(duration(Duration::from_secs(60)), "60 s");
    }
}
