//! Larder's stores for applications on tower-sessions.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use data_encoding::BASE64URL_NOPAD;
use larder_core::session::{
    Data, SessionRecord, StrongSessionStore, TRIES, Updated, Value as Stored,
};
use larder_core::{SessionStore, Timestamp};
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::session_store::{Error, ExpiredDeletion, Result};

type FindUser = dyn Fn(&HashMap<String, Value>) -> Option<String> + Send + Sync;

/// A store of Larder's as a [`tower_sessions_core::SessionStore`]: an application on tower-sessions
/// keeps its code, and takes this store.
///
/// What the trait asks, and what of it holds:
///
/// - A session is kept under the SHA-256 of its id, so that a look at the store signs nobody in.
/// - `create` makes what is not there, under another id where something is, and never under one
///   whose session was deleted a moment ago.
/// - `save` changes what is there. A session that was deleted or is over stays so: a slower request
///   of somebody who has signed out does not bring it back. Its changes are dropped, and the request
///   is answered as if they were saved, as the trait knows no better answer than an error.
/// - Requests of one session at the same time: the last save holds as a whole, and what the others
///   changed is lost. The trait hands over whole sessions, and does not tell what changed; Larder's
///   own [`SessionLayer`](super::SessionLayer) keeps both.
/// - A store that fails is an error, which the layer of tower-sessions answers with 500.
///
/// A save asks the store twice: for what is there, and to change that.
///
/// ```
/// use axum::{Router, body::Body, http::Request, routing::get};
/// use larder_core::MemorySessions;
/// use larder_http::session::TowerSessions;
/// use tower::ServiceExt;
/// use tower_sessions::{Session, SessionManagerLayer};
///
/// async fn count(session: Session) -> String {
///     let views = session.get::<u32>("views").await.unwrap().unwrap_or(0) + 1;
///     session.insert("views", views).await.unwrap();
///     format!("{views}")
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Or larder_redis::RedisSessions::connect("redis://127.0.0.1/").await?.
/// let store = TowerSessions::new(MemorySessions::new());
/// let app: Router = Router::new().route("/", get(count)).layer(SessionManagerLayer::new(store));
///
/// let answer = app.oneshot(Request::get("/").body(Body::empty())?).await?;
/// assert!(answer.headers().contains_key("set-cookie"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct TowerSessions {
    store: Arc<dyn SessionStore>,
    namespace: Arc<str>,
    find_user: Option<Arc<FindUser>>,
}

impl TowerSessions {
    /// A store in which a log-out holds at once, everywhere.
    pub fn new(store: impl StrongSessionStore) -> Self {
        Self::eventual(store)
    }

    /// Any store: a session may go on elsewhere after a log-out, and a change be lost, for as long as
    /// [`visible_within`](larder_core::session::SessionCapabilities::visible_within) tells.
    ///
    /// ```
    /// use larder_core::SessionStore;
    /// use larder_http::session::TowerSessions;
    ///
    /// fn build(store: impl SessionStore) -> TowerSessions {
    ///     TowerSessions::eventual(store)
    /// }
    /// # build(larder_core::MemorySessions::new());
    /// ```
    pub fn eventual(store: impl SessionStore) -> Self {
        Self { store: Arc::new(store), namespace: "tower-sess".into(), find_user: None }
    }

