//! The first page: every plan, what waits for a decision first.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};

use crate::erase::report::wording::{moment, number, plain};
use crate::server::Site;
use crate::server::guard::Caller;
use crate::server::refusal::Refusal;
use crate::wire::{PlanListing, PlanState};

use super::{Asked, Show, layout};

pub(in crate::server) async fn all(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    Query(asked): Query<Asked>,
) -> Response {
    match site.ledger.plans().await {
        Ok(plans) => layout::page(Some(&caller), "Plans", &body(&site, &plans, asked.show)),
        Err(error) => Refusal::from(error).into_page(),
    }
    .into_response()
}

fn is_open(plan: &PlanListing) -> bool {
    !matches!(plan.state, PlanState::Rejected | PlanState::Expired | PlanState::Finished)
}

fn body(site: &Site, plans: &[PlanListing], show: Show) -> Markup {
    let open = plans.iter().filter(|plan| is_open(plan)).count();
    let shown: Vec<&PlanListing> =
        plans.iter().filter(|plan| show == Show::All || is_open(plan)).collect();
    html! {
        h1 { "Plans" }
        nav.tabs aria-label="Which plans" {
            a href="/" aria-current=[(show == Show::Open).then_some("page")] { "Open " (open) }
            a href="/?show=all" aria-current=[(show == Show::All).then_some("page")] {
                "All " (plans.len())
            }
        }
        @if shown.is_empty() {
            p { "There is no plan here. An erasure is planned by " code { "lacuna plan" } "." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Plans" {
                table {
                    thead { tr {
                        th scope="col" { "Request" } th scope="col" { "State" }
                        th scope="col" { "Planned" } th scope="col" { "To decide until" }
                        th.number scope="col" { "Subjects" } th.number scope="col" { "Objects" }
                        th scope="col" { "Plan" }
                    } }
                    tbody { @for plan in shown { (line(site, plan)) } }
                }
            }
        }
    }
}

fn line(site: &Site, plan: &PlanListing) -> Markup {
    let link = format!("/plans/{}", plan.id);
    let now = site.clock.now();
    let has_limit = matches!(plan.state, PlanState::Undecided | PlanState::Approved);
    html! {
        tr {
            @match &plan.summary {
                Some(summary) => {
                    td { a href=(link) { (plain(&summary.request)) } }
                    td { (layout::state(plan.state)) }
                    td { (moment(summary.planned_at)) }
                    td {
                        (moment(summary.expires_at))
                        @if has_limit {
                            br; span.quiet { (layout::days_left(now, summary.expires_at)) }
                        }
                    }
                    td.number { (number(summary.subjects)) }
                    td.number { (number(summary.objects)) }
                }
                None => {
                    td { "The document is not what was stored" }
                    td { (layout::state(plan.state)) }
                    td { "–" } td { "–" } td.number { "–" } td.number { "–" }
                }
            }
            td { code { (plan.id.prefix()) } }
        }
    }
}
