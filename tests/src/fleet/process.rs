//! A process: its tasks go on, stand still, or end, all at once.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::future::BoxFuture;
use larder_core::{Runtime, Timestamp};

/// The runtime of one process.
#[derive(Debug)]
pub(super) struct Process {
    inner: Arc<dyn Runtime>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    is_paused: bool,
    is_dead: bool,
    waiting: Vec<Waker>,
}

impl Process {
    pub(super) fn on(inner: Arc<dyn Runtime>) -> Arc<Self> {
        Arc::new(Self { inner, state: Arc::default() })
    }

    pub(super) fn pause(&self) {
        lock(&self.state).is_paused = true;
    }

    pub(super) fn go_on(&self) {
        self.change(|state| state.is_paused = false);
    }

    pub(super) fn kill(&self) {
        self.change(|state| state.is_dead = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        change(&mut state);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Runtime for Process {
    fn now(&self) -> Timestamp {
        self.inner.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.inner.sleep(duration)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.inner.spawn(Box::pin(Task { task, state: Arc::clone(&self.state) }));
    }
}

struct Task {
    task: BoxFuture<'static, ()>,
    state: Arc<Mutex<State>>,
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        {
            let mut state = lock(&self.state);
            if state.is_dead {
                return Poll::Ready(());
            }
            // Also to hear of its end.
            if state.waiting.len() > 256 {
                state.waiting.clear();
            }
            if state.is_paused {
                state.waiting.push(context.waker().clone());
                return Poll::Pending;
            }
        }
        self.task.as_mut().poll(context)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
