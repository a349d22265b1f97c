//! One load of a key in a fleet, by leases.

use std::sync::Arc;
use std::time::Duration;

use super::Cache;
use super::form::Form;
use super::load::Absence;
use super::policy::Policy;
use crate::flight::Lead;
use crate::layout::Presence;
use crate::lease::Held;

/// What came of asking for a key's lease.
pub(super) enum Leased<T> {
    /// The caller may load: with the lease, or without one because there are no leases, or because
    /// it could not be had.
    Granted(Option<Held>),
    /// Another holder of the lease has stored a value.
    Found(Presence<Arc<T>>),
}

/// Between two attempts to have the lease or to find the value.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

impl Cache {
    /// Waits for the key's lease, or for the value that its holder stores; for no longer than a
    /// load may take.
    pub(super) async fn lease_or_value<F: Form>(
        &self,
        lead: &Lead,
        policy: &Policy,
        absence: Absence,
    ) -> Leased<F::Value> {
        let Some(leases) = &self.leases else { return Leased::Granted(None) };
        let give_up = self.runtime.now() + policy.load_timeout;
        let mut pause = SHORTEST_PAUSE;
        loop {
            let lease = match leases.acquire(lead.key(), policy.load_timeout).await {
                Ok(Some(token)) => {
                    let (leases, key) = (Arc::clone(leases), Arc::clone(lead.key()));
                    Some(Held::new(Arc::clone(&self.runtime), async move {
                        if let Err(error) = leases.release(&key, &token).await {
                            tracing::debug!(%error, "a lease is left to expire");
                        }
                    }))
                }
                Ok(None) => None,
                Err(error) => {
                    tracing::debug!(%error, "loading without a lease");
                    return Leased::Granted(None);
                }
            };
            // Whoever held the lease before may have stored the value since it was missed.
            if let Some(value) = self.look_again::<F>(lead, absence).await {
                return Leased::Found(value);
            }
            let left = give_up.since(self.runtime.now());
            if lease.is_some() || left.is_zero() {
                return Leased::Granted(lease);
            }
            self.runtime.sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
