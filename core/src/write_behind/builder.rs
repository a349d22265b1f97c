use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::flusher::{Flusher, Settings};
use super::handle::{Core, WriteBehind};
use super::journal::Journal;
use super::meter::Meter;
use super::sink::{Sink, Typed};
use super::window::{Backoff, Rules};
use crate::codec::{AnyCodec, Codec};
use crate::error::Error;
use crate::runtime::Runtime;
use crate::time::{millis, seconds};

/// What a write does that finds the journal full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// It fails at once, with [`StoreErrorKind::Full`](crate::StoreErrorKind::Full).
    Refuse,
    /// It waits for room, so long at most, and fails then.
    Wait(Duration),
}

/// Builds a [`WriteBehind`].
///
/// | setting | default |
/// | --- | --- |
/// | [`batch`](Self::batch) | 100 writes |
/// | [`linger`](Self::linger) | 20 ms |
/// | [`save_timeout`](Self::save_timeout) | 10 s |
/// | [`backoff`](Self::backoff) | 100 ms, doubled up to 30 s, with jitter |
/// | [`attempts`](Self::attempts) | 5 |
/// | [`when_full`](Self::when_full) | waits for up to a second |
/// | [`lease`](Self::lease) | 30 s |
/// | [`poll`](Self::poll) | 250 ms |
/// | [`window`](Self::window) | 10,000 keys, 16 MiB |
/// | [`codec`](Self::codec) | JSON |
///
/// ```
/// use larder_core::write_behind::{MemoryJournal, WhenFull, Write, WriteBehind};
/// use larder_core::{millis, seconds};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> larder_core::Result<()> {
/// let save = async |_: Vec<Write<String>>| Ok::<_, std::io::Error>(());
/// let names = WriteBehind::volatile(MemoryJournal::new(), save)
///     .name("names")
///     .batch(500)
///     .linger(millis(100))
///     .when_full(WhenFull::Wait(seconds(5)))
///     .build()?;
/// # let _ = names;
/// # Ok(()) }
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct WriteBehindBuilder<T, S> {
    journal: Arc<dyn Journal>,
    sink: S,
    is_strict: bool,
    runtime: Option<Arc<dyn Runtime>>,
    name: Option<String>,
    codec: AnyCodec,
    flushes: bool,
    rules: Rules,
    settings: Settings,
    when_full: WhenFull,
    of: PhantomData<fn(T)>,
}

