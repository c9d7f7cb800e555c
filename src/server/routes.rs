//! Every route, with what it takes: the one table that the router, the API's description and the test of
//! roles are made from.

use std::sync::Arc;

use axum::routing::{MethodRouter, get, post};

use crate::domain::access::Right;

use super::guard::Needs;
use super::pages::{self, plan, plans};
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
        page(Get, "/sign-in", Needs::Nothing, get(pages::sign_in)),
        page(Post, "/sign-in", Needs::Nothing, post(pages::signed_in)),
        page(Post, "/sign-out", Needs::SignedIn, post(pages::signed_out)),
        page(Get, "/", SEE, get(plans::all)),
        page(Get, "/plans/{plan}", SEE, get(plan::one)),
        page(Get, "/plans/{plan}/certificate", SEE, get(plan::certificate)),
        page(Post, "/plans/{plan}/approve", DECIDE, post(plan::approve)),
        page(Post, "/plans/{plan}/reject", DECIDE, post(plan::reject)),
    ]
}

fn api_routes() -> Vec<Route> {
    use Method::{Get, Post};
    let route = |method, path, needs, described: [&'static str; 4], handler| {
        let [name, summary, request, answer] = described;
        let request = (!request.is_empty()).then_some(request);
        let api = Some(Described { name, summary, request, answer });
        Route { method, path, needs, api, handler }
    };
    vec![
        route(
            Get,
            "/api/v1/openapi.json",
            Needs::Nothing,
            ["describe", "This description", "", "description"],
            get(api::description),
        ),
        route(
            Get,
            "/api/v1/caller",
            Needs::SignedIn,
            ["caller", "Who asks, and what they may do", "", "caller"],
            get(api::caller),
        ),
        route(
            Get,
            "/api/v1/plans",
            SEE,
            ["listPlans", "Every plan with its state, newest first", "", "plans"],
            get(api::plans),
        ),
        route(
            Get,
            "/api/v1/plans/{plan}",
            SEE,
            ["showPlan", "The purge report of a plan", "", "report"],
            get(api::report),
        ),
        route(
            Get,
            "/api/v1/plans/{plan}/progress",
            SEE,
            ["watchPlan", "How far a plan is", "", "progress"],
            get(api::progress),
        ),
        route(
            Get,
            "/api/v1/plans/{plan}/decisions",
            SEE,
            ["listDecisions", "The decisions on a plan, first to last", "", "decisions"],
            get(api::decisions),
        ),
        route(
            Post,
            "/api/v1/plans/{plan}/approve",
            DECIDE,
            [
                "approvePlan",
                "Approves a plan, so that it can be carried out",
                "approval",
                "decision",
            ],
            post(api::approve),
        ),
        route(
            Post,
            "/api/v1/plans/{plan}/reject",
            DECIDE,
            ["rejectPlan", "Rejects a plan", "rejection", "decision"],
            post(api::reject),
        ),
        route(
            Get,
            "/api/v1/plans/{plan}/certificate",
            SEE,
            ["showCertificate", "The last certificate of a plan", "", "certificate"],
            get(api::certificate),
        ),
    ]
}
