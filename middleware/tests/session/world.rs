//! An application with sessions, browsers that visit it, and a store that can fail.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::{get, post};
use bytes::Bytes;
use data_encoding::BASE64_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{COOKIE, SET_COOKIE, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use larder_core::session::{
    SessionCapabilities, SessionId, SessionRecord, StoredSession, Touch, Updated, UserSession,
    Version,
};
use larder_core::{
    MemorySessions, Runtime, SessionStore, Sessions, SessionsBuilder, StoreError, StoreErrorKind,
    StrongSessionStore, VirtualRuntime, millis,
};
use larder_http::rate_limit::PeerAddr;
use larder_http::session::{SessionError, SessionLayerBuilder, SignedIn};
use larder_http::{Session, SessionLayer};
use serde_json::Value;
use sha2::Sha256;
use tower::ServiceExt;

pub(crate) const SECRET: &str = "5mRtsvG7tFOHNzcvGGTMsrQ9hbHdYPwvUvnA8x3jz2E=";
pub(crate) const COOKIE_NAME: &str = "__Host-session";

/// Sessions behind a network, which fails and takes its time when it is told to.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    pub(crate) sessions: MemorySessions,
    wire: Arc<Wire>,
}

#[derive(Debug, Default)]
struct Wire {
    is_down: AtomicBool,
    takes_millis: AtomicU64,
    calls: AtomicU64,
    /// That a session was used cannot be noted.
    fails_to_touch: AtomicBool,
    /// Every update finds that another was made before.
    is_contended: AtomicBool,
}

impl Remote {
    fn new(runtime: &VirtualRuntime) -> Self {
        let sessions = MemorySessions::builder().on(runtime.clone());
        Self { sessions, wire: Arc::default() }
    }

    pub(crate) fn is_down(&self, is_down: bool) {
        self.wire.is_down.store(is_down, Ordering::SeqCst);
    }

    pub(crate) fn takes_millis(&self, millis: u64) {
        self.wire.takes_millis.store(millis, Ordering::SeqCst);
    }

    pub(crate) fn fails_to_touch(&self) {
        self.wire.fails_to_touch.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_contended(&self) {
        self.wire.is_contended.store(true, Ordering::SeqCst);
    }

    /// How many calls there were since the last look.
    pub(crate) fn calls(&self) -> u64 {
        self.wire.calls.swap(0, Ordering::SeqCst)
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        self.wire.calls.fetch_add(1, Ordering::SeqCst);
        let millis_taken = self.wire.takes_millis.load(Ordering::SeqCst);
        if millis_taken > 0 {
            self.sessions.runtime().sleep(millis(millis_taken)).await;
        }
        if self.wire.is_down.load(Ordering::SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, "remote", "call", "down"));
        }
        call.await
    }
}

#[async_trait]
impl SessionStore for Remote {
    fn name(&self) -> &'static str {
        "remote"
    }

    fn capabilities(&self) -> &SessionCapabilities {
        self.sessions.capabilities()
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        self.sessions.runtime()
    }

    async fn load(&self, key: &str) -> Result<Option<StoredSession>, StoreError> {
        self.call(self.sessions.load(key)).await
    }

    async fn create(
        &self,
        key: &str,
        session: &SessionRecord,
    ) -> Result<Option<Version>, StoreError> {
        self.call(self.sessions.create(key, session)).await
    }

    async fn update(
        &self,
        key: &str,
        expected: &Version,
        session: &SessionRecord,
    ) -> Result<Updated, StoreError> {
        if self.wire.is_contended.load(Ordering::SeqCst) {
            let found = self.sessions.load(key).await?.unwrap();
            return self.call(async { Ok(Updated::Conflict(Box::new(found))) }).await;
        }
        self.call(self.sessions.update(key, expected, session)).await
    }

    async fn touch(&self, key: &str, touch: &Touch) -> Result<bool, StoreError> {
        self.call(async {
            if self.wire.fails_to_touch.load(Ordering::SeqCst) {
                return Err(StoreError::new(StoreErrorKind::Other, "remote", "touch", "read-only"));
            }
            self.sessions.touch(key, touch).await
        })
        .await
    }

    async fn renew(
        &self,
        key: &str,
        expected: &Version,
        new_key: &str,
        session: &SessionRecord,
    ) -> Result<Updated, StoreError> {
        self.call(self.sessions.renew(key, expected, new_key, session)).await
    }

    async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        self.call(self.sessions.remove(key)).await
    }

    async fn of_user(&self, user: &str) -> Result<Vec<UserSession>, StoreError> {
        self.call(self.sessions.of_user(user)).await
    }

    async fn remove_of_user(&self, user: &str, except: Option<&str>) -> Result<u64, StoreError> {
        self.call(self.sessions.remove_of_user(user, except)).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.sessions.ready().await
    }
}

