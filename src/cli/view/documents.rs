//! What `--json` prints. Each document has a schema in `schema/documents/`; fields are added, never
//! taken away.

use jiff::civil::Date;
use serde::Serialize;

use crate::domain::Timestamp;
use crate::domain::coverage::Coverage;
use crate::domain::dataset::DatasetName;
use crate::domain::finding::Severity;
use crate::domain::identifier::{IdentifierDigest, Namespace};
use crate::domain::journal::{Outcome, Retained};
use crate::domain::link::LinkAction;
use crate::domain::object::{ObjectKey, VersionId};
use crate::domain::plan::PlanId;
use crate::domain::register::{RegisteredRequest, RequestEntry, RequestEvent};
use crate::domain::row::RowSet;
use crate::domain::signature::PublicKey;
use crate::domain::trail::TrailHead;
use crate::erase::execution::{Execution, Tally};
use crate::erase::preview;
use crate::erase::report::PurgeReport;
use crate::erase::verify::Verification;
use crate::index::IndexReport;
use crate::index::check::CheckReport;
use crate::index::copy::CopyReport;
use crate::vacuum::VacuumReport;
use crate::wire::{Examined, PlanState, TrailReport};

mod notified;
pub(in crate::cli) use notified::{FailedMail, Mail, Notified};

/// The schema of [`Failed`].
pub(in crate::cli) const FAILED: &str = "lacuna.cli.error.v1";
/// The schema of [`Text`].
pub(in crate::cli) const TEXT: &str = "lacuna.cli.text.v1";
/// The schema of [`Init`].
pub(in crate::cli) const INIT: &str = "lacuna.cli.init.v1";
/// The schema of [`Demo`].
pub(in crate::cli) const DEMO: &str = "lacuna.cli.demo.v1";
/// The schema of [`Digest`].
pub(in crate::cli) const DIGEST: &str = "lacuna.cli.digest.v1";

/// The schema of [`Serve`].
pub(in crate::cli) const SERVE: &str = "lacuna.cli.serve.v1";
/// The schema of [`Password`].
pub(in crate::cli) const PASSWORD: &str = "lacuna.cli.password.v1";
/// The schema of [`Doctor`].
pub(in crate::cli) const DOCTOR: &str = "lacuna.cli.doctor.v1";
/// The schema of [`Index`].
pub(in crate::cli) const INDEX: &str = "lacuna.cli.index.v1";
/// The schema of [`Erase`].
pub(in crate::cli) const ERASE: &str = "lacuna.cli.erase.v1";
/// The schema of [`Verify`].
pub(in crate::cli) const VERIFY: &str = "lacuna.cli.verify.v1";
/// The schema of [`AuditVerified`].
pub(in crate::cli) const AUDIT_VERIFIED: &str = "lacuna.cli.audit-verify.v1";
/// The schema of [`Notified`].
pub(in crate::cli) const NOTIFIED: &str = "lacuna.cli.notify.v1";
/// The schema of [`Link`].
pub(in crate::cli) const LINK: &str = "lacuna.cli.link.v1";
/// The schema of [`AuditKey`].
pub(in crate::cli) const AUDIT_KEY: &str = "lacuna.cli.audit-key.v1";
/// The schema of [`AuditExported`].
pub(in crate::cli) const AUDIT_EXPORTED: &str = "lacuna.cli.audit-export.v1";
/// The schema of [`Preview`].
pub(in crate::cli) const PREVIEW: &str = "lacuna.cli.preview.v1";
/// The schema of [`Vacuum`].
pub(in crate::cli) const VACUUM: &str = "lacuna.cli.vacuum.v1";
/// The schema of [`MetastorePrepared`].
pub(in crate::cli) const METASTORE_PREPARED: &str = "lacuna.cli.metastore.v1";
/// The schema of [`MetastoreCopy`].
pub(in crate::cli) const METASTORE_COPY: &str = "lacuna.cli.metastore-copy.v1";
/// The schema of [`MetastoreCheck`].
pub(in crate::cli) const METASTORE_CHECK: &str = "lacuna.cli.metastore-check.v1";
/// The schema of [`Request`].
pub(in crate::cli) const REQUEST: &str = "lacuna.cli.request.v1";
/// The schema of [`Requests`].
pub(in crate::cli) const REQUESTS: &str = "lacuna.cli.requests.v1";
/// The schema of [`Status`].
pub(in crate::cli) const STATUS: &str = "lacuna.cli.status.v1";

/// Rows, masked.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Preview {
    pub schema: &'static str,
    #[serde(flatten)]
    pub preview: preview::Preview,
}

