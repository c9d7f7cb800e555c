//! The page of one plan: the purge report, what was decided, and the forms to decide.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query as Asked, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};

use crate::domain::access::Right;
use crate::domain::decision::{Decision, Verdict};
use crate::domain::plan::PlanId;
use crate::erase::approval::{Decider, decide, exception};
use crate::erase::certificate::Certificate;
use crate::erase::report::{PurgeReport, wording};
use crate::server::guard::{Caller, Fields};
use crate::server::objects::Query;
use crate::server::refusal::Refusal;
use crate::server::{Review, Site};
use crate::wire::{PlanState, Rendering};

use super::layout;
use wording::{count, moment, number, plain};

mod report;

/// What the page shows besides the report.
struct Standing {
    state: PlanState,
    decisions: Vec<Decision>,
    /// Changes that have ended, and all of them.
    ended: u64,
    has_certificate: bool,
}

pub(in crate::server) async fn one(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    Path(plan): Path<String>,
    Asked(query): Asked<Query>,
) -> Response {
    match shown(&site, &plan).await {
        Ok((review, standing)) => {
            let title = format!("Purge report {}", review.report.request);
            let body = body(&site, &caller, &review, (&standing, &query));
            match standing.state {
                PlanState::Begun => layout::live_page(&caller, &title, &body),
                _ => layout::page(Some(&caller), &title, &body),
            }
        }
        Err(refusal) => refusal.into_page(),
    }
}

async fn shown(site: &Site, plan: &str) -> Result<(Arc<Review>, Standing), Refusal> {
    let review = site.review(plan).await?;
    let id = review.report.plan_id;
    let state = site.ledger.state_of(&id, review.report.expires_at).await?;
    let ended = match state {
        PlanState::Begun => site.ledger.ended_changes(&id).await?,
        _ => 0,
    };
    let standing = Standing {
        state,
        decisions: site.ledger.decisions(&id).await?,
        ended,
        has_certificate: site.ledger.certificate(&id).await?.is_some(),
    };
    Ok((review, standing))
}

fn body(
    site: &Site,
    caller: &Caller,
    Review { report, difference }: &Review,
    (standing, query): (&Standing, &Query),
) -> Markup {
    let may_decide = caller.person.may(Right::Decide)
        && matches!(standing.state, PlanState::Undecided | PlanState::Approved);
    html! {
        h1 { "Purge report " (plain(&report.request)) " " (layout::state(standing.state)) }
        dl {
            dt { "Plan" } dd { code { (report.plan_id) } }
            dt { "Planned" } dd { (moment(report.planned_at)) }
            dt { "To decide until" }
            dd {
                (moment(report.expires_at)) " "
                span.quiet { "(" (layout::days_left(site.clock.now(), report.expires_at)) ")" }
            }
        }
        p.verdict { (report.verdict) }
        @if may_decide { p { a href="#decide" { "Go to the decision" } } }
        @if let Some(anew) = wording::anew(report.written_bytes, report.size_bytes) { p { (anew) } }
        (progress(report, standing))
        @if standing.has_certificate {
            p { a href=(format!("/plans/{}/certificate", report.plan_id)) { "The certificate" } }
        }
        (report::warnings(report))
        @if let Some(difference) = difference { (report::difference(difference)) }
        (report::subjects(report))
        (report::objects(report, query, may_decide.then(|| preview_form(caller, report)).as_ref()))
        (report::out_of_reach(report))
        (report::coverage(report))
        (decisions(&standing.decisions))
        @if may_decide { (forms(caller, report, standing.state)) }
    }
}

/// What the buttons in the table of objects send: the name of an object.
fn preview_form(caller: &Caller, report: &PurgeReport) -> Markup {
    html! {
        form #preview method="post" action=(format!("/plans/{}/preview", report.plan_id)) {
            (layout::form_token(caller))
        }
    }
}

