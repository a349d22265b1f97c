use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use larder_demo::{Busy, HeavyWork};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How long work waits for a thread.
const WAIT: Duration = Duration::from_secs(5);

/// [`HeavyWork`] on Tokio's threads for blocking work: so much at once as there are processors.
///
/// What waits for longer than five seconds is refused.
#[derive(Debug)]
pub struct Threads {
    free: Arc<Semaphore>,
}

impl Threads {
    /// For this machine.
    #[must_use]
    pub fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self { free: Arc::new(Semaphore::new(processors)) }
    }
}

impl Default for Threads {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl HeavyWork for Threads {
    async fn run(&self, work: Box<dyn FnOnce() + Send>) -> Result<(), Busy> {
        let permit = timeout(WAIT, Arc::clone(&self.free).acquire_owned());
        let permit = permit.await.map_err(|_| Busy)?.map_err(|_| Busy)?;
        tokio::task::spawn_blocking(move || {
            work();
            drop(permit);
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn no_more_is_under_way_than_there_are_processors() {
        let threads = Arc::new(Threads { free: Arc::new(Semaphore::new(2)) });
        let (begun, most) = (Arc::new(AtomicUsize::new(0)), 2);
        let mut gates = Vec::new();
        let mut waiting = Vec::new();
        for _ in 0..3 {
            let (open, opened) = mpsc::channel::<()>();
            let begun = Arc::clone(&begun);
            let work = Box::new(move || {
                begun.fetch_add(1, Ordering::SeqCst);
                // Until its gate is dropped.
                let _ = opened.recv();
            });
            gates.push(open);
            let threads = Arc::clone(&threads);
            waiting.push(tokio::spawn(async move { threads.run(work).await }));
        }
        while begun.load(Ordering::SeqCst) < most {
            yield_now().await;
        }
        assert_eq!(threads.free.available_permits(), 0);
        assert_eq!(waiting.iter().filter(|it| it.is_finished()).count(), most);
        drop(gates);
        for it in waiting {
            it.await.unwrap().unwrap();
        }
        while begun.load(Ordering::SeqCst) < 3 {
            yield_now().await;
        }
    }
}
