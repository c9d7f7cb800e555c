//! What is examined of every lake alike, whatever store is behind it.

use futures::TryStreamExt as _;

use super::probe::try_conditional_writes;
use super::{Lake, LakeError, LakeErrorKind};
use crate::clock::Clock;
use crate::domain::finding::{Check, Finding, told};
use crate::domain::identifier::hex;
use crate::domain::object::ObjectKey;
use crate::domain::scope::PROBE_PREFIX;

/// What the names of scratch objects have after the prefix of all probes.
pub(crate) const RUN: &str = "doctor";

/// A scratch object of this age in seconds is of an examination that was killed.
const LEFT_OVER_SECONDS: i64 = 60 * 60;

/// Whether writes happen under their conditions only, and what was written goes again; tried on a
/// scratch object below the prefix. What killed examinations left goes first.
pub(crate) async fn conditional_writes(lake: &dyn Lake, prefix: &[u8], clock: &Clock) -> Finding {
    let check = Check::ConditionalWrites;
    match tried(lake, prefix, clock).await {
        Ok(()) => Finding::ok(
            check,
            "a write happens under its conditions only, and what was written to try it is gone",
        ),
        Err(error) if error.kind() == LakeErrorKind::Unsupported => {
            Finding::problem(check, told(&error)).fix(
                "use a store that honours the conditions of \
                writes; indexing and planning work all the same",
            )
        }
        Err(error) => match (error.permission(), error.kind()) {
            (Some(action), _) => {
                let message = format!("{action} is missing: nothing can be rewritten here");
                Finding::problem(check, message).lacking(action, lake.location())
            }
            (None, LakeErrorKind::Denied | LakeErrorKind::Locked) => {
                Finding::problem(check, told(&error))
            }
            (None, _) => Finding::failed(check, &error),
        },
    }
}

async fn tried(lake: &dyn Lake, prefix: &[u8], clock: &Clock) -> Result<(), LakeError> {
    sweep(lake, prefix, clock).await?;
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| {
        LakeError::new(LakeErrorKind::Other, format!("the system gives no random bytes: {error}"))
    })?;
    // Named at random: another examination at the same time must not meet this one's object.
    try_conditional_writes(lake, prefix, &format!("{RUN}-{}", hex(&bytes))).await
}

/// Removes what examinations that were killed left behind.
async fn sweep(lake: &dyn Lake, prefix: &[u8], clock: &Clock) -> Result<(), LakeError> {
    let beginning = [prefix, PROBE_PREFIX.as_bytes(), RUN.as_bytes(), b"-"].concat();
    let mut listing = lake.list(ObjectKey::new(beginning).as_bytes());
    let before = clock.now().as_second() - LEFT_OVER_SECONDS;
    while let Some(listed) = listing.try_next().await? {
        if listed.object.modified_at.as_second() < before {
            lake.delete_version(&listed.object).await?;
        }
    }
    Ok(())
}
