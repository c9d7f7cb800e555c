//! What names a person in the data, and the keyed digest that everything else holds instead.
//!
//! A raw identifier lives in memory only: [`Identifier`] can be neither printed nor serialised.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use siphasher::sip128::SipHasher24;

mod canonical;
pub use canonical::{IdentifierType, RawValue};

/// A space of identifiers: equal values of one namespace mean the same person in every dataset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// A namespace of this name, as the configuration spells it.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A raw identifier in its canonical form. Personal data: it has no `Display`, cannot be
/// serialised, and its `Debug` prints a placeholder.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identifier {
    namespace: Namespace,
    canonical: Box<[u8]>,
}

impl Identifier {
    /// The identifier that `raw` means in a namespace of this type, or `None` where it is empty or
    /// not a value of the type.
    pub fn new(namespace: Namespace, kind: IdentifierType, raw: RawValue<'_>) -> Option<Self> {
        let canonical = kind.canonical(raw)?.into_owned().into_boxed_slice();
        Some(Self { namespace, canonical })
    }

    /// The namespace it belongs to.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its digest under the key.
    pub fn digest(&self, key: &DigestKey) -> IdentifierDigest {
        key.digester(&self.namespace).digest(&self.canonical)
    }

    /// Whether it stands in these bytes as a word of its own, ASCII case ignored: `u4` does in
    /// `users/U4.json`, but not in `users/u42.json`. For keys of objects, which should hold none.
    pub fn stands_in(&self, bytes: &[u8]) -> bool {
        let bytes = bytes.to_ascii_lowercase();
        let word = self.canonical.to_ascii_lowercase();
        let is_edge = |byte: Option<&u8>| byte.is_none_or(|byte| !is_word(*byte));
        memchr::memmem::find_iter(&bytes, &word).any(|at| {
            let before = at.checked_sub(1).and_then(|before| bytes.get(before));
            is_edge(before) && is_edge(bytes.get(at + word.len()))
        })
    }

    /// The canonical form, for the rules of [`super::request`] and nobody else.
    pub(super) fn canonical(&self) -> &[u8] {
        &self.canonical
    }
}

/// Whether a byte belongs to a word: a letter, a digit, or a part of a character beyond ASCII.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii()
}

impl fmt::Debug for Identifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Identifier({}=<personal>)", self.namespace)
    }
}

/// The secret of the keyed digests, 32 bytes. Whoever holds it can test guesses against the index,
/// so it is kept apart from it.
#[derive(Clone, PartialEq, Eq)]
pub struct DigestKey([u8; 32]);

impl DigestKey {
    /// A key of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digests of one namespace.
    ///
    /// Each namespace has a key of its own, derived by HMAC-SHA-256 (RFC 2104), so that equal values
    /// in two namespaces have unrelated digests and the namespace costs nothing per record.
    pub fn digester(&self, namespace: &Namespace) -> Digester {
        let derived = self.derive("lacuna namespace key v1", namespace.as_str());
        let mut key = [0; 16];
        key.copy_from_slice(&derived[..16]);
        Digester(SipHasher24::new_with_key(&key))
    }

    /// A value that tells one key from another and gives nothing of it away, as hexadecimal. It is
    /// stored beside what was written under the key, so that a wrong key is noticed at once.
    pub fn check_value(&self) -> KeyCheck {
        KeyCheck(hex(&self.derive("lacuna key check v1", "")[..8]))
    }

    fn derive(&self, purpose: &str, subject: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0)
            .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length (RFC 2104)"));
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(subject.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DigestKey(<secret>)")
    }
}

/// Tells digest keys apart without giving anything of them away: 16 hexadecimal characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyCheck(String);

