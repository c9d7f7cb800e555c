//! Rows that a plan would blank, masked, for who has to decide about it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use crate::domain::masked::MaskedRow;
use crate::erase::preview::{NOBODY_HERE, Preview, preview};
use crate::erase::report::wording::{number, plain};
use crate::server::Site;
use crate::server::guard::{Caller, Fields};
use crate::server::refusal::Refusal;

use super::layout;

/// How many rows are shown where nobody says how many.
pub(in crate::server) const ROWS: usize = 5;

pub(in crate::server) async fn rows(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    Path(plan): Path<String>,
    Extension(fields): Extension<Fields>,
) -> Response {
    let asked = (fields.text("object"), ROWS);
    match site.preview(&plan, asked, &caller.person.name).await {
        Ok(preview) => layout::page(Some(&caller), "Rows, masked", &body(&preview)),
        Err(refusal) => refusal.into_page(),
    }
}

fn body(preview: &Preview) -> Markup {
    html! {
        h1 { "Rows, masked" }
        dl {
            dt { "Plan" }
            dd { a href=(format!("/plans/{}", preview.plan_id)) { code { (preview.plan_id.prefix()) } } }
            dt { "Object" }
            dd.key { (plain(&format!("{}:{}", preview.dataset, preview.object.key))) }
        }
        p { (preview.shown()) "." }
        p.quiet { "A letter is shown as x, a digit as 9. The rows were read just now and are kept nowhere; \
                   that you looked is noted in the audit trail." }
        @for row in &preview.rows { (one(row)) }
    }
}

fn one(row: &MaskedRow) -> Markup {
    let caption = format!("Fields of row {}", number(row.row.0));
    html! {
        h2 { "Row " (number(row.row.0)) }
        @if !row.is_theirs { p.verdict { (NOBODY_HERE) "." } }
        (layout::table(&caption, html! {
            th scope="col" { "Field" } th scope="col" { "Shape of the value" }
        }, html! {
            @for field in &row.fields {
                tr { td.key { (plain(&field.name)) } td.key { (plain(field.value.as_str())) } }
            }
        }))
        @if row.more_fields > 0 { p { "And " (number(row.more_fields as u64)) " more fields." } }
    }
}

impl Site {
    /// Shows rows of an object, masked, and notes who looked.
    pub(in crate::server) async fn preview(
        &self,
        plan: &str,
        asked: (&str, usize),
        by: &str,
    ) -> Result<Preview, Refusal> {
        let Some(tools) = &self.lake else {
            let message = "this server has no access to the lake, so that it can show no rows";
            return Err(Refusal::new(StatusCode::CONFLICT, message)
                .remedy("`lacuna serve` says at its start what is missing"));
        };
        let id = self.ledger.find_plan(plan).await?;
        Ok(preview(tools, &id, asked, by).await?)
    }
}
