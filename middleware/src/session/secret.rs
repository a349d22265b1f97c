//! What cookies are signed with.

use std::fmt;

use larder_core::Error;

/// The least a secret has: as much as the hash it is the key of (RFC 2104, section 3).
const LEAST_BYTES: usize = 32;

/// A secret that session cookies are signed or encrypted with.
///
/// At least 32 bytes, of randomness: `openssl rand -base64 32`. It is checked when the layer is
/// built. `Debug` shows nothing of it.
///
/// ```
/// use larder_http::session::Secret;
///
/// let secret = Secret::new("5mRtsvG7tFOHNzcvGGTMsrQ9hbHdYPwvUvnA8x3jz2E=");
/// assert_eq!(format!("{secret:?}"), "Secret(…)");
/// ```
#[derive(Clone)]
pub struct Secret {
    bytes: Box<[u8]>,
    may_be_short: bool,
}

impl Secret {
    /// A secret of at least 32 bytes.
    pub fn new(bytes: impl AsRef<[u8]>) -> Self {
        Self { bytes: bytes.as_ref().into(), may_be_short: false }
    }

    /// A secret that may be shorter, as it is shared with a service that has such a one. Whoever
    /// guesses it can make cookies of any id; ids themselves nobody guesses.
    ///
    /// ```
    /// use larder_http::session::Secret;
    ///
    /// let of_the_express_service = Secret::short("keyboard cat");
    /// # let _ = of_the_express_service;
    /// ```
    pub fn short(bytes: impl AsRef<[u8]>) -> Self {
        Self { bytes: bytes.as_ref().into(), may_be_short: true }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// One secret or several: the first signs, and any verifies, so that a secret can be changed while
/// cookies of the old one are about.
///
/// A cookie of an old secret is replaced when its session is next used. When the old secret has been
/// in the list for as long as sessions may be idle, none is left, and it can go.
///
/// ```
/// use larder_http::session::{Secret, Secrets};
///
/// # let (new, old) = ("a".repeat(32), "b".repeat(32));
/// let one = Secrets::from("5mRtsvG7tFOHNzcvGGTMsrQ9hbHdYPwvUvnA8x3jz2E=");
/// let changed = Secrets::from([new, old]);
/// let shared = Secrets::from(vec![Secret::short("keyboard cat")]);
/// # let _ = (one, changed, shared);
/// ```
#[derive(Debug, Clone)]
pub struct Secrets(Vec<Secret>);

impl Secrets {
    pub(super) fn checked(&self) -> Result<&[Secret], Error> {
        let problem = |problem| Err(Error::Config { setting: "secrets", problem });
        if self.0.is_empty() {
            return problem("there is none".into());
        }
        for (place, secret) in self.0.iter().enumerate() {
            let (bytes, place) = (secret.bytes.len(), place + 1);
            if bytes == 0 {
                return problem(format!("the one at place {place} is empty"));
            }
            if bytes < LEAST_BYTES && !secret.may_be_short {
                return problem(format!(
                    "the one at place {place} has {bytes} bytes, where {LEAST_BYTES} are the least: \
                     make one by `openssl rand -base64 32`, or write Secret::short for one that \
                     another service has"
                ));
            }
        }
        Ok(&self.0)
    }
}

impl From<Secret> for Secrets {
    fn from(secret: Secret) -> Self {
        Self(vec![secret])
    }
}

impl From<&str> for Secrets {
    fn from(text: &str) -> Self {
        Secret::from(text).into()
    }
}

impl From<String> for Secrets {
    fn from(text: String) -> Self {
        Secret::from(text).into()
    }
}

impl<S: Into<Secret>, const N: usize> From<[S; N]> for Secrets {
    fn from(secrets: [S; N]) -> Self {
        Self(secrets.into_iter().map(Into::into).collect())
    }
}

impl<S: Into<Secret>> From<Vec<S>> for Secrets {
    fn from(secrets: Vec<S>) -> Self {
        Self(secrets.into_iter().map(Into::into).collect())
    }
}
