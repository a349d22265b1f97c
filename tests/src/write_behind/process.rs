//! A process that is killed and comes back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{AbortHandle, Abortable, BoxFuture, Either, select};
use larder_core::write_behind::WriteBehind;
use larder_core::{Runtime, Timestamp};

use super::Plan;
use super::database::Database;
use super::journal::TappedJournal;

/// A runtime whose tasks all end at once, wherever they are.
#[derive(Debug)]
struct Mortal {
    inner: Arc<dyn Runtime>,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Mortal {
    fn kill(&self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }
}

impl Runtime for Mortal {
    fn now(&self) -> Timestamp {
        self.inner.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.inner.sleep(duration)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let (handle, registration) = AbortHandle::new_pair();
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
        let task = Abortable::new(task, registration);
        self.inner.spawn(Box::pin(async move {
            let _ = task.await;
        }));
    }
}

pub(super) struct Process {
    plan: Plan,
    number: usize,
    journal: TappedJournal,
    database: Arc<Database>,
    runtime: Arc<dyn Runtime>,
    random: fastrand::Rng,
}

impl Process {
    pub(super) fn new(
        plan: &Plan,
        number: usize,
        journal: &TappedJournal,
        database: &Arc<Database>,
        runtime: &Arc<dyn Runtime>,
    ) -> Self {
        Self {
            plan: plan.clone(),
            number,
            journal: journal.clone(),
            database: Arc::clone(database),
            runtime: Arc::clone(runtime),
            random: fastrand::Rng::with_seed(plan.seed ^ (number as u64 + 1) << 32),
        }
    }

    /// Lives as often as the plan says; the last life ends when all is written.
    pub(super) async fn run(mut self) {
        for life in 0..=self.plan.crashes {
            let runtime =
                Arc::new(Mortal { inner: Arc::clone(&self.runtime), tasks: Mutex::default() });
            let built =
                super::build(&self.plan, &self.journal, &self.database, Arc::clone(&runtime) as _);
            let Ok(handle) = built else {
                return self.database.record.violation("write-behind cannot be built".into());
            };
            let writers: Vec<_> = (0..self.plan.writers)
                .map(|writer| self.start(&runtime, writer, &handle))
                .collect();
            let done = Box::pin(futures::future::join_all(writers));
            if life == self.plan.crashes {
                done.await;
                self.end(handle, &runtime).await;
                return;
            }
            let time = Duration::from_micros(self.random.u64(..400_000));
            let at = self.runtime.sleep(time);
            if let Either::Left(_) = select(done, at).await {
                // It has written everything; another life may still find something to flush.
                self.pause(300).await;
            }
            self.database.record.note(|| format!("process {} is killed", self.number));
            runtime.kill();
            self.database.killed();
            drop(handle);
            self.pause(300).await;
        }
    }

    /// Some stop as they should, others are just gone.
    async fn end(&mut self, handle: WriteBehind<u64>, runtime: &Mortal) {
        if self.random.bool() {
            self.pause(300).await;
            let patience = Duration::from_millis(self.random.u64(..500));
            let began = self.runtime.now();
            let left = handle.stop(patience).await;
            let took = self.runtime.now().since(began);
            self.database.record.note(|| format!("process {} has stopped: {left:?}", self.number));
            // Each of its calls of the journal may take its way there and back.
            if took > patience + 4 * self.plan.latency {
                self.database.record.violation(format!("stopping took {took:?}, not {patience:?}"));
            }
        }
        runtime.kill();
    }

    fn start(
        &mut self,
        runtime: &Mortal,
        writer: usize,
        handle: &WriteBehind<u64>,
    ) -> oneshot::Receiver<()> {
        let (done, wait) = oneshot::channel();
        let writer = Writer {
            keys: (0..self.plan.keys)
                .map(|key| format!("{}:{writer}:{key}", self.number))
                .collect(),
            name: format!("{}:{writer}", self.number),
            plan: self.plan.clone(),
            handle: handle.clone(),
            database: Arc::clone(&self.database),
            runtime: Arc::clone(&self.runtime),
            random: self.random.fork(),
        };
        runtime.spawn(Box::pin(async move {
            writer.run().await;
            let _ = done.send(());
        }));
        wait
    }

    async fn pause(&mut self, most_millis: u64) {
        let pause = Duration::from_micros(self.random.u64(..most_millis * 1_000));
        self.runtime.sleep(pause).await;
    }
}

/// Writes growing numbers under its own keys, one after the other.
struct Writer {
    name: String,
    keys: Vec<String>,
    plan: Plan,
    handle: WriteBehind<u64>,
    database: Arc<Database>,
    runtime: Arc<dyn Runtime>,
    random: fastrand::Rng,
}

impl Writer {
    async fn run(mut self) {
        while let Some(number) = self.database.next_of(&self.name, self.plan.writes) {
            let pause = self.plan.pause.as_micros() as u64;
            self.runtime.sleep(Duration::from_micros(self.random.u64(..pause))).await;
            let key = self.keys[self.random.usize(..self.keys.len())].clone();
            self.database.record.note(|| format!("writes {key}={number}"));
            match self.handle.write(&key, &number).await {
                Ok(id) => self.database.acknowledged(&key, number, &id),
                Err(error) => self.database.refused(&key, number, &error),
            }
        }
    }
}
