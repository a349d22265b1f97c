use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use larder_core::{Error, Sessions};
use tower_layer::Layer;

use super::cookie::{Attributes, Cookie, SameSite};
use super::place::Place;
use super::seal::Seal;
use super::{Secrets, SessionService};
use crate::rate_limit::ClientIp;

/// The layer that gives each request its session: see the [module](super).
///
/// ```
/// use larder_core::{MemorySessions, Sessions};
/// use larder_http::SessionLayer;
///
/// # let secret = "5mRtsvG7tFOHNzcvGGTMsrQ9hbHdYPwvUvnA8x3jz2E=";
/// let sessions = Sessions::builder(MemorySessions::new()).build()?;
/// let layer = SessionLayer::new(sessions, secret)?;
/// # let _ = layer;
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a layer does nothing until it is put onto a service"]
pub struct SessionLayer {
    shared: Arc<Shared>,
}

/// What the layer, its services and their futures share.
pub(super) struct Shared {
    pub(super) sessions: Sessions,
    pub(super) seal: Seal,
    pub(super) cookie: Cookie,
    pub(super) place: Place,
}

impl SessionLayer {
    /// A layer with all defaults, see [`builder`](Self::builder).
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a secret that is too short.
    pub fn new(sessions: Sessions, secrets: impl Into<Secrets>) -> Result<Self, Error> {
        Self::builder(sessions, secrets).build()
    }

    /// Starts to set up a layer, whose cookies are made with the first of `secrets`, and accepted
    /// if they were made with any.
    pub fn builder(sessions: Sessions, secrets: impl Into<Secrets>) -> SessionLayerBuilder {
        SessionLayerBuilder {
            sessions,
            secrets: secrets.into(),
            attributes: Attributes::default(),
            #[cfg(feature = "encrypted-cookies")]
            is_encrypted: false,
            place: Place::default(),
        }
    }

    /// Starts to set up a layer for sessions that are shared with services on express-session, as
    /// `larder_redis::ExpressSessions` keeps them: its cookie is theirs, `connect.sid` and signed with
    /// the same secrets, and each takes the others' cookies.
    ///
    /// What else the cookie has is to be the same as there: [`Secure`](SessionLayerBuilder::insecure)
    /// and [`SameSite=Lax`](SessionLayerBuilder::same_site) are defaults here, and not there. Where the
    /// services have no `maxAge`, it ends
    /// [with the browser](SessionLayerBuilder::until_browser_closes).
    ///
    /// ```
    /// use larder_core::{MemorySessions, Sessions};
    /// use larder_http::SessionLayer;
    /// use larder_http::session::Secret;
    ///
    /// # let sessions = Sessions::builder(MemorySessions::new()).build()?;
    /// let layer = SessionLayer::express(sessions, Secret::short("keyboard cat")).build()?;
    /// # let _ = layer;
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    pub fn express(sessions: Sessions, secrets: impl Into<Secrets>) -> SessionLayerBuilder {
        Self::builder(sessions, secrets).name("connect.sid")
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService::new(inner, Arc::clone(&self.shared))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("sessions", &self.sessions)
            .field("cookie", &self.cookie)
            .finish_non_exhaustive()
    }
}

/// Builds a [`SessionLayer`].
///
/// ```
/// use larder_core::{MemorySessions, Sessions};
/// use larder_http::SessionLayer;
/// use larder_http::rate_limit::ClientIp;
/// use larder_http::session::SameSite;
///
/// # let secret = "5mRtsvG7tFOHNzcvGGTMsrQ9hbHdYPwvUvnA8x3jz2E=";
/// # let sessions = Sessions::builder(MemorySessions::new()).build()?;
/// let layer = SessionLayer::builder(sessions, secret)
///     .name("__Host-shop")
///     .same_site(SameSite::Strict)
///     .seen_from(ClientIp::behind_proxies(1))
///     .build()?;
/// # let _ = layer;
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct SessionLayerBuilder {
    sessions: Sessions,
    secrets: Secrets,
    attributes: Attributes,
    #[cfg(feature = "encrypted-cookies")]
    is_encrypted: bool,
    place: Place,
}

