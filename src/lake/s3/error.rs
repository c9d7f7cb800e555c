//! What S3's answers mean: kinds of failure, and whether a failed write may have happened.

use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};

use crate::domain::object::ObjectKey;
use crate::lake::{LakeError, LakeErrorKind, WriteError, WriteOutcome};

/// One call, as its failure is told: what was attempted, on what, and what permission it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    /// `reading`, `listing versions`.
    pub what: &'static str,
    /// `s3:GetObject`.
    pub permission: &'static str,
    /// The object, or the bucket as people write it.
    pub on: On<'a>,
}

/// What a call is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum On<'a> {
    /// One object.
    Object(&'a ObjectKey),
    /// The bucket at this location.
    Bucket(&'a str),
}

/// What is needed of the SDK's errors; every operation's has it.
pub(super) trait Failure:
    ProvideErrorMetadata + std::error::Error + Send + Sync + 'static
{
}

impl<E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static> Failure for E {}

impl Call<'_> {
    /// The error for a failed call that changed nothing.
    pub(super) fn failed<E: Failure>(self, error: SdkError<E, HttpResponse>) -> LakeError {
        let Some(status) = status(&error) else { return self.unanswered(error) };
        let kind = kind(status, error.code(), error.message());
        let text = self.describe(status, kind, error.code(), error.message());
        let is_permission =
            kind == LakeErrorKind::Denied && remedy(kind, status, error.code()).is_none();
        let told = self.error(kind, &text).asking_for(pause_asked(&error));
        // What follows the name of the permission is for people.
        let name = self.permission.split(' ').next().filter(|_| is_permission);
        match name {
            Some(name) => told.lacking(name),
            None => told,
        }
    }

    fn unanswered<E: Failure>(self, error: SdkError<E, HttpResponse>) -> LakeError {
        let is_credentials = lacks_credentials(&error);
        let kind = kind_without_answer(&error);
        // The SDK's own error holds the answer with all its headers; its cause is enough.
        let cause: Box<dyn Error + Send + Sync> =
            error.into_source().unwrap_or_else(|error| error.to_string().into());
        if is_credentials {
            let text = "no usable credentials; check the environment, the profile and the role";
            return self.error(LakeErrorKind::Denied, text).caused_by(cause);
        }
        self.error(kind, "no usable answer").caused_by(cause)
    }

    /// The error for a failed write, with its outcome.
    pub(super) fn write_failed<E: Failure>(self, error: SdkError<E, HttpResponse>) -> WriteError {
        let outcome = outcome(&error);
        let is_gone = status(&error) == Some(404) && error.code() != Some("NoSuchBucket");
        let mut error = self.failed(error);
        if is_gone {
            error =
                self.error(LakeErrorKind::Drifted, "the object that was to be replaced is gone");
        }
        WriteError { outcome, error }
    }

    /// An error of this call in our own words.
    pub(super) fn error(self, kind: LakeErrorKind, text: &str) -> LakeError {
        let text = format!("{}: {text}", self.what);
        match self.on {
            On::Object(key) => LakeError::about(kind, key, text),
            On::Bucket(location) => LakeError::new(kind, format!("{location}: {text}")),
        }
    }

    fn describe(
        self,
        status: u16,
        kind: LakeErrorKind,
        code: Option<&str>,
        message: Option<&str>,
    ) -> String {
        let mut text = match code {
            Some(code) => format!("S3 answers {status} {}", code.escape_debug()),
            None => format!("S3 answers {status}"),
        };
        if let Some(message) = message {
            text.push_str(&format!(" ({})", message.escape_debug()));
        }
        if let Some(remedy) = remedy(kind, status, code) {
            text.push_str("; ");
            text.push_str(remedy);
        } else if kind == LakeErrorKind::Denied {
            text.push_str(&format!("; it takes the permission {}", self.permission));
        }
        text
    }
}

/// The status of an answer that arrived whole and was an error.
fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    match error {
        SdkError::ServiceError(answer) => Some(answer.raw().status().as_u16()),
        _ => None,
    }
}

/// How long the store wants to be left alone: `Retry-After` in seconds or as a date (RFC 9110, 10.2.3), the
/// date counted from the answer's own.
fn pause_asked<E>(error: &SdkError<E, HttpResponse>) -> Option<Duration> {
    let SdkError::ServiceError(answer) = error else { return None };
    let header = |name: &str| answer.raw().headers().get(name);
    let date = |text: &str| DateTime::from_str(text, DateTimeFormat::HttpDate).ok();
    let after = header("retry-after")?;
    let seconds = after.trim().parse::<u64>().ok().or_else(|| {
        let from = date(header("date")?)?.secs();
        u64::try_from(date(after)?.secs().checked_sub(from)?).ok()
    });
    seconds.map(Duration::from_secs)
}