impl fmt::Display for KeyCheck {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Computes the digests of one namespace.
///
/// SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, 2012): a keyed pseudo-random
/// function made for short inputs. It is asked for one thing, that whoever holds digests but not the
/// key learns nothing about identifiers of a small space (telephone numbers, say), and it costs a
/// tenth of HMAC-SHA-256, which would be half of a scan.
#[derive(Clone)]
pub struct Digester(SipHasher24);

impl Digester {
    /// The digest of an identifier's canonical form.
    pub fn digest(&self, canonical: &[u8]) -> IdentifierDigest {
        IdentifierDigest(self.0.hash(canonical).as_bytes())
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Digester(<secret>)")
    }
}

/// The keyed digest of an identifier, 128 bits; prints as 32 hexadecimal characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentifierDigest([u8; 16]);

impl IdentifierDigest {
    /// A digest read back from storage.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes, as storage keeps them.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for IdentifierDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for IdentifierDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "IdentifierDigest({self})")
    }
}

/// A text that should be a digest is not 32 hexadecimal characters.
#[derive(Debug, thiserror::Error)]
#[error("an identifier digest is 32 hexadecimal characters")]
pub struct NotADigest;

impl FromStr for IdentifierDigest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let bytes = unhex(text).ok_or(NotADigest)?;
        bytes.try_into().map(Self).map_err(|_| NotADigest)
    }
}

impl Serialize for IdentifierDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IdentifierDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

/// The bytes that hexadecimal text of either case stands for; `None` where it is not hexadecimal.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            u8::try_from(high * 16 + low).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// E5: among a quarter of a million people two share 32 bits of their digests, and so would two
    /// strangers be taken for one; the whole digests differ.
    #[test]
    fn digests_are_wide_enough() {
        let digester = DigestKey::new([9; 32]).digester(&Namespace::new("user"));
        let people = 0..250_000_u32;
        let digests: Vec<_> =
            people.clone().map(|person| digester.digest(person.to_string().as_bytes())).collect();
        let short: HashSet<_> = digests.iter().map(|digest| &digest.as_bytes()[..4]).collect();
        assert!(short.len() < digests.len(), "the birthday of 32 bits");
        let whole: HashSet<_> = digests.iter().collect();
        assert_eq!(whole.len(), digests.len());
    }

    /// What is stored in every index: the digest at once is the one that is written piece by piece.
    #[test]
    fn a_digest_is_siphash_of_the_canonical_form() {
        use std::hash::Hasher as _;

        use siphasher::sip128::Hasher128 as _;

        let digester = DigestKey::new([9; 32]).digester(&Namespace::new("user"));
        let text: Vec<u8> = (0..200).collect();
        for length in 0..text.len() {
            let mut hasher = digester.0;
            text[..length].iter().for_each(|&byte| hasher.write_u8(byte));
            let expected = hasher.finish128().as_bytes();
            assert_eq!(digester.digest(&text[..length]).as_bytes(), &expected);
        }
    }

    #[test]
    fn a_secret_or_an_identifier_cannot_be_printed() {
        let key = DigestKey::new([0xab; 32]);
        let raw = RawValue::Text(b"ann@example.org");
        let identifier = Identifier::new(Namespace::new("email"), IdentifierType::Email, raw);
        let printed =
            format!("{key:?} {identifier:?} {:?}", key.digester(&Namespace::new("email")));
        assert!(!printed.contains("ann") && !printed.contains("ab"), "{printed}");
    }

    #[test]
    fn an_identifier_stands_in_a_key_as_a_word() {
        let stands_in = |text: &str, key: &str| {
            let raw = RawValue::Text(text.as_bytes());
            let identifier = Identifier::new(Namespace::new("user"), IdentifierType::String, raw);
            identifier.is_some_and(|identifier| identifier.stands_in(key.as_bytes()))
        };
        for key in ["u4", "users/u4.json", "users/U4/x", "user=u4", "u44/u4", "a-u4_"] {
            assert!(stands_in("u4", key), "{key}");
        }
        for key in ["", "u44", "xu4", "users/u4\u{e9}", "u 4"] {
            assert!(!stands_in("u4", key), "{key}");
        }
        assert!(stands_in("ann@example.org", "mail/ann@example.org.json"));
    }
}
