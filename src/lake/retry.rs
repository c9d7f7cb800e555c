//! A lake that asks again when the store was unavailable for a moment. A write is never sent twice: when
//! its outcome is unknown, the object is looked at instead.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};

use super::count::Meter;
use super::{
    Attributes, ByteStream, Capabilities, Lake, LakeError, LakeErrorKind, Settled, Staging, Target,
    VersionStream, Write, WriteError, WriteOutcome, settle,
};
use crate::domain::object::{ListedVersion, ObjectKey, ObjectVersion, VersionId};

/// The longest pause that a store may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

/// How often, and how long to wait in between: each time at random up to a bound that doubles ("full
/// jitter", Brooker, *Exponential Backoff And Jitter*, AWS Architecture Blog, 2015), and after whatever pause
/// the store asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How often something is attempted in all, at least once.
    pub attempts: u32,
    /// The bound of the first pause.
    pub first: Duration,
    /// The highest bound of any pause.
    pub longest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(20));
        Self { attempts: 8, first, longest }
    }
}

impl Patience {
    /// Waits after a failed attempt, counted from 0; gives the error back where there is no patience
    /// left, or no sense in asking again.
    async fn wait(&self, failed: u32, error: LakeError) -> Result<(), LakeError> {
        if error.kind() != LakeErrorKind::Unavailable || failed.saturating_add(1) >= self.attempts {
            return Err(error);
        }
        let own = self.pause(failed, getrandom::u64().unwrap_or(u64::MAX));
        tokio::time::sleep(asked(&error) + own).await;
        Ok(())
    }

    /// The pause after a failed attempt, for a random number.
    fn pause(&self, failed: u32, random: u64) -> Duration {
        let bound = self.first.saturating_mul(2_u32.saturating_pow(failed)).min(self.longest);
        bound.mul_f64(random as f64 / u64::MAX as f64)
    }
}

/// The pause that the store asks for.
fn asked(error: &LakeError) -> Duration {
    error.pause().unwrap_or_default().min(LONGEST_ASKED)
}

/// Another lake, asked with patience.
#[derive(Clone, Debug)]
pub struct Retry {
    inner: Arc<dyn Lake>,
    patience: Patience,
}

impl Retry {
    /// Asks `inner` again with this patience.
    pub fn new(inner: Arc<dyn Lake>, patience: Patience) -> Self {
        Self { inner, patience }
    }

    async fn again<T, F>(&self, call: impl Fn() -> F) -> Result<T, LakeError>
    where
        F: Future<Output = Result<T, LakeError>>,
    {
        let mut failed = 0;
        loop {
            match call().await {
                Ok(answer) => return Ok(answer),
                Err(error) => self.patience.wait(failed, error).await?,
            }
            failed += 1;
        }
    }
}

/// A read that goes on where it broke off.
struct Reading {
    lake: Retry,
    object: ObjectVersion,
    rest: Range<u64>,
    pieces: Option<ByteStream>,
    failed: u32,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, LakeError> {
        loop {
            let piece = match self.pieces.as_mut() {
                Some(pieces) => pieces.next().await.transpose(),
                None => self.resume().await.map(|()| Some(Bytes::new())),
            };
            match piece {
                Ok(Some(piece)) if piece.is_empty() => {}
                Ok(Some(piece)) => return self.take(piece).map(Some),
                Ok(None) if self.rest.start == self.rest.end => return Ok(None),
                Ok(None) => return Err(self.corrupt("ended before its end")),
                Err(error) => {
                    self.pieces = None;
                    self.lake.patience.wait(self.failed, error).await?;
                    self.failed += 1;
                }
            }
        }
    }

    async fn resume(&mut self) -> Result<(), LakeError> {
        self.pieces = Some(self.lake.inner.read(&self.object, self.rest.clone()).await?);
        Ok(())
    }

    fn take(&mut self, piece: Bytes) -> Result<Bytes, LakeError> {
        self.failed = 0;
        let start = self.rest.start.saturating_add(piece.len() as u64);
        if start > self.rest.end {
            return Err(self.corrupt("went on after its end"));
        }
        self.rest.start = start;
        Ok(piece)
    }

    fn corrupt(&self, what: &str) -> LakeError {
        LakeError::about(LakeErrorKind::Corrupt, &self.object.key, format!("a read {what}"))
    }
}

/// A listing that begins anew where it broke off, and leaves out what it told already.
struct Listing {
    lake: Retry,
    prefix: Vec<u8>,
    items: VersionStream,
    /// The last key told of, and which of its versions; `None` among them is what holds no object.
    last: Option<(ObjectKey, BTreeSet<Option<VersionId>>)>,
    failed: u32,
}

