//! Waiting for what another process does in its own time.

use std::time::{Duration, Instant};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Waits until `holds` does. For what no event tells: a real server's state, or that of a task
/// which nobody can wait for.
///
/// # Panics
///
/// When it does not hold within 20 seconds; says what did not.
#[allow(clippy::panic)]
pub async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        if started.elapsed() > PATIENCE {
            panic!("waited for {PATIENCE:?} in vain until {what}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
