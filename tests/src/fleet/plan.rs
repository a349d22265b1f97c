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
    /// How long a load takes at most after it has read.
    pub load: Duration,
    /// How long a caller rests at most between two calls.
    pub rest: Duration,
    /// Whether the bus loses messages without a trace, but only a few in a row.
    pub loses: bool,
    /// Whether the bus drops messages, or damages them, and says so.
    pub drops: bool,
    /// Whether it brings messages twice, and in any order.
    pub disorder: bool,
    /// Whether connections to the bus break, which is told soon.
    pub breaks: bool,
    /// Whether connections to the bus hang for long: nothing arrives, and nobody says so.
    pub hangs: bool,
    /// Whether the bus does not take what it is given, or does not say so.
    pub publish_faults: bool,
    /// Whether processes are paused.
    pub pauses: bool,
    /// Whether processes are killed, some of them when they were not heard any more; some of them are
    /// begun anew.
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

/// How long a connection hangs.
pub(super) const LONGEST_HANG: Duration = seconds(3);

const TROUBLES: usize = 8;

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed ^ 0xf1ee7);
        // Half of all plans have a bus that is slow, and nothing else.
        let rough = random.bool();
        let plain = rough && random.u8(..4) == 0;
        // Half of the others have one trouble alone, as the bound of several hides what one costs.
        let alone = random.bool().then(|| random.usize(..TROUBLES));
        let troubles: [bool; TROUBLES] = std::array::from_fn(|number| {
            let is_drawn = random.u8(..3) == 0;
            rough && alone.map_or(is_drawn, |alone| alone == number)
        });
        let [loses, drops, disorder, breaks, hangs, publish_faults, pauses, kills] = troubles;
        // In the plain form neither can be noticed.
        let (loses, hangs) = (loses && !plain, hangs && !plain);
        let slow_loads = random.u8(..4) == 0;
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
            load: if slow_loads { millis(400) } else { millis(25) },
            rest: if hangs || kills { millis(1_500) } else { millis(300) },
            loses,
            drops,
            disorder,
            breaks,
            hangs,
            publish_faults,
            pauses,
            kills,
            plain,
            instant_clear: !plain && random.bool(),
            traced: false,
        }
    }

    /// How long after an invalidation has returned what it invalidated may be read at most, where no
    /// load has put it back into the store.
    #[must_use]
    pub fn bound_in_front(&self) -> Duration {
        let mut bound = self.delay + PUBLISHING + 4 * self.latency + millis(1);
        if self.loses || self.hangs || self.kills {
            // By the numbers or by silence.
            bound += self.silence + self.silence / 4 + self.delay + PUBLISHING;
        }
        if self.publish_faults {
            bound += FAILING + 4 * PUBLISHING;
        }
        if self.breaks {
            // Until that is told.
            bound += self.delay;
        }
        if self.pauses {
            bound += LONGEST_PAUSE;
        }
        bound
    }

    /// The same where a load was too late for the invalidation.
    #[must_use]
    pub fn bound(&self) -> Duration {
        // What a late load has stored is held against the store and removed, after one that is at
        // work; and the others are told. So everything may go wrong twice.
        let mut bound = 2 * self.bound_in_front() + 8 * self.latency;
        // Who does not hear the bus takes nothing back.
        if self.breaks {
            bound += 2 * LONGEST_PAUSE;
        }
        if self.hangs {
            bound += 2 * LONGEST_HANG;
        }
        bound
    }

    /// How long after its end what a load has read may reach the store.
    pub(super) fn storing(&self) -> Duration {
        let standing = if self.pauses { LONGEST_PAUSE } else { Duration::ZERO };
        4 * self.latency + millis(1) + standing
    }
}
