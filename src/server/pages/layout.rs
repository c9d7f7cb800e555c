//! The frame of every page, and the small parts that pages share. Markup is written with `maud`, which
//! escapes whatever is not written in the program itself; what comes from keys and references also goes
//! through [`plain`], so that nothing can turn the direction of text.

use maud::{DOCTYPE, Markup, html};

use axum::response::{Html, IntoResponse, Response};

use crate::domain::Timestamp;
use crate::erase::report::wording::{day, plain};
use crate::server::guard::{Caller, FORM_TOKEN};
use crate::server::refusal::Refusal;
use crate::wire::PlanState;

/// A page for a caller, or for somebody who is not known yet.
pub(in crate::server) fn page(caller: Option<&Caller>, title: &str, body: &Markup) -> Response {
    frame(caller, title, None, body)
}

/// A page that asks for itself again after so many seconds.
pub(in crate::server) fn live_page(
    caller: &Caller,
    title: &str,
    seconds: u32,
    body: &Markup,
) -> Response {
    frame(Some(caller), title, Some(seconds), body)
}

fn frame(caller: Option<&Caller>, title: &str, refresh: Option<u32>, body: &Markup) -> Response {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                @if let Some(seconds) = refresh { meta http-equiv="refresh" content=(seconds); }
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
