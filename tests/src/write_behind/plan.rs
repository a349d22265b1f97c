//! What a simulation does, drawn from its seed.

use std::time::Duration;

use larder_core::millis;

/// What a simulation does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What everything is drawn from.
    pub seed: u64,
    /// How many processes there are at a time.
    pub processes: usize,
    /// How many writers each of them has, and how many keys each writer.
    pub writers: usize,
    /// How many keys each writer has for itself.
    pub keys: usize,
    /// How many writes each writer makes, those that fail included.
    pub writes: usize,
    /// The longest pause between two writes.
    pub pause: Duration,
    /// How often each process is killed.
    pub crashes: usize,
    /// The longest way to the journal, and back.
    pub latency: Duration,
    /// How many writes the journal holds.
    pub max_writes: usize,
    /// The most writes in a batch.
    pub batch: usize,
    /// How many keys are read ahead of the sink.
    pub window: usize,
    /// How long a batch waits for more.
    pub linger: Duration,
    /// Whether the journal loses calls and answers.
    pub journal_faults: bool,
    /// Whether the sink fails, hangs and panics.
    pub sink_faults: bool,
    /// What the sink does with numbers that it cannot bear.
    pub poison: Poison,
    /// Whether a save may take effect after it was given up, and the sink takes nothing older than
    /// what it has.
    pub is_guarded: bool,
    /// Whether every event is noted.
    pub traced: bool,
}

/// What the sink does with numbers that it cannot bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poison {
    /// There are none.
    None,
    /// The whole batch fails, as if that might pass.
    Fails,
    /// The whole batch fails for good.
    FailsForGood,
    /// It tells which they are, and saves the others.
    IsRejected,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed ^ 0x0b51d1a);
        let poisons = [Poison::None, Poison::Fails, Poison::FailsForGood, Poison::IsRejected];
        let poison = poisons[random.usize(..poisons.len())];
        // A journal that is full of what the sink cannot bear takes nothing that would be saved, so
        // that the sink looks as if it were down.
        let max_writes =
            if poison == Poison::Fails { 1_000 } else { [12, 1_000][random.usize(..2)] };
        let batch = random.usize(1..9);
        // The same goes for a window. One of a few keys is read into by a few writes at a time.
        let window = if poison == Poison::Fails { 1_000 } else { batch + random.usize(..8) };
        Self {
            seed,
            processes: random.usize(1..4),
            writers: random.usize(1..4),
            keys: random.usize(1..4),
            writes: random.usize(5..40),
            pause: millis([1, 30, 200][random.usize(..3)]),
            crashes: random.usize(0..6),
            latency: millis(random.u64(0..8)),
            max_writes,
            batch,
            window,
            linger: millis([0, 5, 40][random.usize(..3)]),
            journal_faults: random.u8(..3) == 0,
            sink_faults: random.bool(),
            poison,
            is_guarded: random.u8(..3) == 0,
            traced: false,
        }
    }
}
