//! Checks, gathered into runs of one script.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use larder_core::{StoreError, StoreErrorKind};
use redis::Value;
use tokio::time::Instant;

use super::layout::Keys;
use super::packed::Found;
use crate::client::Client;
use crate::gather::{Gathers, Waiting};
use crate::script::{Run, Script};

pub(super) const CHECK: &str = "check";

/// A check of more keys goes alone: Lua takes some thousands of them at once.
pub(super) const MOST_KEYS: usize = 32;

pub(super) struct Checks {
    pub(super) script: Arc<Script>,
    /// Redis is a Cluster, where the keys of two checks are seldom in one slot.
    pub(super) apart: AtomicBool,
}

/// What is asked of one subject.
pub(super) struct Question {
    pub(super) keys: Keys,
    pub(super) asked: Vec<u8>,
    /// Whether it comes to the same when it is asked twice.
    pub(super) repeatable: bool,
}

impl Checks {
    /// Asks for one subject.
    pub(super) async fn ask(
        &self,
        operation: &'static str,
        client: &Client,
        question: &Question,
        deadline: Instant,
    ) -> Result<Found, StoreError> {
        let mut found = self.run(operation, client, &[question], deadline).await?;
        found.pop().ok_or_else(|| client.unexpected(operation, &Value::Nil))
    }

    /// Asks for several at once, by one run of the script.
    pub(super) async fn run(
        &self,
        operation: &'static str,
        client: &Client,
        questions: &[&Question],
        deadline: Instant,
    ) -> Result<Vec<Found>, StoreError> {
        let keys: Vec<&str> = questions.iter().flat_map(|it| it.keys.iter()).collect();
        let asked: Vec<&[u8]> = questions.iter().map(|it| it.asked.as_slice()).collect();
        let asked = asked.concat();
        let mut seen = HashSet::with_capacity(questions.len());
        let is_repeated = !questions.iter().all(|it| seen.insert(it.keys.iter().next()));
        let arguments: &[&[u8]] = if is_repeated { &[&asked, b"again"] } else { &[&asked] };
        let repeatable = questions.iter().all(|it| it.repeatable);
        let run = Run { script: &self.script, keys: &keys, arguments, repeatable };
        let reply = client.call(operation, &run, deadline).await?;
        let sizes = questions.iter().map(|it| it.keys.len());
        Found::in_reply(&reply, sizes).ok_or_else(|| client.unexpected(operation, &reply))
    }
}

impl Gathers for Checks {
    type Question = Question;
    type Answer = Found;

    const OPERATION: &'static str = CHECK;

    fn count(&self, client: &Client, questions: usize) {
        client.meter.gathered_checks(questions);
    }

    async fn together(
        &self,
        client: &Client,
        calls: &[Waiting<Self>],
        deadline: Instant,
    ) -> Vec<Result<Found, StoreError>> {
        let questions: Vec<_> = calls.iter().map(|call| &call.question).collect();
        let error = match self.run(CHECK, client, &questions, deadline).await {
            Ok(found) => return found.into_iter().map(Ok).collect(),
            Err(error) => error,
        };
        // Refused before the script ran, be it for one of the keys only.
        let is_apart = error.kind() == StoreErrorKind::Unsupported;
        if !is_apart && error.kind() != StoreErrorKind::Denied {
            return questions.iter().map(|_| Err(error.clone())).collect();
        }
        self.apart.fetch_or(is_apart, Ordering::Relaxed);
        let mut found = Vec::with_capacity(questions.len());
        for question in questions {
            found.push(self.ask(CHECK, client, question, deadline).await);
        }
        found
    }

    async fn alone(
        &self,
        client: &Client,
        question: &Question,
        deadline: Instant,
    ) -> Result<Found, StoreError> {
        self.ask(CHECK, client, question, deadline).await
    }
}
