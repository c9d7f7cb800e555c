//! Every route, with what it takes: the one table that the router, the API's description and the test of
//! roles are made from.

use std::sync::Arc;

use axum::routing::{MethodRouter, get, post};

use crate::domain::access::Right;

use super::guard::Needs;
use super::pages::{self, link, oidc, plan, plans, preview, requests};
use super::{Site, api};

/// How an address is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
}

/// A route.
pub(super) struct Route {
    pub method: Method,
    pub path: &'static str,
    pub needs: Needs,
    /// What it does, for the API's description; none for a page.
    pub api: Option<Described>,
    pub handler: MethodRouter<Arc<Site>>,
}

/// What the API's description says of a route.
#[derive(Clone, Copy, Debug)]
pub(super) struct Described {
    pub name: &'static str,
    pub summary: &'static str,
    /// The names of schemas: of the request's document and of the answer.
    pub request: Option<&'static str>,
    pub answer: &'static str,
}

const SEE: Needs = Needs::Right(Right::See);
const REQUEST: Needs = Needs::Right(Right::Request);
const DECIDE: Needs = Needs::Right(Right::Decide);

/// All routes.
pub(super) fn all() -> Vec<Route> {
    let mut routes = page_routes();
    routes.extend(api_routes());
    routes
}

fn page_routes() -> Vec<Route> {
    use Method::{Get, Post};
    let page = |method, path, needs, handler| Route { method, path, needs, api: None, handler };
    vec![
        page(Get, "/style.css", Needs::Nothing, get(pages::style)),
        page(Get, "/live.js", Needs::Nothing, get(pages::live)),
        page(Get, "/sign-in", Needs::Nothing, get(pages::sign_in)),
        page(Post, "/sign-in", Needs::Nothing, post(pages::signed_in)),
        page(Get, "/sign-in/oidc", Needs::Nothing, get(oidc::away)),
        page(Get, "/sign-in/oidc/callback", Needs::Nothing, get(oidc::back)),
        page(Post, "/sign-out", Needs::SignedIn, post(pages::signed_out)),
        page(Get, "/", SEE, get(plans::all)),
        page(Get, "/plans/{plan}", SEE, get(plan::one)),
        page(Get, "/plans/{plan}/certificate", SEE, get(plan::certificate)),
        page(Get, "/plans/{plan}/certificate.pdf", SEE, get(plan::paper)),
        page(Post, "/plans/{plan}/preview", DECIDE, post(preview::rows)),
        page(Post, "/plans/{plan}/approve", DECIDE, post(plan::approve)),
        page(Post, "/plans/{plan}/reject", DECIDE, post(plan::reject)),
        page(Get, "/decide", Needs::Nothing, get(link::one)),
        page(Post, "/decide", Needs::Nothing, post(link::decide)),
        page(Get, "/requests", SEE, get(requests::all)),
        page(Post, "/requests", REQUEST, post(requests::receive)),
        page(Get, "/requests/{request}", SEE, get(requests::one)),
        page(Post, "/requests/{request}/events", REQUEST, post(requests::happen)),
    ]
}

fn api_routes() -> Vec<Route> {
    let description = ["describe", "This description", "description"];
    let caller = ["caller", "Who asks, and what they may do", "caller"];
    let plans = ["listPlans", "Every plan with its state, newest first", "plans"];
    let plan = ["showPlan", "The purge report of a plan", "report"];
    let progress = ["watchPlan", "How far a plan is", "progress"];
    let decisions = ["listDecisions", "The decisions on a plan, first to last", "decisions"];
    let previewed =
        ["previewRows", "Rows that the plan would blank, masked; it is noted", "preview"];
    let approved = ["approvePlan", "Approves a plan, so that it can be carried out", "decision"];
    let rejected = ["rejectPlan", "Rejects a plan", "decision"];
    let requests = ["listRequests", "Every request, the most pressing first", "requests"];
    let request = ["showRequest", "A request and everything that happened to it", "request"];
    let received = ["registerRequest", "Registers a request", "request"];
    let happened = ["enterEvent", "Enters what happened to a request", "request"];
    let certificate = ["showCertificate", "The last certificate of a plan", "certificate"];
    vec![
        Route {
            needs: Needs::Nothing,
            ..asked("/api/v1/openapi.json", description, get(api::description))
        },
        Route { needs: Needs::SignedIn, ..asked("/api/v1/caller", caller, get(api::caller)) },
        asked("/api/v1/plans", plans, get(api::plans)),
        asked("/api/v1/plans/{plan}", plan, get(api::report)),
        asked("/api/v1/plans/{plan}/progress", progress, get(api::progress)),
        asked("/api/v1/plans/{plan}/decisions", decisions, get(api::decisions)),
        told("/api/v1/plans/{plan}/preview", "previewing", previewed, post(api::preview)),
        told("/api/v1/plans/{plan}/approve", "approval", approved, post(api::approve)),
        told("/api/v1/plans/{plan}/reject", "rejection", rejected, post(api::reject)),
        asked("/api/v1/plans/{plan}/certificate", certificate, get(api::certificate)),
        asked("/api/v1/requests", requests, get(api::requests)),
        asked("/api/v1/requests/{request}", request, get(api::request)),
        Route {
            needs: REQUEST,
            ..told("/api/v1/requests", "receipt", received, post(api::receive))
        },
        Route {
            needs: REQUEST,
            ..told("/api/v1/requests/{request}/events", "happening", happened, post(api::happen))
        },
    ]
}

/// A question to the API, for everybody who may see: its name, what it does, the schema of the answer.
fn asked(
    path: &'static str,
    [name, summary, answer]: [&'static str; 3],
    handler: MethodRouter<Arc<Site>>,
) -> Route {
    let api = Some(Described { name, summary, request: None, answer });
    Route { method: Method::Get, path, needs: SEE, api, handler }
}

/// Something that the API is told to do, by whoever may decide.
fn told(
    path: &'static str,
    request: &'static str,
    [name, summary, answer]: [&'static str; 3],
    handler: MethodRouter<Arc<Site>>,
) -> Route {
    let api = Some(Described { name, summary, request: Some(request), answer });
    Route { method: Method::Post, path, needs: DECIDE, api, handler }
}