fn progress(report: &PurgeReport, standing: &Standing) -> Markup {
    html! {
        @if standing.state == PlanState::Begun {
            p role="status" {
                label for="progress" { "Under way: " span #ended { (number(standing.ended)) } " of "
                    (count(report.objects, "object", "objects")) " dealt with" }
                br;
                progress #progress max=(report.objects) value=(standing.ended)
                    data-source=(format!("/api/v1/plans/{}/progress", report.plan_id)) {}
            }
            noscript { p { a href=(format!("/plans/{}", report.plan_id)) { "Look again" } } }
        }
    }
}

fn decisions(decisions: &[Decision]) -> Markup {
    html! {
        @if !decisions.is_empty() {
            h2 { "Decisions" }
            ol.plain {
                @for decision in decisions {
                    li {
                        (moment(decision.decided_at)) ": "
                        @match &decision.verdict {
                            Verdict::Approved { except } => {
                                "approved by " strong { (plain(&decision.by)) }
                                @if !except.is_empty() {
                                    ", except for "
                                    (count(except.len() as u64, "object", "objects"))
                                    ul { @for it in except {
                                        li.key { (plain(&format!("{}:{}", it.dataset, it.key))) }
                                    } }
                                }
                            }
                            Verdict::Rejected { reason } => {
                                "rejected by " strong { (plain(&decision.by)) } ": " (plain(reason))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The forms to decide. What is approved is named by its first characters, typed, as on the command line:
/// nobody approves by a slip of the mouse.
fn forms(caller: &Caller, report: &PurgeReport, state: PlanState) -> Markup {
    let address = |what: &str| format!("/plans/{}/{what}", report.plan_id);
    html! {
        h2 #decide { "Decide" }
        div.two {
            @if state == PlanState::Undecided {
                form #approve .stack.card method="post" action=(address("approve")) {
                    (layout::form_token(caller))
                    h3 { "Approve" }
                    p { "The rows are then blanked when the plan is carried out, and cannot be brought \
                         back. Objects that are ticked above, or named here, stay as they are." }
                    label for="except" { "Leave out, one object a line " span.quiet { "(may be empty)" } }
                    textarea #except name="except" rows="3" placeholder="DATASET:KEY" {}
                    label for="confirm" {
                        "Type " code { (report.plan_id.prefix()) } ", the beginning of the plan’s id"
                    }
                    input #confirm name="confirm" required autocomplete="off" spellcheck="false"
                        minlength="8" maxlength="64";
                    button type="submit" { "Approve" }
                }
            }
            form.stack.card method="post" action=(address("reject")) {
                (layout::form_token(caller))
                h3 { "Reject" }
                p { "The plan cannot be carried out then, unless it is approved later." }
                label for="reason" { "Why " span.quiet { "(no personal data: it is kept)" } }
                textarea #reason name="reason" rows="3" required maxlength="2000" {}
                button.quiet type="submit" { "Reject" }
            }
        }
    }
}

pub(in crate::server) async fn approve(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    Path(plan): Path<String>,
    Extension(fields): Extension<Fields>,
) -> Response {
    let lines = fields.all("except").flat_map(str::lines).map(str::trim);
    let except: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let approval = site.approve(&plan, fields.text("confirm"), &except, &caller.person.name).await;
    after(approval)
}

pub(in crate::server) async fn reject(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    Path(plan): Path<String>,
    Extension(fields): Extension<Fields>,
) -> Response {
    let rejection = site.reject(&plan, fields.text("reason"), &caller.person.name).await;
    after(rejection)
}

fn after(decided: Result<Decision, Refusal>) -> Response {
    match decided {
        Ok(decision) => Redirect::to(&format!("/plans/{}", decision.plan)).into_response(),
        Err(refusal) => refusal.into_page(),
    }
}

/// The certificate as it is stored.
pub(in crate::server) async fn certificate(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    Path(plan): Path<String>,
) -> Response {
    let read = async {
        let (id, bytes) = site.certificate(&plan, Rendering::Json).await?;
        let certificate = serde_json::from_slice::<Certificate>(&bytes).map_err(|_| {
            let message =
                "the certificate cannot be read; `lacuna audit verify` tells what is wrong";
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message)
        })?;
        Ok::<_, Refusal>((id, certificate))
    };
    match read.await {
        Ok((id, certificate)) => {
            let body = html! {
                (certificate.body())
                p { a href=(format!("/plans/{id}/certificate.pdf")) { "The same on paper (PDF)" } }
                p { a href=(format!("/plans/{id}")) { "The plan" } }
            };
            layout::page(Some(&caller), "Certificate", &body)
        }
        Err(refusal) => refusal.into_page(),
    }
}

/// The certificate as PDF.
pub(in crate::server) async fn paper(
    State(site): State<Arc<Site>>,
    Path(plan): Path<String>,
) -> Response {
    match site.certificate(&plan, Rendering::Pdf).await {
        Ok((id, bytes)) => {
            let file = format!("attachment; filename=\"certificate-{}.pdf\"", id.prefix());
            let kind = (header::CONTENT_TYPE, "application/pdf".to_owned());
            ([kind, (header::CONTENT_DISPOSITION, file)], bytes).into_response()
        }
        Err(refusal) => refusal.into_page(),
    }
}

/// Decisions, for pages and API alike.
impl Site {
    /// Approves a plan whose id begins as `confirm` says, except for these objects.
    pub(in crate::server) async fn approve(
        &self,
        plan: &str,
        confirm: &str,
        except: &[&str],
        by: &str,
    ) -> Result<Decision, Refusal> {
        let id = self.ledger.find_plan(plan).await?;
        self.confirmed(&id, confirm)?;
        let plan = self.ledger.plan(&id).await?;
        let except = (1..).zip(except).map(|(place, text)| exception(&plan, text, place));
        let except = except.collect::<Result<Vec<_>, _>>()?;
        let verdict = Verdict::Approved { except };
        self.decide(&id, verdict, self.decider(by)).await
    }

    /// Whether the beginning of the plan's id was typed, so that nobody approves by a slip.
    pub(in crate::server) fn confirmed(&self, id: &PlanId, typed: &str) -> Result<(), Refusal> {
        let typed = typed.trim().to_ascii_lowercase();
        if typed.len() >= 8 && id.to_string().starts_with(&typed) {
            return Ok(());
        }
        let message = "not confirmed: these are not the first 8 characters of the plan's id";
        Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, message)
            .remedy("nothing was done; go back and type them as the page shows them"))
    }

    /// Stores a decision.
    pub(in crate::server) async fn decide(
        &self,
        id: &PlanId,
        verdict: Verdict,
        decider: Decider<'_>,
    ) -> Result<Decision, Refusal> {
        Ok(decide(&self.ledger, id, verdict, decider, &self.clock).await?)
    }

    /// Rejects a plan.
    pub(in crate::server) async fn reject(
        &self,
        plan: &str,
        reason: &str,
        by: &str,
    ) -> Result<Decision, Refusal> {
        let id = self.ledger.find_plan(plan).await?;
        let verdict = Verdict::Rejected { reason: reason.trim().to_owned() };
        self.decide(&id, verdict, self.decider(by)).await
    }

    /// The last certificate of a plan, as it is stored.
    pub(in crate::server) async fn certificate(
        &self,
        plan: &str,
        rendering: Rendering,
    ) -> Result<(PlanId, bytes::Bytes), Refusal> {
        let id = self.ledger.find_plan(plan).await?;
        let stored = self.ledger.certificate_rendering(&id, rendering).await?;
        let missing = || {
            Refusal::new(StatusCode::NOT_FOUND, "the plan has no certificate yet")
                .remedy(format!("make one: lacuna certificate {}", id.prefix()))
        };
        stored.map(|bytes| (id, bytes)).ok_or_else(missing)
    }
}
