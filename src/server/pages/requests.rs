//! The pages of the request register: what is due when, what became of a request, and the forms to enter
//! more.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::civil::Date;
use maud::{Markup, html};

use crate::domain::access::Right;
use crate::domain::dataset::DatasetName;
use crate::domain::deadline::Jurisdiction;
use crate::domain::register::{
    DueDay, Extent, Happening, NotAText, RegisteredRequest, RequestState,
};
use crate::erase::report::wording::{due_day, happened, moment, plain, until};
use crate::server::Site;
use crate::server::guard::{Caller, Fields};
use crate::server::refusal::Refusal;
use crate::server::register::{Listed, Receipt, Request, Requests};
use crate::wire::PlanListing;

use super::{Asked, Show, layout};

pub(in crate::server) async fn all(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    Query(asked): Query<Asked>,
) -> Response {
    match site.requests().await {
        Ok(requests) => {
            layout::page(Some(&caller), "Requests", &list(&caller, &requests, asked.show))
        }
        Err(refusal) => refusal.into_page(),
    }
}

fn list(caller: &Caller, requests: &Requests, show: Show) -> Markup {
    let is_open = |it: &&Listed| it.entry.due.is_some();
    let open = requests.requests.iter().filter(is_open).count();
    let shown: Vec<&Listed> =
        requests.requests.iter().filter(|it| show == Show::All || is_open(it)).collect();
    html! {
        h1 { "Requests" }
        nav.tabs aria-label="Which requests" {
            a href="/requests" aria-current=[(show == Show::Open).then_some("page")] {
                "Open " (open)
            }
            a href="/requests?show=all" aria-current=[(show == Show::All).then_some("page")] {
                "All " (requests.requests.len())
            }
        }
        @for damaged in &requests.damaged { p.alert { (layout::sentence(&plain(damaged))) } }
        @if shown.is_empty() {
            p { "There is no request here." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Requests" {
                table {
                    thead { tr {
                        th scope="col" { "Request" } th scope="col" { "State" }
                        th scope="col" { "Law" } th scope="col" { "Received" }
                        th scope="col" { "Due" } th.number scope="col" { "Holds" }
                    } }
                    tbody { @for it in shown { (line(it)) } }
                }
            }
        }
        @if caller.person.may(Right::Request) { (receive_form(caller)) }
    }
}

fn line(listed: &Listed) -> Markup {
    let (id, entry) = (&listed.id, &listed.entry);
    let request = &entry.request;
    html! {
        tr {
            td { a href={ "/requests/" (id) } { (request.reference) } }
            td { (state(request.state, entry.due.as_ref())) }
            td { (request.receipt.jurisdiction) }
            td { (request.receipt.received_on) }
            td { @if let Some(due) = &entry.due { (due_day(due)) } @else { "–" } }
            td.number { (entry.standing_holds) }
        }
    }
}

fn state(state: RequestState, due: Option<&DueDay>) -> Markup {
    let (class, word) = match due {
        Some(due) if due.is_overdue => ("alert", "overdue"),
        Some(due) if due.days_left <= 7 => ("open", "due soon"),
        Some(_) => ("going", "open"),
        None if state == RequestState::Closed => ("done", "closed"),
        None => ("ended", state.as_str()),
    };
    html! { span class={ "state " (class) } { (word) } }
}

pub(in crate::server) async fn one(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    Path(request): Path<String>,
) -> Response {
    let found = async {
        let request = site.request(&request).await?;
        let reference = request.listed.entry.request.reference.as_str();
        let mut plans = site.ledger.plans().await?;
        plans.retain(|it| it.summary.as_ref().is_some_and(|of| of.request.trim() == reference));
        Ok::<_, Refusal>((request, plans))
    };
    match found.await {
        Ok((request, plans)) => {
            let title = format!("Request {}", request.listed.entry.request.reference);
            layout::page(Some(&caller), &title, &page(&site, &caller, &request, &plans))
        }
        Err(refusal) => refusal.into_page(),
    }
}

