//! What an examination of a store found: which check, how bad it is, what it means, and the remedy.

use std::error::Error;
use std::fmt;

use serde::Serialize;

/// How bad a finding is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Something that Lacuna does will fail, or do harm.
    Problem,
    /// It could not be found out. Never the same as good.
    Unknown,
    /// It works, and something may be left behind, or seen by others.
    Warning,
    /// Worth knowing.
    Note,
    /// As it should be.
    Ok,
}

impl Severity {
    /// As it stands in documents: `problem`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Note => "note",
            Self::Ok => "ok",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// Declares the checks with their codes, so that a list of them cannot miss one.
macro_rules! checks {
    ($($(#[$about:meta])* $name:ident = $code:literal,)*) => {
        /// What is examined. The codes are a promise to scripts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Check {
            $($(#[$about])* #[serde(rename = $code)] $name,)*
        }

        impl Check {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As it stands in documents: `versioning-age`.
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

checks! {
    /// Whether a place can be reached and opened at all.
    Open = "open",
    /// Whether a bucket is of a kind that Lacuna works with.
    BucketKind = "bucket-kind",
    /// Whether the account is named that has to own a bucket.
    BucketOwner = "bucket-owner",
    /// How far the store's clock and this machine's are apart.
    Clock = "clock",
    /// Whether overwritten bytes are kept.
    Versioning = "versioning",
    /// Whether versioning has been on for long enough to be relied on.
    VersioningAge = "versioning-age",
    /// Whether deleting a version takes a second factor.
    MfaDelete = "mfa-delete",
    /// Whether versions may be locked, and for how long new ones are.
    ObjectLock = "object-lock",
    /// Whether the lock of a version can be seen.
    LockVisible = "lock-visible",
    /// Whether the credentials may do what Lacuna never does.
    Excess = "excess",
    /// Whether what is left of broken uploads goes by itself.
    LifecycleAbort = "lifecycle-abort",
    /// What else is done to objects as they age.
    LifecycleRules = "lifecycle-rules",
    /// Whether objects are copied elsewhere.
    Replication = "replication",
    /// Who is told of a rewrite.
    Notifications = "notifications",
    /// Who pays for requests.
    RequesterPays = "requester-pays",
    /// Whether unfinished uploads hold bytes that no listing shows.
    IncompleteUploads = "incomplete-uploads",
    /// Whether objects can be listed.
    Listing = "listing",
    /// Whether every kept version can be listed.
    ListingVersions = "listing-versions",
    /// Whether an object can be read.
    Reading = "reading",
    /// Whether a certain version of an object can be read.
    ReadingVersions = "reading-versions",
    /// Whether the tags of an object can be seen.
    Tags = "tags",
    /// Whether the access list of an object can be seen.
    AccessList = "access-list",
    /// Whether an upload in parts can be begun, looked at and broken off.
    Uploads = "uploads",
    /// Whether a write happens under its conditions only.
    ConditionalWrites = "conditional-writes",
    /// Whether two files can be exchanged in one step.
    Exchange = "exchange",
    /// Whether files keep the name of the write that made them.
    ExtendedAttributes = "extended-attributes",
    /// How much room a file system has.
    FreeDisk = "free-disk",
    /// Which kind of file system it is.
    FileSystem = "file-system",
    /// Who else may read or change a folder.
    Mode = "mode",
    /// Whether copies are kept that nobody can see from here.
    Snapshots = "snapshots",
    /// Whether the digest key can be read, and the index belongs to it.
    DigestKey = "digest-key",
    /// Whether an index has the layout of this program.
    Layout = "layout",
    /// Whether an index may be read and written.
    Privileges = "privileges",
    /// Whether a database can be written to.
    Writable = "writable",
    /// Whether others on the line can listen.
    Encryption = "encryption",
    /// Whether the plans of a ledger are what their names say.
    Plans = "plans",
    /// Whether a run holds the lease.
    Lease = "lease",
}

impl fmt::Display for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.code())
    }
}

/// A permission that is missing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Permission {
    /// What is not allowed: `s3:GetObjectRetention`.
    pub action: String,
    /// On what: `arn:aws:s3:::bucket/prefix/*`.
    pub resource: String,
}

/// One thing that an examination found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Which check found it.
    pub check: Check,
    /// What it is and what it means, lower case, without personal data.
    pub message: String,
    /// What to do about it: a sentence, a command, a statement of a policy.
    pub fix: Option<String>,
    /// The permission that is missing, where that is the matter.
    pub permission: Option<Permission>,
    /// Whether the check was tried and failed on its way, so that trying again may tell.
    pub is_incomplete: bool,
}

impl Finding {
    fn new(severity: Severity, check: Check, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { severity, check, message, fix: None, permission: None, is_incomplete: false }
    }

    /// As it should be.
    pub fn ok(check: Check, message: impl Into<String>) -> Self {
        Self::new(Severity::Ok, check, message)
    }

    /// Worth knowing.
    pub fn note(check: Check, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, check, message)
    }

    /// It works, and something may be left behind or seen by others.
    pub fn warning(check: Check, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, check, message)
    }

