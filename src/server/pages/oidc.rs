//! Signing in by an identity provider: away to it, and back.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use crate::server::Site;
use crate::server::oidc::{NotIdentified, PATIENCE_SECONDS};
use crate::server::refusal::Refusal;

use super::{Onward, layout, onward, set_cookie};

/// What a browser keeps until it comes back. Unlike a session's it goes with the way back from the
/// provider, which is another site.
const COOKIE: &str = "lacuna-sign-in";

/// What the provider sends people back with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::server) struct Back {
    state: String,
    code: Option<String>,
    /// Why there is no code; providers that refuse do not all say what they were asked.
    error: Option<String>,
}

pub(in crate::server) async fn away(
    State(site): State<Arc<Site>>,
    Query(Onward { to }): Query<Onward>,
) -> Response {
    let Some(provider) = &site.provider else { return Refusal::not_found().into_page() };
    match provider.begin(onward(&to)).await {
        Ok(begun) => {
            let mut response = Redirect::to(&begun.location).into_response();
            keep(&site, &mut response, &begun.browser, PATIENCE_SECONDS);
            response
        }
        Err(error) => refused(error).into_page(),
    }
}

pub(in crate::server) async fn back(
    State(site): State<Arc<Site>>,
    Query(back): Query<Back>,
    headers: HeaderMap,
) -> Response {
    let mut response = match welcomed(&site, &back, &headers).await {
        Ok((token, to)) => {
            // A session's cookie is not sent with a redirect that another site began, so that a page of
            // ours leads on.
            let mut response = layout::leading_on(&to);
            set_cookie(&site, &mut response, &format!("{}={token}", site.cookie_name()));
            response
        }
        Err(refusal) => refusal.into_page(),
    };
    keep(&site, &mut response, "", 0);
    response
}

async fn welcomed(
    site: &Site,
    back: &Back,
    headers: &HeaderMap,
) -> Result<(String, String), Refusal> {
    let Some(provider) = &site.provider else { return Err(Refusal::not_found()) };
    if back.error.is_some() {
        return Err(refused(NotIdentified::Denied));
    }
    let browser = kept(headers).unwrap_or_default();
    let found = provider.end(&back.state, back.code.as_deref(), browser).await.map_err(refused)?;
    let person = site.people.by_identity(&found.subject, found.email.as_deref());
    let person = person.ok_or_else(|| {
        Refusal::new(
            StatusCode::FORBIDDEN,
            "the identity provider knows you, and this server does not",
        )
        .remedy("ask for a [[server.user]] with your `subject`, or your verified `email`")
    })?;
    let token = site.sessions.begin(person).ok_or_else(|| refused(NotIdentified::NoRandom))?;
    Ok((token, onward(&found.to).to_owned()))
}

fn refused(error: NotIdentified) -> Refusal {
    let status = match error {
        NotIdentified::Unknown => StatusCode::UNPROCESSABLE_ENTITY,
        NotIdentified::Denied | NotIdentified::Token => StatusCode::FORBIDDEN,
        NotIdentified::Provider | NotIdentified::Refused { .. } => StatusCode::BAD_GATEWAY,
        NotIdentified::NoRandom => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Refusal::new(status, error.to_string()).remedy("begin again at /sign-in")
}

fn kept(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|it| it.split(';')).filter_map(|it| it.split_once('='));
    pairs.find(|(name, _)| name.trim() == COOKIE).map(|(_, value)| value.trim())
}

fn keep(site: &Site, response: &mut Response, value: &str, seconds: i64) {
    let secure = if site.is_https() { "; Secure" } else { "" };
    let cookie = format!(
        "{COOKIE}={value}; Path=/sign-in/oidc; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
    );
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}
