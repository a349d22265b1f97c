//! Concurrent reads, gathered into `MGET`s.
//!
//! A read goes out at once, as a `GET`, while few keys are on their way. Beyond that it waits in a
//! queue, which one of a few flushers takes as a whole and sends as one `MGET`: nobody waits for a
//! timer, and the busier the store, the larger the batches.
//!
//! A flusher is a task of its own, so that a reader that goes away takes nothing from the others.
//! It takes a read from the queue only after that read began, so that a read sees every write that
//! was acknowledged before it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use larder_core::{StoreError, StoreErrorKind};
use redis::{Cmd, Pipeline, Value};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::client::{Client, timed_out};
use crate::error::STORE;

/// While fewer keys than this are on their way, a read goes out at once.
const DIRECT: usize = 8;
/// How many batches may be on their way: while Redis works on one, the next is gathered.
const FLUSHERS: usize = 2;
/// The most keys in a batch, which bounds how long Redis is held up by one and how much of its
/// answer is in memory at once.
const BATCH: usize = 128;

const GET: &str = "get";

type Answer = Result<Option<Bytes>, StoreError>;

struct Read {
    key: String,
    answer: oneshot::Sender<Answer>,
}

pub(crate) struct Gather {
    client: Arc<Client>,
    /// The most callers that may wait at once; who goes away leaves its read in the queue.
    max_callers: usize,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    reads: VecDeque<Read>,
    /// Keys on their way, alone or in batches.
    keys_out: usize,
    /// Flushers that wait for an answer.
    batches_out: usize,
    /// Whether a flusher is about to take the queue.
    collecting: bool,
}

impl Gather {
    pub(crate) fn new(client: Arc<Client>, max_callers: usize) -> Self {
        Self { client, max_callers, queue: Mutex::default() }
    }

    /// The value under `key`.
    pub(crate) async fn get(self: &Arc<Self>, key: &str, deadline: Instant) -> Answer {
        let answer = {
            let mut queue = self.lock();
            if queue.keys_out < DIRECT {
                queue.keys_out += 1;
                None
            } else {
                self.client.gate.check(GET)?;
                if queue.reads.len() >= self.max_callers.saturating_mul(2) {
                    queue.reads.retain(|read| !read.answer.is_closed());
                }
                let (answer, wait) = oneshot::channel();
                queue.reads.push_back(Read { key: key.to_owned(), answer });
                if !queue.collecting && queue.batches_out < FLUSHERS {
                    queue.collecting = true;
                    self.start_flusher();
                }
                Some(wait)
            }
        };
        match answer {
            None => {
                let _out = KeyOut(self);
                get(&self.client, key, deadline).await
            }
            Some(wait) => match timeout_at(deadline, wait).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(interrupted()),
                Err(_) => Err(timed_out(GET, &self.client.address, self.client.timeout)),
            },
        }
    }

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

/// A direct read on its way.
struct KeyOut<'a>(&'a Gather);

impl Drop for KeyOut<'_> {
    fn drop(&mut self) {
        self.0.lock().keys_out -= 1;
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
    Sending { keys: usize },
    Over,
}

impl Flusher {
    async fn run(mut self) {
        while self.phase == Phase::Collecting {
            // Everybody who is ready to run may put its read into the queue first.
            tokio::task::yield_now().await;
            let reads = self.take();
            if !reads.is_empty() {
                flush(&self.gather.client, reads).await;
            }
            self.turn();
        }
    }

    /// The next batch, without the reads whose callers went away.
    fn take(&mut self) -> Vec<Read> {
        let mut queue = self.gather.lock();
        let most = queue.reads.len().min(BATCH);
        let mut reads: Vec<_> = queue.reads.drain(..most).collect();
        reads.retain(|read| !read.answer.is_closed());
        self.phase = Phase::Sending { keys: reads.len() };
        queue.keys_out += reads.len();
        queue.batches_out += 1;
        queue.collecting = !queue.reads.is_empty() && queue.batches_out < FLUSHERS;
        if queue.collecting {
            self.gather.start_flusher();
        }
        reads
    }

    /// After a batch: collects the next one, unless there is none or another flusher does.
    fn turn(&mut self) {
        let mut queue = self.gather.lock();
        if let Phase::Sending { keys } = self.phase {
            queue.keys_out -= keys;
            queue.batches_out -= 1;
        }
        self.phase = if queue.reads.is_empty() || queue.collecting {
            Phase::Over
        } else {
            queue.collecting = true;
            Phase::Collecting
        };
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
            Phase::Collecting => queue.collecting = false,
            Phase::Sending { keys } => {
                queue.keys_out -= keys;
                queue.batches_out -= 1;
            }
            Phase::Over => {}
        }
        queue.reads.clear();
    }
}

/// Sends one batch and hands out its answers.
async fn flush(client: &Client, reads: Vec<Read>) {
    client.meter.gathered(reads.len());
    let deadline = client.deadline();
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
            answer_all(reads, values.into_iter().map(|value| client.bytes(GET, value)));
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

fn answer_all(reads: Vec<Read>, answers: impl IntoIterator<Item = Answer>) {
    for (read, answer) in reads.into_iter().zip(answers) {
        // Nobody waits any more where the caller went away.
        let _ = read.answer.send(answer);
    }
}

fn interrupted() -> StoreError {
    let detail = "the Tokio runtime that the read ran on was shut down";
    StoreError::new(StoreErrorKind::Unavailable, STORE, GET, detail)
}
