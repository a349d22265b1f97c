//! Concurrent reads, gathered into `MGET`s.
//!
//! A read goes out at once, as a `GET`, while few are on their way. Beyond that it waits in a queue,
//! which one of a few flushers takes as a whole and sends as one `MGET`: nobody waits for a timer,
//! and the busier the store, the larger the batches. It stays so until the queue has run empty.
//!
//! A flusher is a task of its own, so that a reader that goes away takes nothing from the others.
//! It takes a read from the queue only after that read began, so that a read sees every write that
//! was acknowledged before it.
//!
//! A batch ends by the deadline of its oldest read, and reads are taken in the order in which they
//! came. So no read is answered after its own deadline, though none has a timer.
//!
//! Readers and flusher run on different threads. What one thread allocates and another frees costs
//! both of them the lock of an arena, in glibc's allocator: for every fifth read of a busy store a
//! thread went to sleep or woke another. So a reader gets its key back, and copies its value out of
//! an allocation that the whole batch shares; a value that is kept does not hold the others either.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use larder_core::{StoreError, StoreErrorKind};
use redis::{Cmd, Pipeline, Value};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::client::{Client, timed_out};
use crate::error::STORE;

/// While fewer reads than this are on their way, and no flusher is at work, a read goes out at once.
const DIRECT: usize = 8;
/// How many batches may be on their way: while Redis works on one, the next is gathered.
const FLUSHERS: usize = 2;
/// A queue of so many reads goes out at once, without waiting for who else is ready to run, so that
/// Redis has work while the readers of the last batch go on.
const FULL: usize = 64;
/// How many batches may be on their way where the queue is that full.
const FLUSHERS_WHEN_FULL: usize = 4;
/// The most keys in a batch, which bounds how long Redis is held up by one and how much of its
/// answer is in memory at once.
const BATCH: usize = 128;
/// Values up to this size, in bytes, travel to their readers in the batch's allocation. To copy a
/// larger one costs more than it spares.
const SMALL: usize = 4 << 10;

const GET: &str = "get";

type Answer = Result<Option<Bytes>, StoreError>;

struct Read {
    key: String,
    deadline: Instant,
    answer: oneshot::Sender<Answered>,
}

struct Answered {
    /// A small value shares its allocation with the rest of the batch.
    answer: Answer,
    /// For the reader to free.
    _key: String,
}

impl Answered {
    /// Called by the reader.
    fn into_own(self) -> Answer {
        let found = self.answer?;
        Ok(found.map(|value| match value.len() {
            ..=SMALL => Bytes::copy_from_slice(&value),
            _ => value,
        }))
    }
}

pub(crate) struct Gather {
    client: Arc<Client>,
    /// The most callers that may wait at once; who goes away leaves its read in the queue.
    max_callers: usize,
    /// Reads on their way by themselves.
    alone: AtomicUsize,
    /// Whether a flusher is at work. As long as one is, every read is left to it: what is gathered
    /// costs less than what goes alone, here and in Redis.
    gathering: AtomicBool,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    reads: VecDeque<Read>,
    /// Flushers that wait for an answer.
    batches_out: usize,
    /// Flushers that are about to take the queue.
    collecting: usize,
}

impl Gather {
    pub(crate) fn new(client: Arc<Client>, max_callers: usize) -> Self {
        let (alone, gathering) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { client, max_callers, alone, gathering, queue: Mutex::default() }
    }

    /// The value under `key`.
    pub(crate) async fn get(self: &Arc<Self>, key: &str, deadline: Instant) -> Answer {
        if let Some(_alone) = self.go_alone() {
            // Boxed, so that a gathered read does not carry the room that a call needs.
            return Box::pin(get(&self.client, key, deadline)).await;
        }
        self.client.gate.check(GET)?;
        let (answer, wait) = oneshot::channel();
        self.queue(Read { key: key.to_owned(), deadline, answer });
        wait.await.map_or_else(|_| Err(interrupted()), Answered::into_own)
    }

    fn go_alone(&self) -> Option<Alone<'_>> {
        if self.gathering.load(Ordering::Relaxed) {
            return None;
        }
        let before = self.alone.fetch_add(1, Ordering::Relaxed);
        let alone = Alone(self);
        (before < DIRECT).then_some(alone)
    }

    fn queue(self: &Arc<Self>, read: Read) {
        let wants_flusher = {
            let mut queue = self.lock();
            if queue.reads.len() >= self.max_callers.saturating_mul(2) {
                queue.reads.retain(|read| !read.answer.is_closed());
            }
            queue.reads.push_back(read);
            self.gathering.store(true, Ordering::Relaxed);
            queue.wants_flusher()
        };
        if wants_flusher {
            self.start_flusher();
        }
    }

    /// Not to be called with the queue locked: a runtime that shuts down drops the flusher at once.
    fn start_flusher(self: &Arc<Self>) {
        let flusher = Flusher { gather: Arc::clone(self), phase: Phase::Collecting };
        tokio::spawn(flusher.run());
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A plain `GET`.
pub(crate) async fn get(client: &Client, key: &str, deadline: Instant) -> Answer {
    let mut command = Cmd::with_capacity(2, GET.len() + key.len());
    command.arg("GET").arg(key);
    let value = client.call(GET, &command, deadline).await?;
    client.bytes(GET, value)
}

/// A read on its way by itself.
struct Alone<'a>(&'a Gather);

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.alone.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Queue {
    /// Whether a flusher has to be started; it is taken for started then.
    fn wants_flusher(&mut self) -> bool {
        let wants = match self.collecting {
            0 => !self.reads.is_empty() && self.batches_out < self.most_out(),
            n => self.reads.len() >= n * FULL && n + self.batches_out < self.most_out(),
        };
        self.collecting += usize::from(wants);
        wants
    }

    fn most_out(&self) -> usize {
        if self.is_full() { FLUSHERS_WHEN_FULL } else { FLUSHERS }
    }

    fn is_full(&self) -> bool {
        self.reads.len() >= FULL
    }

    fn is_idle(&self) -> bool {
        self.collecting == 0 && self.batches_out == 0
    }
}

