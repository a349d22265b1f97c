//! What stands in a cookie for an id, so that nobody else can make one.

use data_encoding::BASE64_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use larder_core::session::SessionId;
use sha2::Sha256;

use super::secret::Secret;

/// What a signed value begins with, as cookie-parser of Express has it.
const SIGNED: &str = "s:";

/// The bytes of an HMAC with SHA-256.
const TAG: usize = 32;

/// Makes the values of cookies, and reads them.
pub(super) enum Seal {
    /// In the form of Express: `s:<id>.<base64 of the HMAC-SHA256>`.
    Signed(Vec<Hmac<Sha256>>),
}

/// An id out of a value that was made here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsealed {
    pub(super) id: SessionId,
    /// Whether it was made with another secret than the one that new ones are made with.
    pub(super) is_outdated: bool,
}

impl Seal {
    pub(super) fn signed(secrets: &[Secret]) -> Self {
        let key = |secret: &Secret| Hmac::new_from_slice(secret.bytes()).ok();
        Self::Signed(secrets.iter().filter_map(key).collect())
    }

    /// The value for an id, as it stands in a cookie.
    pub(super) fn seal(&self, id: &SessionId) -> String {
        match self {
            Self::Signed(keys) => {
                let tag = keys.first().map(|key| tag(key, id.expose()).finalize().into_bytes());
                let tag = BASE64_NOPAD.encode(&tag.unwrap_or_default());
                let mut value = String::with_capacity(96);
                for part in [SIGNED, id.expose(), ".", &tag] {
                    push_encoded(&mut value, part);
                }
                value
            }
        }
    }

    /// The id in a value that stood in a cookie, without its percent-encoding.
    pub(super) fn unseal(&self, value: &str) -> Option<Unsealed> {
        match self {
            Self::Signed(keys) => {
                // At the last dot, as cookie-signature does it.
                let (text, base64) = value.strip_prefix(SIGNED)?.rsplit_once('.')?;
                let id = SessionId::parse(text)?;
                let mut found = [0; TAG];
                let has_length = BASE64_NOPAD.decode_len(base64.len()) == Ok(TAG);
                if !has_length || BASE64_NOPAD.decode_mut(base64.as_bytes(), &mut found).is_err() {
                    return None;
                }
                // Compared in constant time.
                let verifies = |key: &Hmac<Sha256>| tag(key, text).verify_slice(&found).is_ok();
                let place = keys.iter().position(verifies)?;
                Some(Unsealed { id, is_outdated: place > 0 })
            }
        }
    }
}

fn tag(key: &Hmac<Sha256>, id: &str) -> Hmac<Sha256> {
    let mut tag = key.clone();
    tag.update(id.as_bytes());
    tag
}

/// As `encodeURIComponent` does it with the characters that can be there.
fn push_encoded(value: &mut String, part: &str) {
    for character in part.chars() {
        match character {
            ':' => value.push_str("%3A"),
            '+' => value.push_str("%2B"),
            '/' => value.push_str("%2F"),
            other => value.push(other),
        }
    }
}
