//! Plans and their purge reports.

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::decision::Verdict;
use crate::domain::plan::{ErasurePlan, PLAN_SCHEMA, PlanId};

use super::{Ledger, LedgerError, LedgerErrorKind, READS_AT_ONCE};

/// The fewest characters that name a plan.
const SHORTEST_PREFIX: usize = 8;

/// A form of the purge report, or of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rendering {
    /// The document.
    Json,
    /// For a terminal.
    Text,
    /// For a browser.
    Html,
    /// For paper.
    Pdf,
}

impl Rendering {
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "txt",
            Self::Html => "html",
            Self::Pdf => "pdf",
        }
    }
}

/// A stored plan in the list of plans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanListing {
    /// Its id.
    pub id: PlanId,
    /// What it says of itself; `None` where the document is damaged.
    pub summary: Option<PlanSummary>,
    /// How far it is.
    pub state: PlanState,
}

/// What a plan says of itself, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanSummary {
    /// The reference of the request.
    pub request: String,
    /// When it was made.
    pub planned_at: Timestamp,
    /// Until when it can be approved and begun.
    pub expires_at: Timestamp,
    /// How many subjects.
    pub subjects: u64,
    /// How many objects it changes.
    pub objects: u64,
}

/// How far a plan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlanState {
    /// Nobody decided yet.
    Undecided,
    /// The last decision says yes.
    Approved,
    /// The last decision says no.
    Rejected,
    /// It was never begun, and it is too late to.
    Expired,
    /// It was begun and is not finished.
    Begun,
    /// Nothing is left to do.
    Finished,
    /// The document is not what was stored.
    Damaged,
}

/// That a plan is finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Finished {
    schema: String,
    plan: PlanId,
    finished_at: Timestamp,
}

const FINISHED_SCHEMA: &str = "lacuna.finished.v1";

impl Ledger {
    /// Stores a plan and answers with its id. Storing it twice is storing it once.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lake`] where the store fails.
    pub async fn put_plan(&self, plan: &ErasurePlan) -> Result<PlanId, LedgerError> {
        let bytes = Bytes::from(plan.to_bytes());
        let id = PlanId::of(&bytes);
        self.create(&plan_name(&id), bytes).await?;
        Ok(id)
    }

    /// The plan of this id. The digest of its bytes is computed again: a plan that differs in one bit
    /// from the one that was named is refused.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Unknown`] where there is none, [`LedgerErrorKind::Tampered`] where its
    /// bytes are not those that the id names.
    pub async fn plan(&self, id: &PlanId) -> Result<ErasurePlan, LedgerError> {
        let name = plan_name(id);
        let Some((_, bytes)) = self.read(&name).await? else {
            return Err(unknown(&id.to_string()));
        };
        if PlanId::of(&bytes) != *id {
            return Err(LedgerError::tampered(
                &self.key(&name),
                "is not the plan that its name says; plan again",
            ));
        }
        let plan: ErasurePlan = self.parse(&name, &bytes)?;
        if plan.schema != PLAN_SCHEMA {
            let what = "has another schema; use the version of lacuna that wrote it";
            return Err(LedgerError::tampered(&self.key(&name), what));
        }
        Ok(plan)
    }

    /// The one plan whose id begins so.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Malformed`] where the text has fewer than 8 characters or others than
    /// hexadecimal, [`LedgerErrorKind::Unknown`] where no plan begins so,
    /// [`LedgerErrorKind::Ambiguous`] where more than one does.
    pub async fn find_plan(&self, beginning: &str) -> Result<PlanId, LedgerError> {
        let beginning = beginning.to_ascii_lowercase();
        let is_hexadecimal = beginning.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hexadecimal || !(SHORTEST_PREFIX..=64).contains(&beginning.len()) {
            return Err(LedgerError::new(
                LedgerErrorKind::Malformed,
                "a plan is named by its id, or by the first 8 or more of its hexadecimal characters",
            ));
        }
        let ids = self.plan_ids(&beginning).await?;
        match ids.as_slice() {
            [id] => Ok(*id),
            [] => Err(unknown(&beginning)),
            several => Err(LedgerError::new(
                LedgerErrorKind::Ambiguous,
                format!("{} plans begin with {beginning}; give more characters", several.len()),
            )),
        }
    }

    /// Every stored plan with its state at the present moment, newest first, damaged ones first.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lake`] where the store fails. A damaged plan is an entry, no error.
    pub async fn plans(&self) -> Result<Vec<PlanListing>, LedgerError> {
        let ids = self.plan_ids("").await?;
        let marks = Marks {
            finished: self.names("finished/").await?,
            begun: self.names("journal/").await?,
        };
        let mut listings: Vec<PlanListing> = futures::stream::iter(ids)
            .map(|id| self.listing(id, &marks))
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await?;
        listings.sort_by_key(|listing| {
            let planned_at = listing.summary.as_ref().map_or(Timestamp::MAX, |it| it.planned_at);
            (std::cmp::Reverse(planned_at), listing.id)
        });
        Ok(listings)
    }

