//! Sessions that are shared with express-session and connect-redis.

mod cookie;
mod members;
mod port;
#[cfg(test)]
mod repeated;
mod standing;
mod text;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use larder_core::session::{KeyedBy, SessionCapabilities};
use larder_core::{StoreError, days};
use sha2::{Digest, Sha256};

use super::RedisSessions;
use crate::outstanding::Entered;
use crate::script::Script;
use crate::slot::tag_for;
pub use cookie::ExpressCookie;
use text::UserMember;

/// A [`SessionStore`](larder_core::SessionStore) on Redis 6 or newer, or Valkey, whose sessions are
/// those of Node.js services with express-session and connect-redis: each signs in, changes and signs
/// out for the others.
///
/// Clones share everything.
///
/// # What stands in Redis
///
/// | key | value |
/// | --- | --- |
/// | `sess:<id>` | what connect-redis writes: `{"cookie":{…},…}`, as JSON |
/// | `larder:{sess:<id>}` | what Larder knows of it: when it began and was used, by whom and where, and which state it is in; or that it has ended |
/// | `sess-user:<user>` | under which keys sessions of that user may stand |
///
/// `sess` is the [namespace](larder_core::SessionsBuilder::namespace), and stands for the `prefix` of
/// connect-redis, which ends with a `:`. Every value of a session is a member of the JSON object,
/// by the same name. On a Redis Cluster the first two keys are in one slot.
///
/// Here a key tells an id: the store is [`KeyedBy::Id`]. What keeps whoever can read Redis from
/// presenting one is the signature of the cookie, and its secret, which express-session demands and
/// which has to be the same there and here.
///
/// # How long a session lives
///
/// As long as its key does, so that Express' `EXPIRE` of every request counts. A save writes the
/// shorter of what [`Sessions`](larder_core::Sessions) asks for and of what the session's cookie
/// says (`originalMaxAge`, or [`ttl`](Self::ttl) where it says nothing); a use never shortens. Let
/// [`idle`](larder_core::SessionsBuilder::idle) be the `maxAge` of the services.
/// Express knows no absolute age: a session that is too old is none here, and goes on there. When it
/// began stands in the note, which lives longer than the session would after its last use here. Where
/// a session is used only there for longer than that, the note can end before it, and its age counts
/// from the next look here.
///
/// # Who is signed in
///
/// The text or whole number in the member `user`, or wherever [`user_at`](Self::user_at) says. It is
/// not among the session's values here. Anything else in that member, such as an object, is a value
/// like others, and nobody is signed in.
///
/// [`of_user`] and [`remove_of_user`] know of a session whose user signed in there as soon as it was
/// loaded here, and forget it when that is longer ago than it lives. A session that was only ever
/// used there they do not find.
///
/// # What holds beside Express, and what cannot
///
/// Among services with Larder all holds that is promised of a [`SessionStore`]. Express writes a
/// session whole and blindly, whatever stands there meanwhile:
///
/// - **A log-out here** (or a renewal, as by a sign-in) is undone by a request there that was under
///   way and saves afterwards. Every call here for that session knows better, ends it again, and finds
///   nothing. Until the first of them, requests that go to Express are served with it. That it ended is
///   known for at least as long as it would have lived unused, and five minutes: where requests to
///   Express keep it alive for longer, without one here, it is a live session again.
/// - **A log-out there** ends the session here at once, and no save here brings it back. A slower save
///   there does.
/// - **A change here** is lost where a request there, which had loaded the session before, saves after
///   it. A change here never loses one from there: it is made to what stands there. Express saves only
///   what changed where it has `resave: false`; let it have that.
///
/// [`of_user`]: larder_core::SessionStore::of_user
/// [`remove_of_user`]: larder_core::SessionStore::remove_of_user
/// [`SessionStore`]: larder_core::SessionStore
///
/// # Errors
///
/// A text that is no JSON, or has no object `cookie`, is an error of
/// [`StoreErrorKind::Other`](larder_core::StoreErrorKind::Other), as express-session answers 500 to
/// it. Nothing overwrites it; a log-out removes it. The same for a value whose name every session of
/// express-session has already, as `cookie`, `id` or `save`: Express would lose it.
///
/// # Example
///
/// ```no_run
/// use larder_core::{Sessions, days};
/// use larder_redis::{ExpressCookie, ExpressSessions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Beside `session({ store: new RedisStore({ client }), resave: false, saveUninitialized: false,
/// //   secret, cookie: { maxAge: 7 * 24 * 3600 * 1000, sameSite: 'lax' } })`.
/// let store = ExpressSessions::connect("redis://127.0.0.1/").await?;
/// let store = store.cookie(ExpressCookie::new().same_site("lax"));
/// let sessions = Sessions::builder(store).idle(days(7)).build()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ExpressSessions {
    base: RedisSessions,
    capabilities: SessionCapabilities,
    scripts: Arc<Scripts>,
    cookie: ExpressCookie,
    user: UserMember,
    ttl: Duration,
}