fn page(site: &Site, caller: &Caller, request: &Request, plans: &[PlanListing]) -> Markup {
    let entry = &request.listed.entry;
    let it = &entry.request;
    html! {
        h1 { "Request " (it.reference) " " (state(it.state, entry.due.as_ref())) }
        dl {
            dt { "Law" } dd { (it.receipt.jurisdiction) }
            dt { "Received" } dd { (it.receipt.received_on) }
            @if let Some(due) = &entry.due { dt { "Due" } dd { (due_day(due)) } }
            @if let Some(channel) = &it.receipt.channel { dt { "Came by" } dd { (channel) } }
            @if let Some(ground) = &it.receipt.ground { dt { "Ground" } dd { (ground) } }
        }
        @if entry.standing_holds > 0 || !it.exemptions.is_empty() { (kept(it, request.today)) }
        h2 { "Plans" }
        @if plans.is_empty() {
            p { "None yet. An erasure is planned by " code { "lacuna plan --request " (it.reference) } "." }
        } @else {
            ul.plain { @for plan in plans {
                li { a href={ "/plans/" (plan.id) } { (plan.id.prefix()) } " " (layout::state(plan.state)) }
            } }
        }
        h2 { "What happened" }
        ol.plain start="0" { @for event in &request.history {
            li { (moment(event.at)) ", " strong { (plain(event.by.as_str())) } ": " (happened(&event.happened)) }
        } }
        @if caller.person.may(Right::Request) { (forms(site, caller, request)) }
    }
}

fn kept(request: &RegisteredRequest, today: Date) -> Markup {
    html! {
        h2 { "Kept" }
        ul.plain {
            @for hold in request.standing_holds(today) {
                li { "Hold " (hold.number) " on " (plain(&hold.extent.to_string())) " (" (hold.basis) ")"
                    (until(hold.until)) ", set by " (plain(hold.by.as_str())) }
            }
            @for it in &request.exemptions {
                li { "Exempt: " (plain(&it.extent.to_string())) " (" (it.basis.as_str()) ")"
                    (until(it.until)) }
            }
        }
    }
}

fn receive_form(caller: &Caller) -> Markup {
    html! {
        h2 { "A request came in" }
        form.stack.card method="post" action="/requests" {
            (layout::form_token(caller))
            label for="reference" { "Reference " span.quiet { "(no personal data: it is kept)" } }
            input #reference name="reference" required maxlength="64" autocomplete="off";
            label for="jurisdiction" { "Law" }
            select #jurisdiction name="jurisdiction" {
                @for it in Jurisdiction::ALL { option value=(it) { (it) } }
            }
            label for="days" { "Days to answer " span.quiet { "(for “other” alone)" } }
            input #days name="days" inputmode="numeric" maxlength="4";
            label for="received_on" { "Received on" }
            input #received_on name="received_on" type="date" required;
            label for="channel" { "Came by " span.quiet { "(such as web-form; may be empty)" } }
            input #channel name="channel" maxlength="64";
            button type="submit" { "Register" }
        }
    }
}

/// The forms for what may follow.
fn forms(site: &Site, caller: &Caller, request: &Request) -> Markup {
    let it = &request.listed.entry.request;
    let address = format!("/requests/{}/events", request.listed.id);
    let simple = |event: &str, words: &str| {
        html! {
            form method="post" action=(address) {
                (layout::form_token(caller))
                button.quiet type="submit" name="event" value=(event) { (words) }
            }
        }
    };
    let is_open = it.state == RequestState::Open;
    html! {
        h2 { "Enter" }
        div.filter {
            @if is_open && it.acknowledged_at.is_none() { (simple("acknowledged", "Acknowledged")) }
            @if is_open && it.verified_at.is_none() { (simple("verified", "Identity verified")) }
            @if it.state != RequestState::Closed { (simple("closed", "Close")) }
            @if is_open { (simple("withdrawn", "Withdrawn by the person")) }
            @if !is_open { (simple("reopened", "Reopen")) }
            @for hold in it.standing_holds(request.today) {
                form method="post" action=(address) {
                    (layout::form_token(caller))
                    input type="hidden" name="hold" value=(hold.number);
                    button.quiet type="submit" name="event" value="released" {
                        "Release hold " (hold.number)
                    }
                }
            }
        }
        @if is_open {
            div.two {
                (hold_form(site, caller, &address))
                @if it.can_be_extended() {
                    (extend_form(caller, &address))
                }
            }
        }
    }
}

