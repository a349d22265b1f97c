//! The port, by scripts.

use std::sync::Arc;

use async_trait::async_trait;
use larder_core::session::{
    SessionCapabilities, SessionRecord, StoredSession, TOMBSTONE, TRIES, Touch, Updated,
    UserSession, Version,
};
use larder_core::{
    Runtime, SessionStore, StoreError, StoreErrorKind, StrongSessionStore, Timestamp,
};
use redis::{Cmd, Pipeline, Value};

use super::standing::{Found, Standing, State};
use super::text::Kept;
use super::{ExpressSessions, cookie, note_key, shown};
use crate::batch::on_keys;
use crate::error::STORE;
use crate::script::{Run, Script};
use crate::sessions::frame::{self, Token};
use crate::sessions::index::Write;
use crate::sessions::of_user::Ended;
use crate::sessions::{AT_ONCE, draw};

/// A session's text and note, to be written.
pub(super) struct Written {
    token: Token,
    kept: Kept,
    pub(super) text: Vec<u8>,
    pub(super) note: Vec<u8>,
    index: Option<Cmd>,
}

/// What came of ending a session.
pub(super) enum Buried {
    Done(Option<String>),
    Not(Standing),
}

impl ExpressSessions {
    /// Runs a script on a session, after what its user's index is told.
    pub(super) async fn run(
        &self,
        operation: &'static str,
        index: Option<Cmd>,
        script: &Script,
        (key, now): (&str, Timestamp),
        arguments: &[&[u8]],
    ) -> Result<Value, StoreError> {
        let (now, life) = (now.as_micros().to_string(), self.ttl.as_millis().to_string());
        let arguments = [&[now.as_bytes(), life.as_bytes()], arguments].concat();
        let keys = [key, &note_key(key)];
        let run = Run { script, keys: &keys, arguments: &arguments, repeatable: true };
        let client = self.base.client();
        client.call(operation, &Write { note: index, run }, client.deadline()).await
    }

    /// The session, and a note of it where there was none.
    pub(super) async fn find(
        &self,
        operation: &'static str,
        key: &str,
    ) -> Result<Standing, StoreError> {
        let (now, reply) = self.look(operation, key).await?;
        self.standing(operation, (key, now), reply)
    }

    async fn look(
        &self,
        operation: &'static str,
        key: &str,
    ) -> Result<(Timestamp, Value), StoreError> {
        let now = self.base.now();
        let mut first_seen = SessionRecord::new(now, now);
        // This is no use yet, and its life there tells of the last.
        first_seen.seen_at = Timestamp::EPOCH;
        let note = note(draw(operation)?, &first_seen, None);
        let script = &self.scripts.load;
        Ok((now, self.run(operation, None, script, (key, now), &[&note?]).await?))
    }

    /// The note of the session as it is now, and what tells its user's index of it.
    fn noted(
        &self,
        operation: &'static str,
        key: &str,
        (token, session, kept): (Token, &SessionRecord, &Kept),
        now: Timestamp,
    ) -> Result<(Vec<u8>, Option<Cmd>), StoreError> {
        // Nobody tells the index when the other service lets it live on.
        let ends = session.expires_at + self.life(kept);
        let index = self.base.note(operation, session.user.as_deref(), (key, ends), now)?;
        Ok((note(token, session, session.user.as_deref())?, index))
    }

    /// What is to be written of a session, after a state of which `kept` is left.
    pub(super) fn written(
        &self,
        operation: &'static str,
        key: &str,
        session: &SessionRecord,
        kept: Option<Kept>,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        let mut session = session.clone();
        let mut kept = match kept {
            Some(kept) => kept,
            None => Kept::beginning_with(self.cookie.begin(&session)),
        };
        session.expires_at = session.expires_at.min(session.seen_at + self.life(&kept));
        cookie::end_at(&mut kept.cookie, session.expires_at);
        let text = self.user.write(&session, &mut kept).map_err(|problem| {
            let detail = format!("the session for {} cannot be written: {problem}", shown(key));
            StoreError::new(StoreErrorKind::Other, STORE, operation, detail)
        })?;
        self.base.shared.store.inner().config.check_value(operation, shown(key), &text)?;
        let token = draw(operation)?;
        let (note, index) = self.noted(operation, key, (token, &session, &kept), now)?;
        Ok(Written { token, kept, text, note, index })
    }