/// Sends batch after batch until the queue is empty.
struct Flusher {
    gather: Arc<Gather>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Collecting,
    Sending,
    Over,
}

impl Flusher {
    async fn run(mut self) {
        while self.phase == Phase::Collecting {
            if !self.gather.lock().is_full() {
                // Everybody who is ready to run may put its read into the queue first.
                tokio::task::yield_now().await;
            }
            let reads = self.take();
            if !reads.is_empty() {
                flush(&self.gather.client, reads).await;
            }
            self.turn();
        }
    }

    /// The next batch, without the reads whose callers went away.
    fn take(&mut self) -> Vec<Read> {
        let (mut reads, wants_flusher) = {
            let mut queue = self.gather.lock();
            let most = queue.reads.len().min(BATCH);
            let reads: Vec<_> = queue.reads.drain(..most).collect();
            self.phase = Phase::Sending;
            queue.batches_out += 1;
            queue.collecting -= 1;
            (reads, queue.wants_flusher())
        };
        if wants_flusher {
            self.gather.start_flusher();
        }
        reads.retain(|read| !read.answer.is_closed());
        reads
    }

    /// After a batch: collects the next one, unless there is none or another flusher does.
    fn turn(&mut self) {
        let mut queue = self.gather.lock();
        queue.batches_out -= 1;
        if queue.wants_flusher() {
            self.phase = Phase::Collecting;
        } else {
            self.phase = Phase::Over;
            self.gather.gathering.store(!queue.is_idle(), Ordering::Relaxed);
        }
    }
}

impl Drop for Flusher {
    /// Only a Tokio runtime that shuts down drops a flusher before it is over. The queue's readers
    /// are told, and the next reader, on another runtime, finds an empty queue.
    fn drop(&mut self) {
        if self.phase == Phase::Over {
            return;
        }
        let mut queue = self.gather.lock();
        match self.phase {
            Phase::Collecting => queue.collecting -= 1,
            Phase::Sending => queue.batches_out -= 1,
            Phase::Over => {}
        }
        self.gather.gathering.store(!queue.is_idle(), Ordering::Relaxed);
        queue.reads.clear();
    }
}

/// Sends one batch and hands out its answers.
async fn flush(client: &Client, mut reads: Vec<Read>) {
    client.meter.gathered(reads.len());
    let now = Instant::now();
    let late = reads.partition_point(|read| read.deadline <= now);
    if late > 0 {
        let error = timed_out(GET, &client.address, client.timeout);
        answer_all(reads.drain(..late), std::iter::repeat(Err(error)));
    }
    let Some(deadline) = reads.first().map(|read| read.deadline) else { return };
    if let [read] = reads.as_slice() {
        let answer = get(client, &read.key, deadline).await;
        answer_all(reads, [answer]);
        return;
    }
    let bytes = reads.iter().map(|read| read.key.len()).sum::<usize>();
    let mut command = Cmd::with_capacity(1 + reads.len(), 4 + bytes);
    command.arg("MGET");
    for read in &reads {
        command.arg(read.key.as_str());
    }
    match client.call(GET, &command, deadline).await {
        Ok(Value::Array(values)) if values.len() == reads.len() => {
            answer_all(reads, together(client, values));
        }
        Ok(other) => {
            let error = client.unexpected(GET, &other);
            answer_all(reads, std::iter::repeat(Err(error)));
        }
        Err(error) if error.is_retryable() || error.kind() == StoreErrorKind::Closed => {
            answer_all(reads, std::iter::repeat(Err(error)));
        }
        // Redis refused the command, be it for one of the keys only, such as one that this user
        // may not read.
        Err(_) => one_by_one(client, reads, deadline).await,
    }
}

async fn one_by_one(client: &Client, reads: Vec<Read>, deadline: Instant) {
    let mut pipeline = Pipeline::with_capacity(reads.len());
    for read in &reads {
        pipeline.cmd("GET").arg(read.key.as_str());
    }
    match client.call(GET, &pipeline, deadline).await {
        Ok(values) => answer_all(reads, values.into_iter().map(|value| client.bytes(GET, value))),
        Err(error) => answer_all(reads, std::iter::repeat(Err(error))),
    }
}

/// What was found, the small values in one allocation.
fn together(client: &Client, values: Vec<Value>) -> impl Iterator<Item = Answer> {
    let mut shared =
        BytesMut::with_capacity(values.iter().filter_map(small).map(<[u8]>::len).sum());
    values.iter().filter_map(small).for_each(|value| shared.extend_from_slice(value));
    let mut shared = shared.freeze();
    values.into_iter().map(move |value| match small(&value) {
        Some(small) => Ok(Some(shared.split_to(small.len()))),
        None => client.bytes(GET, value),
    })
}

fn small(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) if bytes.len() <= SMALL => Some(bytes),
        _ => None,
    }
}

fn answer_all(reads: impl IntoIterator<Item = Read>, answers: impl IntoIterator<Item = Answer>) {
    for (read, answer) in reads.into_iter().zip(answers) {
        // Nobody waits any more where the caller went away.
        let _ = read.answer.send(Answered { answer, _key: read.key });
    }
}

fn interrupted() -> StoreError {
    let detail = "the Tokio runtime that the read ran on was shut down";
    StoreError::new(StoreErrorKind::Unavailable, STORE, GET, detail)
}