impl StrongSessionStore for Remote {}

/// The handlers that there are.
pub(crate) fn routes() -> Router {
    let sign_in = async |session: Session, Path(user): Path<String>| {
        session.sign_in(user).await?;
        Ok::<_, SessionError>("welcome")
    };
    let put = async |session: Session, Path((key, value)): Path<(String, String)>| {
        session.insert(key, &value).await?;
        Ok::<_, SessionError>("kept")
    };
    let value = async |session: Session, Path(key): Path<String>| {
        let value = session.get::<String>(&key).await?;
        Ok::<_, SessionError>(value.unwrap_or_else(|| "nothing".into()))
    };
    // As handlers should not, but do: a failure is taken for a stranger.
    let careless = async |session: Session| match session.user().await {
        Ok(Some(user)) => format!("hello, {user}"),
        Ok(None) | Err(_) => "hello, stranger".into(),
    };
    let careless_sign_out = async |session: Session| {
        let _ = session.end().await;
        "goodbye"
    };
    let renew = async |session: Session| Ok::<_, SessionError>(session.renew().await?);
    let saved_by_itself = async |session: Session, Path(user): Path<String>| {
        session.sign_in(user).await?;
        let saved = session.save().await?;
        Ok::<_, SessionError>(format!("overwritten: {:?}", saved.overwritten))
    };
    let large = async |session: Session| {
        Ok::<_, SessionError>(session.insert("large", &"x".repeat(2 << 20)).await?)
    };
    let sign_out = async |session: Session| {
        session.end().await?;
        Ok::<_, SessionError>("goodbye")
    };
    Router::new()
        .route("/untouched", get(async |_: Session| "untouched"))
        .route("/sign-in/{user}", post(sign_in))
        .route("/saved-by-itself/{user}", post(saved_by_itself))
        .route("/sign-out", post(sign_out))
        .route("/careless-sign-out", post(careless_sign_out))
        .route("/renew", post(renew))
        .route("/me", get(async |SignedIn(user): SignedIn| user))
        .route("/careless", get(careless))
        .route("/put/{key}/{value}", post(put))
        .route("/get/{key}", get(value))
        .route("/large", post(large))
}

/// The application, on a virtual clock.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) runtime: VirtualRuntime,
    pub(crate) store: Remote,
    pub(crate) sessions: Sessions,
    pub(crate) app: Router,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::set_up(|sessions| sessions, |layer| layer)
    }

    pub(crate) fn layered(layer: impl FnOnce(SessionLayerBuilder) -> SessionLayerBuilder) -> Self {
        Self::set_up(|sessions| sessions, layer)
    }

    pub(crate) fn set_up(
        sessions: impl FnOnce(SessionsBuilder) -> SessionsBuilder,
        layer: impl FnOnce(SessionLayerBuilder) -> SessionLayerBuilder,
    ) -> Self {
        let runtime = VirtualRuntime::seeded(1);
        let store = Remote::new(&runtime);
        let sessions = sessions(Sessions::builder(store.clone())).build().unwrap();
        let layer = layer(SessionLayer::builder(sessions.clone(), SECRET)).build().unwrap();
        Self { runtime, store, sessions, app: routes().layer(layer) }
    }

    /// The same sessions, with another layer around the same handlers.
    pub(crate) fn with(&self, layer: SessionLayerBuilder) -> Self {
        Self { app: routes().layer(layer.build().unwrap()), ..self.clone() }
    }

    pub(crate) fn run<T>(&self, test: impl AsyncFnOnce(Self) -> T) -> T {
        self.runtime.block_on(test(self.clone()))
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser { app: self.app.clone(), jar: Arc::default() }
    }

    /// A browser whose visitor is signed in.
    pub(crate) async fn signed_in(&self, user: &str) -> Browser {
        let browser = self.browser();
        browser.post(&format!("/sign-in/{user}")).await.ok();
        browser
    }
}