    /// Something that Lacuna does will fail, or do harm.
    pub fn problem(check: Check, message: impl Into<String>) -> Self {
        Self::new(Severity::Problem, check, message)
    }

    /// It cannot be found out from here, or was not to be tried.
    pub fn unknown(check: Check, message: impl Into<String>) -> Self {
        Self::new(Severity::Unknown, check, message)
    }

    /// It was tried and failed on its way.
    pub fn failed(check: Check, error: &(dyn Error + 'static)) -> Self {
        Self { is_incomplete: true, ..Self::unknown(check, told(error)) }
    }

    /// Whether it is as it should be.
    pub fn is_good(&self) -> bool {
        self.severity == Severity::Ok
    }

    /// The worse of two findings.
    #[must_use]
    pub fn or_worse(self, other: Self) -> Self {
        if other.severity < self.severity { other } else { self }
    }

    /// The same finding with what to do about it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// The same finding, because of a permission that is missing.
    #[must_use]
    pub fn lacking(mut self, action: impl Into<String>, resource: impl Into<String>) -> Self {
        let permission = Permission { action: action.into(), resource: resource.into() };
        let Permission { action, resource } = &permission;
        self.fix.get_or_insert_with(|| format!("allow {action} on {resource}"));
        self.permission = Some(permission);
        self
    }
}

/// An error and its causes in one line, each once.
pub fn told(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

/// The findings of checks that were not tried, all for one reason.
pub fn untried(checks: &[Check], why: &str) -> Vec<Finding> {
    checks.iter().map(|check| Finding::unknown(*check, format!("not tried: {why}"))).collect()
}

/// Seconds between two clocks from which on people should know.
const SKEW_WARNED_SECONDS: u64 = 5 * 60;

/// Seconds between two clocks from which on S3 refuses signatures.
const SKEW_REFUSED_SECONDS: u64 = 15 * 60;

/// What it means that a store's clock says `theirs` when this machine's says `ours`, in seconds
/// since 1970.
pub fn clock(ours: i64, theirs: i64) -> Finding {
    let apart = ours.abs_diff(theirs);
    let direction = if ours < theirs { "behind" } else { "ahead of" };
    let message = format!("this machine's clock is {apart} s {direction} the store's");
    let fix = "set both clocks by NTP: expiry of plans, the lease and signatures depend on them";
    match apart {
        SKEW_REFUSED_SECONDS.. => Finding::problem(
            Check::Clock,
            format!("{message}; from 15 minutes on S3 refuses every request"),
        )
        .fix(fix),
        SKEW_WARNED_SECONDS.. => Finding::warning(
            Check::Clock,
            format!("{message}; from 15 minutes on S3 would refuse every request"),
        )
        .fix(fix),
        _ => Finding::ok(
            Check::Clock,
            format!("this machine's clock and the store's are {apart} s apart"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_skewed_clock_is_told() {
        let skew = |seconds: i64| clock(1_000_000 + seconds, 1_000_000).severity;
        for seconds in [0, 1, -1, 299, -299] {
            assert_eq!(skew(seconds), Severity::Ok, "{seconds}");
        }
        for seconds in [300, -300, 899, -899] {
            assert_eq!(skew(seconds), Severity::Warning, "{seconds}");
        }
        for seconds in [900, -900, 1_000_000_000, -1_000_000_000] {
            assert_eq!(skew(seconds), Severity::Problem, "{seconds}");
        }
        assert!(clock(0, 400).message.contains("400 s behind"));
        assert!(clock(400, 0).message.contains("400 s ahead"));
        assert_eq!(clock(i64::MIN, i64::MAX).severity, Severity::Problem);
    }

    #[test]
    fn codes_are_told_apart() {
        let codes: BTreeSet<&str> = Check::ALL.iter().map(|check| check.code()).collect();
        assert_eq!(codes.len(), Check::ALL.len());
        for check in Check::ALL {
            assert_eq!(serde_json::to_value(check).expect("text"), check.code());
        }
    }

    #[test]
    fn every_code_is_documented() {
        let page = include_str!("../../docs/operations.md");
        for check in Check::ALL {
            assert!(page.contains(&format!("`{}`", check.code())), "{check}");
        }
    }

    #[test]
    fn the_worst_comes_first() {
        use Severity::{Note, Ok, Problem, Unknown, Warning};
        let mut severities = [Ok, Unknown, Note, Problem, Warning];
        severities.sort();
        assert_eq!(severities, [Problem, Unknown, Warning, Note, Ok]);
    }
}