    /// Sets what every key begins with, before a `:`. `tower-sess` by default.
    ///
    /// ```
    /// # use larder_core::MemorySessions;
    /// # use larder_http::session::TowerSessions;
    /// let store = TowerSessions::new(MemorySessions::new()).namespace("shop:sess");
    /// # let _ = store;
    /// ```
    #[must_use]
    pub fn namespace(self, namespace: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), ..self }
    }

    /// Sets how the values of a session tell who is signed in, so that the store can
    /// [list](SessionStore::of_user) and [end](SessionStore::remove_of_user) all sessions of a user,
    /// as after a change of the password.
    ///
    /// ```
    /// # use larder_core::MemorySessions;
    /// # use larder_http::session::TowerSessions;
    /// let sessions = MemorySessions::new();
    /// let store = TowerSessions::new(sessions.clone())
    ///     .user(|values| values.get("user_id")?.as_str().map(str::to_owned));
    /// # let _ = store;
    /// // … and later: sessions.remove_of_user("zoë", None).await?;
    /// ```
    #[must_use]
    pub fn user(
        self,
        find: impl Fn(&HashMap<String, Value>) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self { find_user: Some(Arc::new(find)), ..self }
    }

    fn key(&self, id: &Id) -> Result<String> {
        let digest = BASE64URL_NOPAD.encode(&Sha256::digest(id.to_string()));
        let key = format!("{}:{digest}", self.namespace);
        let max = self.store.capabilities().max_key_bytes;
        larder_core::check_key(&key, max, self.store.name()).map_err(backend)?;
        Ok(key)
    }

    fn now(&self) -> Timestamp {
        self.store.runtime().now()
    }

    fn session(&self, record: &Record, created_at: Timestamp) -> Result<SessionRecord> {
        let mut session = SessionRecord::new(created_at, timestamp(record.expiry_date));
        session.seen_at = self.now().max(created_at);
        session.user = self.find_user.as_ref().and_then(|find| find(&record.data));
        for (key, value) in &record.data {
            let value = Stored::of(value).map_err(|error| Error::Encode(error.to_string()))?;
            session.data.insert(key.clone(), value);
        }
        let (bytes, max) = (session.size(), self.store.capabilities().max_session_bytes);
        if bytes > max {
            let store = self.store.name();
            return Err(Error::Backend(format!(
                "the session has {bytes} bytes, {store} takes at most {max}; keep less in it"
            )));
        }
        Ok(session)
    }
}

#[async_trait]
impl tower_sessions_core::SessionStore for TowerSessions {
    async fn create(&self, record: &mut Record) -> Result<()> {
        for _ in 0..TRIES {
            let (key, session) = (self.key(&record.id)?, self.session(record, self.now())?);
            if self.store.create(&key, &session).await.map_err(backend)?.is_some() {
                return Ok(());
            }
            record.id = Id::default();
        }
        Err(contended())
    }

    async fn save(&self, record: &Record) -> Result<()> {
        let key = self.key(&record.id)?;
        let mut found = self.store.load(&key).await.map_err(backend)?;
        for _ in 0..TRIES {
            let Some(stored) = found else {
                tracing::debug!("a session ended while a request changed it");
                return Ok(());
            };
            let session = self.session(record, stored.session.created_at)?;
            let updated = self.store.update(&key, &stored.version, &session).await;
            found = match updated.map_err(backend)? {
                Updated::Done(_) => return Ok(()),
                Updated::Conflict(theirs) => Some(*theirs),
                _ => None,
            };
        }
        Err(contended())
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let found = self.store.load(&self.key(id)?).await.map_err(backend)?;
        let Some(found) = found.filter(|found| found.session.is_live(self.now())) else {
            return Ok(None);
        };
        let expiry_date = date(found.session.expires_at);
        Ok(Some(Record { id: *id, data: values(&found.session.data)?, expiry_date }))
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        self.store.remove(&self.key(id)?).await.map(drop).map_err(backend)
    }
}

/// The stores collect by themselves what is over.
#[async_trait]
impl ExpiredDeletion for TowerSessions {
    async fn delete_expired(&self) -> Result<()> {
        Ok(())
    }
}

fn values(data: &Data) -> Result<HashMap<String, Value>> {
    let value = |(key, value): (&String, &Stored)| match serde_json::from_str(value.as_json()) {
        Ok(value) => Ok((key.clone(), value)),
        // What serde says may quote the value, which may be a secret.
        Err(_) => Err(Error::Decode(format!("the value {key:?} is no JSON"))),
    };
    data.iter().map(value).collect()
}