fn hold_form(site: &Site, caller: &Caller, address: &str) -> Markup {
    html! {
        form.stack.card method="post" action=(address) {
            (layout::form_token(caller))
            input type="hidden" name="event" value="held";
            h3 { "Hold" }
            p { "Nothing of it is erased until somebody else releases it, or its last day is past." }
            label for="dataset" { "On" }
            select #dataset name="dataset" {
                option value="" { "the whole request" }
                @for it in &site.datasets { option value=(plain(it.as_str())) { (plain(it.as_str())) } }
            }
            label for="basis" { "Why, as a code" }
            input #basis name="basis" required maxlength="64" placeholder="lawsuit-12";
            label for="until" { "Last day " span.quiet { "(may be empty)" } }
            input #until name="until" type="date";
            button type="submit" { "Hold" }
        }
    }
}

fn extend_form(caller: &Caller, address: &str) -> Markup {
    html! {
        form.stack.card method="post" action=(address) {
            (layout::form_token(caller))
            input type="hidden" name="event" value="extended";
            h3 { "Extend" }
            p { "The person has to be told so, with the reason, within the first term." }
            label for="noticed_on" { "Told on" }
            input #noticed_on name="noticed_on" type="date" required;
            label for="reason" { "Why " span.quiet { "(no personal data: it is kept)" } }
            input #reason name="reason" required maxlength="500";
            button type="submit" { "Extend" }
        }
    }
}

pub(in crate::server) async fn receive(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    Extension(fields): Extension<Fields>,
) -> Response {
    let received = async { site.receive(receipt(&fields)?, &caller.person.name).await };
    after(received.await)
}

pub(in crate::server) async fn happen(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    Path(request): Path<String>,
    Extension(fields): Extension<Fields>,
) -> Response {
    let entered = async { site.happen(&request, happening(&fields)?, &caller.person.name).await };
    after(entered.await)
}

fn after(entered: Result<Request, Refusal>) -> Response {
    match entered {
        Ok(request) => Redirect::to(&format!("/requests/{}", request.listed.id)).into_response(),
        Err(refusal) => refusal.into_page(),
    }
}

fn receipt(fields: &Fields) -> Result<Receipt, Refusal> {
    let jurisdiction = fields.text("jurisdiction");
    let known = Jurisdiction::ALL.into_iter().find(|it| it.as_str() == jurisdiction);
    Ok(Receipt {
        reference: text(fields, "reference")?,
        jurisdiction: known.ok_or_else(|| wrong("jurisdiction", "is none of the list"))?,
        days: optional(fields, "days", "is a number of days")?,
        ground: None,
        channel: match fields.text("channel").trim() {
            "" => None,
            _ => Some(text(fields, "channel")?),
        },
        received_on: required(fields, "received_on", DAY)?,
    })
}

const DAY: &str = "is a day, as 2026-05-04";

fn happening(fields: &Fields) -> Result<Happening, Refusal> {
    Ok(match fields.text("event") {
        "acknowledged" => Happening::Acknowledged {},
        "verified" => Happening::Verified {},
        "closed" => Happening::Closed {},
        "withdrawn" => Happening::Withdrawn {},
        "reopened" => Happening::Reopened {},
        "released" => {
            Happening::Released { hold: required(fields, "hold", "is the number of a hold")? }
        }
        "extended" => Happening::Extended {
            reason: text(fields, "reason")?,
            noticed_on: required(fields, "noticed_on", DAY)?,
        },
        "held" => Happening::Held {
            extent: match fields.text("dataset") {
                "" => Extent::Request {},
                name => Extent::Dataset { dataset: DatasetName::new(name) },
            },
            basis: text(fields, "basis")?,
            until: optional(fields, "until", DAY)?,
        },
        _ => return Err(wrong("event", "is none of the list")),
    })
}

/// A field with a text of the register.
fn text<T: std::str::FromStr<Err = NotAText>>(fields: &Fields, name: &str) -> Result<T, Refusal> {
    fields.text(name).parse().map_err(|problem: NotAText| wrong(name, &problem.to_string()))
}

fn required<T: std::str::FromStr>(fields: &Fields, name: &str, what: &str) -> Result<T, Refusal> {
    fields.text(name).trim().parse().map_err(|_| wrong(name, what))
}

fn optional<T: std::str::FromStr>(
    fields: &Fields,
    name: &str,
    what: &str,
) -> Result<Option<T>, Refusal> {
    match fields.text(name).trim() {
        "" => Ok(None),
        _ => required(fields, name, what).map(Some),
    }
}

/// A field that cannot be used; the message does not repeat it.
fn wrong(name: &str, what: &str) -> Refusal {
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the field `{name}` {what}"))
        .remedy("nothing was entered; go back and mend it")
}
