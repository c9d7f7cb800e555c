//! Signatures under evidence: Ed25519 (RFC 8032) over the stored bytes of a document, so that any tool that
//! knows the algorithm can check them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use super::identifier::{hex, unhex};

/// What the first field of a stored signature says.
pub const SIGNATURE_SCHEMA: &str = "lacuna.signature.v1";

/// The only algorithm.
const ALGORITHM: &str = "ed25519";

/// What stands before the key in its DER form (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [48, 42, 48, 5, 6, 3, 43, 101, 112, 3, 33, 0];

/// A private key, which signs.
pub struct SigningKey(Ed25519KeyPair);

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey(public {})", self.public())
    }
}

impl SigningKey {
    /// The key of this seed, as RFC 8032 calls it; `None` for the few that the library refuses.
    pub fn new(seed: &[u8; 32]) -> Option<Self> {
        Ed25519KeyPair::from_seed_unchecked(seed).ok().map(Self)
    }

    /// The other half, which checks.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(bytes)
    }

    /// The 64 bytes of a signature under these bytes.
    pub fn sign_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.sign(bytes).as_ref().to_vec()
    }

    /// The signature under a document of the ledger. The same bytes get the same signature.
    pub fn sign(&self, document: &str, bytes: &[u8]) -> Signature {
        Signature {
            schema: SIGNATURE_SCHEMA.to_owned(),
            document: document.to_owned(),
            algorithm: ALGORITHM.to_owned(),
            public_key: self.public(),
            signature: hex(&self.sign_bytes(bytes)),
        }
    }
}

/// A public key: 64 hexadecimal characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Whether the other half made this signature under these bytes.
    pub fn has_signed(&self, bytes: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(bytes, signature).is_ok()
    }

    /// The key as most tools read it (RFC 7468, `PUBLIC KEY`).
    pub fn to_pem(self) -> String {
        let der = [&SPKI_PREFIX[..], &self.0].concat();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({self})")
    }
}

/// A text is no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a public key is 64 hexadecimal characters, as `lacuna audit key` prints it")]
pub struct NotAPublicKey;

impl FromStr for PublicKey {
    type Err = NotAPublicKey;

    fn from_str(text: &str) -> Result<Self, NotAPublicKey> {
        let bytes = unhex(text).ok_or(NotAPublicKey)?;
        bytes.try_into().map(Self).map_err(|_| NotAPublicKey)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = NotAPublicKey;

    fn try_from(text: String) -> Result<Self, NotAPublicKey> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

/// A signature under a document of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// [`SIGNATURE_SCHEMA`].
    pub schema: String,
    /// The document, by its name below the ledger's prefix.
    pub document: String,
    /// `ed25519`.
    pub algorithm: String,
    /// By which it is checked. Whose it is has to be known from elsewhere.
    pub public_key: PublicKey,
    /// 64 bytes in hexadecimal.
    pub signature: String,
}

impl Signature {
    /// Whether it is under these bytes.
    pub fn is_under(&self, bytes: &[u8]) -> bool {
        self.schema == SIGNATURE_SCHEMA
            && self.algorithm == ALGORITHM
            && self.public_key.has_signed(bytes, &self.to_bytes())
    }

    /// The 64 bytes themselves; empty where the text is none.
    pub fn to_bytes(&self) -> Vec<u8> {
        unhex(&self.signature).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(text: &str) -> [u8; 32] {
        unhex(text).expect("hexadecimal").try_into().expect("32 bytes")
    }

    /// RFC 8032, section 7.1, tests 1 and 3.
    #[test]
    fn signatures_are_those_of_the_standard() {
        let table = [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
                 5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
                 18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ),
        ];
        for (private, public, message, expected) in table {
            let key = SigningKey::new(&seed(private)).expect("a key");
            let bytes = unhex(message).expect("hexadecimal");
            let signature = key.sign("a", &bytes);
            assert_eq!(key.public().to_string(), public);
            assert_eq!(signature.signature, expected);
            assert!(signature.is_under(&bytes));
        }
    }

    #[test]
    fn a_signature_is_under_nothing_else() {
        let key = SigningKey::new(&[7; 32]).expect("a key");
        let signature = key.sign("a", b"the bytes");
        assert!(signature.is_under(b"the bytes"));
        assert!(!signature.is_under(b"the bytez"));
        let other = SigningKey::new(&[8; 32]).expect("a key").public();
        let wrong = [
            Signature { public_key: other, ..signature.clone() },
            Signature { algorithm: "none".to_owned(), ..signature.clone() },
            Signature { schema: "other".to_owned(), ..signature.clone() },
            Signature { signature: String::new(), ..signature.clone() },
            Signature { signature: "zz".to_owned(), ..signature.clone() },
            Signature { signature: signature.signature.replace('a', "b"), ..signature.clone() },
        ];
        for wrong in wrong {
            assert!(!wrong.is_under(b"the bytes"), "{wrong:?}");
        }
    }

    #[test]
    fn a_public_key_is_read_as_it_is_written() {
        let key = SigningKey::new(&[7; 32]).expect("a key").public();
        assert_eq!(key.to_string().parse(), Ok(key));
        for text in ["", "00", "zz", &"0".repeat(66)] {
            assert_eq!(text.parse::<PublicKey>(), Err(NotAPublicKey), "{text:?}");
        }
        let pem = key.to_pem();
        assert_eq!(pem.lines().nth(1).map(str::len), Some(60), "{pem}");
    }
}
