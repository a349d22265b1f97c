//! The other processes that share a store: what this one tells them, and what it heeds of them.
//!
//! Three tasks go on while there is a handle of the cache. One tells what waits in the outbox, and now
//! and then that the cache is alive; one hears; one takes out of the store what loads of this process
//! have left there too late. When something may have been missed, the tier in front of the store is
//! suspect, loads under way are not kept, and what the last loads have stored is held against the store.

mod hear;
mod tell;
mod withdraw;
mod written;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Cache, Shared};
use crate::invalidation::{Channel, Ear, Invalidation, InvalidationStats, Meter, NodeId, Outbox};
use crate::layout::Layout;
use crate::runtime::Runtime;
use crate::time::Timestamp;

use tell::Said;
use withdraw::Withdrawals;
use written::Written;

/// The channel of caches in Larder's own layout.
const CHANNEL: &str = "larder:invalidate";
/// The channel in the layout `Plain`, as services of other makes know it.
const PLAIN_CHANNEL: &str = "cache:invalidate";

/// What one cache and its clones share with other processes.
pub(super) struct Fleet {
    bus: Arc<dyn Invalidation>,
    channel: Channel,
    /// How long nothing may be heard.
    silence: Duration,
    ear: Mutex<Ear>,
    /// Until when it is known that nothing was missed, in microseconds since the UNIX epoch.
    trusted_until: AtomicU64,
    pub(super) outbox: Outbox,
    said: Said,
    written: Mutex<Written>,
    withdrawals: Withdrawals,
    pub(super) meter: Meter,
}

/// Makes a fleet and lets a cache join it: behind pointers, so that only a program that asks for a bus
/// is linked with what goes on with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct MakeFleet {
    pub(super) fleet: fn(Settings, &Layout, Timestamp, &str) -> Fleet,
    pub(super) join: fn(Cache) -> Cache,
}

/// How a cache is to share its invalidations.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) bus: Arc<dyn Invalidation>,
    pub(super) channel: Option<String>,
    pub(super) silence: Duration,
}

impl Fleet {
    pub(super) const MAKE: MakeFleet = MakeFleet { fleet: Self::new, join: Cache::join_its_fleet };

    fn new(settings: Settings, layout: &Layout, now: Timestamp, name: &str) -> Self {
        let Settings { bus, channel, silence } = settings;
        let channel = match layout {
            Layout::Plain => Channel::plain(channel.unwrap_or_else(|| PLAIN_CHANNEL.into())),
            Layout::Framed(_) => Channel::larder(channel.unwrap_or_else(|| CHANNEL.into())),
        };
        Self {
            bus,
            channel,
            silence,
            ear: Mutex::new(Ear::new(NodeId::random(), now, silence)),
            trusted_until: AtomicU64::new(0),
            outbox: Outbox::default(),
            said: Said::default(),
            written: Mutex::default(),
            withdrawals: Withdrawals::default(),
            meter: Meter::new(name),
        }
    }

    fn trusted_until(&self) -> Timestamp {
        Timestamp::from_micros(self.trusted_until.load(Ordering::SeqCst))
    }

    fn is_trusted(&self, runtime: &dyn Runtime) -> bool {
        runtime.now() < self.trusted_until()
    }

    pub(super) fn stats(&self, runtime: &dyn Runtime) -> InvalidationStats {
        self.meter.stats(self.outbox.len(), self.is_trusted(runtime))
    }
}

/// Held by every handle of a cache with a bus; with the last of them its tasks end.
pub(super) struct Membership(Arc<Shared>);

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(fleet) = &self.0.fleet {
            fleet.outbox.close();
        }
    }
}

impl Cache {
    /// This cache, which from now on tells and hears, if it has a bus.
    fn join_its_fleet(mut self) -> Self {
        if self.shared.fleet.is_some() {
            let (runtime, shared) = (&self.runtime, &self.shared);
            // If there is nowhere to run them, they are dropped; then nobody waits for them.
            let end = || Membership(Arc::clone(shared));
            runtime.spawn(Box::pin(tell::tell_all(self.clone(), end())));
            runtime.spawn(Box::pin(hear::hear_all(self.clone())));
            runtime.spawn(Box::pin(withdraw::withdraw_all(self.clone())));
            self.membership = Some(Arc::new(end()));
        }
        self
    }
}
