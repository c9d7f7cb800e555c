//! The same as the pages, as JSON over HTTP: reads and decides by the same functions.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::access::{Right, Role};
use crate::domain::plan::PlanId;
use crate::erase::preview::Preview;
use crate::wire::{PlanListing, PlanState, Rendering};

use super::guard::Caller;
use super::pages::preview::ROWS;
use super::refusal::Refusal;
use super::{Site, openapi};

/// What the first field of the list of plans says.
pub const PLANS_SCHEMA: &str = "lacuna.api.plans.v1";
/// What the first field of a caller's description says.
pub const CALLER_SCHEMA: &str = "lacuna.api.caller.v1";
/// What the first field of a plan's progress says.
pub const PROGRESS_SCHEMA: &str = "lacuna.api.progress.v1";
/// What the first field of the decisions on a plan says.
pub const DECISIONS_SCHEMA: &str = "lacuna.api.decisions.v1";

/// What the first field of masked rows says.
pub const API_PREVIEW_SCHEMA: &str = "lacuna.api.preview.v1";

/// Every plan, newest first.
#[derive(Debug, Serialize)]
struct Plans {
    schema: &'static str,
    plans: Vec<ListedPlan>,
}

/// A plan in the list. What it says of itself is absent where the document is damaged.
#[derive(Debug, Serialize)]
struct ListedPlan {
    plan_id: PlanId,
    state: PlanState,
    request: Option<String>,
    planned_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    subjects: Option<u64>,
    objects: Option<u64>,
}

/// Who asks, and what they may do.
#[derive(Debug, Serialize)]
struct Described {
    schema: &'static str,
    name: String,
    roles: Vec<Role>,
    rights: Vec<Right>,
}

/// How far a plan is.
#[derive(Debug, Serialize)]
struct Progress {
    schema: &'static str,
    plan_id: PlanId,
    state: PlanState,
    /// Objects that the plan changes.
    objects: u64,
    /// Of these, those that are dealt with, well or not.
    ended: u64,
}

#[derive(Debug, Serialize)]
struct Decisions {
    schema: &'static str,
    plan_id: PlanId,
    decisions: Vec<crate::domain::decision::Decision>,
}

/// What approves a plan.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Approval {
    confirm: String,
    #[serde(default)]
    except: Vec<String>,
}

/// What asks to see rows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Previewing {
    object: String,
    #[serde(default)]
    rows: Option<u8>,
}

/// Rows, masked.
#[derive(Debug, Serialize)]
struct Previewed {
    schema: &'static str,
    #[serde(flatten)]
    preview: Preview,
}

/// What rejects a plan.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rejection {
    reason: String,
}

/// An answer in JSON, or why there is none.
fn answer(result: Result<impl Serialize, Refusal>) -> Response {
    match result {
        Ok(document) => Json(document).into_response(),
        Err(refusal) => refusal.into_json(),
    }
}

/// A request's document. Messages name the place and never what stands there.
fn parsed<T: for<'a> Deserialize<'a>>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        let message = format!("the request's document cannot be read, {place}");
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, message)
            .remedy("hold it against the description at /api/v1/openapi.json")
    })
}

pub(super) async fn description() -> Response {
    Json(openapi::document()).into_response()
}

pub(super) async fn caller(Extension(caller): Extension<Caller>) -> Response {
    let person = &caller.person;
    Json(Described {
        schema: CALLER_SCHEMA,
        name: person.name.clone(),
        roles: person.roles.iter().copied().collect(),
        rights: Right::ALL.into_iter().filter(|right| person.may(*right)).collect(),
    })
    .into_response()
}

pub(super) async fn plans(State(site): State<Arc<Site>>) -> Response {
    let plans = site.ledger.plans().await.map_err(Refusal::from);
    answer(plans.map(|plans| Plans {
        schema: PLANS_SCHEMA,
        plans: plans.into_iter().map(listed).collect(),
    }))
}

