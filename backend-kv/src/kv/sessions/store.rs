//! The port [`SessionStore`], on a namespace.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use larder_core::session::{
    SessionCapabilities, SessionRecord, StoredSession, Touch, Updated, UserSession, Version,
};
use larder_core::{
    Cursor, Glob, Runtime, SessionStore, Store, StoreError, StoreErrorKind, Timestamp, minutes,
};

use super::super::{BULK_KEYS, NAME};
use super::document::{self, Document, Tombstone};
use super::{DOUBT, ENDED, KvSessions, UNSEEN};
use crate::bounded::AT_ONCE;

/// For how long a user's index knows of a session beyond its end.
const SPARE: Duration = minutes(5);

/// What can be seen of a session.
enum Seen {
    Session(Document),
    MovedTo(String),
    Ended,
    Nothing,
}

impl Seen {
    /// What comes of a change that is not made.
    fn not_made(self) -> Updated {
        match self {
            Self::Session(theirs) => Updated::Conflict(Box::new(theirs.session())),
            Self::MovedTo(key) => Updated::Moved(key),
            Self::Ended | Self::Nothing => Updated::Gone,
        }
    }
}

#[async_trait]
impl SessionStore for KvSessions {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> &SessionCapabilities {
        &self.capabilities
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        self.kv.runtime()
    }

    fn bound_to(&self, runtime: &Arc<dyn Runtime>) -> Option<Arc<dyn SessionStore>> {
        Some(Arc::new(Self { kv: self.kv.on(runtime), ..self.clone() }))
    }

    async fn load(&self, key: &str) -> Result<Option<StoredSession>, StoreError> {
        match self.see("load", key).await? {
            Seen::Session(found) => Ok(Some(found.session())),
            _ => Ok(None),
        }
    }

    /// Does not look before: KV would remember the miss for as long as it may.
    async fn create(
        &self,
        key: &str,
        session: &SessionRecord,
    ) -> Result<Option<Version>, StoreError> {
        self.put("create", key, session, 0).await.map(Some)
    }

    async fn update(
        &self,
        key: &str,
        expected: &Version,
        session: &SessionRecord,
    ) -> Result<Updated, StoreError> {
        match self.see("update", key).await? {
            Seen::Session(found) if found.version == expected.as_str() => {
                let noted = if found.user == session.user { found.noted } else { 0 };
                self.put("update", key, session, noted).await.map(Updated::Done)
            }
            seen => Ok(seen.not_made()),
        }
    }

    async fn touch(&self, key: &str, touch: &Touch) -> Result<bool, StoreError> {
        let Seen::Session(found) = self.see("touch", key).await? else { return Ok(false) };
        let (noted, StoredSession { session, version, .. }) = (found.noted, found.session());
        let mut session = SessionRecord::clone(&session);
        if session.seen_at <= touch.seen_at {
            session.seen_at = touch.seen_at;
            session.seen_from.clone_from(&touch.seen_from);
        }
        session.expires_at = session.expires_at.max(touch.expires_at);
        self.write("touch", key, &session, (version, noted)).await.map(|_| true)
    }

    async fn renew(
        &self,
        key: &str,
        expected: &Version,
        new_key: &str,
        session: &SessionRecord,
    ) -> Result<Updated, StoreError> {
        match self.see("renew", key).await? {
            Seen::Session(found) if found.version == expected.as_str() => {
                let version = self.put("renew", new_key, session, 0).await?;
                self.bury("renew", key, Some(&found), Some(new_key)).await?;
                Ok(Updated::Done(version))
            }
            seen => Ok(seen.not_made()),
        }
    }

    async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        self.end("remove", key.to_owned(), (None, None)).await
    }

    async fn of_user(&self, user: &str) -> Result<Vec<UserSession>, StoreError> {
        let keys = self.keys_of(user).await?;
        let mut found = Vec::new();
        for keys in keys.chunks(BULK_KEYS / 2) {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            for (key, seen) in keys.iter().zip(self.see_many("of_user", &keys).await?) {
                if let Seen::Session(session) = seen
                    && session.user.as_deref() == Some(user)
                {
                    found.push(UserSession::of(*key, &session.session().session));
                }
            }
        }
        found.sort_by_key(|session| std::cmp::Reverse(session.seen_at));
        Ok(found)
    }

    async fn remove_of_user(&self, user: &str, except: Option<&str>) -> Result<u64, StoreError> {
        let ends: Vec<BoxFuture<'_, Result<bool, StoreError>>> = self
            .keys_of(user)
            .await?
            .into_iter()
            .map(|key| Box::pin(self.end("remove_of_user", key, (Some(user), except))) as _)
            .collect();
        let ended: Vec<bool> = stream::iter(ends).buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(ended.into_iter().map(u64::from).sum())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.kv.ready().await
    }
}

impl KvSessions {
    fn now(&self) -> Timestamp {
        self.kv.runtime.now()
    }

    async fn see(&self, operation: &'static str, key: &str) -> Result<Seen, StoreError> {
        let seen = self.see_many(operation, &[key]).await?.pop();
        Ok(seen.unwrap_or(Seen::Nothing))
    }