/// A link to decide on a plan.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Link {
    pub schema: &'static str,
    pub url: String,
    pub plan: PlanId,
    /// Whose link it is.
    pub approver: String,
    pub action: LinkAction,
    pub expires_at: Timestamp,
}

/// The key that certificates are signed by.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct AuditKey {
    pub schema: &'static str,
    pub public_key: PublicKey,
    pub public_key_pem: String,
    /// The file of the private key that was written just now.
    pub created: Option<String>,
}

/// The evidence of a plan was packed.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct AuditExported {
    pub schema: &'static str,
    pub file: String,
    pub size_bytes: u64,
    pub plan: PlanId,
    pub request: String,
    /// The end of the trail.
    pub head: TrailHead,
}

/// What came of a verification of the evidence.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct AuditVerified {
    pub schema: &'static str,
    /// Whether all is as it was stored, as far as the trail tells.
    pub is_sound: bool,
    #[serde(flatten)]
    pub report: TrailReport,
}

/// The pages were served, and are no more.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Serve {
    pub schema: &'static str,
    /// Where they were.
    pub url: String,
}

/// What `[[server.user]]` keeps of a password or a token.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Password {
    pub schema: &'static str,
    /// The token, which nobody can tell again; none where it is about a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The line of the configuration.
    pub setting: String,
}

/// Why a command failed.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Failed {
    pub schema: &'static str,
    pub error: String,
    pub causes: Vec<String>,
    pub remedies: Vec<String>,
    pub exit_code: u8,
}

/// Text that a command made for another program.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Text {
    pub schema: &'static str,
    pub text: String,
}

/// What `init` wrote.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Init {
    pub schema: &'static str,
    pub configuration: String,
    pub key_file: String,
    pub signing_key_file: String,
}

/// What the commands of a demonstration answered.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Demo {
    pub schema: &'static str,
    pub steps: Vec<DemoStep>,
}

/// One of them.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct DemoStep {
    pub command: String,
    pub exit_code: u8,
    pub document: serde_json::Value,
}

/// The digests of a subject.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Digest {
    pub schema: &'static str,
    pub digests: Vec<NamedDigest>,
}

/// One digest.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct NamedDigest {
    pub namespace: Namespace,
    pub digest: IdentifierDigest,
}

/// One object version with rows of a subject; `find` prints a list of them.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Found {
    /// The subject's place in the request, from 1.
    pub subject: u32,
    pub dataset: DatasetName,
    pub object: ObjectKey,
    pub version: VersionId,
    pub rows: RowSet,
}

/// What an examination found, place by place.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Doctor {
    pub schema: &'static str,
    pub configuration: String,
    /// Whether nothing was to be written.
    pub is_read_only: bool,
    pub counts: FindingCounts,
    pub places: Vec<Examined>,
}

/// How many findings there are of each severity.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct FindingCounts {
    pub problem: u64,
    pub unknown: u64,
    pub warning: u64,
    pub note: u64,
    pub ok: u64,
}

impl FindingCounts {
    /// Those of these places.
    pub fn of(places: &[Examined]) -> Self {
        let mut counts = Self::default();
        for finding in places.iter().flat_map(|place| &place.findings) {
            *match finding.severity {
                Severity::Problem => &mut counts.problem,
                Severity::Unknown => &mut counts.unknown,
                Severity::Warning => &mut counts.warning,
                Severity::Note => &mut counts.note,
                Severity::Ok => &mut counts.ok,
            } += 1;
        }
        counts
    }
}

/// What a run of indexing did, dataset by dataset.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Index {
    pub schema: &'static str,
    pub datasets: Vec<IndexReport>,
}

/// How things stand.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Status {
    pub schema: &'static str,
    pub configuration: String,
    pub index: IndexSize,
    pub coverage: Vec<Coverage>,
    pub open_plans: Vec<OpenPlan>,
    pub requests: RequestCounts,
    /// The command to go on with.
    pub next: String,
}

/// How many requests the register holds.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct RequestCounts {
    pub open: u64,
    /// How many of the open ones are overdue.
    pub overdue: u64,
    /// How many cannot be read.
    pub damaged: u64,
}

/// How large and how old the index is.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct IndexSize {
    pub objects: u64,
    pub postings: u64,
    pub size_bytes: u64,
    /// Bytes on disk for each posting; absent where there is none.
    pub bytes_per_posting: Option<f64>,
    /// In how many sorted runs the postings lie; absent where the index does not tell.
    pub runs: Option<u64>,
    /// Absent where nothing was scanned yet.
    pub last_scanned_at: Option<Timestamp>,
}

