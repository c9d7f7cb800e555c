//! A lake that counts what is asked of it, and a meter that whoever wants to know holds on to.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::StreamExt as _;

use super::{
    Attributes, ByteStream, Capabilities, Lake, LakeError, Staging, Target, VersionStream, Write,
    WriteError,
};
use crate::domain::edit::Segment;
use crate::domain::object::{ListedVersion, ObjectKey, ObjectVersion};

/// A method of [`Lake`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// [`Lake::capabilities`].
    Capabilities,
    /// [`Lake::list`].
    List,
    /// [`Lake::versions`].
    Versions,
    /// [`Lake::attributes`].
    Attributes,
    /// [`Lake::read`].
    Read,
    /// [`Lake::write`].
    Write,
    /// [`Lake::abandon`].
    Abandon,
    /// [`Lake::delete_version`].
    DeleteVersion,
}

/// What was asked of a lake so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How often each method was called, also in vain. A method that was not called is not there.
    pub calls: BTreeMap<Method, u64>,
    /// How many versions listings told of.
    pub listed: u64,
    /// How many requests were made. Where a lake counts by itself these are the store's own, each sent
    /// anew counted anew; else a call is a request.
    pub requests: u64,
    /// How many bytes were read.
    pub read_bytes: u64,
    /// How many new bytes were written.
    pub written_bytes: u64,
    /// How many bytes were copied from old objects to new ones.
    pub copied_bytes: u64,
}

impl Counts {
    /// How often a method was called.
    pub fn calls_of(&self, method: Method) -> u64 {
        self.calls.get(&method).copied().unwrap_or(0)
    }
}

/// Where counts add up. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Mutex<Counts>>);

impl Meter {
    /// The counts so far.
    pub fn counts(&self) -> Counts {
        self.locked().clone()
    }

    /// A caller that panicked while it counted left the counts whole.
    pub(super) fn locked(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same lake, which counts on this meter what it is asked from now on by whoever holds the answer. Others
/// who share the lake are not counted.
pub fn metered(lake: &Arc<dyn Lake>, meter: &Meter) -> Arc<dyn Lake> {
    lake.metered(meter)
        .unwrap_or_else(|| Arc::new(Count { inner: lake.clone(), meter: meter.clone() }))
}

/// Another lake, and what was asked of it.
#[derive(Debug)]
pub struct Count {
    inner: Arc<dyn Lake>,
    meter: Meter,
}

impl Count {
    /// Counts from zero.
    pub fn new(inner: Arc<dyn Lake>) -> Self {
        Self { inner, meter: Meter::default() }
    }

    /// The counts so far.
    pub fn counts(&self) -> Counts {
        self.meter.counts()
    }

    fn called(&self, method: Method) {
        let mut counts = self.meter.locked();
        *counts.calls.entry(method).or_default() += 1;
        counts.requests += 1;
    }
}

#[async_trait]
impl Lake for Count {
    fn location(&self) -> &str {
        self.inner.location()
    }

    async fn capabilities(&self) -> Result<Capabilities, LakeError> {
        self.called(Method::Capabilities);
        self.inner.capabilities().await
    }

    fn list(&self, prefix: &[u8]) -> VersionStream {
        self.called(Method::List);
        let meter = self.meter.clone();
        let count = move |item: &Result<ListedVersion, LakeError>| {
            meter.locked().listed += u64::from(item.is_ok());
        };
        self.inner.list(prefix).inspect(count).boxed()
    }

    async fn versions(&self, key: &ObjectKey) -> Result<Vec<ListedVersion>, LakeError> {
        self.called(Method::Versions);
        self.inner.versions(key).await
    }

    async fn attributes(&self, target: Target<'_>) -> Result<Attributes, LakeError> {
        self.called(Method::Attributes);
        self.inner.attributes(target).await
    }

    async fn read(
        &self,
        object: &ObjectVersion,
        range: Range<u64>,
    ) -> Result<ByteStream, LakeError> {
        self.called(Method::Read);
        let meter = self.meter.clone();
        let pieces = self.inner.read(object, range).await?;
        let count = move |piece: &Result<bytes::Bytes, LakeError>| {
            let length = piece.as_ref().map_or(0, |piece| piece.len() as u64);
            meter.locked().read_bytes += length;
        };
        Ok(pieces.inspect(count).boxed())
    }

    async fn write(&self, write: Write) -> Result<ObjectVersion, WriteError> {
        self.called(Method::Write);
        let meter = self.meter.clone();
        let edit = write.edit.observed(move |segment| {
            let mut counts = meter.locked();
            let bytes = match segment {
                Segment::Bytes(_) => &mut counts.written_bytes,
                Segment::Copy(_) => &mut counts.copied_bytes,
            };
            // A range was not checked yet and may be any.
            *bytes = bytes.saturating_add(segment.size_bytes());
        });
        self.inner.write(Write { edit, ..write }).await
    }

    async fn abandon(&self, key: &ObjectKey, staging: &Staging) -> Result<(), LakeError> {
        self.called(Method::Abandon);
        self.inner.abandon(key, staging).await
    }

    async fn delete_version(&self, object: &ObjectVersion) -> Result<(), LakeError> {
        self.called(Method::DeleteVersion);
        self.inner.delete_version(object).await
    }
}
