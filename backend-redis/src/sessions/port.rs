//! The port, by scripts and Redis' commands.

use std::sync::Arc;

use async_trait::async_trait;
use larder_core::session::{
    SessionCapabilities, SessionRecord, StoredSession, TOMBSTONE, Touch, Updated, UserSession,
    Version,
};
use larder_core::{Runtime, SessionStore, Store, StoreError, StrongSessionStore, Timestamp};
use redis::{Pipeline, Value};

use super::frame::{self, Standing};
use super::of_user::Ended;
use super::{AT_ONCE, Buried, RedisSessions, Which, draw};
use crate::batch::on_keys;
use crate::error::STORE;

impl RedisSessions {
    /// Ends the session, wherever it has moved, but not under `except`.
    async fn end(
        &self,
        operation: &'static str,
        mut key: String,
        (which, except): (Which<'_>, Option<&str>),
    ) -> Result<Option<Ended>, StoreError> {
        let now = self.now();
        let tombstone = frame::tombstone(draw(operation)?, now + TOMBSTONE, None);
        while except != Some(&key) {
            match self.bury(operation, (&key, now), which, &tombstone).await? {
                Buried::Done { was_live, user } => {
                    return Ok(Some(Ended { key, was_live, user }));
                }
                Buried::Not(Standing::MovedTo(to)) => key = to,
                Buried::Another | Buried::Not(_) => return Ok(None),
            }
        }
        Ok(None)
    }
}

/// What came of a change that met this.
fn not_made(standing: Standing) -> Updated {
    match standing {
        Standing::Session(theirs) => Updated::Conflict(Box::new(theirs)),
        Standing::MovedTo(key) => Updated::Moved(key),
        Standing::Nothing => Updated::Gone,
    }
}

#[async_trait]
impl SessionStore for RedisSessions {
    fn name(&self) -> &'static str {
        STORE
    }

    fn capabilities(&self) -> &SessionCapabilities {
        &self.shared.capabilities
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::clone(&self.shared.runtime)
    }

    async fn load(&self, key: &str) -> Result<Option<StoredSession>, StoreError> {
        const OPERATION: &str = "load";
        let _call = self.enter(OPERATION, key)?;
        let client = self.client();
        // Not gathered with others: what is of another type would be a miss there.
        let reply = client.call(OPERATION, &on_keys("GET", &[key]), client.deadline()).await?;
        match self.standing(OPERATION, (key, self.now()), reply)? {
            Standing::Session(found) => Ok(Some(found)),
            Standing::MovedTo(_) | Standing::Nothing => Ok(None),
        }
    }

    async fn create(
        &self,
        key: &str,
        session: &SessionRecord,
    ) -> Result<Option<Version>, StoreError> {
        const OPERATION: &str = "create";
        let _call = self.enter(OPERATION, key)?;
        self.make(OPERATION, key, session).await
    }

    async fn update(
        &self,
        key: &str,
        expected: &Version,
        session: &SessionRecord,
    ) -> Result<Updated, StoreError> {
        const OPERATION: &str = "update";
        let _call = self.enter(OPERATION, key)?;
        let now = self.now();
        let (version, frame) = self.frame(OPERATION, key, session)?;
        let note = self.note(OPERATION, session.user.as_deref(), (key, session.expires_at), now)?;
        let (script, expected) = (&self.shared.scripts.update, frame::token(expected));
        match self.run(OPERATION, note, script, (key, now), &[&frame, &expected]).await? {
            Value::Int(_) => Ok(Updated::Done(version)),
            reply => self.standing(OPERATION, (key, now), reply).map(not_made),
        }
    }

    async fn touch(&self, key: &str, touch: &Touch) -> Result<bool, StoreError> {
        const OPERATION: &str = "touch";
        let _call = self.enter(OPERATION, key)?;
        let now = self.now();
        let (seen_at, ends) = (frame::time(touch.seen_at), frame::time(touch.expires_at));
        let seen_from = frame::text(touch.seen_from.as_deref());
        let mut user = None;
        // Whose index is to be told first is known only of who stands there.
        loop {
            let note = self.note(OPERATION, user.as_deref(), (key, touch.expires_at), now)?;
            let script = &self.shared.scripts.touch;
            let expected = frame::text(user.as_deref());
            let arguments: [&[u8]; 4] = [&expected, &seen_at, &seen_from, &ends];
            let reply = match self.run(OPERATION, note, script, (key, now), &arguments).await? {
                Value::Int(_) => return Ok(true),
                reply => reply,
            };
            match self.standing(OPERATION, (key, now), reply)? {
                Standing::Session(found) => user = found.session.user.clone(),
                Standing::MovedTo(_) | Standing::Nothing => return Ok(false),
            }
        }
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
        self.shared.store.inner().config.check_key(OPERATION, new_key)?;
        // The new one first: whoever is told of the move finds it there.
        let Some(version) = self.make(OPERATION, new_key, session).await? else {
            return Ok(Updated::Taken);
        };
        let now = self.now();
        let tombstone = frame::tombstone(draw(OPERATION)?, now + TOMBSTONE, Some(new_key));
        let unchanged = Which::Unchanged(expected);
        match self.bury(OPERATION, (key, now), unchanged, &tombstone).await? {
            Buried::Done { user, .. } => {
                if let Some(user) = user {
                    self.forget(OPERATION, &user, &[key.to_owned()]).await;
                }
                Ok(Updated::Done(version))
            }
            Buried::Another => Ok(Updated::Gone),
            Buried::Not(standing) => {
                let made = Which::Unchanged(&version);
                self.bury(OPERATION, (new_key, Timestamp::EPOCH), made, &[]).await?;
                if let Some(user) = &session.user {
                    self.forget(OPERATION, user, &[new_key.to_owned()]).await;
                }
                Ok(not_made(standing))
            }
        }
    }

    async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        const OPERATION: &str = "remove";
        let _call = self.enter(OPERATION, key)?;
        let ended = self.end(OPERATION, key.to_owned(), (Which::Any, None)).await?;
        let Some(Ended { key, was_live, user }) = ended else { return Ok(false) };
        if let Some(user) = user {
            self.forget(OPERATION, &user, &[key]).await;
        }
        Ok(was_live)
    }

    async fn of_user(&self, user: &str) -> Result<Vec<UserSession>, StoreError> {
        const OPERATION: &str = "of_user";
        let _call = self.shared.calls.enter(OPERATION)?;
        let client = self.client();
        let keys = self.keys_of(OPERATION, user, self.now()).await?;
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(AT_ONCE) {
            let mut pipeline = Pipeline::with_capacity(keys.len());
            for key in keys {
                pipeline.add_command(on_keys("GET", &[key]));
            }
            let replies = client.call(OPERATION, &pipeline, client.deadline()).await?;
            let now = self.now();
            for (key, reply) in keys.iter().zip(replies) {
                if let Standing::Session(stored) = self.standing(OPERATION, (key, now), reply)?
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
        let theirs = (Which::Of(user), except);
        self.end_each(OPERATION, user, |key| self.end(OPERATION, key, theirs)).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        let _call = self.shared.calls.enter("ready")?;
        self.shared.store.ready().await
    }

    /// Closes the connection with them, but where it is that of a store.
    async fn close(&self) -> Result<(), StoreError> {
        let shared = &*self.shared;
        shared.store.close_beside(&shared.calls, shared.owns_store).await
    }
}

impl StrongSessionStore for RedisSessions {}
