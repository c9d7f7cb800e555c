//! Whether a store honours the conditions of a write. Some take them and ignore them: against those,
//! rewriting in place would lose other people's changes without a word.

use std::iter;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    Base, Conditions, Lake, LakeError, LakeErrorKind, OperationId, Unobserved, Versioning, Write,
    WriteError, WriteOutcome, document,
};
use crate::domain::Timestamp;
use crate::domain::edit::{Edit, Segment};
use crate::domain::identifier::hex;
use crate::domain::object::{ETag, ObjectKey, ObjectVersion, VersionId};
use crate::domain::scope::PROBE_PREFIX;

/// What the scratch object holds at most.
const MOST_BYTES: u64 = 64;

/// Proves on a scratch object below `prefix` that the store honours the conditions of writes, unless
/// the lake itself sees to them. The object is named by `run`, so that the next run of the same name
/// finds and removes what a killed one left of it.
///
/// # Errors
///
/// As [`prove_conditional_writes`].
pub async fn ensure_conditional_writes(
    lake: &dyn Lake,
    prefix: &[u8],
    run: &str,
) -> Result<(), LakeError> {
    if lake.capabilities().await?.conditions == Conditions::Own {
        return Ok(());
    }
    try_conditional_writes(lake, prefix, run).await
}

/// The same, also where the lake itself sees to the conditions: it shows that writing and deleting work
/// at all.
///
/// # Errors
///
/// As [`prove_conditional_writes`].
pub async fn try_conditional_writes(
    lake: &dyn Lake,
    prefix: &[u8],
    run: &str,
) -> Result<(), LakeError> {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).map_err(|error| {
        LakeError::new(LakeErrorKind::Other, format!("the system gives no random bytes: {error}"))
    })?;
    let proof = hex(&bytes);
    let key = |name: String| ObjectKey::new([prefix, name.as_bytes()].concat());
    let mut scratch = key(format!("{PROBE_PREFIX}{run}"));
    if remove(lake, &scratch).await? == Leftovers::Retained {
        scratch = key(format!("{PROBE_PREFIX}{run}-{proof}"));
    }
    let mut written: u32 = 0;
    let operation = || {
        written = written.wrapping_add(1);
        OperationId::new(format!("{proof}{written:08x}"))
    };
    prove_conditional_writes(lake, scratch, operation).await
}

/// Proves on a scratch object that the store writes only what its conditions allow, and removes the
/// object with all its versions, but for those that the store retains. `operation` answers a new id at each call.
///
/// # Errors
///
/// [`LakeErrorKind::Unsupported`] where the store wrote what it had to refuse, or deleted what it had to
/// keep: nothing in it may be rewritten. Any other kind means that nothing was proved. Where the scratch
/// key is taken, nothing is touched.
pub async fn prove_conditional_writes(
    lake: &dyn Lake,
    scratch: ObjectKey,
    operation: impl FnMut() -> OperationId + Send,
) -> Result<(), LakeError> {
    if !lake.versions(&scratch).await?.is_empty() {
        let message = "the key for the probe of conditional writes is taken; choose another";
        return Err(LakeError::about(LakeErrorKind::Other, &scratch, message));
    }
    let mut proof = Proof { lake, key: &scratch, operation };
    let proved = proof.run().await;
    let removed = remove(lake, &scratch).await;
    proved.and(removed.map(drop))
}

/// Whether something of a probe stayed.
#[derive(PartialEq, Eq)]
enum Leftovers {
    None,
    /// The bucket locks whatever is written to it. A probe holds nothing of anybody.
    Retained,
}

async fn remove(lake: &dyn Lake, key: &ObjectKey) -> Result<Leftovers, LakeError> {
    let mut left = Leftovers::None;
    for version in lake.versions(key).await? {
        match lake.delete_version(&version.object).await {
            Err(error) if error.kind() == LakeErrorKind::Locked => left = Leftovers::Retained,
            deleted => drop(deleted?),
        }
    }
    Ok(left)
}

struct Proof<'a, O> {
    lake: &'a dyn Lake,
    key: &'a ObjectKey,
    operation: O,
}

