//! What a simulation does, drawn from its seed.

use std::time::Duration;

use larder_core::{millis, seconds};

/// What a simulation does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What everything is drawn from.
    pub seed: u64,
    /// How many processes there are.
    pub nodes: usize,
    /// How many callers each of them has.
    pub callers: usize,
    /// How many calls each of them makes.
    pub calls: usize,
    /// How many rows they share.
    pub keys: usize,
    /// The longest way to the store, and back.
    pub latency: Duration,
    /// The longest way over the bus.
    pub delay: Duration,
    /// How long nothing may be heard.
    pub silence: Duration,
    /// The life of a value, in the store and in front of it.
    pub ttl: Duration,
    /// Whether the bus loses messages without a trace, but only a few in a row.
    pub loses: bool,
    /// Whether the bus drops messages, or damages them, and says so.
    pub drops: bool,
    /// Whether it brings messages twice, and in any order.
    pub disorder: bool,
    /// Whether connections to the bus break.
    pub breaks: bool,
    /// Whether the bus does not take what it is given, or does not say so.
    pub publish_faults: bool,
    /// Whether processes are paused.
    pub pauses: bool,
    /// Whether processes are killed and begun anew.
    pub kills: bool,
    /// Whether notices go in the plain form.
    pub plain: bool,
    /// Whether the cache is cleared by an epoch.
    pub instant_clear: bool,
    /// Whether every event is noted.
    pub traced: bool,
}

/// So many messages of a sender to a listener are lost in a row at most.
pub(super) const LOST_IN_A_ROW: u32 = 2;

/// How long publishing takes at most, if it does not fail.
pub(super) const PUBLISHING: Duration = millis(4);

/// How often in a row it fails at most, and the pauses after that.
pub(super) const FAILING_IN_A_ROW: u32 = 3;
const FAILING: Duration = millis(50 + 100 + 200);

/// How long a process is paused, and how long a connection is broken.
pub(super) const LONGEST_PAUSE: Duration = millis(900);

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed ^ 0xf1ee7);
        // Half of all plans have a bus that is slow, and nothing else.
        let rough = random.bool();
        let mut sometimes = |of: u8| rough && random.u8(..of) == 0;
        let plain = sometimes(4);
        let loses = sometimes(2) && !plain;
        let (drops, disorder, breaks) = (sometimes(2), sometimes(2), sometimes(2));
        let (publish_faults, pauses, kills) = (sometimes(3), sometimes(3), sometimes(3));
        Self {
            seed,
            nodes: random.usize(2..4),
            callers: random.usize(1..3),
            calls: random.usize(4..12),
            keys: random.usize(1..3),
            latency: millis(random.u64(0..3)),
            delay: millis([0, 2, 12][random.usize(..3)]),
            silence: millis(600),
            ttl: seconds(600),
            loses,
            drops,
            disorder,
            breaks,
            publish_faults,
            pauses,
            kills,
            plain,
            instant_clear: !plain && random.bool(),
            traced: false,
        }
    }

    /// How long after an invalidation has returned what it invalidated may be read at most.
    #[must_use]
    pub fn bound(&self) -> Duration {
        // What a late load has stored is held against the store and removed, after one that is at
        // work; and the others are told.
        let store = 2 * self.latency;
        let mut bound = 2 * self.delay + 2 * PUBLISHING + 8 * store + millis(1);
        if self.loses || self.breaks || self.kills {
            // By the numbers, by silence, or by a connection that is made anew; once for the notice,
            // and once for what is said of a load that was too late for it.
            let noticed = self.silence + self.silence / 4 + self.silence / 3 * LOST_IN_A_ROW;
            bound += 2 * (noticed + self.delay + PUBLISHING);
        }
        if self.publish_faults {
            bound += 2 * (FAILING + 4 * PUBLISHING);
        }
        if self.breaks {
            bound += 2 * LONGEST_PAUSE;
        }
        if self.pauses {
            bound += 2 * LONGEST_PAUSE;
        }
        bound
    }
}