    async fn make(
        &self,
        operation: &'static str,
        key: &str,
        session: &SessionRecord,
        kept: Option<Kept>,
    ) -> Result<Option<Version>, StoreError> {
        let now = self.base.now();
        let Written { token, kept, text, note, index } =
            self.written(operation, key, session, kept, now)?;
        let script = &self.scripts.create;
        match self.run(operation, index, script, (key, now), &[&text, &note]).await? {
            Value::Int(_) => Ok(None),
            sum => Ok(Some(self.version(operation, token, kept, sum)?)),
        }
    }

    fn version(
        &self,
        operation: &'static str,
        token: Token,
        kept: Kept,
        sum: Value,
    ) -> Result<Version, StoreError> {
        let sum = self.base.client().bytes(operation, sum)?.unwrap_or_default();
        let sum = String::from_utf8_lossy(&sum).into_owned();
        let token = frame::version(token).as_str().to_owned();
        Ok(State { token, sum, kept }.version())
    }

    /// Puts a new note of the session that was found, and lets that live as long; or says what stands
    /// there instead.
    pub(super) async fn put_note(
        &self,
        operation: &'static str,
        (key, now): (&str, Timestamp),
        found: &Found,
        session: &SessionRecord,
    ) -> Result<Option<Standing>, StoreError> {
        let token = found.state.token().map_or_else(|| draw(operation), Ok)?;
        let of_it = (token, session, &found.state.kept);
        let (note, index) = self.noted(operation, key, of_it, now)?;
        let arguments: [&[u8]; 3] = [&note, &found.note, found.state.sum.as_bytes()];
        let script = &self.scripts.touch;
        match self.run(operation, index, script, (key, now), &arguments).await? {
            Value::Int(_) => Ok(None),
            reply => self.standing(operation, (key, now), reply).map(Some),
        }
    }

    /// Whether the index of the session's user would forget it before its end, or never heard of it:
    /// they signed in there, or it lives on there.
    fn is_unknown(&self, found: &Found) -> bool {
        let Some(user) = &found.session.user else { return false };
        let slack = self.life(&found.state.kept) / 2;
        let is_known = found.noted.as_ref().is_some_and(|(noted, until)| {
            noted == user && found.session.expires_at <= *until + slack
        });
        !is_known
    }

    pub(super) async fn bury(
        &self,
        operation: &'static str,
        (key, now): (&str, Timestamp),
        expected: Option<&State>,
        tombstone: &[u8],
    ) -> Result<Buried, StoreError> {
        let token = expected.and_then(State::token);
        let token = token.as_ref().map_or(&[][..], |token| token);
        let sum = expected.map_or("", |expected| &expected.sum);
        let script = &self.scripts.bury;
        let arguments = [tombstone, token, sum.as_bytes()];
        match self.run(operation, None, script, (key, now), &arguments).await? {
            Value::BulkString(text) => {
                Ok(Buried::Done(self.user.read(&text).ok().and_then(|content| content.user)))
            }
            reply => self.whatever_stands(operation, (key, now), reply).map(Buried::Not),
        }
    }

    /// Ends the session of `user`, wherever it has moved, but not under `except`.
    async fn end_of(
        &self,
        operation: &'static str,
        (user, except): (&str, Option<&str>),
        mut key: String,
    ) -> Result<Option<Ended>, StoreError> {
        for _ in 0..TRIES {
            if except == Some(&key) {
                return Ok(None);
            }
            let (now, reply) = self.look(operation, &key).await?;
            let found = match self.whatever_stands(operation, (&key, now), reply)? {
                Standing::Session(found) if found.session.user.as_deref() == Some(user) => {
                    Some(found)
                }
                // Nothing else would end it.
                Standing::Unreadable(_) => None,
                Standing::MovedTo(to) => {
                    key = to;
                    continue;
                }
                Standing::Session(_) | Standing::Nothing => return Ok(None),
            };
            let expected = found.as_ref().map(|found| &found.state);
            let tombstone = frame::tombstone(draw(operation)?, now + TOMBSTONE, None);
            let buried = self.bury(operation, (&key, now), expected, &tombstone).await?;
            if let Buried::Done(user) = buried {
                return Ok(Some(Ended { key, was_live: true, user }));
            }
        }
        Err(contended(operation, &key))
    }
}