/// Keeps cookies and sends them back.
#[derive(Clone)]
pub(crate) struct Browser {
    pub(crate) app: Router,
    pub(crate) jar: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Browser {
    pub(crate) async fn get(&self, uri: &str) -> Seen {
        self.ask(Method::GET, uri).await
    }

    pub(crate) async fn post(&self, uri: &str) -> Seen {
        self.ask(Method::POST, uri).await
    }

    pub(crate) async fn ask(&self, method: Method, uri: &str) -> Seen {
        let mut request = request(method, uri);
        let cookies = self.cookies();
        if !cookies.is_empty() {
            request.headers_mut().insert(COOKIE, cookies.parse().unwrap());
        }
        let seen = send(&self.app, request).await;
        for line in seen.headers.get_all(SET_COOKIE) {
            let line = line.to_str().unwrap();
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            let mut jar = self.jar.lock().unwrap();
            match line.contains("; Max-Age=0;") {
                true => jar.remove(name),
                false => jar.insert(name.into(), value.into()),
            };
        }
        seen
    }

    /// The field `Cookie`.
    pub(crate) fn cookies(&self) -> String {
        let jar = self.jar.lock().unwrap();
        let pairs: Vec<String> =
            jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    /// The value of the session's cookie.
    pub(crate) fn value(&self) -> String {
        self.jar.lock().unwrap().values().next().unwrap().clone()
    }

    /// The id in the session's cookie.
    pub(crate) fn id(&self) -> SessionId {
        SessionId::parse(&self.value()["s%3A".len()..][..32]).unwrap()
    }
}

/// What came back, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{self:?}");
        self
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn set_cookie(&self) -> Option<&str> {
        assert!(self.headers.get_all(SET_COOKIE).iter().count() <= 1, "{self:?}");
        self.header("set-cookie")
    }

    pub(crate) fn problem(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!(self.header("cache-control"), Some("no-store"));
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], self.status.as_u16());
        problem
    }
}

pub(crate) fn request(method: Method, uri: &str) -> Request<Body> {
    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .header(USER_AGENT, "Tester/1.0 (virtual)")
        .body(Body::empty())
        .unwrap();
    request.extensions_mut().insert(PeerAddr::from(IpAddr::from([203, 0, 113, 9])));
    request
}

pub(crate) async fn send(app: &Router, request: Request<Body>) -> Seen {
    let (head, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    Seen { status: head.status, headers: head.headers, body }
}

/// With these lines of `Cookie`.
pub(crate) async fn get_with(app: &Router, uri: &str, cookies: &[&str]) -> Seen {
    let mut request = request(Method::GET, uri);
    for line in cookies {
        request.headers_mut().append(COOKIE, line.parse().unwrap());
    }
    send(app, request).await
}

pub(crate) fn named(value: &str) -> String {
    format!("{COOKIE_NAME}={value}")
}

/// Who the cookies sign in.
pub(crate) async fn who(app: &Router, cookies: &[&str]) -> String {
    let seen = get_with(app, "/me", cookies).await;
    if seen.status == 401 {
        return "nobody".into();
    }
    seen.ok().text().to_owned()
}

/// The value of a cookie for an id, made as cookie-signature of Express makes it.
pub(crate) fn signed(id: &str, secret: &str) -> String {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(id.as_bytes());
    let tag = BASE64_NOPAD.encode(&mac.finalize().into_bytes());
    format!("s%3A{id}.{}", tag.replace('+', "%2B").replace('/', "%2F"))
}