struct Scripts {
    load: Script,
    create: Script,
    update: Script,
    touch: Script,
    bury: Script,
}

impl Scripts {
    fn new() -> Self {
        let script = |body| Script::after(include_str!("standing.lua"), body);
        Self {
            load: script(include_str!("load.lua")),
            create: script(include_str!("create.lua")),
            update: script(include_str!("update.lua")),
            touch: script(include_str!("touch.lua")),
            bury: script(include_str!("bury.lua")),
        }
    }
}

/// What the key of a note has besides that of its session.
const NOTE: [&str; 2] = ["larder:{", "}"];

/// Under what Larder's note of the session stands: not where connect-redis lists sessions, and in the
/// slot of a Cluster where the session is.
fn note_key(key: &str) -> String {
    let [begin, end] = NOTE;
    let tag = tag_for(key);
    // What is not said by the tag.
    let rest = if tag == key { "" } else { key };
    [begin, &tag, end, rest].concat()
}

/// What an error tells of a session's key. The key itself tells the id.
fn shown(key: &str) -> String {
    let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(key));
    format!("the key whose SHA-256 begins with {:08x}", u32::from_be_bytes([a, b, c, d]))
}

impl ExpressSessions {
    /// Connects to the Redis at `url`, with the defaults of
    /// [`RedisStoreBuilder`](crate::RedisStoreBuilder), and waits until it is ready.
    ///
    /// For other settings build a [`RedisStore`](crate::RedisStore), and take its
    /// [`express_sessions`](crate::RedisStore::express_sessions).
    ///
    /// # Errors
    ///
    /// As [`RedisStore::connect`](crate::RedisStore::connect).
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), larder_core::StoreError> {
    /// let sessions = larder_redis::ExpressSessions::connect("redis://127.0.0.1/").await?;
    /// # Ok(()) }
    /// ```
    pub async fn connect(url: impl AsRef<str>) -> Result<Self, StoreError> {
        Ok(Self::on(RedisSessions::connect(url).await?))
    }

    /// Sessions on the Redis at `url`, with the same defaults, that connect when they are first
    /// used.
    ///
    /// # Errors
    ///
    /// A URL that cannot work.
    ///
    /// ```
    /// # fn run() -> Result<(), larder_core::StoreError> {
    /// let sessions = larder_redis::ExpressSessions::lazy("redis://127.0.0.1/")?;
    /// # Ok(()) }
    /// # run().unwrap();
    /// ```
    pub fn lazy(url: impl AsRef<str>) -> Result<Self, StoreError> {
        Ok(Self::on(RedisSessions::lazy(url)?))
    }

    pub(crate) fn on(base: RedisSessions) -> Self {
        let capabilities = base.shared.capabilities.clone().keyed_by(KeyedBy::Id);
        // The note's key is at most the session's key, a tag as long, and what is around it.
        let around: usize = NOTE.iter().map(|part| part.len()).sum();
        let max = capabilities.max_key_bytes.saturating_sub(around) / 2;
        Self {
            base,
            capabilities: capabilities.max_key_bytes(max),
            scripts: Arc::new(Scripts::new()),
            cookie: ExpressCookie::new(),
            user: UserMember::default(),
            ttl: days(1),
        }
    }

    /// Sets what express-session is to put into the cookies of sessions that begin here.
    ///
    /// ```
    /// # use larder_redis::{ExpressCookie, ExpressSessions};
    /// # fn run() -> Result<(), larder_core::StoreError> {
    /// let sessions = ExpressSessions::lazy("redis://127.0.0.1/")?
    ///     .cookie(ExpressCookie::new().secure(true).same_site("lax"));
    /// # Ok(()) }
    /// # run().unwrap();
    /// ```
    #[must_use]
    pub fn cookie(self, cookie: ExpressCookie) -> Self {
        Self { cookie, ..self }
    }

    /// Sets which member of a session says who is signed in, by the names that lead to it: `user` by
    /// default, as in `req.session.user = 'zoë'`.
    ///
    /// ```
    /// # use larder_redis::ExpressSessions;
    /// # fn run() -> Result<(), larder_core::StoreError> {
    /// // As Passport has it: `{"passport":{"user":"zoë"}}`.
    /// let sessions = ExpressSessions::lazy("redis://127.0.0.1/")?.user_at(["passport", "user"]);
    /// # Ok(()) }
    /// # run().unwrap();
    /// ```
    #[must_use]
    pub fn user_at<S: Into<String>>(self, path: impl IntoIterator<Item = S>) -> Self {
        let path = path.into_iter().map(Into::into).collect();
        Self { user: self.user.at(path), ..self }
    }

    /// Users who sign in here are whole numbers, and written as such: `42`, not `"42"`. Those who sign
    /// in there stay what they are.
    ///
    /// ```
    /// # use larder_redis::ExpressSessions;
    /// # fn run() -> Result<(), larder_core::StoreError> {
    /// let sessions =
    ///     ExpressSessions::lazy("redis://127.0.0.1/")?.user_at(["userId"]).numeric_users();
    /// # Ok(()) }
    /// # run().unwrap();
    /// ```
    #[must_use]
    pub fn numeric_users(self) -> Self {
        Self { user: self.user.number(), ..self }
    }

    /// Sets how long a session lives whose cookie does not say, as connect-redis' `ttl`: a day by
    /// default. Let it be no shorter than there: a log-out here has to be known for as long as a
    /// session lives that a slower request there writes.
    ///
    /// ```
    /// # use larder_redis::ExpressSessions;
    /// # fn run() -> Result<(), larder_core::StoreError> {
    /// let sessions = ExpressSessions::lazy("redis://127.0.0.1/")?.ttl(larder_core::hours(12));
    /// # Ok(()) }
    /// # run().unwrap();
    /// ```
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// Sets what the key of every user's index begins with, as [`RedisSessions::index_prefix`].
    ///
    /// ```
    /// # use larder_redis::ExpressSessions;
    /// # fn run() -> Result<(), larder_core::StoreError> {
    /// let sessions =
    ///     ExpressSessions::lazy("redis://127.0.0.1/")?.index_prefix("shop:sess-user:");
    /// # Ok(()) }
    /// # run().unwrap();
    /// ```
    #[must_use]
    pub fn index_prefix(self, prefix: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Self { base: self.base.index_prefix(prefix), ..self }
    }

    fn enter(&self, operation: &'static str, key: &str) -> Result<Entered<'_>, StoreError> {
        // The longer of the two.
        self.base.enter(operation, &note_key(key))
    }

    /// Where the sessions are, as a URL without user and password.
    ///
    /// ```
    /// # use larder_redis::ExpressSessions;
    /// let sessions = ExpressSessions::lazy("redis://me:secret@cache.internal/2").unwrap();
    /// assert_eq!(sessions.address(), "redis://cache.internal:6379/2");
    /// ```
    #[must_use]
    pub fn address(&self) -> &str {
        self.base.address()
    }
}

impl fmt::Debug for ExpressSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExpressSessions")
            .field("sessions", &self.base)
            .field("cookie", &self.cookie)
            .field("user", &self.user)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_by_its_digest() {
        assert_eq!(shown("sess:a"), "the key whose SHA-256 begins with e8e12faa");
    }
}