impl<O: FnMut() -> OperationId + Send> Proof<'_, O> {
    async fn run(&mut self) -> Result<(), LakeError> {
        let ghost = ghost(self.key);
        let written = self.write(Base::Version(ghost.clone()), "ghost").await;
        self.refused(written, "wrote over an object that does not exist")?;
        self.holds(None, "made an object that a write said it had refused").await?;
        let first = self.write(Base::Absent, "first").await.map_err(|error| error.error)?;
        let written = self.write(Base::Absent, "again").await;
        self.refused(written, "created an object that exists")?;
        self.holds(Some("first"), "changed an object that exists by creating it").await?;
        let wrong = ObjectVersion { etag: ghost.etag, ..first.clone() };
        let written = self.write(Base::Version(wrong), "wrong").await;
        self.refused(written, "wrote over an object under a wrong ETag")?;
        self.holds(Some("first"), "changed an object under a wrong ETag").await?;
        let second = self.late(first.clone()).await?;
        let third = self.race(second).await?;
        self.delete_superseded(&first, third).await
    }

    fn order(&mut self, base: Base, edit: Edit) -> Write {
        let (key, operation) = (self.key.clone(), (self.operation)());
        Write { key, base, edit, operation, observer: Arc::new(Unobserved) }
    }

    async fn write(&mut self, base: Base, text: &'static str) -> Result<ObjectVersion, WriteError> {
        let order = self.order(base, Edit::bytes(Bytes::from_static(text.as_bytes())));
        self.lake.write(order).await
    }

    /// A write whose base is overwritten while its bytes are being made: whoever looks at the base
    /// beforehand, and not when it commits, is found out.
    async fn late(&mut self, base: ObjectVersion) -> Result<ObjectVersion, LakeError> {
        let (reached, reaching) = oneshot::channel();
        let (release, released) = mpsc::channel::<()>();
        let slow = iter::once_with(move || {
            // Both ends may be gone where a write failed early: the edit then just ends.
            let _ = reached.send(());
            let _ = released.recv();
            Ok(Segment::Bytes(Bytes::from_static(b"late")))
        });
        let late = self.order(Base::Version(base.clone()), Edit::streamed(slow));
        let early = self.order(Base::Version(base), Edit::bytes("early"));
        let overtake = async {
            let _ = reaching.await;
            let written = self.lake.write(early).await;
            drop(release);
            written
        };
        let (late, early) = futures::join!(self.lake.write(late), overtake);
        let early = early.map_err(|error| error.error)?;
        self.refused(late, "wrote over an object that had changed since the write began")?;
        self.holds(Some("early"), "lost a change that was made while a write was under way")
            .await?;
        Ok(early)
    }

    /// Two writes at once over one base: one wins.
    async fn race(&mut self, base: ObjectVersion) -> Result<ObjectVersion, LakeError> {
        let left = self.order(Base::Version(base.clone()), Edit::bytes("left"));
        let right = self.order(Base::Version(base), Edit::bytes("right"));
        let (left, right) = futures::join!(self.lake.write(left), self.lake.write(right));
        let (winner, loser, text) = match (left, right) {
            (Ok(winner), loser) => (winner, loser, "left"),
            (loser, Ok(winner)) => (winner, loser, "right"),
            (Err(error), Err(_)) => return Err(error.error),
        };
        self.refused(loser, "let two writes over one version both win")?;
        self.holds(Some(text), "kept the bytes of a write that it had refused").await?;
        Ok(winner)
    }

    /// Where no versions are kept, deleting one that was overwritten must not take the new one.
    async fn delete_superseded(
        &self,
        first: &ObjectVersion,
        last: ObjectVersion,
    ) -> Result<(), LakeError> {
        if self.lake.capabilities().await?.versioning != Versioning::Never {
            return Ok(());
        }
        match self.lake.delete_version(first).await {
            Err(error) if error.kind() != LakeErrorKind::Drifted => return Err(error),
            _ => {}
        }
        let what = "deleted an object under the ETag of a version that is gone";
        let left = document::get(self.lake, self.key, MOST_BYTES).await?;
        match left {
            Some((object, _)) if object.is_same_version(&last) => Ok(()),
            _ => Err(self.lie(what)),
        }
    }

    fn lie(&self, what: &str) -> LakeError {
        let location = self.lake.location();
        let message = format!(
            "{location} {what}: it does not honour conditional writes, so nothing in it is \
             rewritten or deleted; use a store that honours If-Match and If-None-Match"
        );
        LakeError::new(LakeErrorKind::Unsupported, message)
    }

    /// A write that had to be refused was, and for the right reason.
    fn refused(
        &self,
        written: Result<ObjectVersion, WriteError>,
        what: &str,
    ) -> Result<(), LakeError> {
        let Err(WriteError { outcome, error }) = written else { return Err(self.lie(what)) };
        let is_condition = matches!(error.kind(), LakeErrorKind::Drifted | LakeErrorKind::NotFound);
        if is_condition && outcome == WriteOutcome::Unchanged { Ok(()) } else { Err(error) }
    }

    async fn holds(&self, expected: Option<&str>, what: &str) -> Result<(), LakeError> {
        let held = document::get(self.lake, self.key, MOST_BYTES).await?;
        let held = held.as_ref().map(|(_, bytes)| &bytes[..]);
        if held == expected.map(str::as_bytes) { Ok(()) } else { Err(self.lie(what)) }
    }
}

/// A version that never was.
fn ghost(key: &ObjectKey) -> ObjectVersion {
    ObjectVersion {
        key: key.clone(),
        version: VersionId::null(),
        etag: ETag::new("\"00000000000000000000000000000000\""),
        size_bytes: 0,
        modified_at: Timestamp::UNIX_EPOCH,
    }
}