impl SessionLayerBuilder {
    /// The cookie's name. By default `__Host-session`; with a [`domain`](Self::domain) or a
    /// [`path`](Self::path) `__Secure-session`, and `session` where it is
    /// [`insecure`](Self::insecure).
    ///
    /// Keep the prefix: with `__Host-` a browser takes the cookie from this host over TLS, and from
    /// nobody else, so that no sibling domain can slip in one of its own.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.attributes.name = Some(name.into());
        self
    }

    /// Below which path the cookie is sent; `/` by default. It is no border between services of one
    /// host: whoever runs there can read the others' cookies.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.attributes.path = path.into();
        self
    }

    /// With this domain, and all below it, the cookie is shared. By default with none but the host
    /// that set it, which is safest.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.attributes.domain = Some(domain.into());
        self
    }

    /// For development without TLS: without `Secure`, and without a prefix of the name. Whoever can
    /// listen has the sessions.
    ///
    /// Chromium and Firefox take secure cookies from `http://localhost` too, so that they do not
    /// need it there.
    pub fn insecure(mut self) -> Self {
        self.attributes.is_secure = false;
        self
    }

    /// Whether the cookie is hidden from scripts, as it is by default. A script that can read it can
    /// send it elsewhere.
    pub fn http_only(mut self, is_hidden: bool) -> Self {
        self.attributes.is_http_only = is_hidden;
        self
    }

    /// Whether the cookie goes along with requests from other sites. [`SameSite::Lax`] by default.
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.attributes.same_site = same_site;
        self
    }

    /// Whether there is a cookie for each site that this one is embedded in (CHIPS); not by default.
    /// Embedded, it asks for [`SameSite::None`] as well.
    pub fn partitioned(mut self, is_partitioned: bool) -> Self {
        self.attributes.is_partitioned = is_partitioned;
        self
    }

    /// The cookie ends with the browser, as far as that forgets cookies when it is closed. By default
    /// it has a `Max-Age`, and lives as long as its session: for the sessions'
    /// [idle time](larder_core::SessionsBuilder::idle), a week by default, after its last use.
    pub fn until_browser_closes(mut self) -> Self {
        self.attributes.ends_with_the_browser = true;
        self
    }

    /// The cookie is encrypted, by XChaCha20-Poly1305 with a key that HKDF derives from the secret,
    /// where it is signed by default, in the form of Express. Nobody then sees ids who sees cookies;
    /// but who holds a cookie holds the session in either case.
    ///
    /// Cookies that were signed before are accepted, and replaced.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, Sessions};
    /// # use larder_http::SessionLayer;
    /// # let secret = "5mRtsvG7tFOHNzcvGGTMsrQ9hbHdYPwvUvnA8x3jz2E=";
    /// # let sessions = Sessions::builder(MemorySessions::new()).build()?;
    /// let layer = SessionLayer::builder(sessions, secret).encrypted().build()?;
    /// # let _ = layer;
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    #[cfg(feature = "encrypted-cookies")]
    pub fn encrypted(mut self) -> Self {
        self.is_encrypted = true;
        self
    }

    /// From where a session was last used is the address that is found so, and the name of the
    /// browser: for a [list](larder_core::Sessions::of_user) of a user's sessions.
    /// [`ClientIp::peer`] by default.
    pub fn seen_from(mut self, address: ClientIp) -> Self {
        self.place = Place::Client(address);
        self
    }

    /// From where a session was last used is what a function finds in the request's head; `None`,
    /// and nothing is kept of it.
    ///
    /// ```
    /// # use larder_core::{MemorySessions, Sessions};
    /// # use larder_http::SessionLayer;
    /// # let secret = "5mRtsvG7tFOHNzcvGGTMsrQ9hbHdYPwvUvnA8x3jz2E=";
    /// # let sessions = Sessions::builder(MemorySessions::new()).build()?;
    /// let layer = SessionLayer::builder(sessions, secret).place(|_| None).build()?;
    /// # let _ = layer;
    /// # Ok::<(), larder_core::Error>(())
    /// ```
    pub fn place(
        mut self,
        find: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.place = Place::Function(Arc::new(find));
        self
    }

    /// The layer.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a secret that is too short, and for attributes that break a rule, so
    /// that browsers would refuse the cookie (RFC 6265bis): `__Host-` asks for Secure, the path `/`
    /// and no domain, `__Secure-` for Secure, `SameSite=None` and `Partitioned` for Secure.
    pub fn build(self) -> Result<SessionLayer, Error> {
        let (cookie, secrets) = (self.attributes.cookie()?, self.secrets.checked()?);
        let seal = Seal::signed(secrets);
        #[cfg(feature = "encrypted-cookies")]
        let seal = if self.is_encrypted { Seal::encrypted(secrets, &cookie.name)? } else { seal };
        let shared = Shared { cookie, seal, sessions: self.sessions, place: self.place };
        Ok(SessionLayer { shared: Arc::new(shared) })
    }
}