/// Whether the store says that there is no such thing.
pub(super) fn is_missing<E: Failure>(error: &SdkError<E, HttpResponse>) -> bool {
    status(error).is_some_and(|status| {
        kind(status, error.code(), error.message()) == LakeErrorKind::NotFound
    })
}

/// Whether the store found a condition unmet.
pub(super) fn is_unmet<E: Failure>(error: &SdkError<E, HttpResponse>) -> bool {
    status(error) == Some(412)
}

/// Whether the store refuses for want of a permission.
pub(super) fn is_denied<E: Failure>(error: &SdkError<E, HttpResponse>) -> bool {
    status(error)
        .is_some_and(|status| kind(status, error.code(), error.message()) == LakeErrorKind::Denied)
}

/// Whether the request could not be signed. The SDK has no kind for it, only words.
fn lacks_credentials(error: &dyn Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.to_string().contains("credential") {
            return true;
        }
        cause = error.source();
    }
    false
}

fn kind_without_answer<E>(error: &SdkError<E, HttpResponse>) -> LakeErrorKind {
    match error {
        SdkError::ConstructionFailure(_) => LakeErrorKind::Other,
        SdkError::DispatchFailure(failure) if failure.is_user() => LakeErrorKind::Other,
        _ => LakeErrorKind::Unavailable,
    }
}

/// The kind of an answer; `HEAD` has no body, so that its status has to be enough.
fn kind(status: u16, code: Option<&str>, message: Option<&str>) -> LakeErrorKind {
    match code {
        Some("NoSuchBucket" | "RequestTimeTooSkewed") => return LakeErrorKind::Other,
        Some("InvalidObjectState") => return LakeErrorKind::Archived,
        Some("PreconditionFailed" | "ConditionalRequestConflict") => return LakeErrorKind::Drifted,
        Some("SlowDown" | "RequestTimeout" | "InternalError" | "ServiceUnavailable") => {
            return LakeErrorKind::Unavailable;
        }
        Some("InvalidArgument") if message.is_some_and(|text| text.contains("version id")) => {
            return LakeErrorKind::NotFound;
        }
        _ => {}
    }
    match status {
        // 405 is what a delete marker answers.
        404 | 405 => LakeErrorKind::NotFound,
        401 | 403 => LakeErrorKind::Denied,
        409 | 412 => LakeErrorKind::Drifted,
        501 => LakeErrorKind::Unsupported,
        // An error inside a 200 is S3 failing half way.
        200..=299 | 408 | 429 | 500..=599 => LakeErrorKind::Unavailable,
        _ => LakeErrorKind::Other,
    }
}

fn remedy(kind: LakeErrorKind, status: u16, code: Option<&str>) -> Option<&'static str> {
    match (code, status) {
        (Some("RequestTimeTooSkewed"), _) => Some("set this machine's clock"),
        (Some("ExpiredToken"), _) => Some("the credentials have expired: renew them"),
        (Some("InvalidAccessKeyId" | "SignatureDoesNotMatch"), _) => Some("check the credentials"),
        (Some("NoSuchBucket"), _) => Some("check the bucket's name and region"),
        (Some("AuthorizationHeaderMalformed"), _)
        | (None | Some("PermanentRedirect"), 301 | 307) => {
            Some("the bucket lies in another region: set region under [s3]")
        }
        _ if kind == LakeErrorKind::Archived => Some("restore the object from its archive first"),
        _ => None,
    }
}

/// Whether a write that failed so may have happened.
///
/// Only an answer of 3xx, 4xx or 501 proves that it did not: S3 may answer 200 with an error in the
/// body, 5xx after the commit, or nothing at all.
fn outcome<E>(error: &SdkError<E, HttpResponse>) -> WriteOutcome {
    match error {
        SdkError::ConstructionFailure(_) => WriteOutcome::Unchanged,
        SdkError::DispatchFailure(failure) if failure.is_user() => WriteOutcome::Unchanged,
        SdkError::ServiceError(answer) => match answer.raw().status().as_u16() {
            408 => WriteOutcome::Unknown,
            300..=499 | 501 => WriteOutcome::Unchanged,
            _ => WriteOutcome::Unknown,
        },
        _ => WriteOutcome::Unknown,
    }
}