    /// In the order of `keys`, of which there are fifty at most: in one call, with their tombstones.
    async fn see_many(
        &self,
        operation: &'static str,
        keys: &[&str],
    ) -> Result<Vec<Seen>, StoreError> {
        let tombstones: Vec<String> = keys.iter().map(|key| tombstone(key)).collect();
        let both: Vec<&str> =
            keys.iter().copied().chain(tombstones.iter().map(String::as_str)).collect();
        let mut sessions = self.kv.read_many(&self.kv.call(operation), &both).await?;
        let tombstones = sessions.split_off(keys.len());
        let now = self.now();
        let see = |((key, session), tombstone): ((&&str, Option<Bytes>), Option<Bytes>)| {
            if let Some(tombstone) = tombstone {
                return Ok(Tombstone::read(&tombstone).to.map_or(Seen::Ended, Seen::MovedTo));
            }
            let Some(session) = session else { return Ok(Seen::Nothing) };
            match Document::read(&session) {
                Ok(session) if session.ends() <= now => Ok(Seen::Nothing),
                Ok(session) => Ok(Seen::Session(session)),
                Err(why) => {
                    let detail = format!(
                        "what stands under {key:?} cannot be read: {why}; deploy the version of \
                         larder-kv that wrote it, or end the session"
                    );
                    Err(StoreError::new(StoreErrorKind::Other, NAME, operation, detail))
                }
            }
        };
        keys.iter().zip(sessions).zip(tombstones).map(see).collect()
    }

    /// Writes a session as a state of its own.
    async fn put(
        &self,
        operation: &'static str,
        key: &str,
        session: &SessionRecord,
        noted: u64,
    ) -> Result<Version, StoreError> {
        let version = Version::new(format!("{:032x}", fastrand::u128(..)));
        self.write(operation, key, session, (version, noted)).await
    }

    /// Writes a session, and before it, where the index of its user does not know of it for long
    /// enough, that.
    async fn write(
        &self,
        operation: &'static str,
        key: &str,
        session: &SessionRecord,
        (version, mut noted): (Version, u64),
    ) -> Result<Version, StoreError> {
        let life = session.expires_at.since(self.now());
        if let Some(user) = &session.user
            && noted < (session.expires_at + SPARE).as_millis()
        {
            let known_for = (life * 2).max(life + SPARE);
            self.store(operation, &self.index_key(user, key), Bytes::new(), known_for).await?;
            noted = (self.now() + known_for).as_millis();
        }
        let document = Document::of(session, version.as_str().to_owned(), noted);
        let document = document::write(&document)
            .map_err(|why| StoreError::new(StoreErrorKind::Other, NAME, operation, why))?;
        self.store(operation, key, document, life).await?;
        Ok(version)
    }

    async fn store(
        &self,
        operation: &'static str,
        key: &str,
        value: Bytes,
        life: Duration,
    ) -> Result<(), StoreError> {
        let call = self.kv.call(operation);
        super::super::KvStore::check_value(&call, key, &value)?;
        call.take(1)?;
        self.kv.write(&call, key, &value, life).await
    }

    /// Ends the session, wherever it has moved but not under `except`; whether one was seen. Also
    /// one that cannot be seen: it may have begun elsewhere a moment ago.
    async fn end(
        &self,
        operation: &'static str,
        mut key: String,
        (user, except): (Option<&str>, Option<&str>),
    ) -> Result<bool, StoreError> {
        while except != Some(&key) {
            match self.see(operation, &key).await {
                Ok(Seen::MovedTo(to)) => key = to,
                Ok(Seen::Ended) => return Ok(false),
                Ok(Seen::Session(found)) if user.is_some() && found.user.as_deref() != user => {
                    return Ok(false);
                }
                Ok(Seen::Session(found)) => {
                    self.bury(operation, &key, Some(&found), None).await?;
                    return Ok(true);
                }
                Ok(Seen::Nothing) => {
                    self.bury(operation, &key, None, None).await?;
                    return Ok(false);
                }
                // What cannot be read ends as well: nothing else would end it.
                Err(error) if error.kind() == StoreErrorKind::Other => {
                    self.bury(operation, &key, None, None).await?;
                    return Ok(true);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Leaves a tombstone. It stands for longer than a save may live that does not see it yet, and no
    /// longer: whoever logs out leaves a key that is paid for. What lies beneath goes after the
    /// response, as far as it does.
    async fn bury(
        &self,
        operation: &'static str,
        key: &str,
        found: Option<&Document>,
        moved_to: Option<&str>,
    ) -> Result<(), StoreError> {
        let life = found.map_or(UNSEEN, |found| {
            let now = self.kv.runtime.now();
            found.outlived_at(now + 2 * self.capabilities.visible_within).since(now) + DOUBT
        });
        let stone = document::write(&Tombstone::new(moved_to))
            .map_err(|why| StoreError::new(StoreErrorKind::Other, NAME, operation, why))?;
        self.store(operation, &tombstone(key), stone, life).await?;
        let Some(found) = found else { return Ok(()) };
        let mut keys = vec![key.to_owned()];
        keys.extend(found.user.as_ref().map(|user| self.index_key(user, key)));
        let kv = self.kv.clone();
        self.kv.runtime.spawn(Box::pin(async move {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            if let Err(error) = kv.remove_many(&keys).await {
                tracing::debug!(%error, "what is left of a session stays until its time is over");
            }
        }));
        Ok(())
    }

    /// The keys under which sessions of `user` can be seen to have been announced.
    async fn keys_of(&self, user: &str) -> Result<Vec<String>, StoreError> {
        let prefix = self.index_key(user, "");
        let announced = Glob::new("*").within(&prefix);
        let (mut keys, mut met, mut cursor) = (Vec::new(), HashSet::new(), None::<Cursor>);
        loop {
            let page = self.kv.scan(&announced, cursor.take()).await?;
            for key in page.keys {
                if let Some(key) = key.strip_prefix(&prefix)
                    && met.insert(key.to_owned())
                {
                    keys.push(key.to_owned());
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(keys);
            }
        }
    }

    /// The length says where the user ends: no index is the beginning of another.
    fn index_key(&self, user: &str, key: &str) -> String {
        format!("{}{}:{user}:{key}", self.index_prefix, user.len())
    }
}

fn tombstone(key: &str) -> String {
    format!("{key}{ENDED}")
}
