//! What signing in takes: where sessions are kept, how their cookies are, who hashes passwords.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use larder_core::{Error, Runtime, SessionStore, Sessions, StrongSessionStore, days, hours};
use larder_http::SessionLayer;
use larder_http::rate_limit::ClientIp;
use larder_http::session::Secrets;

use crate::limits::SignInLimits;
use crate::password::{HeavyWork, OnTheSpot, Passwords};

/// A session of which a day long nothing was heard is over, and after a week every one is.
const IDLE: Duration = hours(24);
const ABSOLUTE: Duration = days(7);

/// Where the sessions of the shop's accounts are kept, and what signing in takes.
///
/// ```
/// use larder_core::MemorySessions;
/// use larder_demo::Accounts;
/// use larder_http::rate_limit::ClientIp;
///
/// let accounts = Accounts::new(MemorySessions::new(), "a secret of at least 32 bytes, from a vault")
///     .client(ClientIp::behind_proxies(1));
/// # let _ = accounts;
/// ```
#[must_use = "accounts do nothing until an `App` is given them"]
pub struct Accounts {
    store: Arc<dyn StrongSessionStore>,
    secrets: Secrets,
    client: ClientIp,
    is_plain_http: bool,
    passwords: Passwords,
    limits: Option<SignInLimits>,
}

impl Accounts {
    /// With sessions in `store`, and cookies that are signed with the first of `secrets`, and accepted
    /// if they are signed with any.
    pub fn new(store: impl StrongSessionStore, secrets: impl Into<Secrets>) -> Self {
        Self {
            store: Arc::new(store),
            secrets: secrets.into(),
            client: ClientIp::peer(),
            is_plain_http: false,
            passwords: Passwords::new(OnTheSpot),
            limits: None,
        }
    }

    /// How a client's address is known: for the list of sessions. The [peer](ClientIp::peer)'s by
    /// default.
    pub fn client(mut self, client: ClientIp) -> Self {
        self.client = client;
        self
    }

    /// Cookies go over http too: without `Secure`, and so without `__Host-` in their name. For a
    /// server that only its own machine reaches.
    pub fn plain_http(mut self) -> Self {
        self.is_plain_http = true;
        self
    }

    /// Where passwords are hashed. [`OnTheSpot`] by default.
    pub fn heavy_work(mut self, work: impl HeavyWork) -> Self {
        self.passwords = Passwords::new(work);
        self
    }

    /// Limits how often it is tried to sign in or up. By default nobody is limited.
    pub fn limits(mut self, limits: impl Into<Option<SignInLimits>>) -> Self {
        self.limits = limits.into();
        self
    }

    pub(crate) fn open(self) -> Result<Entrance, Error> {
        let sessions = Sessions::builder(self.store)
            .namespace("shop:sess")
            .idle(IDLE)
            .absolute(ABSOLUTE)
            .build()?;
        let mut layer =
            SessionLayer::builder(sessions.clone(), self.secrets).seen_from(self.client);
        if self.is_plain_http {
            layer = layer.insecure();
        }
        let Self { passwords, limits, .. } = self;
        Ok(Entrance { sessions, layer: layer.build()?, passwords, limits })
    }
}

/// [`Accounts`] as the handlers use them.
#[derive(Clone)]
pub(crate) struct Entrance {
    pub(crate) sessions: Sessions,
    pub(crate) layer: SessionLayer,
    pub(crate) passwords: Passwords,
    pub(crate) limits: Option<SignInLimits>,
}

impl Entrance {
    pub(crate) fn on(&self, runtime: &Arc<dyn Runtime>) -> Self {
        Self {
            sessions: self.sessions.on(Arc::clone(runtime)),
            limits: self.limits.as_ref().map(|limits| limits.on(runtime)),
            ..self.clone()
        }
    }

    pub(crate) fn store(&self) -> &Arc<dyn SessionStore> {
        self.sessions.store()
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").field("store", &self.store).finish_non_exhaustive()
    }
}
