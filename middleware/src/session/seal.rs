//! What stands in a cookie for an id, so that nobody else can make one.

use data_encoding::BASE64_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use larder_core::Error;
use larder_core::session::SessionId;
use sha2::Sha256;

#[cfg(feature = "encrypted-cookies")]
use super::encrypted::Cipher;
use super::secret::Secret;

/// What a signed value begins with, as cookie-parser of Express has it.
const SIGNED: &str = "s:";

/// The bytes of an HMAC with SHA-256.
const TAG: usize = 32;

/// The same in base64.
const BASE64_TAG: usize = 43;

/// Makes the values of cookies, and reads them.
pub(super) struct Seal {
    /// By the secrets: in the form of Express, `s:<id>.<base64 of the HMAC-SHA256>`.
    signatures: Vec<Hmac<Sha256>>,
    /// By the same, where values are to be encrypted. Those that were signed before are read too.
    #[cfg(feature = "encrypted-cookies")]
    ciphers: Vec<Cipher>,
}

/// An id out of a value that was made here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsealed {
    pub(super) id: SessionId,
    /// Whether new values are made in another way, or with another secret.
    pub(super) is_outdated: bool,
}

impl Seal {
    pub(super) fn signed(secrets: &[Secret]) -> Self {
        let key = |secret: &Secret| Hmac::new_from_slice(secret.bytes()).ok();
        Self {
            signatures: secrets.iter().filter_map(key).collect(),
            #[cfg(feature = "encrypted-cookies")]
            ciphers: Vec::new(),
        }
    }

    /// For cookies of that name.
    #[cfg(feature = "encrypted-cookies")]
    pub(super) fn encrypted(secrets: &[Secret], name: &str) -> Result<Self, Error> {
        let ciphers = secrets.iter().map(|secret| Cipher::new(secret, name));
        Ok(Self { ciphers: ciphers.collect::<Result<_, _>>()?, ..Self::signed(secrets) })
    }

    /// The value for an id, as it stands in a cookie.
    pub(super) fn seal(&self, id: &SessionId) -> Result<String, Error> {
        #[cfg(feature = "encrypted-cookies")]
        if let Some(cipher) = self.ciphers.first() {
            return cipher.encrypt(id);
        }
        let tag = self.signatures.first().map(|key| tag(key, id.expose()).finalize().into_bytes());
        let tag = BASE64_NOPAD.encode(&tag.unwrap_or_default());
        let mut value = String::with_capacity(96);
        for part in [SIGNED, id.expose(), ".", &tag] {
            push_encoded(&mut value, part);
        }
        Ok(value)
    }

    /// The id in a value that stood in a cookie, without its percent-encoding.
    pub(super) fn unseal(&self, value: &str) -> Option<Unsealed> {
        #[cfg(feature = "encrypted-cookies")]
        if let Some(unsealed) = self.decrypted(value) {
            return Some(unsealed);
        }
        // At the last dot, as cookie-signature does it: base64 has none.
        let signed = value.strip_prefix(SIGNED)?;
        let (text, base64) = signed.split_at_checked(signed.len().checked_sub(BASE64_TAG)?)?;
        let text = text.strip_suffix('.')?;
        let id = SessionId::parse(text)?;
        let mut found = [0; TAG];
        BASE64_NOPAD.decode_mut(base64.as_bytes(), &mut found).ok()?;
        // Compared in constant time.
        let verifies = |key: &Hmac<Sha256>| tag(key, text).verify_slice(&found).is_ok();
        let place = self.signatures.iter().position(verifies)?;
        Some(Unsealed { id, is_outdated: place > 0 || self.encrypts() })
    }

    fn encrypts(&self) -> bool {
        #[cfg(feature = "encrypted-cookies")]
        return !self.ciphers.is_empty();
        #[cfg(not(feature = "encrypted-cookies"))]
        false
    }

    #[cfg(feature = "encrypted-cookies")]
    fn decrypted(&self, value: &str) -> Option<Unsealed> {
        let mut ciphers = self.ciphers.iter().enumerate();
        let (place, id) = ciphers.find_map(|(place, it)| Some((place, it.decrypt(value)?)))?;
        Some(Unsealed { id, is_outdated: place > 0 })
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::test;

    /// What express-session has written with the secret `keyboard cat`.
    const OF_EXPRESS: &str =
        "s%3As9LZBQKZoZLMgT6iJnH5sLk4uFdsGGot.8D6A1kIG6PnnLwu2Eo%2BqDBewputk8k2Pybe2k8Z35Vk";

    fn express() -> Seal {
        Seal::signed(&[Secret::short("keyboard cat")])
    }

    fn decoded(value: &str) -> String {
        percent_encoding::percent_decode_str(value).decode_utf8().unwrap().into_owned()
    }

    #[test]
    fn what_express_signs_is_read_and_written() {
        let id = SessionId::parse("s9LZBQKZoZLMgT6iJnH5sLk4uFdsGGot").unwrap();
        assert_eq!(express().seal(&id).unwrap(), OF_EXPRESS);
        let unsealed = express().unseal(&decoded(OF_EXPRESS)).unwrap();
        assert_eq!(unsealed, Unsealed { id, is_outdated: false });
    }

    #[test]
    fn no_character_of_a_value_can_be_another() {
        let value = decoded(OF_EXPRESS);
        for (place, right) in value.char_indices() {
            for wrong in ['A', 'b', '0', '.', ':', '=', '/', ' ', '%'] {
                if wrong != right {
                    let mut tampered = value.clone();
                    tampered.replace_range(place..=place, &wrong.to_string());
                    assert_eq!(express().unseal(&tampered), None, "{tampered}");
                }
            }
            assert_eq!(express().unseal(&value[..place]), None);
            assert_eq!(express().unseal(&value[place + 1..]), None);
        }
        for more in ["=", "A", ".", " "] {
            assert_eq!(express().unseal(&format!("{value}{more}")), None);
            assert_eq!(express().unseal(&format!("{more}{value}")), None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn what_is_sealed_is_read_by_its_secrets_alone(
            mine in prop::collection::vec(any::<u8>(), 1..100),
            others in prop::collection::vec(any::<u8>(), 1..100),
        ) {
            prop_assume!(mine != others);
            let (mine, others) = (Secret::short(mine), Secret::short(others));
            let id = SessionId::random().unwrap();
            let value = decoded(&Seal::signed(std::slice::from_ref(&mine)).seal(&id).unwrap());
            let by = |secrets: &[Secret]| {
                Seal::signed(secrets).unseal(&value).map(|it| (it.id, it.is_outdated))
            };
            prop_assert_eq!(by(&[mine.clone(), others.clone()]), Some((id.clone(), false)));
            prop_assert_eq!(by(&[others.clone(), mine]), Some((id, true)));
            prop_assert_eq!(by(&[others]), None);
        }

        #[test]
        fn any_text_is_read_to_its_end(value in ".{0,120}") {
            prop_assert_eq!(express().unseal(&value), None);
            prop_assert_eq!(express().unseal(&format!("s:{value}")), None);
        }
    }
}
