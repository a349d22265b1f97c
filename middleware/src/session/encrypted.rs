//! Cookies in which an id cannot be read.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use data_encoding::BASE64URL_NOPAD;
use hkdf::Hkdf;
use larder_core::Error;
use larder_core::session::SessionId;
use sha2::Sha256;

use super::secret::Secret;

/// So that no other use of the secret has the same key (RFC 5869, section 3.2).
const PURPOSE: &[u8] = b"larder session cookie, XChaCha20-Poly1305";

/// What an encrypted value begins with.
const ENCRYPTED: &str = "e.";

/// Long enough to be drawn by chance, however many cookies there are.
const NONCE: usize = 24;

/// XChaCha20-Poly1305 under a key derived from a secret by HKDF with SHA-256.
///
/// A value is `e.<base64url of the nonce, the encrypted id and its tag>`, and authentic for cookies
/// of one name alone.
pub(super) struct Cipher {
    cipher: XChaCha20Poly1305,
    name: Box<str>,
}

impl Cipher {
    pub(super) fn new(secret: &Secret, name: &str) -> Result<Self, Error> {
        let mut key = Key::default();
        // Fails for keys of more than 8,160 bytes alone; but what it left then were no secret.
        let derived = Hkdf::<Sha256>::new(None, secret.bytes()).expand(PURPOSE, &mut key);
        derived.map_err(|error| Error::Config {
            setting: "secrets",
            problem: format!("no key can be derived from one: {error}"),
        })?;
        Ok(Self { cipher: XChaCha20Poly1305::new(&key), name: name.into() })
    }

    pub(super) fn encrypt(&self, id: &SessionId) -> Result<String, Error> {
        let failed = |reason: String| Error::NoRandomness { reason };
        let mut bytes = vec![0; NONCE];
        getrandom::fill(&mut bytes).map_err(|error| failed(error.to_string()))?;
        let encrypted = self.cipher.encrypt(&nonce(&bytes), self.payload(id.expose().as_bytes()));
        bytes.extend(encrypted.map_err(|error| failed(error.to_string()))?);
        Ok(format!("{ENCRYPTED}{}", BASE64URL_NOPAD.encode(&bytes)))
    }

    pub(super) fn decrypt(&self, value: &str) -> Option<SessionId> {
        let bytes = BASE64URL_NOPAD.decode(value.strip_prefix(ENCRYPTED)?.as_bytes()).ok()?;
        let (nonce_bytes, encrypted) = bytes.split_at_checked(NONCE)?;
        let id = self.cipher.decrypt(&nonce(nonce_bytes), self.payload(encrypted)).ok()?;
        SessionId::parse(std::str::from_utf8(&id).ok()?)
    }

    fn payload<'a>(&'a self, bytes: &'a [u8]) -> Payload<'a, 'a> {
        Payload { msg: bytes, aad: self.name.as_bytes() }
    }
}

fn nonce(bytes: &[u8]) -> XNonce {
    let mut nonce = XNonce::default();
    nonce.copy_from_slice(bytes);
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::test;
    use crate::session::seal::Seal;

    fn secret(text: &str) -> Secret {
        Secret::short(text)
    }

    #[test]
    fn an_id_cannot_be_read_and_no_two_values_are_the_same() {
        let seal = Seal::encrypted(&[secret("keyboard cat")], "session").unwrap();
        let id = SessionId::random().unwrap();
        let (one, other) = (seal.seal(&id).unwrap(), seal.seal(&id).unwrap());
        assert_ne!(one, other);
        assert!(!one.contains(id.expose()));
        for value in [one, other] {
            let unsealed = seal.unseal(&value).unwrap();
            assert_eq!((unsealed.id, unsealed.is_outdated), (id.clone(), false));
        }
    }

    #[test]
    fn no_character_can_be_another_and_the_cookie_cannot_have_another_name() {
        let (secret, id) = (secret("keyboard cat"), SessionId::random().unwrap());
        let seal = Seal::encrypted(std::slice::from_ref(&secret), "session").unwrap();
        let value = seal.seal(&id).unwrap();
        for place in 0..value.len() {
            let mut tampered = value.clone();
            let wrong = if value[place..].starts_with('A') { "B" } else { "A" };
            tampered.replace_range(place..=place, wrong);
            assert_eq!(seal.unseal(&tampered), None, "{tampered}");
            assert_eq!(seal.unseal(&value[..place]), None);
        }
        assert_eq!(Seal::encrypted(&[secret], "other").unwrap().unseal(&value), None);
    }

    #[test]
    fn secrets_are_changed_and_signed_values_are_read_still() {
        let (new, old) = (secret("new"), secret("old"));
        let id = SessionId::random().unwrap();
        let of_old =
            Seal::encrypted(std::slice::from_ref(&old), "session").unwrap().seal(&id).unwrap();
        let signed = Seal::signed(std::slice::from_ref(&new)).seal(&id).unwrap();
        let signed = signed.replace("%3A", ":").replace("%2B", "+").replace("%2F", "/");
        let both = Seal::encrypted(&[new.clone(), old], "session").unwrap();
        for value in [&of_old, &signed] {
            let unsealed = both.unseal(value).unwrap();
            assert_eq!((unsealed.id, unsealed.is_outdated), (id.clone(), true), "{value}");
        }
        assert_eq!(
            Seal::encrypted(std::slice::from_ref(&new), "session").unwrap().unseal(&of_old),
            None
        );
        assert_eq!(Seal::signed(&[new]).unseal(&of_old), None);
    }
}
