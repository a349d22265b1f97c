//! What is still to be told.

use std::collections::BTreeSet;
use std::sync::Mutex;

use event_listener::Event;

use super::Subject;
use crate::glob::Glob;
use crate::sync::lock;

/// What a cache has to tell others, until the bus has taken it. Each key, pattern and tag is there
/// once; more of them than there is room for become «everything».
#[derive(Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    changed: Event,
}

#[derive(Default)]
struct State {
    waiting: Waiting,
    /// How many keys, patterns and tags were taken out, and the bus has not taken them yet.
    on_their_way: usize,
    /// How much was ever put in.
    entered: u64,
    /// Up to where that was sent.
    sent: u64,
    /// The bus does not take anything now.
    is_failing: bool,
    /// Somebody asks to be heard.
    is_alive_due: bool,
    is_closed: bool,
}

#[derive(Default)]
struct Waiting {
    keys: BTreeSet<String>,
    patterns: BTreeSet<String>,
    tags: BTreeSet<String>,
    withdrawn: BTreeSet<String>,
    everything: bool,
    texts: usize,
    bytes: usize,
}

/// What was taken out to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Round {
    /// What was put in up to here is in it.
    pub(crate) ticket: u64,
    pub(crate) subjects: Vec<Subject>,
    /// Nothing comes after it.
    pub(crate) is_last: bool,
}

const MOST_TEXTS: usize = 10_000;
const MOST_BYTES: usize = 1 << 20;

/// What one notice holds, unless a single text is longer.
const NOTICE_BYTES: usize = 16 << 10;

impl Outbox {
    /// Puts `subject` in; its ticket, and whether there was too much.
    pub(crate) fn push(&self, subject: Subject) -> (u64, bool) {
        let mut state = lock(&self.state);
        let has_collapsed = state.waiting.add(subject);
        state.entered += 1;
        let ticket = state.entered;
        drop(state);
        self.changed.notify(usize::MAX);
        (ticket, has_collapsed)
    }

    /// Waits until what has this ticket was sent; or cannot be now, so that it is sent later.
    pub(crate) async fn tried(&self, ticket: u64) {
        self.wait_until(|state| {
            (state.sent >= ticket || state.is_failing || state.is_closed).then_some(())
        })
        .await;
    }

    /// Asks that others be told that this cache is alive.
    pub(crate) fn say_alive(&self) {
        lock(&self.state).is_alive_due = true;
        self.changed.notify(usize::MAX);
    }

    /// What is to be sent next, once there is anything.
    pub(crate) async fn next(&self) -> Round {
        self.wait_until(|state| {
            let is_due = !state.waiting.is_empty() || state.is_alive_due || state.is_closed;
            is_due.then(|| {
                state.on_their_way = state.waiting.len();
                let mut subjects = std::mem::take(&mut state.waiting).into_subjects();
                if std::mem::take(&mut state.is_alive_due) && subjects.is_empty() {
                    subjects.push(Subject::Alive);
                }
                Round { ticket: state.entered, subjects, is_last: state.is_closed }
            })
        })
        .await
    }

    pub(crate) fn sent(&self, ticket: u64) {
        let mut state = lock(&self.state);
        state.sent = state.sent.max(ticket);
        state.on_their_way = 0;
        state.is_failing = false;
        drop(state);
        self.changed.notify(usize::MAX);
    }

    /// Nobody waits any more for what cannot be sent now.
    pub(crate) fn failing(&self) {
        lock(&self.state).is_failing = true;
        self.changed.notify(usize::MAX);
    }

    pub(crate) fn close(&self) {
        lock(&self.state).is_closed = true;
        self.changed.notify(usize::MAX);
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.state).is_closed
    }

    pub(crate) async fn closed(&self) {
        self.wait_until(|state| state.is_closed.then_some(())).await;
    }

    /// How many keys, patterns and tags wait, those among them that are being sent.
    pub(crate) fn len(&self) -> usize {
        let state = lock(&self.state);
        state.waiting.len() + state.on_their_way
    }

    async fn wait_until<R>(&self, look: impl Fn(&mut State) -> Option<R>) -> R {
        loop {
            let changed = self.changed.listen();
            if let Some(found) = look(&mut lock(&self.state)) {
                return found;
            }
            changed.await;
        }
    }
}

