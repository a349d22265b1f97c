//! The conformance suite inside workerd, by the Worker in `tests/worker`: on KV, on Durable Objects
//! and in memory; and what the suite does not ask.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use larder_tests::conformance::{self, CaseReport, Claims, Need};
use larder_tests::test_worker::TestWorker;
use larder_tests::trials::Trials;
use serde_json::Value;

/// A case gives up after two minutes by itself.
const PATIENCE: Duration = Duration::from_secs(150);

/// What a probe of the Worker saw is right.
type Probe = fn(&TestWorker) -> Result<()>;

fn main() -> ExitCode {
    let worker = Arc::new(TestWorker::new(PATIENCE));
    let mut trials = Trials::default();
    for case in conformance::cases() {
        let mut backends = vec!["memory", "kv", "durable"];
        // A local KV shows every write at once: it can be held to what the real one cannot promise.
        if case.needs.contains(&Need::StrongConsistency) {
            backends.push("kv-local");
        }
        for backend in backends {
            let worker = Arc::clone(&worker);
            trials.add(backend, case, move |case| -> Result<CaseReport> {
                worker.json(&format!("/run/{backend}/{}", case.name))
            });
        }
    }
    for backend in ["kv", "durable"] {
        let worker = Arc::clone(&worker);
        trials.record(backend, backend, move || -> Result<Claims> {
            worker.json(&format!("/claims/{backend}"))
        });
    }
    let probes: [(&str, Probe); 6] = [
        ("leases are given once and end by themselves", leases),
        ("limits of kv are errors before the call", limits),
        ("an object keeps the largest value and no larger one", largest),
        ("an alarm removes what is over and nobody reads", alarm),
        ("a call of many is one call an object or bulk", calls),
        ("a removal goes on where a request had to stop", removal),
    ];
    for (name, probe) in probes {
        let worker = Arc::clone(&worker);
        trials.test(format!("probe::{}", name.replace(' ', "_")), move || probe(&worker));
    }
    let code = trials.run();
    worker.stop();
    code
}

fn leases(worker: &TestWorker) -> Result<()> {
    let seen: Value = worker.json("/probe/leases")?;
    for free in ["first", "second", "third"] {
        ensure!(seen[free].is_string(), "{free}: a free lease was refused: {seen}");
    }
    for taken in ["refused", "still"] {
        ensure!(seen[taken].is_null(), "{taken}: a lease was given twice: {seen}");
    }
    ensure!(seen["first"] != seen["second"], "two leases have one token: {seen}");
    Ok(())
}

fn limits(worker: &TestWorker) -> Result<()> {
    let seen: Value = worker.json("/probe/limits")?;
    for limit in ["long", "dot", "dots", "longest"] {
        ensure!(seen[limit] == true, "{limit} is not as the limits say: {seen}");
    }
    Ok(())
}

fn largest(worker: &TestWorker) -> Result<()> {
    let seen: Value = worker.json("/probe/largest")?;
    ensure!(seen["bytes"] == 1_996_928, "the limit is another one: {seen}");
    ensure!(seen["kept"] == true, "the largest value was not read back: {seen}");
    ensure!(seen["refused"] == true, "a byte more was not refused: {seen}");
    ensure!(seen["calls"] == 0, "the object was asked before the refusal: {seen}");
    ensure!(seen["stands"] == true, "what stood there was lost: {seen}");
    Ok(())
}

fn alarm(worker: &TestWorker) -> Result<()> {
    let seen: Value = worker.json("/probe/alarm")?;
    ensure!(seen["written"] == 4, "three entries and a lease were not written: {seen}");
    ensure!(seen["left"] == 1, "what is over still lies in the storage: {seen}");
    ensure!(seen["stands"] == true, "what is not over is gone: {seen}");
    Ok(())
}

/// 250 keys: over five objects, and in bulk reads of 100.
fn calls(worker: &TestWorker) -> Result<()> {
    let seen: Value = worker.json("/probe/calls")?;
    for backend in ["kv", "durable"] {
        let seen = &seen[backend];
        ensure!(seen["found"] == 250 && seen["removed"] == 250, "{backend}: keys are lost: {seen}");
    }
    for form in ["put_many", "get_many", "remove_many"] {
        ensure!(seen["durable"][form] == 5, "{form} is not one call an object: {seen}");
    }
    let kv = &seen["kv"];
    ensure!(kv["get_many"] == 3, "get_many is not one call for 100 keys: {seen}");
    // KV writes and deletes one key a call; the look-up before a removal is in bulk.
    ensure!(kv["put_many"] == 250 && kv["remove_many"] == 253, "more calls than keys: {seen}");
    Ok(())
}

/// 300 keys, in requests that may make 250 calls.
fn removal(worker: &TestWorker) -> Result<()> {
    let mut left: u64 = worker.json("/probe/fill")?;
    let mut from = String::new();
    for round in 0.. {
        ensure!(round < 10, "{left} of the keys are left after ten requests");
        let seen: Value = worker.json(&format!("/probe/remove{from}"))?;
        let refused = seen["refused"].as_str().unwrap_or_default();
        ensure!(!refused.is_empty(), "a removal without calls left was no error: {seen}");
        let removed = seen["removed"].as_u64().unwrap_or_default();
        ensure!(removed > 0 || left == 0, "a request removed nothing: {seen}");
        left = left.saturating_sub(removed);
        match seen["next"].as_str() {
            Some(next) => from = format!("?from={next}"),
            None => break,
        }
    }
    ensure!(left == 0, "{left} of the keys were not removed");
    ensure!(!from.is_empty(), "one request removed more than its calls allow");
    Ok(())
}
