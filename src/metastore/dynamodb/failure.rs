//! DynamoDB's answers as the metastore's errors, by what the caller can do about them.

use std::error::Error;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::metastore::MetastoreErrorKind::{Other, Unavailable, WrongVersion};
use crate::metastore::{MetastoreError, MetastoreErrorKind};

/// What is needed of the SDK's errors; every operation's has it.
pub(super) trait Failure: ProvideErrorMetadata + Error + Send + Sync + 'static {}

impl<E: ProvideErrorMetadata + Error + Send + Sync + 'static> Failure for E {}

/// The metastore's error. `shown` names the tables.
pub(super) fn told<E: Failure>(error: SdkError<E, HttpResponse>, shown: &str) -> MetastoreError {
    let SdkError::ServiceError(answer) = &error else { return unanswered(error, shown) };
    let code = answer.err().code().unwrap_or("no code").to_owned();
    let text = answer.err().message().unwrap_or_default().escape_debug().to_string();
    let (kind, advice) = advice(&code);
    let cause = format!("{code} ({text})");
    MetastoreError::new(kind, format!("the index at {shown}: {advice}")).caused_by(cause)
}

fn advice(code: &str) -> (MetastoreErrorKind, &'static str) {
    match code {
        "ResourceNotFoundException" => {
            (WrongVersion, "its tables are missing: run `lacuna metastore create`")
        }
        "AccessDeniedException" => (Other, "a permission is missing; see docs/dynamodb.md"),
        "UnrecognizedClientException" | "InvalidSignatureException" => {
            (Other, "the credentials are refused: check them")
        }
        "ExpiredTokenException" => (Other, "the credentials have expired: renew them"),
        _ if is_throttling(code) => (Unavailable, "DynamoDB takes no more for now: try again"),
        "InternalServerError" | "ServiceUnavailable" | "InternalFailure" => {
            (Unavailable, "DynamoDB fails for now: try again")
        }
        "TransactionCanceledException"
        | "TransactionInProgressException"
        | "TransactionConflictException"
        | "ConditionalCheckFailedException" => {
            (Unavailable, "others change it all the time: try again")
        }
        _ => (Other, "DynamoDB refused the request"),
    }
}

/// Whether the service asks to be asked less often.
pub(super) fn is_throttling(code: &str) -> bool {
    matches!(
        code,
        "ProvisionedThroughputExceededException"
            | "ThrottlingException"
            | "RequestLimitExceeded"
            | "ThrottlingError"
    )
}

fn unanswered<E: Failure>(error: SdkError<E, HttpResponse>, shown: &str) -> MetastoreError {
    let is_credentials = lacks_credentials(&error);
    // The SDK's own error holds the answer with all its headers; its cause is enough.
    let cause: Box<dyn Error + Send + Sync> =
        error.into_source().unwrap_or_else(|error| error.to_string().into());
    let (kind, advice) = match is_credentials {
        true => (Other, "no usable credentials; check the environment, the profile and the role"),
        false => (Unavailable, "it cannot be reached: check `metastore.url` and the network"),
    };
    MetastoreError::new(kind, format!("the index at {shown}: {advice}")).caused_by(cause)
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

/// What stands in the tables is not what was written.
pub(super) fn damaged(what: &str) -> MetastoreError {
    let message = format!(
        "the index holds {what} that cannot be read: it is damaged; name a new metastore in the \
         configuration and run `lacuna index --full`"
    );
    MetastoreError::new(MetastoreErrorKind::Corrupt, message)
}

/// Too many others were at the same thing.
pub(super) fn contended() -> MetastoreError {
    let message = "the index is being changed by others all the time: try again";
    MetastoreError::new(Unavailable, message)
}

/// What was interrupted cannot go on.
pub(super) fn lost() -> MetastoreError {
    MetastoreError::new(Other, "the recording of an object was interrupted: index it again")
}

/// An error to be told to several callers: kind and message, the cause as text.
pub(super) fn again(error: &MetastoreError) -> MetastoreError {
    let message = match Error::source(error) {
        Some(source) => format!("{error} ({source})"),
        None => error.to_string(),
    };
    MetastoreError::new(error.kind(), message)
}
