//! The request register, for pages and API alike: read and added to by the functions of the ledger, as the
//! command line does.

use axum::http::StatusCode;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::domain::deadline::{Jurisdiction, day_of};
use crate::domain::register::{
    Actor, Extent, Happening, Label, RegisteredRequest, RequestEntry, RequestEvent,
    RequestReference,
};
use crate::wire::RegisterError;

use super::Site;
use super::refusal::Refusal;

/// What the first field of the list of requests says.
pub const REQUESTS_SCHEMA: &str = "lacuna.api.requests.v1";
/// What the first field of a request says.
pub const REQUEST_SCHEMA: &str = "lacuna.api.request.v1";

/// Every request, the most pressing first.
#[derive(Debug, Serialize)]
pub(super) struct Requests {
    schema: &'static str,
    /// The day that days are counted from, UTC.
    today: Date,
    pub requests: Vec<Listed>,
    /// What is wrong with each request that cannot be read.
    pub damaged: Vec<String>,
}

/// A request in the list.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    /// By which an address names it.
    pub id: String,
    #[serde(flatten)]
    pub entry: RequestEntry,
}

/// A request and everything that happened to it.
#[derive(Debug, Serialize)]
pub(super) struct Request {
    schema: &'static str,
    pub today: Date,
    #[serde(flatten)]
    pub listed: Listed,
    pub history: Vec<RequestEvent>,
}

/// A request that came in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Receipt {
    pub reference: RequestReference,
    pub jurisdiction: Jurisdiction,
    #[serde(default)]
    pub days: Option<u16>,
    #[serde(default)]
    pub ground: Option<Label>,
    #[serde(default)]
    pub channel: Option<Label>,
    pub received_on: Date,
}

impl From<RegisterError> for Refusal {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Ledger(error) => error.into(),
            RegisterError::Refused(refusal) => Self::new(StatusCode::CONFLICT, refusal.to_string()),
        }
    }
}

impl Site {
    fn today(&self) -> Date {
        day_of(self.clock.now())
    }

    /// Every request.
    pub(super) async fn requests(&self) -> Result<Requests, Refusal> {
        let (register, today) = (self.ledger.register_of_all().await?, self.today());
        let entries = RequestEntry::list(register.requests, today).into_iter();
        let requests = entries.map(Listed::new).collect();
        Ok(Requests { schema: REQUESTS_SCHEMA, today, requests, damaged: register.damaged })
    }

    /// The request of this id.
    pub(super) async fn request(&self, id: &str) -> Result<Request, Refusal> {
        let found = self.ledger.request_of_id(id).await?;
        let (request, history) = found.ok_or_else(unknown)?;
        Ok(self.stands(request, history))
    }

    /// Registers a request.
    pub(super) async fn receive(&self, receipt: Receipt, by: &str) -> Result<Request, Refusal> {
        let Receipt { reference, jurisdiction, days, ground, channel, received_on } = receipt;
        let happened = Happening::Received { jurisdiction, days, ground, channel, received_on };
        self.enter(&reference, happened, by).await
    }

    /// Enters what happened to a request.
    pub(super) async fn happen(
        &self,
        id: &str,
        happened: Happening,
        by: &str,
    ) -> Result<Request, Refusal> {
        let found = self.ledger.request_of_id(id).await?;
        let (request, _) = found.ok_or_else(unknown)?;
        self.enter(&request.reference, happened, by).await
    }

    async fn enter(
        &self,
        reference: &RequestReference,
        happened: Happening,
        by: &str,
    ) -> Result<Request, Refusal> {
        self.check_extent(&happened)?;
        let by: Actor = by.parse().map_err(|_| {
            Refusal::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "your name cannot stand in the register; it takes one line of text",
            )
        })?;
        let (request, history) = self.ledger.register(reference, &by, &happened).await?;
        Ok(self.stands(request, history))
    }

    /// A hold on a dataset that does not exist would hold nothing, and say that it does.
    fn check_extent(&self, happened: &Happening) -> Result<(), Refusal> {
        let (Happening::Held { extent, .. } | Happening::Exempted { extent, .. }) = happened else {
            return Ok(());
        };
        let is_known = match extent {
            Extent::Request {} => true,
            Extent::Dataset { dataset } | Extent::Column { dataset, .. } => {
                self.datasets.contains(dataset)
            }
        };
        if is_known {
            return Ok(());
        }
        Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "no dataset of this name is configured"))
    }

    fn stands(&self, request: RegisteredRequest, history: Vec<RequestEvent>) -> Request {
        let today = self.today();
        let listed = Listed::new(RequestEntry::new(request, today));
        Request { schema: REQUEST_SCHEMA, today, listed, history }
    }
}

impl Listed {
    fn new(entry: RequestEntry) -> Self {
        Self { id: entry.request.reference.id(), entry }
    }
}

fn unknown() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "there is no such request")
        .remedy("the list of requests shows them all")
}
