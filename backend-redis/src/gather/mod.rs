//! Concurrent calls of one kind, gathered into batches: [reads] into `MGET`s, checks of rate limits
//! into runs of one script.
//!
//! A call goes out at once, alone, while few are on their way. Beyond that it waits in a queue,
//! which one of a few flushers takes as a whole and sends as one command: nobody waits for a timer,
//! and the busier the store, the larger the batches. It stays so until the queue has run empty.
//!
//! A flusher is a task of its own, so that a caller that goes away takes nothing from the others.
//! It takes a call from the queue only after that call began, so that a read sees every write that
//! was acknowledged before it.
//!
//! A batch ends by the deadline of its oldest call, and calls are taken in the order in which they
//! came. So none is answered after its own deadline, though none has a timer.
//!
//! Callers and flusher run on different threads. What one thread allocates and another frees costs
//! both of them the lock of an arena, in glibc's allocator: for every fifth read of a busy store a
//! thread went to sleep or woke another. So a caller gets its question back, and copies its answer
//! out of an allocation that the whole batch shares; a value that is kept does not hold the others
//! either.

pub(crate) mod reads;

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use larder_core::{StoreError, StoreErrorKind};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::client::{Client, timed_out};
use crate::error::STORE;

/// While fewer calls than this are on their way, and no flusher is at work, a call goes out at once.
const DIRECT: usize = 8;
/// How many batches may be on their way: while Redis works on one, the next is gathered.
const FLUSHERS: usize = 2;
/// A queue is full, and goes out at once, without waiting for who else is ready to run, when half of
/// the calls are in it that there were of late; within these bounds. Then Redis works on the one
/// half while the callers of the other go on. Else two batches that were once answered together
/// would be one from then on, and Redis and its client would wait for one another in turn.
const FULL: RangeInclusive<usize> = 16..=64;
/// How many batches may be on their way where the queue is that full.
const FLUSHERS_WHEN_FULL: usize = 4;
/// The most calls in a batch, which bounds how long Redis is held up by one and how much of its
/// answer is in memory at once.
pub(crate) const BATCH: usize = 128;

/// What is gathered.
///
/// `docs/decisions/0008-reads-are-gathered-behind-those-on-their-way.md` has the figures.
pub(crate) trait Gathers: Sized + Send + Sync + 'static {
    type Question: Send + Sync + 'static;
    type Answer: Send + 'static;

    const OPERATION: &'static str;

    /// Counts a batch.
    fn count(&self, client: &Client, questions: usize);

    /// The answer to the question of each of several calls, in their order.
    fn together(
        &self,
        client: &Client,
        calls: &[Waiting<Self>],
        deadline: Instant,
    ) -> impl Future<Output = Vec<Answer<Self>>> + Send;

    /// The answer to one.
    fn alone(
        &self,
        client: &Client,
        question: &Self::Question,
        deadline: Instant,
    ) -> impl Future<Output = Answer<Self>> + Send;

    /// What the caller keeps of its answer; called by the caller.
    fn own(answer: Self::Answer) -> Self::Answer {
        answer
    }
}

type Answer<G> = Result<<G as Gathers>::Answer, StoreError>;

/// A call in the queue.
pub(crate) struct Waiting<G: Gathers> {
    pub(crate) question: G::Question,
    deadline: Instant,
    answer: oneshot::Sender<Answered<G>>,
}

struct Answered<G: Gathers> {
    answer: Answer<G>,
    /// For the caller to free.
    _question: G::Question,
}

pub(crate) struct Gather<G: Gathers> {
    client: Arc<Client>,
    gathers: G,
    /// The most callers that may wait at once; who goes away leaves its call in the queue.
    max_callers: usize,
    /// Calls on their way by themselves.
    alone: AtomicUsize,
    /// Whether a flusher is at work. As long as one is, every call is left to it: what is gathered
    /// costs less than what goes alone, here and in Redis.
    gathering: AtomicBool,
    queue: Mutex<Queue<G>>,
}

struct Queue<G: Gathers> {
    calls: Vec<Waiting<G>>,
    /// Flushers that wait for an answer.
    batches_out: usize,
    /// Calls in their batches.
    calls_out: usize,
    /// Flushers that are about to take the queue.
    collecting: usize,
    /// How many calls there were at once of late, in the queue and in batches.
    crowd: usize,
}

impl<G: Gathers> Gather<G> {
    pub(crate) fn new(client: Arc<Client>, gathers: G, max_callers: usize) -> Self {
        let (alone, gathering) = (AtomicUsize::new(0), AtomicBool::new(false));
        let queue = Mutex::new(Queue {
            calls: Vec::new(),
            batches_out: 0,
            calls_out: 0,
            collecting: 0,
            crowd: 0,
        });
        Self { client, gathers, max_callers, alone, gathering, queue }
    }

    pub(crate) fn gathers(&self) -> &G {
        &self.gathers
    }

