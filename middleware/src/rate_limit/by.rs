//! Which requests are counted together.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use compact_str::{CompactString, format_compact};
use futures::future::{BoxFuture, FutureExt};
use http::HeaderName;
use http::request::Parts;
use larder_core::check_key;
use sha2::{Digest, Sha256};

use super::ClientIp;
use crate::Session;
use crate::key_text::{push_hex, whole_uri};

/// Longer keys take more room than they are worth. With a namespace, every store takes as much.
const LONGEST: usize = 256;

/// The key of all requests that have none, see [`MissingKey::Share`](super::MissingKey::Share): one
/// that is found is never this, but hashed.
pub(super) const UNKNOWN: &str = "unknown";

/// What the requests that are counted together have in common: their key.
///
/// A [`ClientIp`] is one, which is what most limits are by. Keys that break the rules of the store,
/// or are longer than 256 bytes, become `sha256:<hash>`; so does `unknown`, which is the key of
/// requests that [have none](super::MissingKey::Share).
///
/// ```
/// use http::HeaderName;
/// use larder_http::rate_limit::{By, ClientIp};
///
/// // Each path for itself.
/// let by = By::from(ClientIp::behind_proxies(1)).and(By::path());
///
/// // By the account that a layer before this one has found, else by the address.
/// #[derive(Clone)]
/// struct Account(u64);
/// let address = ClientIp::behind_proxies(1);
/// let by = By::function(move |request| match request.extensions.get::<Account>() {
///     Some(Account(id)) => Some(format!("account:{id}")),
///     None => address.key(request),
/// });
/// # let _ = by;
/// ```
#[derive(Clone)]
pub struct By(Kind);

type Find = Arc<dyn Fn(&Parts) -> Option<String> + Send + Sync>;
type FindLater = Arc<dyn Fn(&Parts) -> BoxFuture<'static, Option<CompactString>> + Send + Sync>;

#[derive(Clone)]
enum Kind {
    ClientIp(ClientIp),
    Header(HeaderName),
    Path,
    Function(Find),
    Future(FindLater),
    Session,
    Both(Arc<(By, By)>),
    Either(Arc<(By, By)>),
    Hashed(Arc<By>),
}

impl By {
    /// The value of a header; of several lines, all values together. Where there is none, there is
    /// no key.
    ///
    /// A client writes what it likes. Only behind something that has checked the value does it limit
    /// anybody. One that is a secret, such as an API key, is to be [`hashed`](Self::hashed): keys
    /// stand in the store, and errors that are logged can name them.
    #[must_use]
    pub const fn header(name: HeaderName) -> Self {
        Self(Kind::Header(name))
    }

    /// The path, without the query. With the feature `axum` it is the whole one inside of nested
    /// routers too.
    ///
    /// It is the path as it was sent: `/users/1` and `/users/2` are counted apart. To count by route,
    /// give each route a layer of its own, or take axum's `MatchedPath` in a
    /// [`function`](Self::function).
    ///
    /// By itself one limit for all clients together; see [`and`](Self::and).
    #[must_use]
    pub const fn path() -> Self {
        Self(Kind::Path)
    }

    /// What a function finds in the request's head: a session, an account, a tenant. Where it finds
    /// nothing, there is no key.
    pub fn function(find: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Kind::Function(Arc::new(find)))
    }

    /// What a function finds that has to wait. It takes from the request's head what it needs, and
    /// returns a future.
    ///
    /// ```
    /// use larder_http::rate_limit::By;
    ///
    /// # async fn tenant_of(host: String) -> Option<String> { Some(host) }
    /// let by = By::future(|request| {
    ///     let host = request.headers.get("host").and_then(|host| host.to_str().ok());
    ///     let host = host.map(str::to_owned);
    ///     async move { tenant_of(host?).await }
    /// });
    /// # let _ = by;
    /// ```
    pub fn future<F>(find: impl Fn(&Parts) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Option<String>> + Send + 'static,
    {
        Self(Kind::Future(Arc::new(move |request| find(request).map(not_empty).boxed())))
    }

    /// Who is signed in, else the session, as a [`SessionLayer`](crate::SessionLayer) around this
    /// layer has given it to the request. A visitor without one has no key, and nothing is loaded.
    ///
    /// Whoever drops its cookie has another session, or none: limit strangers by their address, with
    /// [`or`](Self::or). Where the store of sessions fails there is no key, and the layer of sessions
    /// answers 503.
    ///
    /// ```
    /// use larder_http::rate_limit::{By, ClientIp};
    ///
    /// let by = By::session().or(ClientIp::behind_proxies(1));
    /// # let _ = by;
    /// ```
    #[must_use]
    pub const fn session() -> Self {
        Self(Kind::Session)
    }

    /// By this, and where it has no key by another.
    #[must_use]
    pub fn or(self, other: impl Into<Self>) -> Self {
        Self(Kind::Either(Arc::new((self, other.into()))))
    }

    /// By this and by another. Where one of the two has no key, there is none.
    #[must_use]
    pub fn and(self, other: impl Into<Self>) -> Self {
        Self(Kind::Both(Arc::new((self, other.into()))))
    }

    /// By the SHA-256 of the key, which keeps a secret in it out of the store.
    #[must_use]
    pub fn hashed(self) -> Self {
        Self(Kind::Hashed(Arc::new(self)))
    }

    pub(super) fn key(&self, request: &Parts) -> Key {
        self.find(request).map(|key| if is_within_rules(&key) { key } else { hash(&key) })
    }

    fn find(&self, request: &Parts) -> Key {
        match &self.0 {
            Kind::ClientIp(address) => Key::Now(address.text(request)),
            Kind::Header(name) => header(request, name).into(),
            Kind::Path => Some(whole_uri(request).path().to_owned()).into(),
            Kind::Function(find) => find(request).into(),
            Kind::Future(find) => Key::Later(find(request)),
            Kind::Session => match request.extensions.get::<Session>() {
                Some(session) => Key::Later(of_session(session.clone()).boxed()),
                None => Key::Now(None),
            },
            Kind::Either(either) => match either.0.find(request) {
                Key::Now(None) => either.1.find(request),
                Key::Now(key) => Key::Now(key),
                Key::Later(key) => {
                    let other = either.1.find(request);
                    Key::Later(async move { or(key.await, other).await }.boxed())
                }
            },
            Kind::Both(both) => match (both.0.find(request), both.1.find(request)) {
                (Key::Now(a), Key::Now(b)) => Key::Now(joined(a, b)),
                (a, b) => {
                    Key::Later(async move { joined(a.found().await, b.found().await) }.boxed())
                }
            },
            Kind::Hashed(by) => by.find(request).map(hash),
        }
    }

    /// Whether the request has no key because its address is not known: nothing that its sender
    /// could have done better.
    pub(super) fn lacks_address(&self, request: &Parts) -> bool {
        match &self.0 {
            Kind::ClientIp(address) => address.of(request).is_none(),
            Kind::Both(both) => both.0.lacks_address(request) || both.1.lacks_address(request),
            Kind::Either(either) => either.1.lacks_address(request),
            Kind::Hashed(by) => by.lacks_address(request),
            Kind::Session | Kind::Header(_) | Kind::Path | Kind::Function(_) | Kind::Future(_) => {
                false
            }
        }
    }
}

