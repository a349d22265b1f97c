//! What a client holds of its session, and what a store sees of that.

use std::fmt;

use arrayvec::ArrayString;
use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};

use crate::error::Error;

/// Random bytes of an id: 192 bits, where OWASP asks for 64 and Larder for 128 at least.
const RANDOM_BYTES: usize = 24;

/// Those bytes in base64url.
const LENGTH: usize = 32;

/// The bytes of a SHA-256 in base64url.
pub(super) const DIGEST_LENGTH: usize = 43;

/// The secret that a client presents: who holds it, holds the session.
///
/// 192 bits of the operating system's randomness, as 32 characters of base64url (RFC 4648, section
/// 5), which is also what express-session writes. Ids are only ever made here; one that a client
/// invented is looked up, not found, and replaced.
///
/// `Debug` shows nothing of it. A store sees its [digest](Self::digest) only, but for one that says
/// that it is [`KeyedBy::Id`](super::KeyedBy::Id).
///
/// ```
/// use larder_core::session::SessionId;
///
/// let id = SessionId::random()?;
/// assert_eq!(id.expose().len(), 32);
/// assert_eq!(SessionId::parse(id.expose()), Some(id));
/// assert_eq!(SessionId::parse("../../etc/passwd"), None);
/// # Ok::<(), larder_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId(ArrayString<LENGTH>);

impl SessionId {
    /// A new id.
    ///
    /// # Errors
    ///
    /// [`Error::NoRandomness`] where the platform has none: an id is never made without.
    pub fn random() -> Result<Self, Error> {
        let mut bytes = [0; RANDOM_BYTES];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::NoRandomness { reason: error.to_string() })?;
        let mut id = [0; LENGTH];
        BASE64URL_NOPAD.encode_mut(&bytes, &mut id);
        // Base64 is ASCII.
        let id = ArrayString::from_byte_string(&id);
        Ok(Self(id.map_err(|error| Error::NoRandomness { reason: error.to_string() })?))
    }

    /// An id that a client sent; `None` for what cannot be one. Whether there is such a session
    /// only the store knows.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text: &[u8; LENGTH] = text.as_bytes().try_into().ok()?;
        let is_base64url =
            |byte: u8| byte.is_ascii_alphanumeric() | (byte == b'-') | (byte == b'_');
        // All of them, as then they are looked at together.
        let is_one = text.iter().fold(true, |is_one, byte| is_one & is_base64url(*byte));
        if !is_one {
            return None;
        }
        ArrayString::from_byte_string(text).ok().map(Self)
    }

    /// The id itself, for the cookie.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The SHA-256 of the id, in base64url: what a store keeps the session under, so that nobody
    /// can present what is read there.
    ///
    /// A look-up by it leaks no more by its timing than the digest, which is of no use.
    #[must_use]
    pub fn digest(&self) -> String {
        BASE64URL_NOPAD.encode(&Sha256::digest(self.0.as_bytes()))
    }

    /// As [`digest`](Self::digest), in a buffer of the caller's.
    pub(super) fn digest_in<'b>(&self, buffer: &'b mut [u8; DIGEST_LENGTH]) -> &'b str {
        BASE64URL_NOPAD.encode_mut(&Sha256::digest(self.0.as_bytes()), buffer);
        // Base64 is ASCII.
        std::str::from_utf8(buffer).unwrap_or_default()
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::test;

    #[test]
    fn ids_differ_and_are_shown_nowhere() {
        let (one, other) = (SessionId::random().unwrap(), SessionId::random().unwrap());
        assert_ne!(one, other);
        assert_ne!(one.digest(), other.digest());
        assert_eq!(one.digest(), SessionId::parse(one.expose()).unwrap().digest());
        assert_eq!(one.digest(), one.digest_in(&mut [0; DIGEST_LENGTH]));
        assert!(!format!("{one:?}").contains(one.expose()));
        assert!(!one.digest().contains(one.expose()));
    }

    #[test]
    fn what_cannot_be_an_id_is_none() {
        let right = "s9LZBQKZoZLMgT6iJnH5sLk4uFdsGGot";
        assert!(SessionId::parse(right).is_some());
        for wrong in ["", &right[1..], &format!("{right}a"), &right.replace('s', "ß"), " ", "a:b"]
        {
            assert!(SessionId::parse(wrong).is_none(), "{wrong:?}");
        }
        assert!(SessionId::parse(&format!("{}:", &right[1..])).is_none());
    }
}
