//! Signing in by an identity provider: OpenID Connect, the authorization code flow with PKCE.
//!
//! What a sign-in was begun with lives in memory, is used once, and belongs to the browser that began it. The
//! provider is asked for its addresses and keys when the first person comes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use hyper::{Method, Request, header};
use jsonwebtoken::jwk::JwkSet;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::config::{OidcSettings, Secret};
use crate::domain::Timestamp;
use crate::domain::address::SafeAddress;
use crate::https;
use crate::wire::Clock;

#[cfg(test)]
mod tests;
mod token;

use token::{Claims, Unbelieved, believed};

/// How long somebody may take to sign in at the provider, in seconds.
pub(super) const PATIENCE_SECONDS: i64 = 10 * 60;

/// How long what is known of the provider is believed, in seconds.
const KNOWN_SECONDS: i64 = 10 * 60;

/// How many may be signing in at once; the one that began first has to begin again for a further one.
const MOST: usize = 1000;

/// An identity provider.
pub(super) struct Provider {
    settings: OidcSettings,
    /// What proves to it who this is, where PKCE alone does not.
    client_secret: Option<Secret>,
    /// Where it sends people back to.
    callback: String,
    clock: Clock,
    known: Mutex<Option<Known>>,
    pending: Mutex<HashMap<String, Pending>>,
}

/// Who signed in, as the provider knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identified {
    /// Who it is, to the provider.
    pub subject: String,
    /// Their address, if the provider knows that it is theirs.
    pub email: Option<String>,
    /// The page that they wanted.
    pub to: String,
}

/// Nobody signed in. Of the provider's own words only a code is told: texts may hold anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotIdentified {
    /// What it began with is not known: it took too long, or another browser began it.
    #[error("this sign-in was not begun here, or too long ago")]
    Unknown,
    /// The provider says no.
    #[error("the identity provider let nobody in")]
    Denied,
    /// The provider does not answer, or not as it should.
    #[error("the identity provider does not answer as it should")]
    Provider,
    /// The provider refuses this server.
    #[error("the identity provider refuses this server: {code}")]
    Refused {
        /// Why, as RFC 6749, 5.2, spells it: `invalid_client`.
        code: String,
    },
    /// What it says is not believed.
    #[error("the identity provider's token is not valid for this server")]
    Token,
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    NoRandom,
}

/// What was said at the beginning.
struct Pending {
    browser: [u8; 32],
    nonce: String,
    verifier: String,
    to: String,
    began_at: Timestamp,
}

/// What is known of the provider.
#[derive(Clone)]
struct Known {
    at: Timestamp,
    places: Places,
    keys: JwkSet,
}

/// Where the provider is asked what (OpenID Connect Discovery 1.0, 3).
#[derive(Clone, Debug, Deserialize)]
struct Places {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
}

/// Where somebody signs in, and what their browser has to keep until it comes back.
pub(super) struct Begun {
    pub location: String,
    pub browser: String,
}

impl Provider {
    /// The provider of the settings, for a server that people reach under this origin. It is not asked yet.
    pub fn new(
        settings: OidcSettings,
        client_secret: Option<Secret>,
        origin: &str,
        clock: Clock,
    ) -> Self {
        let callback = format!("{origin}/sign-in/oidc/callback");
        let (known, pending) = (Mutex::default(), Mutex::default());
        Self { settings, client_secret, callback, clock, known, pending }
    }

    /// Begins to sign somebody in who wants to go on to a page.
    ///
    /// # Errors
    ///
    /// [`NotIdentified`].
    pub async fn begin(&self, to: &str) -> Result<Begun, NotIdentified> {
        let known = self.known(false).await?;
        let [state, nonce, verifier, browser] = [random()?, random()?, random()?, random()?];
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", &self.callback)
            .append_pair("scope", "openid email")
            .append_pair("state", &state)
            .append_pair("nonce", &nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        let place = known.places.authorization_endpoint;
        let joint = if place.contains('?') { '&' } else { '?' };
        let location = format!("{place}{joint}{}", query.finish());
        let pending = Pending {
            browser: Sha256::digest(&browser).into(),
            nonce,
            verifier,
            to: to.to_owned(),
            began_at: self.clock.now(),
        };
        self.remember(state, pending);
        Ok(Begun { location, browser })
    }

    fn remember(&self, state: String, pending: Pending) {
        let now = self.clock.now();
        let mut held = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, pending| lasts(pending.began_at, now, PATIENCE_SECONDS));
        if held.len() >= MOST {
            let first =
                held.iter().min_by_key(|(_, it)| it.began_at).map(|(state, _)| state.clone());
            first.and_then(|state| held.remove(&state));
        }
        held.insert(state, pending);
    }

