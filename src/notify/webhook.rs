//! Events sent to an address, signed, as *Standard Webhooks* describes it
//! (<https://github.com/standard-webhooks/standard-webhooks>): whoever has the secret knows that an event
//! is ours, that nobody changed it, and by its id whether it came before.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::{Method, Request, header};
use ring::hmac;

use crate::https;
use crate::wire::Clock;

use super::NotSent;
use super::event::{Event, Herald};

/// An address that events are sent to.
pub struct Webhook<'a> {
    /// Where.
    pub url: &'a str,
    /// What events are signed by.
    pub key: Vec<u8>,
    /// The time that an event is sent at, which is signed with it.
    pub clock: &'a Clock,
}

#[async_trait]
impl Herald for Webhook<'_> {
    fn name(&self) -> &'static str {
        "webhook"
    }

    async fn tell(&self, event: &Event) -> Result<(), NotSent> {
        let body = event.to_bytes();
        let time = self.clock.now().as_second();
        let signature = sign(&self.key, (&event.event_id, time), &body);
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("lacuna/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &event.event_id)
            .header("webhook-timestamp", time)
            .header("webhook-signature", signature)
            .body(Bytes::from(body))
            .map_err(|_| NotSent("the webhook's address cannot be asked".to_owned()))?;
        let answer = https::send(request).await;
        let answer = answer.map_err(|error| NotSent(format!("the webhook: {error}")))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(NotSent(format!("the webhook answered with {}", status.as_u16()))),
        }
    }
}

/// The signature of an event's bytes, its id and the time it is sent at: version 1, HMAC-SHA-256.
fn sign(secret: &[u8], (id, time): (&str, i64), body: &[u8]) -> String {
    let mut signed = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    signed.update(format!("{id}.{time}.").as_bytes());
    signed.update(body);
    format!("v1,{}", STANDARD.encode(signed.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the specification's own libraries are tested by.
    #[test]
    fn a_signature_is_the_specifications() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let signature = sign(
            &secret,
            ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330),
            b"{\"test\": 2432232314}",
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
