//! Which keys may hold sessions of a user.

use std::time::Duration;

use larder_core::session::TOMBSTONE;
use larder_core::{StoreError, Timestamp};
use redis::{Cmd, Pipeline, RedisError, Value};

use super::RedisSessions;
use crate::batch::KEYS_PER_COMMAND;
use crate::client::Request;
use crate::cluster::Apart;
use crate::config::LONGEST;
use crate::connection::Connection;
use crate::script::Run;

/// By its text always: it is short, and is to be done before the script that comes after it, which
/// it would not if Redis asked for its text.
const NOTE: &str = include_str!("note.lua");

/// For how long something stays in the index whose time is over by the clock of one server, and
/// may not be by that of another.
const SPARE: Duration = TOMBSTONE;

/// One run of a script on a session; and before it, in the same round trip, a note in its user's
/// index. So the index knows of every session that there is, and may know of more.
pub(super) struct Write<'a> {
    pub(super) note: Option<Cmd>,
    pub(super) run: Run<'a>,
}

impl Request for Write<'_> {
    type Reply = Value;

    fn can_be_repeated(&self) -> bool {
        self.run.repeatable
    }

    async fn send(&self, connection: &mut Connection) -> Result<Value, RedisError> {
        let Some(note) = &self.note else { return self.run.send(connection).await };
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.add_command(note.clone()).add_command(self.run.by_hash());
        let mut replies = connection.send_pipeline(&pipeline).await?;
        let written = replies.pop().unwrap_or(Value::Nil);
        if let Some(noted) = replies.pop() {
            noted.extract_error()?;
        }
        self.run.answer(connection, Ok(written)).await
    }

    /// The index may be on another node: it is told first.
    async fn send_apart(&self, apart: &Apart<'_>) -> Result<Value, StoreError> {
        if let Some(note) = &self.note {
            note.send_apart(apart).await?;
        }
        self.run.send_apart(apart).await
    }
}

impl RedisSessions {
    pub(super) fn index(&self, operation: &'static str, user: &str) -> Result<String, StoreError> {
        let index = format!("{}{user}", self.index_prefix);
        self.shared.store.inner().config.check_key(operation, &index)?;
        Ok(index)
    }

    /// What tells the index that a session of `user` may stand under `key` until `ends`.
    pub(super) fn note(
        &self,
        operation: &'static str,
        user: Option<&str>,
        (key, ends): (&str, Timestamp),
        now: Timestamp,
    ) -> Result<Option<Cmd>, StoreError> {
        let Some(user) = user else { return Ok(None) };
        let index = self.index(operation, user)?;
        // Rounded up, so that it is there as long as the session.
        let ends = ends.min(now + LONGEST).as_millis() + 1;
        let mut note = redis::cmd("EVAL");
        note.arg(NOTE).arg(1).arg(index).arg(now.as_millis()).arg(key).arg(ends);
        note.arg(u64::try_from(SPARE.as_millis()).unwrap_or(u64::MAX));
        Ok(Some(note))
    }

    /// The keys that may hold sessions of `user`.
    pub(super) async fn keys_of(
        &self,
        operation: &'static str,
        user: &str,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let index = self.index(operation, user)?;
        let mut pipeline = Pipeline::with_capacity(2);
        let over = (now - SPARE).as_millis();
        pipeline.cmd("ZREMRANGEBYSCORE").arg(&index).arg("-inf").arg(over);
        pipeline.cmd("ZRANGE").arg(&index).arg(0).arg(-1);
        let client = self.client();
        let replies = client.call(operation, &pipeline, client.deadline()).await?;
        let [removed, keys] = replies.as_slice() else {
            return Err(client.unexpected(operation, &Value::Nil));
        };
        client.integer(operation, removed)?;
        let Value::Array(keys) = keys else { return Err(client.unexpected(operation, keys)) };
        let text = |key: &Value| match key {
            Value::BulkString(key) => Ok(String::from_utf8_lossy(key).into_owned()),
            other => Err(client.unexpected(operation, other)),
        };
        keys.iter().map(text).collect()
    }

    /// Takes keys out of the index whose sessions have ended for good. Where that fails they stay
    /// until the sessions would have ended anyway, and hold up nobody.
    pub(super) async fn forget(&self, operation: &'static str, user: &str, keys: &[String]) {
        for keys in keys.chunks(KEYS_PER_COMMAND) {
            let forgotten = async {
                let mut command = redis::cmd("ZREM");
                command.arg(self.index(operation, user)?).arg(keys);
                let client = self.client();
                let reply = client.call(operation, &command, client.deadline()).await?;
                client.integer(operation, &reply)
            };
            if let Err(error) = forgotten.await {
                tracing::debug!(%error, "sessions that ended stay in the index of their user");
                return;
            }
        }
    }
}