    async fn listing(&self, id: PlanId, marks: &Marks) -> Result<PlanListing, LedgerError> {
        let plan = match self.plan(&id).await {
            Ok(plan) => plan,
            Err(error) if *error.kind() == LedgerErrorKind::Tampered => {
                return Ok(PlanListing { id, summary: None, state: PlanState::Damaged });
            }
            Err(error) => return Err(error),
        };
        let summary = PlanSummary {
            subjects: plan.subjects.len() as u64,
            objects: plan.changes.len() as u64,
            request: plan.request,
            planned_at: plan.planned_at,
            expires_at: plan.expires_at,
        };
        let state = match marks.state(&id) {
            Some(state) => state,
            None => self.state_before_begin(&id, summary.expires_at).await?,
        };
        Ok(PlanListing { id, summary: Some(summary), state })
    }

    pub(super) async fn state_before_begin(
        &self,
        id: &PlanId,
        expires_at: Timestamp,
    ) -> Result<PlanState, LedgerError> {
        let last = self.decisions(id).await?.pop().map(|decision| decision.verdict);
        Ok(match last {
            Some(Verdict::Rejected { .. }) => PlanState::Rejected,
            _ if self.clock.now() >= expires_at => PlanState::Expired,
            Some(Verdict::Approved { .. }) => PlanState::Approved,
            None => PlanState::Undecided,
        })
    }

    /// Ids of the stored plans that begin so, ascending.
    async fn plan_ids(&self, beginning: &str) -> Result<Vec<PlanId>, LedgerError> {
        let names = self.names(&format!("plans/{beginning}")).await?;
        Ok(names.iter().filter_map(|name| id_in(name, "plans/")).collect())
    }

    /// Notes that nothing is left to do for a plan. The first note stands.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lake`] where the store fails.
    pub async fn finish(&self, id: &PlanId) -> Result<(), LedgerError> {
        let document = Finished {
            schema: FINISHED_SCHEMA.to_owned(),
            plan: *id,
            finished_at: self.clock.now(),
        };
        match self.create(&format!("finished/{id}.json"), super::to_bytes(&document)).await {
            Err(error) if *error.kind() != LedgerErrorKind::Conflict => Err(error),
            _ => Ok(()),
        }
    }

    /// When the plan was finished; `None` where something is left to do.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Tampered`] where the document is damaged.
    pub async fn finished_at(&self, id: &PlanId) -> Result<Option<Timestamp>, LedgerError> {
        let document = self.document::<Finished>(&format!("finished/{id}.json")).await?;
        Ok(document.map(|finished| finished.finished_at))
    }

    /// Stores one rendering of a plan's purge report.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Conflict`] where another one is stored.
    pub async fn put_report(
        &self,
        id: &PlanId,
        rendering: Rendering,
        bytes: impl Into<Bytes>,
    ) -> Result<(), LedgerError> {
        let name = format!("reports/{id}.{}", rendering.extension());
        self.create(&name, bytes.into()).await.map(|_| ())
    }

    /// The stored bytes of a plan's purge report; `None` where there is none.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lake`] where the store fails.
    pub async fn report(
        &self,
        id: &PlanId,
        rendering: Rendering,
    ) -> Result<Option<Bytes>, LedgerError> {
        let name = format!("reports/{id}.{}", rendering.extension());
        Ok(self.read(&name).await?.map(|(_, bytes)| bytes))
    }
}

/// Ascending names by which the state of many plans is known from two listings.
struct Marks {
    finished: Vec<String>,
    begun: Vec<String>,
}

impl Marks {
    fn state(&self, id: &PlanId) -> Option<PlanState> {
        if any_begins_with(&self.finished, &format!("finished/{id}.")) {
            Some(PlanState::Finished)
        } else if any_begins_with(&self.begun, &format!("journal/{id}/")) {
            Some(PlanState::Begun)
        } else {
            None
        }
    }
}

fn any_begins_with(names: &[String], beginning: &str) -> bool {
    let at = names.partition_point(|name| name.as_str() < beginning);
    names.get(at).is_some_and(|name| name.starts_with(beginning))
}

fn plan_name(id: &PlanId) -> String {
    format!("plans/{id}.json")
}

fn id_in(name: &str, folder: &str) -> Option<PlanId> {
    name.strip_prefix(folder)?.strip_suffix(".json")?.parse().ok()
}

fn unknown(id: &str) -> LedgerError {
    LedgerError::new(
        LedgerErrorKind::Unknown,
        format!("the ledger has no plan {id}; `lacuna status` lists the plans"),
    )
}
