//! What a link in a mail leads to: the plan in short, and the form to decide. To look changes nothing, so that
//! whatever follows links in mails decides nothing; the form decides, once, without signing in.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use crate::domain::access::Right;
use crate::domain::decision::Verdict;
use crate::domain::link::{Link, LinkAction};
use crate::erase::approval::Decider;
use crate::erase::report::PurgeReport;
use crate::erase::report::wording::{count, moment, plain};
use crate::server::guard::Fields;
use crate::server::refusal::Refusal;
use crate::server::{Review, Site};

use super::layout;

/// The field with the link, in the address and in the form.
const LINK: &str = "link";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::server) struct Asked {
    link: String,
}

pub(in crate::server) async fn one(
    State(site): State<Arc<Site>>,
    Query(asked): Query<Asked>,
) -> Response {
    match site.followed(&asked.link).await {
        Ok((link, review)) => {
            let body = body(&asked.link, &link, &review.report);
            layout::page(None, "Decide", &body)
        }
        Err(refusal) => refusal.into_page(),
    }
}

fn body(text: &str, link: &Link, report: &PurgeReport) -> Markup {
    html! {
        h1 { "Purge report " (plain(&report.request)) }
        dl {
            dt { "Plan" } dd { code { (report.plan_id) } }
            dt { "Planned" } dd { (moment(report.planned_at)) }
            dt { "For" } dd { (plain(&link.by)) }
            dt { "Link good until" } dd { (moment(link.expires_at)) }
        }
        p.verdict { (report.verdict) }
        @if !report.warnings.is_empty() {
            ul.warnings { @for warning in &report.warnings { li { (warning.text) } } }
        }
        p {
            (count(report.subjects.len() as u64, "person was found", "people were found")) "; "
            (report.not_found.len()) " not. "
            a href={ "/plans/" (report.plan_id) } { "The whole report" } " (takes signing in)"
        }
        form.stack.card method="post" action="/decide" {
            input type="hidden" name=(LINK) value=(text);
            @match link.action {
                LinkAction::Approve => {
                    h2 { "Approve" }
                    p { "The rows are then blanked when the plan is carried out, and cannot be brought back." }
                    label for="confirm" {
                        "Type " code { (report.plan_id.prefix()) } ", the beginning of the plan’s id"
                    }
                    input #confirm name="confirm" required autocomplete="off" spellcheck="false"
                        minlength="8" maxlength="64";
                    button type="submit" { "Approve" }
                }
                LinkAction::Reject => {
                    h2 { "Reject" }
                    label for="reason" { "Why " span.quiet { "(no personal data: it is kept)" } }
                    textarea #reason name="reason" rows="3" required maxlength="2000" {}
                    button type="submit" { "Reject" }
                }
            }
        }
    }
}

pub(in crate::server) async fn decide(
    State(site): State<Arc<Site>>,
    Extension(fields): Extension<Fields>,
) -> Response {
    match decided(&site, &fields).await {
        Ok(words) => layout::page(
            None,
            "Decided",
            &html! {
                h1 { "Decided" }
                p.verdict { (words) }
                p { "This page can be closed; the link decides nothing more." }
            },
        ),
        Err(refusal) => refusal.into_page(),
    }
}

async fn decided(site: &Site, fields: &Fields) -> Result<&'static str, Refusal> {
    let (link, review) = site.followed(fields.text(LINK)).await?;
    let (id, used) = (review.report.plan_id, link.id());
    let decider = Decider { link: Some(&used), ..site.decider(&link.by) };
    match link.action {
        LinkAction::Approve => {
            site.confirmed(&id, fields.text("confirm"))?;
            let verdict = Verdict::Approved { except: Vec::new() };
            site.decide(&id, verdict, decider).await?;
            Ok("The plan is approved.")
        }
        LinkAction::Reject => {
            let reason = fields.text("reason").trim().to_owned();
            site.decide(&id, Verdict::Rejected { reason }, decider).await?;
            Ok("The plan is rejected.")
        }
    }
}

impl Site {
    /// What a link is for, and what there is to read of its plan: where it was signed here, is not too late, is
    /// for somebody who may still decide, and there is no later plan of the same request. Whether it was used
    /// shows when it is.
    async fn followed(&self, text: &str) -> Result<(Link, Arc<Review>), Refusal> {
        let forbidden = |message: String| Refusal::new(StatusCode::FORBIDDEN, message);
        let key = self.link_key.as_ref().ok_or_else(Refusal::not_found)?;
        let link = Link::read(text, key).map_err(|problem| forbidden(problem.to_string()))?;
        if self.clock.now() >= link.expires_at {
            return Err(Refusal::new(StatusCode::GONE, "the link is too old")
                .remedy("sign in, or ask for another one"));
        }
        let person = self.people.named(&link.by);
        if !person.is_some_and(|person| person.may(Right::Decide)) {
            return Err(forbidden("who the link is for may not decide any more".to_owned()));
        }
        let review = self.review(&link.plan.to_string()).await?;
        let plans = self.ledger.plans().await?;
        let is_later = plans.iter().filter_map(|it| it.summary.as_ref()).any(|of| {
            of.request == review.report.request && of.planned_at > review.report.planned_at
        });
        if is_later {
            return Err(Refusal::new(
                StatusCode::CONFLICT,
                "the request was planned anew; the link is for the plan before",
            ));
        }
        Ok((link, review))
    }
}