fn listed(PlanListing { id, summary, state }: PlanListing) -> ListedPlan {
    let of = summary.as_ref();
    ListedPlan {
        plan_id: id,
        state,
        planned_at: of.map(|of| of.planned_at),
        expires_at: of.map(|of| of.expires_at),
        subjects: of.map(|of| of.subjects),
        objects: of.map(|of| of.objects),
        request: summary.map(|of| of.request),
    }
}

pub(super) async fn report(State(site): State<Arc<Site>>, Path(plan): Path<String>) -> Response {
    match site.review(&plan).await {
        Ok(review) => Json(&review.report).into_response(),
        Err(error) => Refusal::from(error).into_json(),
    }
}

pub(super) async fn progress(State(site): State<Arc<Site>>, Path(plan): Path<String>) -> Response {
    answer(site.progress(&plan).await)
}

pub(super) async fn decisions(State(site): State<Arc<Site>>, Path(plan): Path<String>) -> Response {
    answer(site.decisions(&plan).await)
}

pub(super) async fn preview(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    Path(plan): Path<String>,
    body: Bytes,
) -> Response {
    let previewed = async {
        let Previewing { object, rows } = parsed(&body)?;
        let rows = rows.map_or(ROWS, usize::from);
        let preview = site.preview(&plan, (&object, rows), &caller.person.name).await?;
        Ok::<_, Refusal>(Previewed { schema: API_PREVIEW_SCHEMA, preview })
    };
    answer(previewed.await)
}

pub(super) async fn approve(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    Path(plan): Path<String>,
    body: Bytes,
) -> Response {
    let approval = async {
        let Approval { confirm, except } = parsed(&body)?;
        let except: Vec<&str> = except.iter().map(String::as_str).collect();
        site.approve(&plan, &confirm, &except, &caller.person.name).await
    };
    answer(approval.await)
}

pub(super) async fn reject(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    Path(plan): Path<String>,
    body: Bytes,
) -> Response {
    let rejection = async {
        let Rejection { reason } = parsed(&body)?;
        site.reject(&plan, &reason, &caller.person.name).await
    };
    answer(rejection.await)
}

pub(super) async fn requests(State(site): State<Arc<Site>>) -> Response {
    answer(site.requests().await)
}

pub(super) async fn request(
    State(site): State<Arc<Site>>,
    Path(request): Path<String>,
) -> Response {
    answer(site.request(&request).await)
}

pub(super) async fn receive(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Response {
    let received = async { site.receive(parsed(&body)?, &caller.person.name).await };
    answer(received.await)
}

pub(super) async fn happen(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    Path(request): Path<String>,
    body: Bytes,
) -> Response {
    let entered = async { site.happen(&request, parsed(&body)?, &caller.person.name).await };
    answer(entered.await)
}

/// The certificate in the bytes that are stored, so that its digest is the one in the evidence.
pub(super) async fn certificate(
    State(site): State<Arc<Site>>,
    Path(plan): Path<String>,
) -> Response {
    match site.certificate(&plan, Rendering::Json).await {
        Ok((_, bytes)) => ([(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(refusal) => refusal.into_json(),
    }
}

impl Site {
    async fn progress(&self, plan: &str) -> Result<Progress, Refusal> {
        let review = self.review(plan).await?;
        let (id, expires_at) = (review.report.plan_id, review.report.expires_at);
        Ok(Progress {
            schema: PROGRESS_SCHEMA,
            plan_id: id,
            state: self.ledger.state_of(&id, expires_at).await?,
            objects: review.report.objects,
            ended: self.ledger.ended_changes(&id).await?,
        })
    }

    async fn decisions(&self, plan: &str) -> Result<Decisions, Refusal> {
        let id = self.ledger.find_plan(plan).await?;
        let decisions = self.ledger.decisions(&id).await?;
        Ok(Decisions { schema: DECISIONS_SCHEMA, plan_id: id, decisions })
    }
}