/// A plan that waits for something.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct OpenPlan {
    pub plan_id: PlanId,
    pub state: PlanState,
    /// Absent where the plan is damaged.
    pub request: Option<String>,
    /// Until when it can be approved and begun.
    pub expires_at: Option<Timestamp>,
    pub subjects: u64,
    pub objects: u64,
    /// The command to go on with.
    pub next: String,
}

/// What came of carrying out a plan.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Erase {
    pub schema: &'static str,
    pub plan_id: PlanId,
    /// Whether nothing is left to do: the same command would change nothing.
    pub is_finished: bool,
    pub is_interrupted: bool,
    pub counts: Tally,
    /// Objects that could not be dealt with; the same command tries again.
    pub failed: Vec<FailedObject>,
    /// Objects that were no longer as planned; another plan covers them.
    pub drifted: Vec<NamedObject>,
    /// Versions with the subjects' rows that are still there.
    pub retained: Vec<RetainedVersion>,
    /// The purge report, where the command made the plan too.
    pub report: Option<PurgeReport>,
}

/// An object, by dataset and key.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct NamedObject {
    pub dataset: DatasetName,
    pub object: ObjectKey,
}

/// An object that could not be dealt with, and why.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct FailedObject {
    pub dataset: DatasetName,
    pub object: ObjectKey,
    pub detail: String,
}

/// A version that is still there, and why.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct RetainedVersion {
    pub dataset: DatasetName,
    #[serde(flatten)]
    pub retained: Retained,
}

impl Erase {
    /// What came of a run.
    pub fn new(execution: &Execution, report: Option<PurgeReport>) -> Self {
        let failed = execution.changes.iter().filter_map(|change| match &change.outcome {
            Outcome::Failed { detail } => Some(FailedObject {
                dataset: change.dataset.clone(),
                object: change.key.clone(),
                detail: detail.clone(),
            }),
            _ => None,
        });
        let drifted = execution.drifted().map(|change| NamedObject {
            dataset: change.dataset.clone(),
            object: change.key.clone(),
        });
        let retained = execution.retained().map(|(change, retained)| RetainedVersion {
            dataset: change.dataset.clone(),
            retained: retained.clone(),
        });
        Self {
            schema: ERASE,
            plan_id: execution.plan,
            is_finished: execution.is_finished(),
            is_interrupted: execution.is_interrupted(),
            counts: execution.tally(),
            failed: failed.collect(),
            drifted: drifted.collect(),
            retained: retained.collect(),
            report,
        }
    }

    /// A plan without work.
    pub fn nothing(report: PurgeReport) -> Self {
        Self {
            schema: ERASE,
            plan_id: report.plan_id,
            is_finished: true,
            is_interrupted: false,
            counts: Tally::default(),
            failed: Vec::new(),
            drifted: Vec::new(),
            retained: Vec::new(),
            report: Some(report),
        }
    }
}

/// What a verification read and met.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Verify {
    pub schema: &'static str,
    /// Absent where subjects were named instead.
    pub plan_id: Option<PlanId>,
    #[serde(flatten)]
    pub verification: Verification,
}

/// An index that was made or migrated.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct MetastorePrepared {
    pub schema: &'static str,
    pub metastore: String,
    /// Whether there was anything to do.
    pub was_changed: bool,
}

/// What a copy of an index did, and how the two compare.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct MetastoreCopy {
    pub schema: &'static str,
    pub from: String,
    pub to: String,
    /// Whether both were compared and are equal.
    pub is_equal: bool,
    #[serde(flatten)]
    pub report: CopyReport,
}

/// What a check of an index met.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct MetastoreCheck {
    pub schema: &'static str,
    pub metastore: String,
    /// Whether nothing was found to be wrong.
    pub is_sound: bool,
    #[serde(flatten)]
    pub report: CheckReport,
}

/// What a vacuum did.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Vacuum {
    pub schema: &'static str,
    #[serde(flatten)]
    pub report: VacuumReport,
}

/// A request and everything that happened to it.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Request {
    pub schema: &'static str,
    /// The day that days are counted from, UTC.
    pub today: Date,
    #[serde(flatten)]
    pub entry: RequestEntry,
    pub history: Vec<RequestEvent>,
}

/// Requests, the most pressing first.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Requests {
    pub schema: &'static str,
    /// The day that days are counted from, UTC.
    pub today: Date,
    pub requests: Vec<RequestEntry>,
    /// What is wrong with each request that cannot be read.
    pub damaged: Vec<String>,
}

impl Request {
    /// A request as it stands on a day.
    pub fn new(request: RegisteredRequest, history: Vec<RequestEvent>, today: Date) -> Self {
        let entry = RequestEntry::new(request, today);
        Self { schema: REQUEST, today, entry, history }
    }
}
