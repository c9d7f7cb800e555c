//! What every request has to pass before anything is done for it: the right host, a known caller, the
//! right that the route takes, and for what changes something the proof that it comes from our own page.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};

use crate::domain::access::Right;

use super::Site;
use super::people::Person;
use super::refusal::Refusal;
use super::sessions::SessionKey;

/// The longest body of a request, in bytes: the exceptions of a large plan fit.
pub(super) const LONGEST_BODY: usize = 4 << 20;

/// How long a body may take to arrive.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// The field of a form that carries the session's token.
pub(super) const FORM_TOKEN: &str = "form_token";

/// What goes with every answer. Nothing is loaded but our own style sheet; nothing is kept by a
/// browser or a proxy; no other site may show a page in a frame. The referrer stays within the site
/// and is not suppressed, since a browser that may not send one sends no origin with a form either.
const HEADERS: [(HeaderName, &str); 9] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    (HeaderName::from_static("x-robots-tag"), "noindex"),
];

/// The policy of a page with our own script, which asks our own server alone.
pub(super) const LIVE_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; \
     script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'";

/// What a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: the sign-in page, the style sheet.
    Nothing,
    /// To be known.
    SignedIn,
    /// A right.
    Right(Right),
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub person: Arc<Person>,
    /// The session, for who signed in to the pages; none for who brought a token.
    pub session: Option<(SessionKey, Arc<str>)>,
}

impl Caller {
    /// What a form on a page for this caller has to carry.
    pub fn form_token(&self) -> &str {
        self.session.as_ref().map_or("", |(_, token)| token)
    }
}

/// The fields of a form, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// The field of this name; empty where there is none.
    pub fn text(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(field, _)| field == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// Every field of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

/// Around everything: the host, and what goes with every answer.
pub(super) async fn around(
    State(site): State<Arc<Site>>,
    request: Request,
    next: Next,
) -> Response {
    let is_api = is_api(request.uri());
    let mut response = match site.is_our_host(request.headers()) {
        true => next.run(request).await,
        false => {
            let refusal = Refusal::new(
                StatusCode::MISDIRECTED_REQUEST,
                "this server does not answer for the host that was asked for",
            )
            .remedy("set `url` of [server] to the address under which people reach it");
            if is_api { refusal.into_json() } else { refusal.into_page() }
        }
    };
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    if site.is_https() {
        let value = HeaderValue::from_static("max-age=31536000");
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
    response
}

/// Around one route: lets through who may, and hands on who it is and what the form says.
pub(super) async fn admit(
    State((site, needs)): State<(Arc<Site>, Needs)>,
    request: Request,
    next: Next,
) -> Response {
    let uri = request.uri().clone();
    let is_page_visit = matches!(*request.method(), Method::GET | Method::HEAD) && !is_api(&uri);
    match checked(&site, needs, request).await {
        Ok(request) => next.run(request).await,
        Err(refusal) if refusal.status == StatusCode::UNAUTHORIZED && is_page_visit => {
            let asked: String = form_urlencoded::byte_serialize(uri.path().as_bytes()).collect();
            Redirect::to(&format!("/sign-in?to={asked}")).into_response()
        }
        Err(refusal) if is_api(&uri) => refusal.into_json(),
        Err(refusal) => refusal.into_page(),
    }
}

async fn checked(site: &Site, needs: Needs, mut request: Request) -> Result<Request, Refusal> {
    let caller = caller(site, request.headers());
    check_pace(site, caller.as_ref(), &request)?;
    match (needs, &caller) {
        (Needs::Nothing, _) | (Needs::SignedIn, Some(_)) => {}
        (_, None) => {
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "you are not signed in")
                .remedy("sign in, or send a token: Authorization: Bearer TOKEN"));
        }
        (Needs::Right(right), Some(caller)) if !caller.person.may(right) => {
            let message = format!("this takes {}", right.holders());
            return Err(Refusal::new(StatusCode::FORBIDDEN, message)
                .remedy("roles are given in [[server.user]] of the configuration"));
        }
        (Needs::Right(_), Some(_)) => {}
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let has_token = caller.as_ref().is_some_and(|caller| caller.session.is_none());
    if changes && !has_token {
        site.check_origin(request.headers())?;
    }
    if changes {
        request = with_fields(request, caller.as_ref()).await?;
    }
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    Ok(request)
}

/// A caller who is known is counted by name, everybody else by where they come from.
fn check_pace(site: &Site, caller: Option<&Caller>, request: &Request) -> Result<(), Refusal> {
    let name = match caller {
        Some(caller) => format!("as {}", caller.person.name),
        None => format!("from {}", peer(request.extensions())),
    };
    site.pace.check(&name).map_err(|seconds| {
        Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too many requests in a minute")
            .remedy(format!("wait {seconds} seconds"))
            .retry_after(seconds)
    })
}

/// Who asks: by a token, or by the session's cookie.
fn caller(site: &Site, headers: &HeaderMap) -> Option<Caller> {
    if let Some(authorization) = headers.get(header::AUTHORIZATION) {
        let token = authorization.to_str().ok()?.strip_prefix("Bearer ")?;
        let person = site.people.by_token(token.trim())?;
        return Some(Caller { person, session: None });
    }
    let name = site.cookie_name();
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs =
        cookies.flat_map(|cookies| cookies.split(';')).filter_map(|it| it.split_once('='));
    let (_, token) = pairs.find(|(known, _)| known.trim() == name)?;
    let (key, session) = site.sessions.find(token.trim())?;
    Some(Caller { person: session.person, session: Some((key, session.form_token)) })
}

/// Reads a form, and checks that it carries the session's token. A program with a session sends the token
/// in a header instead.
async fn with_fields(request: Request, caller: Option<&Caller>) -> Result<Request, Refusal> {
    let (mut parts, body) = request.into_parts();
    let read = tokio::time::timeout(LONGEST_WAIT, to_bytes(body, LONGEST_BODY)).await;
    let read = read.map_err(|_| {
        Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request did not come to its end in time")
    })?;
    let body = read.map_err(|_| {
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large, or broke off")
    })?;
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_form = kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let fields = match is_form {
        true => Fields(form_urlencoded::parse(&body).into_owned().collect()),
        false => Fields::default(),
    };
    if let Some((_, expected)) = caller.and_then(|caller| caller.session.as_ref()) {
        let sent = parts.headers.get("x-form-token").and_then(|value| value.to_str().ok());
        let sent = sent.unwrap_or_else(|| fields.text(FORM_TOKEN));
        if !is_same(sent, expected) {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "the form is not from your session")
                .remedy("open the page again and repeat it; nothing was done"));
        }
    }
    parts.extensions.insert(fields);
    Ok(Request::from_parts(parts, Body::from(body)))
}

/// Compares digests, so that the time does not tell how much of a guess is right.
fn is_same(left: &str, right: &str) -> bool {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(left) == Sha256::digest(right)
}

pub(super) fn is_api(uri: &Uri) -> bool {
    uri.path().starts_with("/api/")
}

/// Where a request comes from.
pub(super) fn peer(request: &axum::http::Extensions) -> String {
    let peer = request.get::<ConnectInfo<SocketAddr>>();
    peer.map_or_else(|| "unknown".to_owned(), |ConnectInfo(address)| address.ip().to_string())
}
