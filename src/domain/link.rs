//! Links to decide on a plan without signing in: signed over the plan, who decides, what, and until when.
//! Whoever holds a link may use it once; so it goes to one person, by a way that only they read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Timestamp;
use super::identifier::hex;
use super::plan::PlanId;
use super::signature::{PublicKey, SigningKey};

/// What is signed begins with this, so that no signature under something else is one under a link.
const CONTEXT: &[u8] = b"lacuna link v1\n";

/// The longest link that is looked at, in bytes.
const LONGEST_BYTES: usize = 2048;

/// What a link is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The plan, by the digest of its bytes: a link is for no other plan of the same request.
    pub plan: PlanId,
    /// Who decides by it.
    pub by: String,
    /// What they decide.
    pub action: LinkAction,
    /// Until when it can be used.
    pub expires_at: Timestamp,
    /// Random text that makes two links of the same content two.
    pub nonce: String,
}

/// What is decided by a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkAction {
    /// The plan is approved.
    Approve,
    /// It is rejected; the reason is given where the link leads.
    Reject,
}

/// A text is no link that this key signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a link that was made here, or not all of it")]
pub struct NotALink;

impl Link {
    /// The link as a text for an address: what it is for, a dot, the signature, both in URL-safe Base64.
    pub fn sign(&self, key: &SigningKey) -> String {
        let content = serde_json::to_vec(self)
            .unwrap_or_else(|_| unreachable!("a link has no map with keys that are not text"));
        let signature = key.sign_bytes(&[CONTEXT, &content].concat());
        format!("{}.{}", URL_SAFE_NO_PAD.encode(content), URL_SAFE_NO_PAD.encode(signature))
    }

    /// What a text is for, if the key signed it. Whether it is too late, or was used before, is another
    /// question.
    ///
    /// # Errors
    ///
    /// [`NotALink`], which does not tell what is wrong.
    pub fn read(text: &str, key: &PublicKey) -> Result<Self, NotALink> {
        let (content, signature) =
            text.split_once('.').filter(|_| text.len() <= LONGEST_BYTES).ok_or(NotALink)?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| NotALink);
        let (content, signature) = (decode(content)?, decode(signature)?);
        if !key.has_signed(&[CONTEXT, &content].concat(), &signature) {
            return Err(NotALink);
        }
        serde_json::from_slice(&content).map_err(|_| NotALink)
    }

    /// By which a decision says that this link was used.
    pub fn id(&self) -> String {
        let content = serde_json::to_vec(self).unwrap_or_default();
        hex(&Sha256::digest(content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::new(&[seed; 32]).expect("a key")
    }

    fn link() -> Link {
        Link {
            plan: PlanId::of(b"a plan"),
            by: "ann".to_owned(),
            action: LinkAction::Approve,
            expires_at: Timestamp::constant(1_795_219_200, 0),
            nonce: "00".repeat(16),
        }
    }

    #[test]
    fn a_link_is_read_as_it_was_signed() {
        let text = link().sign(&key(7));
        assert_eq!(Link::read(&text, &key(7).public()), Ok(link()));
        assert!(
            text.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it)),
            "{text}"
        );
        let other = Link { nonce: "01".repeat(16), ..link() };
        assert_ne!(other.id(), link().id());
    }

    /// K1: whatever character is another one, whatever is missing or too much, whoever else signed.
    #[test]
    fn a_forged_link_is_none() {
        let text = link().sign(&key(7));
        let public = key(7).public();
        for at in 0..text.len() {
            for other in ['A', 'b', '-', '.', '='] {
                let mut forged: Vec<char> = text.chars().collect();
                if forged[at] == other {
                    continue;
                }
                forged[at] = other;
                let forged: String = forged.into_iter().collect();
                assert_eq!(Link::read(&forged, &public), Err(NotALink), "{at} {other}");
            }
            assert_eq!(Link::read(&text[..at], &public), Err(NotALink), "{at}");
        }
        assert_eq!(Link::read(&format!("{text}A"), &public), Err(NotALink));
        assert_eq!(Link::read(&text, &key(8).public()), Err(NotALink));
        // A signature of the same key under the same bytes, made for something else.
        let content = serde_json::to_vec(&link()).expect("JSON");
        let signature = key(7).sign_bytes(&content);
        let forged =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(&content), URL_SAFE_NO_PAD.encode(signature));
        assert_eq!(Link::read(&forged, &public), Err(NotALink));
        assert_eq!(Link::read(&"a.".repeat(5000), &public), Err(NotALink));
    }
}
