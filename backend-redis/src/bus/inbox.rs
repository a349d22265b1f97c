//! What a connection has heard, until it is taken: no more than there is room for.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;

const MOST_MESSAGES: usize = 1 << 14;
const MOST_BYTES: usize = 16 << 20;

#[derive(Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Messages before these were dropped.
    overflowed: bool,
    is_over: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    Message(Vec<u8>),
    /// What came before was dropped.
    Overflow,
    /// Nothing more will come.
    End,
}

impl Inbox {
    /// Takes in what the server says unasked.
    pub(crate) fn push(&self, push: PushInfo) {
        match push.kind {
            PushKind::Message => {
                if let Some(Value::BulkString(message)) = push.data.into_iter().nth(1) {
                    self.lock().add(message);
                }
            }
            // It was taken from the channel: by `CLIENT UNBLOCK`'s like, or a change of its rights.
            PushKind::Disconnection | PushKind::Unsubscribe => self.lock().is_over = true,
            _ => return,
        }
        self.arrived.notify_one();
    }

    pub(super) async fn next(&self) -> Arrived {
        loop {
            if let Some(arrived) = self.lock().take() {
                return arrived;
            }
            self.arrived.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn add(&mut self, message: Vec<u8>) {
        if self.messages.len() >= MOST_MESSAGES || self.bytes + message.len() > MOST_BYTES {
            self.messages.clear();
            (self.bytes, self.overflowed) = (0, true);
        }
        if message.len() <= MOST_BYTES {
            self.bytes += message.len();
            self.messages.push_back(message);
        }
    }

    fn take(&mut self) -> Option<Arrived> {
        if std::mem::take(&mut self.overflowed) {
            return Some(Arrived::Overflow);
        }
        match self.messages.pop_front() {
            Some(message) => {
                self.bytes -= message.len();
                Some(Arrived::Message(message))
            }
            None => self.is_over.then_some(Arrived::End),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn message(bytes: usize) -> PushInfo {
        let data = vec![Value::BulkString(b"channel".to_vec()), Value::BulkString(vec![0; bytes])];
        PushInfo { kind: PushKind::Message, data }
    }

    fn next(inbox: &Inbox) -> Option<Arrived> {
        inbox.next().now_or_never()
    }

    #[test]
    fn what_arrived_is_taken_in_order_before_the_end() {
        let inbox = Inbox::default();
        assert_eq!(next(&inbox), None);
        inbox.push(message(1));
        inbox.push(message(2));
        inbox.push(PushInfo { kind: PushKind::Disconnection, data: Vec::new() });
        assert_eq!(next(&inbox), Some(Arrived::Message(vec![0])));
        assert_eq!(next(&inbox), Some(Arrived::Message(vec![0, 0])));
        assert_eq!(next(&inbox), Some(Arrived::End));
    }

    #[test]
    fn what_there_is_no_room_for_is_told() {
        for (count, bytes, left) in [
            (MOST_MESSAGES, 1, MOST_MESSAGES),
            (MOST_MESSAGES + 1, 1, 1),
            (3, MOST_BYTES / 2, 1),
            (2, MOST_BYTES / 2, 2),
            (1, MOST_BYTES + 1, 0),
        ] {
            let inbox = Inbox::default();
            (0..count).for_each(|_| inbox.push(message(bytes)));
            let overflowed = left != count;
            assert_eq!(inbox.lock().overflowed, overflowed, "{count} of {bytes}");
            if overflowed {
                assert_eq!(next(&inbox), Some(Arrived::Overflow));
            }
            for _ in 0..left {
                assert!(matches!(next(&inbox), Some(Arrived::Message(_))), "{count} of {bytes}");
            }
            assert_eq!(next(&inbox), None, "{count} of {bytes}");
        }
    }
}
