//! The frame of every page, and the small parts that pages share. Markup is written with `maud`, which
//! escapes whatever is not written in the program itself; what comes from keys and references also goes
//! through [`plain`], so that nothing can turn the direction of text.

use maud::{DOCTYPE, Markup, html};

use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};

use crate::domain::Timestamp;
use crate::erase::report::wording::{day, plain};
use crate::server::guard::{Caller, FORM_TOKEN, LIVE_POLICY};
use crate::server::refusal::Refusal;
use crate::wire::PlanState;

/// A page for a caller, or for somebody who is not known yet.
pub(in crate::server) fn page(caller: Option<&Caller>, title: &str, body: &Markup) -> Response {
    frame(caller, title, &html! {}, body)
}

/// A page whose script renews what changes; without a script it is renewed by hand. A page that renewed all of
/// itself again and again would take the place in it from whoever reads it slowly (WCAG 2.2.1).
pub(in crate::server) fn live_page(caller: &Caller, title: &str, body: &Markup) -> Response {
    let head = html! { script src="/live.js" defer {} };
    let mut response = frame(Some(caller), title, &head, body);
    let policy = HeaderValue::from_static(LIVE_POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// A page that leads on to another one by itself.
pub(in crate::server) fn leading_on(to: &str) -> Response {
    let body = html! {
        h1 { "Signed in" }
        p { a href=(to) { "Go on" } }
    };
    let head = html! { meta http-equiv="refresh" content=(format!("0; url={to}")); };
    frame(None, "Signed in", &head, &body)
}

fn frame(caller: Option<&Caller>, title: &str, head: &Markup, body: &Markup) -> Response {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                (head)
                title { (plain(title)) " – Lacuna" }
                link rel="stylesheet" href="/style.css";
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header.top {
                    div.wide {
                        a.brand href="/" { "Lacuna" }
                        @if let Some(caller) = caller { (who(caller)) }
                    }
                }
                main #content tabindex="-1" { (body) }
            }
        }
    };
    Html(markup.into_string()).into_response()
}

fn who(caller: &Caller) -> Markup {
    let roles: Vec<&str> = caller.person.roles.iter().map(|role| role.as_str()).collect();
    html! {
        nav aria-label="Pages" { a href="/" { "Plans" } " " a href="/requests" { "Requests" } }
        form.who method="post" action="/sign-out" {
            (form_token(caller))
            span { (plain(&caller.person.name)) " " span.quiet { "(" (roles.join(", ")) ")" } }
            button.plain type="submit" { "Sign out" }
        }
    }
}

/// What every form of a session carries.
pub(in crate::server) fn form_token(caller: &Caller) -> Markup {
    html! { input type="hidden" name=(FORM_TOKEN) value=(caller.form_token()); }
}

/// The page that says why something was not done.
pub(in crate::server) fn refusal(refusal: &Refusal) -> Response {
    let title = refusal.status.canonical_reason().unwrap_or("Not done");
    page(
        None,
        title,
        &html! {
            h1 { (title) }
            p.verdict { (sentence(&refusal.message)) }
            @if let Some(remedy) = &refusal.remedy { p { (sentence(remedy)) } }
            p { a href="/" { "All plans" } }
        },
    )
}

/// The plan's state, in a word.
pub(in crate::server) fn state(state: PlanState) -> Markup {
    let (class, word) = match state {
        PlanState::Undecided => ("open", "to decide"),
        PlanState::Approved => ("going", "approved"),
        PlanState::Rejected => ("ended", "rejected"),
        PlanState::Expired => ("ended", "expired"),
        PlanState::Begun => ("going", "under way"),
        PlanState::Finished => ("done", "finished"),
        PlanState::Damaged => ("alert", "damaged"),
    };
    html! { span class={ "state " (class) } { (word) } }
}

/// How long there is until a moment, in days.
pub(in crate::server) fn days_left(now: Timestamp, until: Timestamp) -> String {
    let seconds = until.as_second() - now.as_second();
    match seconds {
        ..=0 => format!("ended on {}", day(until)),
        1..86_400 => "less than a day left".to_owned(),
        86_400..172_800 => "1 day left".to_owned(),
        more => format!("{} days left", more / 86_400),
    }
}

/// A message of ours as a sentence.
pub(in crate::server) fn sentence(message: &str) -> String {
    let mut characters = message.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string());
    let text = first.unwrap_or_default() + characters.as_str();
    if text.ends_with(['.', '!', '?']) { text } else { text + "." }
}

/// A table that scrolls by itself where the window is narrow, by the keyboard too.
pub(in crate::server) fn table(caption: &str, heads: Markup, rows: Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) }
                thead { tr { (heads) } }
                tbody { (rows) }
            }
        }
    }
}