    /// The answer to a question that goes alone or with others.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        question: G::Question,
        deadline: Instant,
    ) -> Answer<G> {
        if let Some(_alone) = self.go_alone() {
            // Boxed, so that a gathered call does not carry the room that one alone needs.
            return Box::pin(self.gathers.alone(&self.client, &question, deadline)).await;
        }
        self.client.check(G::OPERATION)?;
        let (answer, wait) = oneshot::channel();
        self.queue(Waiting { question, deadline, answer });
        let answered = wait.await.map_err(|_| interrupted(G::OPERATION))?;
        answered.answer.map(G::own)
    }

    fn go_alone(&self) -> Option<Alone<'_>> {
        if self.gathering.load(Ordering::Relaxed) {
            return None;
        }
        let before = self.alone.fetch_add(1, Ordering::Relaxed);
        let alone = Alone(&self.alone);
        (before < DIRECT).then_some(alone)
    }

    fn queue(self: &Arc<Self>, call: Waiting<G>) {
        let wants_flusher = {
            let mut queue = self.lock();
            if queue.calls.len() >= self.max_callers.saturating_mul(2) {
                queue.calls.retain(|call| !call.answer.is_closed());
            }
            queue.calls.push(call);
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

    fn lock(&self) -> MutexGuard<'_, Queue<G>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends one batch and hands out its answers.
    async fn flush(&self, mut calls: Vec<Waiting<G>>) {
        self.gathers.count(&self.client, calls.len());
        let now = Instant::now();
        let late = calls.partition_point(|call| call.deadline <= now);
        if late > 0 {
            let error = timed_out(G::OPERATION, &self.client.address, self.client.timeout);
            for call in calls.drain(..late) {
                let answer = Err(error.clone());
                let _ = call.answer.send(Answered { answer, _question: call.question });
            }
        }
        let Some(deadline) = calls.first().map(|call| call.deadline) else { return };
        let said = match calls.as_slice() {
            [call] => vec![self.gathers.alone(&self.client, &call.question, deadline).await],
            calls => self.gathers.together(&self.client, calls, deadline).await,
        };
        for (call, answer) in calls.into_iter().zip(said) {
            // Nobody waits any more where the caller went away.
            let _ = call.answer.send(Answered { answer, _question: call.question });
        }
    }
}

/// A call on its way by itself.
struct Alone<'a>(&'a AtomicUsize);

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<G: Gathers> Queue<G> {
    /// Whether a flusher has to be started; it is taken for started then.
    fn wants_flusher(&mut self) -> bool {
        let wants = match self.collecting {
            0 => !self.calls.is_empty() && self.batches_out < self.most_out(),
            n => self.calls.len() >= n * self.full() && n + self.batches_out < self.most_out(),
        };
        self.collecting += usize::from(wants);
        wants
    }

    fn most_out(&self) -> usize {
        if self.is_full() { FLUSHERS_WHEN_FULL } else { FLUSHERS }
    }

    fn is_full(&self) -> bool {
        self.calls.len() >= self.full()
    }

    fn full(&self) -> usize {
        (self.crowd / 2).clamp(*FULL.start(), *FULL.end())
    }

    /// The next batch, and the phase that its flusher is in by then.
    fn take(&mut self) -> (Vec<Waiting<G>>, Phase) {
        let here = self.calls.len() + self.calls_out;
        self.crowd = here.max(self.crowd - self.crowd / 8);
        // The next ones will be about as many as these.
        let rest = match self.calls.len() {
            n @ ..=BATCH => Vec::with_capacity(n),
            _ => self.calls.split_off(BATCH),
        };
        let calls = std::mem::replace(&mut self.calls, rest);
        self.collecting -= 1;
        self.batches_out += 1;
        self.calls_out += calls.len();
        let phase = Phase::Sending { calls: calls.len() };
        (calls, phase)
    }

    /// A flusher is done with its phase.
    fn end(&mut self, phase: Phase) {
        match phase {
            Phase::Collecting => self.collecting -= 1,
            Phase::Sending { calls } => {
                self.batches_out -= 1;
                self.calls_out -= calls;
            }
            Phase::Over => {}
        }
    }

    fn is_idle(&self) -> bool {
        self.collecting == 0 && self.batches_out == 0
    }
}

/// Sends batch after batch until the queue is empty.
struct Flusher<G: Gathers> {
    gather: Arc<Gather<G>>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Collecting,
    Sending { calls: usize },
    Over,
}

impl<G: Gathers> Flusher<G> {
    async fn run(mut self) {
        while self.phase == Phase::Collecting {
            if !self.gather.lock().is_full() {
                // Everybody who is ready to run may put its call into the queue first.
                tokio::task::yield_now().await;
            }
            let calls = self.take();
            if !calls.is_empty() {
                self.gather.flush(calls).await;
            }
            self.turn();
        }
    }

    /// The next batch, without the calls whose callers went away.
    fn take(&mut self) -> Vec<Waiting<G>> {
        let (mut calls, wants_flusher) = {
            let mut queue = self.gather.lock();
            let (calls, phase) = queue.take();
            self.phase = phase;
            (calls, queue.wants_flusher())
        };
        if wants_flusher {
            self.gather.start_flusher();
        }
        calls.retain(|call| !call.answer.is_closed());
        calls
    }

    /// After a batch: collects the next one, unless there is none or another flusher does.
    fn turn(&mut self) {
        let mut queue = self.gather.lock();
        queue.end(self.phase);
        if queue.wants_flusher() {
            self.phase = Phase::Collecting;
        } else {
            self.phase = Phase::Over;
            self.gather.gathering.store(!queue.is_idle(), Ordering::Relaxed);
        }
    }
}

impl<G: Gathers> Drop for Flusher<G> {
    /// Only a Tokio runtime that shuts down drops a flusher before it is over. The queue's callers
    /// are told, and the next caller, on another runtime, finds an empty queue.
    fn drop(&mut self) {
        if self.phase == Phase::Over {
            return;
        }
        let mut queue = self.gather.lock();
        queue.end(self.phase);
        self.gather.gathering.store(!queue.is_idle(), Ordering::Relaxed);
        queue.calls.clear();
    }
}

fn interrupted(operation: &'static str) -> StoreError {
    let detail = "the Tokio runtime that the call ran on was shut down";
    StoreError::new(StoreErrorKind::Unavailable, STORE, operation, detail)
}