impl From<ClientIp> for By {
    fn from(address: ClientIp) -> Self {
        Self(Kind::ClientIp(address))
    }
}

impl fmt::Debug for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::ClientIp(address) => address.fmt(f),
            Kind::Header(name) => f.debug_tuple("Header").field(name).finish(),
            Kind::Path => f.write_str("Path"),
            Kind::Function(_) => f.write_str("Function"),
            Kind::Future(_) => f.write_str("Future"),
            Kind::Session => f.write_str("Session"),
            Kind::Either(either) => {
                f.debug_tuple("Either").field(&either.0).field(&either.1).finish()
            }
            Kind::Both(both) => f.debug_tuple("Both").field(&both.0).field(&both.1).finish(),
            Kind::Hashed(by) => f.debug_tuple("Hashed").field(by).finish(),
        }
    }
}

/// A request's key, if it has one. An address needs no allocation.
pub(super) enum Key {
    Now(Option<CompactString>),
    Later(BoxFuture<'static, Option<CompactString>>),
}

impl Key {
    fn map(self, change: impl FnOnce(CompactString) -> CompactString + Send + 'static) -> Self {
        match self {
            Self::Now(key) => Self::Now(key.map(change)),
            Self::Later(key) => Self::Later(key.map(|key| key.map(change)).boxed()),
        }
    }

    async fn found(self) -> Option<CompactString> {
        match self {
            Self::Now(key) => key,
            Self::Later(key) => key.await,
        }
    }
}

impl From<Option<String>> for Key {
    fn from(key: Option<String>) -> Self {
        Self::Now(not_empty(key))
    }
}

fn not_empty(key: Option<String>) -> Option<CompactString> {
    key.filter(|key| !key.is_empty()).map(CompactString::from)
}

/// A failure is remembered by the session, for its layer.
async fn of_session(session: Session) -> Option<CompactString> {
    match session.user().await.ok()? {
        Some(user) => Some(format_compact!("user:{user}")),
        None => session.key().await.ok()?.map(CompactString::from),
    }
}

async fn or(key: Option<CompactString>, other: Key) -> Option<CompactString> {
    match key {
        Some(key) => Some(key),
        None => other.found().await,
    }
}

fn header(request: &Parts, name: &HeaderName) -> Option<String> {
    let mut lines = request.headers.get_all(name).iter();
    let mut key = lines.next()?.as_bytes().to_vec();
    for line in lines {
        key.push(b',');
        key.extend_from_slice(line.as_bytes());
    }
    Some(String::from_utf8(key).unwrap_or_else(|error| hash(error.as_bytes()).into()))
}

/// What belongs to which of the two can be told from the result.
fn joined(a: Option<CompactString>, b: Option<CompactString>) -> Option<CompactString> {
    let escaped = |text: CompactString| match text.contains(['|', '%']) {
        true => text.replace('%', "%25").replace('|', "%7C").into(),
        false => text,
    };
    let mut key = escaped(a?);
    key.push('|');
    key.push_str(&escaped(b?));
    Some(key)
}

fn is_within_rules(key: &str) -> bool {
    key != UNKNOWN && check_key(key, LONGEST, "the rate limit").is_ok()
}

fn hash(key: impl AsRef<[u8]>) -> CompactString {
    let mut hashed = String::with_capacity(71);
    hashed.push_str("sha256:");
    push_hex(&mut hashed, &Sha256::digest(key));
    hashed.into()
}
