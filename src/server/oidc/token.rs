//! ID tokens: who is told by whom, for whom, until when, and whether it is signed by them. Signatures are
//! checked by `ring`.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey, Validation, decode,
    decode_header,
};
use ring::signature as checks;
use serde::Deserialize;

/// How far clocks may be apart, in seconds.
const LEEWAY_SECONDS: u64 = 60;

/// What an ID token says, as far as it matters (OpenID Connect Core 1.0, 2 and 5.1).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Claims {
    /// Who it is, to the provider.
    pub sub: String,
    /// Their address.
    #[serde(default)]
    pub email: Option<String>,
    /// Whether the provider knows that the address is theirs.
    #[serde(default)]
    email_verified: Option<Flag>,
    /// What the sign-in was begun with.
    #[serde(default)]
    nonce: Option<String>,
    /// Whom it was issued to, where it is for several.
    #[serde(default)]
    azp: Option<String>,
}

/// Some providers write truth values as text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Flag {
    Truth(bool),
    Text(String),
}

impl Claims {
    /// Their address, if the provider knows that it is theirs.
    pub fn verified_email(&self) -> Option<&str> {
        let is_verified = match self.email_verified.as_ref()? {
            Flag::Truth(truth) => *truth,
            Flag::Text(text) => text == "true",
        };
        self.email.as_deref().filter(|_| is_verified)
    }
}

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unbelieved {
    /// It is signed by a key that the provider is not known to have: it may have a new one.
    UnknownKey,
    /// Anything else.
    Wrong,
}

/// What a token says, if the provider signed it, for this client, in answer to this nonce, and it has not
/// expired.
pub(super) fn believed(
    token: &str,
    keys: &JwkSet,
    (issuer, client_id, nonce): (&str, &str, &str),
) -> Result<Claims, Unbelieved> {
    // Set once in the life of the program; that it was set before is no matter.
    let _ = RING.install_default();
    let header = decode_header(token).map_err(|_| Unbelieved::Wrong)?;
    if verifier_of(header.alg).is_none() {
        return Err(Unbelieved::Wrong);
    }
    let key = match &header.kid {
        Some(kid) => keys.find(kid),
        None => Some(&keys.keys).filter(|keys| keys.len() == 1).and_then(|keys| keys.first()),
    };
    let key = DecodingKey::from_jwk(key.ok_or(Unbelieved::UnknownKey)?);
    let key = key.map_err(|_| Unbelieved::Wrong)?;
    let mut validation = Validation::new(header.alg);
    validation.leeway = LEEWAY_SECONDS;
    validation.validate_nbf = true;
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[client_id]);
    validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
    let claims = decode::<Claims>(token, &key, &validation).map_err(|_| Unbelieved::Wrong)?.claims;
    let is_ours = claims.azp.as_ref().is_none_or(|azp| azp == client_id);
    let is_answer = claims.nonce.as_ref().is_some_and(|it| it == nonce);
    if is_ours && is_answer { Ok(claims) } else { Err(Unbelieved::Wrong) }
}

static RING: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(ErrorKind::InvalidAlgorithm.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let (family, check) = verifier_of(*algorithm).ok_or(ErrorKind::InvalidAlgorithm)?;
    if key.family() != family {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(Box::new(Ring { algorithm: *algorithm, check, key: key.clone() }))
}

/// How signatures of an algorithm are checked. Symmetric ones are none: who knows the key could have made
/// the token.
#[derive(Clone, Copy)]
enum Check {
    Rsa(&'static checks::RsaParameters),
    Other(&'static dyn checks::VerificationAlgorithm),
}

fn verifier_of(algorithm: Algorithm) -> Option<(AlgorithmFamily, Check)> {
    use AlgorithmFamily::{Ec, Ed, Rsa};
    Some(match algorithm {
        Algorithm::RS256 => (Rsa, Check::Rsa(&checks::RSA_PKCS1_2048_8192_SHA256)),
        Algorithm::RS384 => (Rsa, Check::Rsa(&checks::RSA_PKCS1_2048_8192_SHA384)),
        Algorithm::RS512 => (Rsa, Check::Rsa(&checks::RSA_PKCS1_2048_8192_SHA512)),
        Algorithm::PS256 => (Rsa, Check::Rsa(&checks::RSA_PSS_2048_8192_SHA256)),
        Algorithm::PS384 => (Rsa, Check::Rsa(&checks::RSA_PSS_2048_8192_SHA384)),
        Algorithm::PS512 => (Rsa, Check::Rsa(&checks::RSA_PSS_2048_8192_SHA512)),
        Algorithm::ES256 => (Ec, Check::Other(&checks::ECDSA_P256_SHA256_FIXED)),
        Algorithm::ES384 => (Ec, Check::Other(&checks::ECDSA_P384_SHA384_FIXED)),
        Algorithm::EdDSA => (Ed, Check::Other(&checks::ED25519)),
        _ => return None,
    })
}

struct Ring {
    algorithm: Algorithm,
    check: Check,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for Ring {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let outcome = match (self.check, self.key.kind()) {
            (Check::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                checks::RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (Check::Other(algorithm), DecodingKeyKind::SecretOrDer(bytes)) => {
                checks::UnparsedPublicKey::new(algorithm, bytes).verify(message, signature)
            }
            _ => return Err(signature::Error::new()),
        };
        outcome.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Ring {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
