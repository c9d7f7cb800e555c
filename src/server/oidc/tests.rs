use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::*;

const ISSUER: &str = "https://login.example.org";
const CLIENT: &str = "lacuna";
const NONCE: &str = "a nonce";

/// A provider's key, and the set that it publishes.
struct Key {
    pair: EcdsaKeyPair,
    kid: &'static str,
}

impl Key {
    fn new(kid: &'static str) -> Self {
        let random = SystemRandom::new();
        let secret = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        let secret = secret.expect("a key");
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, secret.as_ref(), &random).expect("a key");
        Self { pair, kid }
    }

    fn set(&self) -> JwkSet {
        let point = &self.pair.public_key().as_ref()[1..];
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let key = json!({
            "kty": "EC", "crv": "P-256", "kid": self.kid, "alg": "ES256", "use": "sig",
            "x": number(&point[..32]), "y": number(&point[32..]),
        });
        serde_json::from_value(json!({ "keys": [key] })).expect("a set")
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).expect("signed");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(&json!({ "alg": "ES256", "kid": self.kid }), claims)
    }
}

fn claims() -> Value {
    let now = Clock::system().now().as_second();
    json!({
        "iss": ISSUER, "aud": CLIENT, "sub": "s-1", "nonce": NONCE, "iat": now, "exp": now + 300,
        "email": "ann@example.org", "email_verified": true,
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn believe(token: &str, keys: &JwkSet) -> Result<Claims, Unbelieved> {
    believed(token, keys, (ISSUER, CLIENT, NONCE))
}

#[test]
fn a_token_of_the_provider_is_believed() {
    let key = Key::new("one");
    let claims = believe(&key.token(&claims()), &key.set()).expect("believed");
    assert_eq!((claims.sub.as_str(), claims.verified_email()), ("s-1", Some("ann@example.org")));
    let several = with("aud", json!([CLIENT, "other"]));
    assert!(believe(&key.token(&several), &key.set()).is_ok());
    for (flag, is_verified) in [(json!(false), false), (json!("true"), true), (json!("yes"), false)]
    {
        let claims = believe(&key.token(&with("email_verified", flag)), &key.set());
        assert_eq!(claims.expect("believed").verified_email().is_some(), is_verified);
    }
    let mut silent = self::claims();
    silent.as_object_mut().expect("an object").remove("email_verified");
    let claims = believe(&key.token(&silent), &key.set()).expect("believed");
    assert_eq!(claims.verified_email(), None);
}

/// K3: whatever is not for us, not from them, not now, or not in answer to us.
#[test]
fn any_other_token_is_not() {
    let (key, other) = (Key::new("one"), Key::new("one"));
    let now = Clock::system().now().as_second();
    let wrong = [
        with("iss", json!("https://evil.example")),
        with("aud", json!("other")),
        with("aud", json!([])),
        with("azp", json!("other")),
        with("nonce", json!("another")),
        with("nonce", Value::Null),
        with("exp", json!(now - 3600)),
        with("exp", json!("tomorrow")),
        with("nbf", json!(now + 3600)),
        with("sub", Value::Null),
    ];
    for claims in wrong {
        let answer = believe(&key.token(&claims), &key.set());
        assert_eq!(answer, Err(Unbelieved::Wrong), "{claims}");
    }
    for missing in ["iss", "aud", "exp", "sub", "nonce"] {
        let mut claims = claims();
        claims.as_object_mut().expect("an object").remove(missing);
        assert_eq!(believe(&key.token(&claims), &key.set()), Err(Unbelieved::Wrong), "{missing}");
    }
    assert_eq!(believe(&other.token(&claims()), &key.set()), Err(Unbelieved::Wrong));
    let (one, two) = (key.token(&claims()), key.token(&with("sub", json!("s-2"))));
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (one, two) = (parts(&one), parts(&two));
    let spliced = format!("{}.{}.{}", one[0], two[1], one[2]);
    assert_eq!(believe(&spliced, &key.set()), Err(Unbelieved::Wrong));
    for alg in ["none", "HS256", "RS256", "ES384", "ES256K"] {
        let token = key.sign(&json!({ "alg": alg, "kid": "one" }), &claims());
        assert_eq!(believe(&token, &key.set()), Err(Unbelieved::Wrong), "{alg}");
    }
    for text in ["", ".", "..", "a.b.c", "ä.ö.ü"] {
        assert_eq!(believe(text, &key.set()), Err(Unbelieved::Wrong), "{text}");
    }
}

/// A key that is not known yet is asked for; one key alone needs no name.
#[test]
fn an_unknown_key_is_told_apart() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    assert_eq!(believe(&new.token(&claims()), &old.set()), Err(Unbelieved::UnknownKey));
    let unnamed = new.sign(&json!({ "alg": "ES256" }), &claims());
    assert!(believe(&unnamed, &new.set()).is_ok());
    let mut both = old.set();
    both.keys.extend(new.set().keys);
    assert_eq!(believe(&unnamed, &both), Err(Unbelieved::UnknownKey));
}

/// What somebody began is theirs, once, and not for ever.
#[test]
fn a_sign_in_ends_once_and_where_it_began() {
    let clock = Clock::manual(Timestamp::from_second(1_000_000).expect("a moment"));
    let settings = OidcSettings {
        issuer: ISSUER.to_owned(),
        client_id: CLIENT.to_owned(),
        client_secret: None,
    };
    let provider = Provider::new(settings, None, "https://erasure.example.org", clock.clone());
    let begin = |state: &str| {
        provider.remember(
            state.to_owned(),
            Pending {
                browser: Sha256::digest("theirs").into(),
                nonce: NONCE.to_owned(),
                verifier: String::new(),
                to: "/".to_owned(),
                began_at: clock.now(),
            },
        );
    };
    begin("one");
    assert!(provider.recall("two", "theirs").is_none());
    assert!(provider.recall("one", "others").is_none());
    assert!(provider.recall("one", "theirs").is_none(), "who tries another's ends it");
    begin("one");
    assert!(provider.recall("one", "theirs").is_some());
    assert!(provider.recall("one", "theirs").is_none(), "once");
    begin("one");
    clock.set(Timestamp::from_second(1_000_000 + PATIENCE_SECONDS).expect("a moment"));
    assert!(provider.recall("one", "theirs").is_none(), "in time");
    (0..=MOST).for_each(|number| begin(&number.to_string()));
    assert_eq!(provider.pending.lock().expect("unpoisoned").len(), MOST);
}
