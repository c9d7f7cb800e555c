//! Why something was not done, for a person before a page and for a program.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};

use crate::erase::approval::NotDecided;
use crate::erase::preview::NoPreview;
use crate::erase::report::wording::plain;
use crate::wire::{self, LedgerError, Trouble};

use super::pages::layout;

/// What the first field of a refusal says.
pub const REFUSAL_SCHEMA: &str = "lacuna.refusal.v1";

/// Why something was not done.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub status: StatusCode,
    /// What happened: lower case, no full stop, no personal data.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// Seconds after which it may be asked again, where that is known.
    pub retry_after: Option<i64>,
}

/// The same as the API answers it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusalDocument {
    /// [`REFUSAL_SCHEMA`].
    pub schema: String,
    /// What happened.
    pub error: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Refusal {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), remedy: None, retry_after: None }
    }

    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    #[must_use]
    pub fn retry_after(mut self, seconds: i64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is nothing at this address")
    }

    /// The answer of the API.
    pub fn into_json(self) -> Response {
        let (status, retry_after) = (self.status, self.retry_after);
        let document = RefusalDocument {
            schema: REFUSAL_SCHEMA.to_owned(),
            error: self.message,
            remedy: self.remedy,
        };
        let mut response = (status, Json(document)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"lacuna\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        after(response, retry_after)
    }

    /// The answer of a page.
    pub fn into_page(self) -> Response {
        after((self.status, layout::refusal(&self)).into_response(), self.retry_after)
    }
}

/// The same answer, with the time to wait.
fn after(mut response: Response, seconds: Option<i64>) -> Response {
    if let Some(seconds) = seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

impl From<LedgerError> for Refusal {
    fn from(error: LedgerError) -> Self {
        let status = match wire::trouble(&error) {
            Some(Trouble::NoSuchPlan) => StatusCode::NOT_FOUND,
            Some(Trouble::Drifted | Trouble::Held) => StatusCode::CONFLICT,
            Some(Trouble::Denied) => StatusCode::BAD_GATEWAY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, plain(&error.to_string()))
    }
}

impl From<NotDecided> for Refusal {
    fn from(error: NotDecided) -> Self {
        match error {
            NotDecided::Ledger(error) => error.into(),
            NotDecided::Expired { .. } | NotDecided::Obstructed(_) | NotDecided::Used => {
                Self::new(StatusCode::CONFLICT, error.to_string())
            }
            other => Self::new(StatusCode::UNPROCESSABLE_ENTITY, other.to_string()),
        }
    }
}

impl From<NoPreview> for Refusal {
    fn from(error: NoPreview) -> Self {
        let status = match error {
            NoPreview::Ledger(error) => return error.into(),
            NoPreview::Settled | NoPreview::Drifted => StatusCode::CONFLICT,
            NoPreview::Read(_) => StatusCode::BAD_GATEWAY,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, plain(&error.to_string()))
    }
}
