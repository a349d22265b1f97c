//! A runtime for tests: a clock that moves only when every task waits, and tasks that are polled
//! in an order drawn from a seed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::future::BoxFuture;

use super::Runtime;
use crate::sync::lock;
use crate::time::Timestamp;

/// A runtime with a virtual clock and a seeded scheduler.
///
/// [`block_on`](Self::block_on) polls whatever is ready, in an order that the seed decides. When
/// nothing is ready, the clock jumps to the next timer: an hour's sleep takes no time, and a test
/// with the same seed takes the same path.
///
/// Clones share clock and tasks.
///
/// ```
/// use larder_core::{Runtime, VirtualRuntime, hours};
///
/// let runtime = VirtualRuntime::seeded(7);
/// let start = runtime.now();
/// runtime.block_on(runtime.sleep(hours(1)));
/// assert_eq!(runtime.now(), start + hours(1));
/// ```
#[derive(Clone)]
pub struct VirtualRuntime(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    ready: Arc<Mutex<Ready>>,
}

type TaskId = u64;

/// The future given to `block_on`; spawned tasks count from 1.
const MAIN: TaskId = 0;

struct State {
    now: Timestamp,
    timers: BTreeMap<(Timestamp, u64), Waker>,
    tasks: HashMap<TaskId, BoxFuture<'static, ()>>,
    next_id: u64,
    random: fastrand::Rng,
}

/// The tasks that are to be polled, each once.
#[derive(Default)]
struct Ready {
    ids: Vec<TaskId>,
    among: HashSet<TaskId>,
}

impl Ready {
    fn push(&mut self, id: TaskId) {
        if self.among.insert(id) {
            self.ids.push(id);
        }
    }

    fn take_any(&mut self, random: &mut fastrand::Rng) -> Option<TaskId> {
        if self.ids.is_empty() {
            return None;
        }
        let id = self.ids.swap_remove(random.usize(..self.ids.len()));
        self.among.remove(&id);
        Some(id)
    }
}

struct TaskWaker {
    id: TaskId,
    ready: Arc<Mutex<Ready>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        lock(&self.ready).push(self.id);
    }
}

impl VirtualRuntime {
    /// A runtime whose clock starts at 2026-01-01T00:00:00Z and whose scheduler draws from `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                now: Timestamp::from_millis(1_767_225_600_000),
                timers: BTreeMap::new(),
                tasks: HashMap::new(),
                next_id: MAIN + 1,
                random: fastrand::Rng::with_seed(seed),
            }),
            ready: Arc::default(),
        }))
    }

    /// Moves the clock on, and wakes the timers that this reaches.
    pub fn advance(&self, by: Duration) {
        let to = self.now() + by;
        self.move_to(to);
    }

    fn move_to(&self, to: Timestamp) {
        let due = {
            let mut state = lock(&self.0.state);
            state.now = state.now.max(to);
            let reached = (state.now, u64::MAX);
            let later = state.timers.split_off(&reached);
            std::mem::replace(&mut state.timers, later)
        };
        due.into_values().for_each(Waker::wake);
    }

    /// Runs `future` to its end, and the spawned tasks beside it.
    ///
    /// # Panics
    ///
    /// When every task waits and no timer is set, as the test would hang.
    #[allow(clippy::panic)]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut main = pin!(future);
        lock(&self.0.ready).push(MAIN);
        loop {
            let Some(id) = self.take_ready() else {
                assert!(
                    self.jump_to_next_timer(),
                    "every task waits and no timer is set: the test would hang"
                );
                continue;
            };
            let waker = Waker::from(Arc::new(TaskWaker { id, ready: Arc::clone(&self.0.ready) }));
            let mut context = Context::from_waker(&waker);
            if id == MAIN {
                if let Poll::Ready(output) = main.as_mut().poll(&mut context) {
                    return output;
                }
            } else {
                self.poll_spawned(id, &mut context);
            }
        }
    }

    fn take_ready(&self) -> Option<TaskId> {
        lock(&self.0.ready).take_any(&mut lock(&self.0.state).random)
    }

    fn poll_spawned(&self, id: TaskId, context: &mut Context<'_>) {
        // Taken out while it is polled: the task may spawn others.
        let Some(mut task) = lock(&self.0.state).tasks.remove(&id) else { return };
        if task.as_mut().poll(context).is_pending() {
            lock(&self.0.state).tasks.insert(id, task);
        }
    }

    /// Wakes all whose time comes next together, so that the seed decides who of them goes first.
    fn jump_to_next_timer(&self) -> bool {
        let next = lock(&self.0.state).timers.first_key_value().map(|((at, _), _)| *at);
        next.inspect(|at| self.move_to(*at)).is_some()
    }
}

impl std::fmt::Debug for VirtualRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VirtualRuntime").field("now", &self.now()).finish_non_exhaustive()
    }
}

impl Runtime for VirtualRuntime {
    fn now(&self) -> Timestamp {
        lock(&self.0.state).now
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let runtime = self.clone();
        let until = self.now() + duration;
        Box::pin(Sleep { runtime, until, registered: None })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let id = {
            let mut state = lock(&self.0.state);
            let id = state.next_id;
            state.next_id += 1;
            state.tasks.insert(id, task);
            id
        };
        lock(&self.0.ready).push(id);
    }
}

struct Sleep {
    runtime: VirtualRuntime,
    until: Timestamp,
    registered: Option<(Timestamp, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let shared = Arc::clone(&self.runtime.0);
        let mut state = lock(&shared.state);
        if let Some(timer) = self.registered.take() {
            state.timers.remove(&timer);
        }
        if state.now >= self.until {
            return Poll::Ready(());
        }
        let timer = (self.until, state.next_id);
        state.next_id += 1;
        state.timers.insert(timer, context.waker().clone());
        self.registered = Some(timer);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.registered {
            lock(&self.runtime.0.state).timers.remove(&timer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::test;

    fn order(seed: u64) -> Vec<usize> {
        let runtime = VirtualRuntime::seeded(seed);
        let order = Arc::new(Mutex::new(Vec::new()));
        for i in 0..20 {
            let (order, sleep) = (Arc::clone(&order), runtime.sleep(Duration::from_secs(1)));
            runtime.spawn(Box::pin(async move {
                sleep.await;
                lock(&order).push(i);
            }));
        }
        runtime.block_on(runtime.sleep(Duration::from_secs(2)));
        lock(&order).clone()
    }

    #[test]
    fn the_seed_decides_the_order_of_tasks_that_are_due_together() {
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        let mut sorted = order(3);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn timers_fire_in_the_order_of_their_times_and_not_before() {
        let runtime = VirtualRuntime::seeded(0);
        let start = runtime.now();
        runtime.block_on(async {
            let late = runtime.sleep(Duration::from_secs(3));
            runtime.sleep(Duration::from_secs(1)).await;
            assert_eq!(runtime.now(), start + Duration::from_secs(1));
            late.await;
            assert_eq!(runtime.now(), start + Duration::from_secs(3));
        });
    }

    #[test]
    #[should_panic(expected = "the test would hang")]
    fn a_wait_without_end_is_found() {
        VirtualRuntime::seeded(0).block_on(std::future::pending::<()>());
    }
}
