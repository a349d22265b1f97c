use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use larder_core::{LeaseToken, Leases, Runtime, StoreError, Timestamp, millis};

/// Leases in memory, a moment away.
pub(super) struct LocalLeases {
    runtime: Arc<dyn Runtime>,
    held: Mutex<HashMap<String, (u64, Timestamp)>>,
    last: AtomicU64,
}

impl LocalLeases {
    pub(super) fn on(runtime: Arc<dyn Runtime>) -> Self {
        Self { runtime, held: Mutex::default(), last: AtomicU64::new(0) }
    }
}

impl std::fmt::Debug for LocalLeases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalLeases").finish_non_exhaustive()
    }
}

#[async_trait]
impl Leases for LocalLeases {
    async fn acquire(&self, key: &str, life: Duration) -> Result<Option<LeaseToken>, StoreError> {
        self.runtime.sleep(millis(1)).await;
        let now = self.runtime.now();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.get(key).is_some_and(|(_, until)| now < *until) {
            return Ok(None);
        }
        let token = self.last.fetch_add(1, Ordering::SeqCst);
        held.insert(key.into(), (token, now + life));
        Ok(Some(LeaseToken::new(token.to_string())))
    }

    async fn release(&self, key: &str, token: &LeaseToken) -> Result<(), StoreError> {
        self.runtime.sleep(millis(1)).await;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.get(key).is_some_and(|(holder, _)| holder.to_string() == token.as_str()) {
            held.remove(key);
        }
        Ok(())
    }
}
