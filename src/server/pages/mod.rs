//! The pages. Each takes a [`Site`](super::Site) and a caller and answers with markup; none of them needs
//! a script.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::Site;
use super::guard::{self, Caller, Fields};
use super::people::SignIn;
use super::refusal::Refusal;

pub(super) mod layout;
pub(super) mod link;
pub(super) mod oidc;
pub(super) mod plan;
pub(super) mod plans;
pub(super) mod preview;
pub(super) mod requests;

/// What of a list is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Show {
    /// What waits for something.
    #[default]
    Open,
    /// All.
    All,
}

/// What an address says of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    show: Show,
}

/// What an address gives the page to go on to.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Onward {
    to: String,
}

/// Where to go after signing in: a page of ours, whatever the address says.
fn onward(to: &str) -> &str {
    let is_tame = to.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let is_page = to.starts_with('/') && !to.starts_with("//") && is_tame;
    if is_page { to } else { "/" }
}

pub(super) async fn sign_in(
    State(site): State<Arc<Site>>,
    Query(Onward { to }): Query<Onward>,
) -> Response {
    sign_in_form(&site, onward(&to), None)
}

fn oidc_address(to: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::from("/sign-in/oidc?"));
    query.append_pair("to", to).finish()
}

fn sign_in_form(site: &Site, to: &str, wrong: Option<&str>) -> Response {
    let body = html! {
        div.narrow {
            h1 { "Sign in" }
            @if let Some(wrong) = wrong { p.alert role="alert" { (wrong) } }
            @if site.provider.is_some() {
                // A link and no form, whose way our own policy would end at this server.
                p { a.button href=(oidc_address(to)) { "Sign in with your organisation" } }
            }
            @if site.provider.is_none() || site.people.has_passwords() { (password_form(to)) }
        }
    };
    layout::page(None, "Sign in", &body)
}

fn password_form(to: &str) -> Markup {
    html! {
        form.stack method="post" action="/sign-in" {
            input type="hidden" name="to" value=(to);
            label for="name" { "Name" }
            input #name name="name" autocomplete="username" required autofocus[true];
            label for="password" { "Password" }
            input #password name="password" type="password" autocomplete="current-password" required;
            button type="submit" { "Sign in" }
        }
    }
}

pub(super) async fn signed_in(
    State(site): State<Arc<Site>>,
    Extension(fields): Extension<Fields>,
    request: axum::extract::Request,
) -> Response {
    let from = guard::peer(request.extensions());
    let to = onward(fields.text("to"));
    let tried = site.people.by_password(fields.text("name"), fields.text("password"), &from).await;
    let (status, wrong) = match tried {
        SignIn::Welcome(person) => match site.sessions.begin(person) {
            Some(token) => return welcome(&site, &token, to),
            None => (StatusCode::INTERNAL_SERVER_ERROR, "The system gave no random bytes."),
        },
        SignIn::Wrong => {
            (StatusCode::UNPROCESSABLE_ENTITY, "Name and password do not belong together.")
        }
        SignIn::TooMany => {
            (StatusCode::TOO_MANY_REQUESTS, "Too many failures. Try again in a quarter of an hour.")
        }
    };
    (status, sign_in_form(&site, to, Some(wrong))).into_response()
}

fn welcome(site: &Site, token: &str, to: &str) -> Response {
    let mut response = Redirect::to(to).into_response();
    set_cookie(site, &mut response, &format!("{}={token}", site.cookie_name()));
    response
}

fn set_cookie(site: &Site, response: &mut Response, cookie: &str) {
    let secure = if site.is_https() { "; Secure" } else { "" };
    let cookie = format!("{cookie}; Path=/; HttpOnly; SameSite=Strict{secure}");
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

pub(super) async fn signed_out(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
) -> Response {
    if let Some((key, _)) = &caller.session {
        site.sessions.end(key);
    }
    let mut response = Redirect::to("/sign-in").into_response();
    set_cookie(&site, &mut response, &format!("{}=; Max-Age=0", site.cookie_name()));
    response
}

pub(super) async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("style.css")).into_response()
}

/// The one script, of the page of a running erasure.
pub(super) async fn live() -> Response {
    let kind = (header::CONTENT_TYPE, "text/javascript; charset=utf-8");
    ([kind], include_str!("live.js")).into_response()
}

pub(super) async fn nothing_here(uri: Uri) -> Response {
    refused(&uri, Refusal::not_found())
}

pub(super) async fn wrong_method(uri: Uri) -> Response {
    refused(
        &uri,
        Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this address is not asked that way"),
    )
}

fn refused(uri: &Uri, refusal: Refusal) -> Response {
    if guard::is_api(uri) { refusal.into_json() } else { refusal.into_page() }
}
