//! Whether anything was missed: by the numbers of others, and by hearing oneself.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::{Gap, NodeId, Origin};
use crate::time::Timestamp;

/// What one cache knows of the bus it listens to. Numbers its own notices, too.
pub(crate) struct Ear {
    node: NodeId,
    epoch: u64,
    /// How long a sender may be silent, and how long what was heard vouches for the rest.
    patience: Duration,
    is_connected: bool,
    was_connected: bool,
    last_sent: u64,
    /// Own notices from this number on were sent when everything was heard.
    vouches_from: u64,
    /// Own notices that have not come back, and when they were sent first.
    sent: VecDeque<(u64, Timestamp)>,
    others: HashMap<(NodeId, u64), Other>,
}

struct Other {
    last: u64,
    heard_at: Timestamp,
}

const MOST_SENT: usize = 1_024;
const MOST_OTHERS: usize = 4_096;

impl Ear {
    pub(crate) fn new(node: NodeId, now: Timestamp, patience: Duration) -> Self {
        Self {
            node,
            epoch: now.as_millis(),
            patience,
            is_connected: false,
            was_connected: false,
            last_sent: 0,
            vouches_from: 1,
            sent: VecDeque::new(),
            others: HashMap::new(),
        }
    }

    /// The origin of a notice that is about to be sent.
    pub(crate) fn next_origin(&mut self, now: Timestamp) -> Origin {
        self.last_sent += 1;
        if self.sent.len() == MOST_SENT {
            self.sent.pop_front();
        }
        self.sent.push_back((self.last_sent, now));
        Origin { node: self.node, epoch: self.epoch, sequence: self.last_sent }
    }

    /// Whether it is for the first time.
    pub(crate) fn connected(&mut self) -> bool {
        self.is_connected = true;
        self.vouches_from = self.last_sent + 1;
        !std::mem::replace(&mut self.was_connected, true)
    }

    pub(crate) fn lost(&mut self) {
        self.is_connected = false;
    }

    pub(crate) fn is_own(&self, origin: &Origin) -> bool {
        origin.node == self.node && origin.epoch == self.epoch
    }

    /// An own notice came back: what was published before it was sent has been heard. Until when that
    /// vouches for what is held.
    pub(crate) fn own(&mut self, sequence: u64) -> Option<Timestamp> {
        let mut sent_at = None;
        while let Some((number, at)) = self.sent.front().copied()
            && number <= sequence
        {
            self.sent.pop_front();
            sent_at = Some(at);
        }
        let vouches = self.is_connected && sequence >= self.vouches_from;
        sent_at.filter(|_| vouches).map(|at| at + self.patience)
    }

    /// A notice of another came: whether one before it did not. `has_ended` where it is its last.
    pub(crate) fn other(
        &mut self,
        origin: Origin,
        has_ended: bool,
        now: Timestamp,
    ) -> Result<(), Gap> {
        let Origin { node, epoch, sequence } = origin;
        let sender = (node, epoch);
        let last = self.others.get(&sender).map_or(0, |other| other.last);
        if has_ended {
            self.others.remove(&sender);
        } else if last > 0 || self.others.len() < MOST_OTHERS {
            self.others.insert(sender, Other { last: last.max(sequence), heard_at: now });
        }
        match sequence > last.saturating_add(1) {
            true => Err(Gap::Sequence),
            false => Ok(()),
        }
    }

    /// Forgets those who were silent for too long; whether there are any. Their last notices may have
    /// been missed.
    pub(crate) fn forget_silent(&mut self, now: Timestamp) -> Result<(), Gap> {
        let before = self.others.len();
        self.others.retain(|_, other| now.since(other.heard_at) <= self.patience);
        if self.others.len() < before { Err(Gap::Silence) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::test;
    use crate::time::seconds;

    const OTHER: NodeId = NodeId::from_u128(2);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + seconds * 1_000)
    }

    fn ear() -> Ear {
        Ear::new(NodeId::from_u128(1), at(0), seconds(3))
    }

    fn notice(sequence: u64) -> Origin {
        Origin { node: OTHER, epoch: 7, sequence }
    }

    #[test]
    fn a_hole_in_a_senders_numbers_is_a_gap() {
        let mut ear = ear();
        assert_eq!(ear.other(notice(1), false, at(0)), Ok(()));
        assert_eq!(ear.other(notice(2), false, at(0)), Ok(()));
        assert_eq!(ear.other(notice(2), false, at(0)), Ok(()), "it came twice");
        assert_eq!(ear.other(notice(4), false, at(0)), Err(Gap::Sequence));
        assert_eq!(ear.other(notice(3), false, at(0)), Ok(()), "it was late");
        assert_eq!(ear.other(notice(5), false, at(0)), Ok(()));
        assert_eq!(ear.other(Origin { epoch: 8, ..notice(1) }, false, at(0)), Ok(()));
    }

    #[test]
    fn a_sender_is_new_only_with_its_first_notice() {
        assert_eq!(ear().other(notice(1), false, at(0)), Ok(()));
        assert_eq!(ear().other(notice(2), false, at(0)), Err(Gap::Sequence));
        assert_eq!(ear().other(notice(u64::MAX), false, at(0)), Err(Gap::Sequence));
    }

    #[test]
    fn a_sender_that_is_silent_and_has_not_ended_is_a_gap_once() {
        let mut ear = ear();
        let _ = ear.other(notice(1), false, at(0));
        assert_eq!(ear.forget_silent(at(3)), Ok(()));
        assert_eq!(ear.forget_silent(at(4)), Err(Gap::Silence));
        assert_eq!(ear.forget_silent(at(5)), Ok(()));
        let _ = ear.other(Origin { epoch: 8, ..notice(1) }, false, at(5));
        assert_eq!(ear.other(Origin { epoch: 8, ..notice(2) }, true, at(5)), Ok(()));
        assert_eq!(ear.forget_silent(at(99)), Ok(()));
    }

    #[test]
    fn an_own_notice_vouches_from_when_it_was_sent_and_not_before_the_connection() {
        let mut ear = ear();
        let first = ear.next_origin(at(0));
        assert!(ear.connected());
        assert_eq!(ear.own(first.sequence), None, "it was sent before");
        let (second, third) = (ear.next_origin(at(1)), ear.next_origin(at(2)));
        assert!(ear.is_own(&second) && !ear.is_own(&notice(2)));
        assert_eq!(ear.own(second.sequence), Some(at(4)));
        assert_eq!(ear.own(second.sequence), None, "it came twice");
        ear.lost();
        assert_eq!(ear.own(third.sequence), None);
        assert!(!ear.connected());
    }
}