impl Waiting {
    /// Whether that was too much.
    fn add(&mut self, subject: Subject) -> bool {
        if self.everything {
            return false;
        }
        let (texts, into) = match subject {
            Subject::Alive | Subject::Farewell => return false,
            Subject::Everything => {
                *self = Self { everything: true, ..Self::default() };
                return false;
            }
            Subject::Keys(keys) => (keys, &mut self.keys),
            Subject::Patterns(patterns) => {
                (patterns.iter().map(Glob::to_string).collect(), &mut self.patterns)
            }
            Subject::Tags(tags) => (tags, &mut self.tags),
            Subject::Withdrawn(keys) => (keys, &mut self.withdrawn),
        };
        for text in texts {
            let bytes = text.len();
            if into.insert(text) {
                self.texts += 1;
                self.bytes += bytes;
            }
        }
        let is_too_much = self.texts > MOST_TEXTS || self.bytes > MOST_BYTES;
        if is_too_much {
            *self = Self { everything: true, ..Self::default() };
        }
        is_too_much
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.texts + usize::from(self.everything)
    }

    fn into_subjects(self) -> Vec<Subject> {
        if self.everything {
            return vec![Subject::Everything];
        }
        let globs =
            |texts: Vec<String>| Subject::Patterns(texts.into_iter().map(Glob::new).collect());
        let mut subjects = Vec::new();
        subjects.extend(portions(self.keys).map(Subject::Keys));
        subjects.extend(portions(self.patterns).map(globs));
        subjects.extend(portions(self.tags).map(Subject::Tags));
        subjects.extend(portions(self.withdrawn).map(Subject::Withdrawn));
        subjects
    }
}

fn portions(texts: BTreeSet<String>) -> impl Iterator<Item = Vec<String>> {
    let mut texts = texts.into_iter().peekable();
    std::iter::from_fn(move || {
        let first = texts.next()?;
        let mut bytes = first.len();
        let mut portion = vec![first];
        while let Some(text) = texts.next_if(|text| bytes + text.len() <= NOTICE_BYTES) {
            bytes += text.len();
            portion.push(text);
        }
        Some(portion)
    })
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::runtime::test;

    fn keys(keys: &[&str]) -> Subject {
        Subject::Keys(keys.iter().map(|key| (*key).to_owned()).collect())
    }

    fn next(outbox: &Outbox) -> Option<Round> {
        outbox.next().now_or_never()
    }

    #[test]
    fn what_waits_goes_together_and_once() {
        let outbox = Outbox::default();
        outbox.push(keys(&["b", "a"]));
        outbox.push(keys(&["a"]));
        let (ticket, _) = outbox.push(Subject::Tags(vec!["t".into()]));
        let subjects = vec![keys(&["a", "b"]), Subject::Tags(vec!["t".into()])];
        assert_eq!(next(&outbox), Some(Round { ticket, subjects, is_last: false }));
        assert_eq!(next(&outbox), None);
        assert_eq!(outbox.len(), 3, "the bus has not taken them");
        outbox.sent(ticket);
        assert_eq!(outbox.len(), 0);
    }

    #[test]
    fn who_waits_is_told_when_it_was_sent_or_cannot_be() {
        let outbox = Outbox::default();
        let (ticket, _) = outbox.push(keys(&["a"]));
        assert!(outbox.tried(ticket).now_or_never().is_none());
        outbox.failing();
        assert!(outbox.tried(ticket).now_or_never().is_some());
        outbox.sent(ticket);
        let (later, _) = outbox.push(keys(&["a"]));
        assert!(outbox.tried(ticket).now_or_never().is_some());
        assert!(outbox.tried(later).now_or_never().is_none());
        outbox.close();
        assert!(outbox.tried(later).now_or_never().is_some());
    }

    #[test]
    fn too_much_becomes_everything() {
        let outbox = Outbox::default();
        let many = |from: usize| {
            Subject::Keys((from..from + MOST_TEXTS).map(|key| key.to_string()).collect())
        };
        assert!(!outbox.push(many(0)).1);
        assert!(!outbox.push(many(0)).1, "they are the same");
        assert!(outbox.push(many(1)).1);
        assert!(!outbox.push(many(2)).1, "it is everything already");
        assert_eq!(outbox.len(), 1);
        assert_eq!(next(&outbox).unwrap().subjects, [Subject::Everything]);
        assert!(outbox.push(keys(&[&"k".repeat(MOST_BYTES + 1)])).1);
    }

    #[test]
    fn a_notice_is_bounded() {
        let outbox = Outbox::default();
        outbox.push(Subject::Keys((0..100).map(|n| format!("{n:04000}")).collect()));
        let subjects = next(&outbox).unwrap().subjects;
        assert_eq!(subjects.len(), 25);
        for subject in subjects {
            let Subject::Keys(keys) = subject else { panic!("keys") };
            assert!(keys.iter().map(String::len).sum::<usize>() <= NOTICE_BYTES);
        }
    }

    #[test]
    fn the_last_round_says_so() {
        let outbox = Outbox::default();
        outbox.say_alive();
        assert_eq!(next(&outbox).unwrap().subjects, [Subject::Alive]);
        outbox.push(keys(&["a"]));
        outbox.close();
        assert!(next(&outbox).is_some_and(|round| round.is_last && round.subjects.len() == 1));
    }
}