fn timestamp(date: OffsetDateTime) -> Timestamp {
    let micros = (date.unix_timestamp_nanos() / 1_000).max(0);
    Timestamp::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

fn date(at: Timestamp) -> OffsetDateTime {
    let nanos = i128::from(at.as_micros()) * 1_000;
    let last = time::PrimitiveDateTime::MAX.assume_utc();
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(last)
}

fn backend(error: impl fmt::Display) -> Error {
    Error::Backend(error.to_string())
}

fn contended() -> Error {
    backend(format!("others came before each of {TRIES} tries to write the session; try again"))
}

impl fmt::Debug for TowerSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TowerSessions")
            .field("store", &self.store)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use larder_core::{MemorySessions, Runtime, VirtualRuntime, seconds};
    use proptest::prelude::*;
    use tower_sessions_core::SessionStore as _;

    use super::*;
    use crate::runtime::test;

    /// What is done with the session of one of a few ids.
    #[derive(Debug, Clone)]
    enum Step {
        Create { at: usize, n: u8, life: u64 },
        Save { at: usize, n: u8, life: u64 },
        Delete { at: usize },
        Pass { time: u64 },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let (at, life) = (0..3_usize, 0..900_u64);
        let step = prop_oneof![
            (at.clone(), any::<u8>(), life.clone()).prop_map(|(at, n, life)| Step::Create {
                at,
                n,
                life
            }),
            (at.clone(), any::<u8>(), life).prop_map(|(at, n, life)| Step::Save { at, n, life }),
            at.prop_map(|at| Step::Delete { at }),
            (0..400_u64).prop_map(|time| Step::Pass { time }),
        ];
        prop::collection::vec(step, 1..40)
    }

    fn record(id: Id, n: u8, expiry_date: OffsetDateTime) -> Record {
        let data = HashMap::from([("n".to_owned(), Value::from(n))]);
        Record { id, data, expiry_date }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// What is loaded is what was created or saved last, until it is deleted or over; and that is
        /// final.
        #[test]
        fn what_ended_stays_ended_whatever_is_done(steps in steps()) {
            let runtime = VirtualRuntime::seeded(7);
            let store = TowerSessions::new(MemorySessions::builder().on(runtime.clone()));
            let after = |life: u64| date(runtime.now() + seconds(life));
            runtime.block_on(async {
                let mut ids = [1, 2, 3].map(Id);
                let mut expected: HashMap<i128, Record> = HashMap::new();
                let is_live = |record: &&Record| runtime.now() < timestamp(record.expiry_date);
                for step in steps {
                    match step {
                        Step::Create { at, n, life } => {
                            let mut record = record(ids[at], n, after(life));
                            store.create(&mut record).await.unwrap();
                            if record.id == ids[at] {
                                prop_assert!(expected.get(&ids[at].0).filter(is_live).is_none());
                            }
                            ids[at] = record.id;
                            expected.insert(record.id.0, record);
                        }
                        Step::Save { at, n, life } => {
                            let record = record(ids[at], n, after(life));
                            store.save(&record).await.unwrap();
                            if expected.get(&ids[at].0).filter(is_live).is_some() {
                                expected.insert(record.id.0, record);
                            }
                        }
                        Step::Delete { at } => {
                            store.delete(&ids[at]).await.unwrap();
                            expected.remove(&ids[at].0);
                        }
                        Step::Pass { time } => runtime.advance(seconds(time)),
                    }
                    for id in ids {
                        let found = store.load(&id).await.unwrap();
                        prop_assert_eq!(found.as_ref(), expected.get(&id.0).filter(is_live));
                    }
                }
                Ok(())
            })?;
        }
    }

    #[test]
    fn dates_that_a_store_cannot_tell_are_the_nearest() {
        let far = time::PrimitiveDateTime::MAX.assume_utc();
        let early = OffsetDateTime::UNIX_EPOCH - time::Duration::DAY;
        assert_eq!(date(timestamp(early)), OffsetDateTime::UNIX_EPOCH);
        assert_eq!(date(Timestamp::MAX), far);
        assert!(far - date(timestamp(far)) < time::Duration::MILLISECOND);
    }

    #[test]
    fn sessions_are_bounded_and_keys_tell_no_ids() {
        let runtime = VirtualRuntime::seeded(7);
        let sessions = MemorySessions::builder().on(runtime.clone());
        let store = TowerSessions::new(sessions.clone())
            .namespace("shop")
            .user(|values| values.get("user")?.as_str().map(str::to_owned));
        runtime.block_on(async {
            let mut record = record(Id(42), 1, date(runtime.now() + seconds(60)));
            record.data.insert("user".into(), "zoë".into());
            store.create(&mut record).await.unwrap();
            let list = sessions.of_user("zoë").await.unwrap();
            assert!(list[0].key.starts_with("shop:"));
            assert!(!list[0].key.contains(&record.id.to_string()));
            record.data.insert("much".into(), "x".repeat(1 << 20).into());
            let error = store.save(&record).await.unwrap_err().to_string();
            assert!(error.contains("1048576"), "{error}");
            assert_eq!(sessions.remove_of_user("zoë", None).await.unwrap(), 1);
            assert_eq!(store.load(&record.id).await.unwrap(), None);
        });
    }
}