fn contended(operation: &'static str, key: &str) -> StoreError {
    let detail = format!(
        "others came before each of {TRIES} tries to change the session under {}; try again",
        shown(key)
    );
    StoreError::new(StoreErrorKind::Other, STORE, operation, detail)
}

/// What Larder keeps beside the session's text.
fn note(token: Token, session: &SessionRecord, user: Option<&str>) -> Result<Vec<u8>, StoreError> {
    let mut note = SessionRecord::new(session.created_at, session.expires_at);
    (note.seen_at, note.seen_from) = (session.seen_at, session.seen_from.clone());
    note.user = user.map(str::to_owned);
    frame::session(token, &note).map_err(|error| {
        StoreError::new(StoreErrorKind::Other, STORE, "note", "no JSON").with_source(error)
    })
}

/// What came of a change that met this.
fn not_made(standing: Standing) -> Result<Updated, StoreError> {
    match standing {
        Standing::Session(theirs) => Ok(Updated::Conflict(Box::new(theirs.stored()))),
        Standing::MovedTo(key) => Ok(Updated::Moved(key)),
        Standing::Nothing => Ok(Updated::Gone),
        Standing::Unreadable(error) => Err(error),
    }
}

#[async_trait]
impl SessionStore for ExpressSessions {
    fn name(&self) -> &'static str {
        STORE
    }

    fn capabilities(&self) -> &SessionCapabilities {
        &self.capabilities
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        self.base.runtime()
    }

    async fn load(&self, key: &str) -> Result<Option<StoredSession>, StoreError> {
        const OPERATION: &str = "load";
        let _call = self.enter(OPERATION, key)?;
        let Standing::Session(found) = self.find(OPERATION, key).await? else { return Ok(None) };
        if self.is_unknown(&found) {
            // Where somebody else changed it meanwhile, the next load does it.
            self.put_note(OPERATION, (key, self.base.now()), &found, &found.session).await?;
        }
        Ok(Some(found.stored()))
    }

    async fn create(
        &self,
        key: &str,
        session: &SessionRecord,
    ) -> Result<Option<Version>, StoreError> {
        const OPERATION: &str = "create";
        let _call = self.enter(OPERATION, key)?;
        self.make(OPERATION, key, session, None).await
    }

    async fn update(
        &self,
        key: &str,
        expected: &Version,
        session: &SessionRecord,
    ) -> Result<Updated, StoreError> {
        const OPERATION: &str = "update";
        let _call = self.enter(OPERATION, key)?;
        let now = self.base.now();
        let expected = State::of(expected);
        let before = expected.token();
        let before = before.as_ref().map_or(&[][..], |token| token);
        let Written { token, kept, text, note, index } =
            self.written(OPERATION, key, session, Some(expected.kept), now)?;
        let arguments: [&[u8]; 4] = [&text, &note, before, expected.sum.as_bytes()];
        let script = &self.scripts.update;
        match self.run(OPERATION, index, script, (key, now), &arguments).await? {
            sum @ Value::BulkString(_) => {
                Ok(Updated::Done(self.version(OPERATION, token, kept, sum)?))
            }
            reply => self.standing(OPERATION, (key, now), reply).and_then(not_made),
        }
    }

    async fn touch(&self, key: &str, touch: &Touch) -> Result<bool, StoreError> {
        const OPERATION: &str = "touch";
        let _call = self.enter(OPERATION, key)?;
        let now = self.base.now();
        let mut standing = self.find(OPERATION, key).await?;
        for _ in 0..TRIES {
            let Standing::Session(found) = standing else { return Ok(false) };
            let mut session = found.session.clone();
            if session.seen_at <= touch.seen_at {
                session.seen_at = touch.seen_at;
                session.seen_from.clone_from(&touch.seen_from);
            }
            let ends = touch.expires_at.min(touch.seen_at + self.life(&found.state.kept));
            session.expires_at = session.expires_at.max(ends);
            match self.put_note(OPERATION, (key, now), &found, &session).await? {
                None => return Ok(true),
                Some(instead) => standing = instead,
            }
        }
        Err(contended(OPERATION, key))
    }

    async fn renew(
        &self,
        key: &str,
        expected: &Version,
        new_key: &str,
        session: &SessionRecord,
    ) -> Result<Updated, StoreError> {
        const OPERATION: &str = "renew";
        let _call = self.enter(OPERATION, key)?;
        self.base.shared.store.inner().config.check_key(OPERATION, &note_key(new_key))?;
        let expected = State::of(expected);
        // The new one first: whoever is told of the move finds it there.
        let kept = Some(expected.kept.clone());
        let Some(version) = self.make(OPERATION, new_key, session, kept).await? else {
            return Ok(Updated::Taken);
        };
        let now = self.base.now();
        let tombstone = frame::tombstone(draw(OPERATION)?, now + TOMBSTONE, Some(new_key));
        match self.bury(OPERATION, (key, now), Some(&expected), &tombstone).await? {
            Buried::Done(user) => {
                if let Some(user) = user {
                    self.base.forget(OPERATION, &user, &[key.to_owned()]).await;
                }
                Ok(Updated::Done(version))
            }
            Buried::Not(standing) => {
                let made = State::of(&version);
                self.bury(OPERATION, (new_key, now), Some(&made), &[]).await?;
                if let Some(user) = &session.user {
                    self.base.forget(OPERATION, user, &[new_key.to_owned()]).await;
                }
                not_made(standing)
            }
        }
    }

    async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        const OPERATION: &str = "remove";
        let _call = self.enter(OPERATION, key)?;
        let now = self.base.now();
        let tombstone = frame::tombstone(draw(OPERATION)?, now + TOMBSTONE, None);
        let mut key = key.to_owned();
        loop {
            match self.bury(OPERATION, (&key, now), None, &tombstone).await? {
                Buried::Done(user) => {
                    if let Some(user) = user {
                        self.base.forget(OPERATION, &user, &[key]).await;
                    }
                    return Ok(true);
                }
                Buried::Not(Standing::MovedTo(to)) => key = to,
                Buried::Not(Standing::Unreadable(error)) => return Err(error),
                Buried::Not(_) => return Ok(false),
            }
        }
    }

    async fn of_user(&self, user: &str) -> Result<Vec<UserSession>, StoreError> {
        const OPERATION: &str = "of_user";
        let _call = self.base.shared.calls.enter(OPERATION)?;
        let client = self.base.client();
        let keys = self.base.keys_of(OPERATION, user, self.base.now()).await?;
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(AT_ONCE) {
            let mut pipeline = Pipeline::with_capacity(2 * keys.len());
            for key in keys {
                pipeline.add_command(on_keys("MGET", &[key.as_str(), note_key(key).as_str()]));
                pipeline.add_command(on_keys("PTTL", &[key]));
            }
            let replies = client.call(OPERATION, &pipeline, client.deadline()).await?;
            let now = self.base.now();
            let mut replies = replies.into_iter();
            for key in keys {
                let (Some(Value::Array(texts)), Some(left)) = (replies.next(), replies.next())
                else {
                    return Err(client.unexpected(OPERATION, &Value::Nil));
                };
                let mut parts = texts;
                parts.extend([left, Value::Nil, Value::Int(0)]);
                let standing = self.standing(OPERATION, (key, now), Value::Array(parts))?;
                if let Standing::Session(stored) = standing
                    && stored.session.user.as_deref() == Some(user)
                {
                    found.push(UserSession::of(key, &stored.session));
                }
            }
        }
        found.sort_by_key(|session| std::cmp::Reverse(session.seen_at));
        Ok(found)
    }

    async fn remove_of_user(&self, user: &str, except: Option<&str>) -> Result<u64, StoreError> {
        const OPERATION: &str = "remove_of_user";
        let theirs = (user, except);
        let end = |key| self.end_of(OPERATION, theirs, key);
        self.base.end_each(OPERATION, user, end).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.base.ready().await
    }

    /// Closes the connection with them, but where it is that of a store.
    async fn close(&self) -> Result<(), StoreError> {
        self.base.close().await
    }
}

impl StrongSessionStore for ExpressSessions {}