impl<T, S> WriteBehindBuilder<T, S>
where
    T: Serialize + DeserializeOwned + Send + 'static,
    S: Sink<T>,
{
    pub(super) fn new(journal: Arc<dyn Journal>, sink: S, is_strict: bool) -> Self {
        Self {
            journal,
            sink,
            is_strict,
            runtime: None,
            name: None,
            codec: AnyCodec::JSON,
            flushes: true,
            rules: Rules {
                batch: 100,
                linger: millis(20),
                attempts: 5,
                backoff: Backoff { first: millis(100), cap: seconds(30) },
                keys: 10_000,
                bytes: 16 << 20,
            },
            settings: Settings { save_timeout: seconds(10), lease: seconds(30), poll: millis(250) },
            when_full: WhenFull::Wait(seconds(1)),
            of: PhantomData,
        }
    }

    /// Its name in metrics and logs. The journal's [name](Journal::name) by default.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How values are written into the journal. All who work on a journal need the same: a value of
    /// another codec becomes a dead letter.
    pub fn codec(mut self, codec: impl Codec) -> Self {
        self.codec = codec.into();
        self
    }

    /// How many writes, of different keys, go to the sink together at most.
    pub fn batch(mut self, writes: usize) -> Self {
        self.rules.batch = writes;
        self
    }

    /// How long the first write of a batch waits for others, and so how many superseded writes never
    /// come to the sink. Not longer where the batch is full.
    pub fn linger(mut self, time: Duration) -> Self {
        self.rules.linger = time;
        self
    }

    /// How long a save may take. One that takes longer is given up, and counts as failed; it may still
    /// have taken effect.
    pub fn save_timeout(mut self, timeout: Duration) -> Self {
        self.settings.save_timeout = timeout;
        self
    }

    /// How long to wait after a failure: `first`, and twice as long after each further one, up to
    /// `cap`; less up to a half, which is drawn each time.
    pub fn backoff(mut self, first: Duration, cap: Duration) -> Self {
        self.rules.backoff = Backoff { first, cap };
        self
    }

    /// After how many failures a write becomes a dead letter. Only a failure counts that hit the write
    /// by itself, and since whose predecessor the sink saved other writes: while the sink is down,
    /// nothing dies.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.rules.attempts = attempts;
        self
    }

    /// What a write does that finds the journal full.
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// For how long a flusher has the journal to itself, unless it prolongs that, which it does in
    /// time. After a crash another begins so much later, and up to a third of it. At least twice the
    /// [`save_timeout`](Self::save_timeout).
    pub fn lease(mut self, life: Duration) -> Self {
        self.settings.lease = life;
        self
    }

    /// How often to look for writes of other processes, and for dead letters that others want to be
    /// tried again. Its own are seen at once.
    pub fn poll(mut self, time: Duration) -> Self {
        self.settings.poll = time;
        self
    }

    /// How many keys, and bytes of their values, are read ahead of the sink at most: what it takes to
    /// save others while some fail.
    ///
    /// All processes on a journal need the same. One that takes over from another with a larger window
    /// may save a write after a later one of its key, which the other had saved and not settled.
    pub fn window(mut self, keys: usize, bytes: usize) -> Self {
        (self.rules.keys, self.rules.bytes) = (keys, bytes);
        self
    }

    /// Whether it flushes too. One that does not leaves it to other processes on the same journal.
    pub fn flushes(mut self, flushes: bool) -> Self {
        self.flushes = flushes;
        self
    }

    /// The clock, timers and tasks to use. Those of the journal by default.
    pub fn runtime(mut self, runtime: impl Runtime) -> Self {
        self.runtime = Some(Arc::new(runtime));
        self
    }

    /// Begins to flush what the journal holds.
    ///
    /// Metrics are bound to the recorder that is installed at this moment.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a setting that cannot work.
    pub fn build(self) -> Result<WriteBehind<T>, Error> {
        self.check()?;
        let id: Arc<str> = self.journal.id().into();
        let typed = Typed {
            sink: self.sink,
            codec: self.codec.clone(),
            journal: Arc::clone(&id),
            of: PhantomData,
        };
        let name = self.name.unwrap_or_else(|| self.journal.name().to_owned());
        let runtime = self.runtime.unwrap_or_else(|| self.journal.runtime());
        let core = Arc::new(Core {
            journal: self.journal,
            id,
            runtime,
            meter: Meter::new(name),
            control: Arc::default(),
        });
        let flusher = Flusher::new(&core, Arc::new(typed), self.rules, self.settings);
        if self.flushes {
            core.runtime.spawn(Box::pin(flusher.run()));
        } else {
            drop(flusher);
        }
        Ok(WriteBehind::new(core, self.codec, self.when_full))
    }

    fn check(&self) -> Result<(), Error> {
        let config =
            |setting, problem: &str| Err(Error::Config { setting, problem: problem.into() });
        let Settings { save_timeout, lease, poll } = self.settings;
        if self.is_strict && !self.journal.capabilities().is_durable {
            let problem = "the journal says of itself that it ends with the process; write \
                           WriteBehind::volatile for it";
            return config("journal", problem);
        }
        if self.rules.batch == 0 {
            return config("batch", "it is 0; give it at least one write");
        }
        if self.rules.attempts == 0 {
            return config("attempts", "it is 0; give a write at least one");
        }
        if self.rules.backoff.first.is_zero() {
            return config("backoff", "the first wait is zero; give it at least a millisecond");
        }
        if save_timeout.is_zero() {
            return config("save_timeout", "it is zero; give a save some time");
        }
        if lease < save_timeout.saturating_mul(2) {
            return config("lease", "it is shorter than twice the save_timeout");
        }
        if poll.is_zero() {
            return config("poll", "it is zero; give it at least a millisecond");
        }
        if self.rules.keys < self.rules.batch || self.rules.bytes == 0 {
            return config("window", "it is smaller than a batch");
        }
        Ok(())
    }
}

impl<T, S> std::fmt::Debug for WriteBehindBuilder<T, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteBehindBuilder")
            .field("journal", &self.journal)
            .field("rules", &self.rules)
            .field("settings", &self.settings)
            .field("when_full", &self.when_full)
            .finish_non_exhaustive()
    }
}