impl Listing {
    async fn next(&mut self) -> Option<Result<ListedVersion, LakeError>> {
        loop {
            let item = self.items.next().await?;
            let place = match &item {
                Ok(listed) => Some((&listed.object.key, Some(listed.object.version.clone()))),
                Err(error) if error.kind() == LakeErrorKind::NotAnObject => {
                    error.key().map(|key| (key, None))
                }
                Err(_) => None,
            };
            match (place.map(|(key, version)| (key.clone(), version)), item) {
                (Some((key, version)), item) => {
                    if self.is_new(key, version) {
                        self.failed = 0;
                        return Some(item);
                    }
                }
                (None, Ok(listed)) => return Some(Ok(listed)),
                (None, Err(error)) => {
                    if let Err(error) = self.lake.patience.wait(self.failed, error).await {
                        return Some(Err(error));
                    }
                    self.failed += 1;
                    self.items = self.lake.inner.list(&self.prefix);
                }
            }
        }
    }

    /// Whether it was not told yet; from now on it is.
    fn is_new(&mut self, key: ObjectKey, version: Option<VersionId>) -> bool {
        match &mut self.last {
            Some((last, _)) if key < *last => false,
            Some((last, versions)) if key == *last => versions.insert(version),
            last => {
                *last = Some((key, BTreeSet::from([version])));
                true
            }
        }
    }
}

#[async_trait]
impl Lake for Retry {
    fn metered(&self, meter: &Meter) -> Option<Arc<dyn Lake>> {
        let inner = self.inner.metered(meter)?;
        Some(Arc::new(Self { inner, patience: self.patience }))
    }

    fn location(&self) -> &str {
        self.inner.location()
    }

    async fn capabilities(&self) -> Result<Capabilities, LakeError> {
        self.again(|| self.inner.capabilities()).await
    }

    fn list(&self, prefix: &[u8]) -> VersionStream {
        let items = self.inner.list(prefix);
        let (lake, prefix) = (self.clone(), prefix.to_vec());
        let listing = Listing { lake, prefix, items, last: None, failed: 0 };
        let next = |mut listing: Listing| async { Some((listing.next().await?, listing)) };
        stream::unfold(listing, next).boxed()
    }

    async fn versions(&self, key: &ObjectKey) -> Result<Vec<ListedVersion>, LakeError> {
        self.again(|| self.inner.versions(key)).await
    }

    async fn attributes(&self, target: Target<'_>) -> Result<Attributes, LakeError> {
        self.again(|| self.inner.attributes(target)).await
    }

    async fn read(
        &self,
        object: &ObjectVersion,
        range: Range<u64>,
    ) -> Result<ByteStream, LakeError> {
        let pieces = self.again(|| self.inner.read(object, range.clone())).await?;
        let (lake, object) = (self.clone(), object.clone());
        let reading = Reading { lake, object, rest: range, pieces: Some(pieces), failed: 0 };
        let next = |mut reading: Reading| async {
            Ok(reading.next().await?.map(|piece| (piece, reading)))
        };
        Ok(stream::try_unfold(reading, next).boxed())
    }

    /// An unknown outcome is looked up, after the pause that the store asks for. Where the mark is not there the outcome stays unknown, since
    /// what was sent may still arrive.
    async fn write(&self, write: Write) -> Result<ObjectVersion, WriteError> {
        let (key, operation) = (write.key.clone(), write.operation.clone());
        match self.inner.write(write).await {
            Err(error) if error.outcome == WriteOutcome::Unknown => {
                tokio::time::sleep(asked(&error.error)).await;
                match self.again(|| settle(&*self.inner, &key, &operation)).await {
                    Ok(Settled::Committed(object)) => Ok(object),
                    Ok(Settled::NotCommitted) | Err(_) => Err(error),
                }
            }
            answer => answer,
        }
    }

    async fn abandon(&self, key: &ObjectKey, staging: &Staging) -> Result<(), LakeError> {
        self.again(|| self.inner.abandon(key, staging)).await
    }

    async fn delete_version(&self, object: &ObjectVersion) -> Result<(), LakeError> {
        self.again(|| self.inner.delete_version(object)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B10: pauses double up to a bound, and are anywhere below it.
    #[test]
    fn pauses_double_up_to_a_bound() {
        let first = Duration::from_millis(100);
        let patience = Patience { attempts: 99, first, longest: Duration::from_secs(1) };
        let longest: Vec<u128> =
            (0..6).map(|failed| patience.pause(failed, u64::MAX).as_millis()).collect();
        assert_eq!(longest, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(patience.pause(3, 0), Duration::ZERO);
        assert_eq!(patience.pause(1, u64::MAX / 2).as_millis(), 100);
        assert_eq!(patience.pause(u32::MAX, u64::MAX).as_millis(), 1000);
    }

    /// B10: a store that says how long to leave it alone is left alone for as long, within reason.
    #[tokio::test(start_paused = true)]
    async fn a_pause_that_the_store_asks_for_is_kept() {
        let longest = Duration::from_millis(20);
        let patience = Patience { attempts: 3, first: longest, longest };
        for (asked, least) in [(None, 0), (Some(7), 7), (Some(u64::MAX), 300)] {
            let error = LakeError::new(LakeErrorKind::Unavailable, "busy")
                .asking_for(asked.map(Duration::from_secs));
            let begun = tokio::time::Instant::now();
            patience.wait(0, error).await.expect("there is patience left");
            let waited = begun.elapsed();
            let least = Duration::from_secs(least);
            assert!(least <= waited && waited <= least + 2 * longest, "{asked:?}: {waited:?}");
        }
    }
}