    /// Takes what was said at the beginning: whoever comes with the same once more finds nothing.
    fn recall(&self, state: &str, browser: &str) -> Option<Pending> {
        let mut held = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let pending = held.remove(state)?;
        let is_theirs = pending.browser == <[u8; 32]>::from(Sha256::digest(browser));
        let lasts = lasts(pending.began_at, self.clock.now(), PATIENCE_SECONDS);
        (is_theirs && lasts).then_some(pending)
    }

    /// Who came back from the provider with this code, if it is the browser that began.
    ///
    /// # Errors
    ///
    /// [`NotIdentified`].
    pub async fn end(
        &self,
        state: &str,
        code: Option<&str>,
        browser: &str,
    ) -> Result<Identified, NotIdentified> {
        let pending = self.recall(state, browser).ok_or(NotIdentified::Unknown)?;
        let code = code.filter(|code| !code.is_empty()).ok_or(NotIdentified::Denied)?;
        let known = self.known(false).await?;
        let token = self.exchange(&known.places, code, &pending.verifier).await?;
        let claims = match self.believe(&token, &known, &pending.nonce) {
            // It may have got new keys since it was asked.
            Err(Unbelieved::UnknownKey) => {
                let known = self.known(true).await?;
                self.believe(&token, &known, &pending.nonce)
            }
            other => other,
        };
        let claims = claims.map_err(|_| NotIdentified::Token)?;
        let email = claims.verified_email().map(str::to_owned);
        Ok(Identified { subject: claims.sub, email, to: pending.to })
    }

    fn believe(&self, token: &str, known: &Known, nonce: &str) -> Result<Claims, Unbelieved> {
        let whom = (self.settings.issuer.as_str(), self.settings.client_id.as_str(), nonce);
        believed(token, &known.keys, whom)
    }

    /// Trades the code for an ID token (RFC 6749, 4.1.3; RFC 7636, 4.5).
    async fn exchange(
        &self,
        places: &Places,
        code: &str,
        verifier: &str,
    ) -> Result<String, NotIdentified> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &self.callback)
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("code_verifier", verifier)
            .finish();
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(places.token_endpoint.as_str())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json");
        if let Some(secret) = &self.client_secret {
            let encoded = |text: &str| -> String {
                form_urlencoded::byte_serialize(text.as_bytes()).collect()
            };
            let login =
                format!("{}:{}", encoded(&self.settings.client_id), encoded(secret.as_str()));
            let login = format!("Basic {}", STANDARD.encode(login));
            request = request.header(header::AUTHORIZATION, login);
        }
        let request = request.body(Bytes::from(form));
        let tokens: Tokens = asked(request.map_err(|_| NotIdentified::Provider)?).await?;
        Ok(tokens.id_token)
    }

    /// What is known of the provider, which is asked anew where that is old, or it is to be.
    async fn known(&self, is_anew: bool) -> Result<Known, NotIdentified> {
        let now = self.clock.now();
        let held = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let fresh = held.filter(|known| !is_anew && lasts(known.at, now, KNOWN_SECONDS));
        if let Some(known) = fresh {
            return Ok(known);
        }
        // Nobody waits for somebody else's question: two that ask at once are told the same.
        let issuer = &self.settings.issuer;
        let place = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let places: Places = asked(get(&place)?).await?;
        // What somebody else says of the provider is not to be believed.
        if places.issuer != *issuer || SafeAddress::parse(&places.authorization_endpoint).is_none()
        {
            return Err(NotIdentified::Provider);
        }
        let keys = asked(get(&places.jwks_uri)?).await?;
        let known = Known { at: now, places, keys };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
        Ok(known)
    }
}

fn lasts(since: Timestamp, now: Timestamp, seconds: i64) -> bool {
    now.as_second() - since.as_second() < seconds
}

fn get(place: &str) -> Result<Request<Bytes>, NotIdentified> {
    let request = Request::builder().uri(place).header(header::ACCEPT, "application/json");
    request.body(Bytes::new()).map_err(|_| NotIdentified::Provider)
}

/// The document that is the answer to a request.
async fn asked<T: DeserializeOwned>(request: Request<Bytes>) -> Result<T, NotIdentified> {
    let answer = https::send(request).await.map_err(|_| NotIdentified::Provider)?;
    if !answer.status().is_success() {
        let refusal: Option<OauthError> = serde_json::from_slice(answer.body()).ok();
        let code = refusal.map(|refusal| refusal.error).filter(|code| is_tame(code));
        return Err(code.map_or(NotIdentified::Provider, |code| NotIdentified::Refused { code }));
    }
    serde_json::from_slice(answer.body()).map_err(|_| NotIdentified::Provider)
}

/// What a provider answers with that refuses.
#[derive(Deserialize)]
struct OauthError {
    error: String,
}

fn is_tame(code: &str) -> bool {
    code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// 256 random bits, as addresses can carry them.
fn random() -> Result<String, NotIdentified> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| NotIdentified::NoRandom)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
