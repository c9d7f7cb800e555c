//! One object version, read once: what stands in it and where. A scan knows lakes and formats, and
//! nothing of where its findings go.
//!
//! Formats are synchronous and lakes are not: a format runs on a thread of the blocking pool, reads by
//! a [`LakeSource`], and hands its findings over in batches. A panic in a format is the object's
//! fault alone: it becomes a named gap.

use std::any::Any;
use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::domain::dataset::{Dataset, Reading};
use crate::domain::field::BoundFields;
use crate::domain::identifier::{DigestKey, IdentifierDigest};
use crate::domain::landmark::{Landmark, Landmarks};
use crate::domain::object::ObjectVersion;
use crate::domain::posting::{RowGap, RowGaps, RowPosting, ScanSummary, Unreadable};
use crate::domain::row::{RowNumber, RowSet};
use crate::format::detect::{self, Opened};
use crate::format::{
    Fingerprint, FormatError, ScanSink, SharedSource, Source, SourceError, Stopped,
};
use crate::lake::{Lake, LakeError, LakeErrorKind};

mod source;
pub use source::{LakeSource, lake_error};

/// How many postings are handed over at once, and how many batches may wait: 0.8 MiB.
const BATCH: usize = 8192;
const BATCHES: usize = 4;

/// How the objects of a dataset are read. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DatasetReader {
    reading: Arc<Reading>,
    fields: BoundFields,
}

impl DatasetReader {
    /// Reads the dataset's objects and digests their identifiers under the key.
    pub fn new(dataset: &Dataset, key: &DigestKey) -> Self {
        let fields = BoundFields::new(&dataset.identifiers, key);
        Self { reading: Arc::new(dataset.reading.clone()), fields }
    }

    /// Where identifiers stand in a record.
    pub fn fields(&self) -> &BoundFields {
        &self.fields
    }

    /// Recognises what these bytes are, as objects of the dataset are.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where they are nothing that can be read.
    pub fn open(&self, source: &dyn Source) -> Result<Opened, FormatError> {
        detect::open(source, &self.reading, &self.fields)
    }
}

/// Why an object version was not scanned.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The object as a whole cannot be read; reading it again will not help.
    #[error("{0}")]
    Unreadable(Unreadable),
    /// The lake refused or failed.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The receiver of the postings gave up.
    #[error("the scan was stopped by its receiver")]
    Stopped,
}

/// Opens an object and lets `work` have its format and its bytes, off the runtime's threads.
///
/// # Errors
///
/// [`ScanError::Unreadable`] where the object is at fault, also when its reader panics;
/// [`ScanError::Lake`] where the lake is.
pub async fn on_object<T, F>(
    lake: Arc<dyn Lake>,
    reader: &DatasetReader,
    object: &ObjectVersion,
    work: F,
) -> Result<T, ScanError>
where
    T: Send + 'static,
    F: FnOnce(&Opened, &SharedSource) -> Result<T, FormatError> + Send + 'static,
{
    let task = start(lake, reader.clone(), object.clone(), work);
    task.await.unwrap_or_else(|_| Err(ScanError::Stopped))
}

fn start<T, F>(
    lake: Arc<dyn Lake>,
    reader: DatasetReader,
    object: ObjectVersion,
    work: F,
) -> JoinHandle<Result<T, ScanError>>
where
    T: Send + 'static,
    F: FnOnce(&Opened, &SharedSource) -> Result<T, FormatError> + Send + 'static,
{
    let source = LakeSource::new(lake, object);
    tokio::task::spawn_blocking(move || {
        let shared: SharedSource = Arc::clone(&source) as SharedSource;
        let read = AssertUnwindSafe(|| {
            let opened = reader.open(&*shared)?;
            work(&opened, &shared)
        });
        match catch_unwind(read) {
            Ok(answer) => answer.map_err(|error| classify(error, &source)),
            Err(panic) => Err(panicked(panic, &source)),
        }
    })
}

/// A failing lake makes no object unreadable, whatever a format took it for; and what a format asks
/// for beyond the end of an object is no failure of the lake.
fn classify(error: FormatError, source: &LakeSource) -> ScanError {
    if let Some(failure) = source.failure() {
        return ScanError::Lake(failure);
    }
    match error {
        FormatError::Unreadable(unreadable) => ScanError::Unreadable(unreadable),
        FormatError::Stopped => ScanError::Stopped,
        FormatError::Source(SourceError(cause)) => match cause.downcast::<LakeError>() {
            Ok(error) => ScanError::Lake(*error),
            Err(_) => unreadable("the object refers to bytes beyond its end"),
        },
    }
}

fn unreadable(reason: &str) -> ScanError {
    ScanError::Unreadable(Unreadable { reason: reason.to_owned(), row: None, byte: None })
}

/// What a panic says may hold content of the object, so it is told to nobody (hazard L3).
fn panicked(panic: Box<dyn Any + Send>, source: &LakeSource) -> ScanError {
    drop(panic);
    match source.failure() {
        Some(failure) => ScanError::Lake(failure),
        None => unreadable("the reader of the format failed on this object; report it as a bug"),
    }
}

/// A scan under way.
pub struct Scan {
    postings: mpsc::Receiver<Vec<RowPosting>>,
    outcome: JoinHandle<Result<ScanSummary, ScanError>>,
}

impl Scan {
    /// The next postings, at most a few thousand; `None` when the scan has ended, well or not.
    pub async fn next(&mut self) -> Option<Vec<RowPosting>> {
        self.postings.recv().await
    }

    /// How the scan ended. Postings that were not asked for are lost, and the scan may stop for it.
    ///
    /// # Errors
    ///
    /// [`ScanError`]; what was told until then is void.
    pub async fn finish(self) -> Result<ScanSummary, ScanError> {
        drop(self.postings);
        self.outcome.await.unwrap_or_else(|_| Err(ScanError::Stopped))
    }
}

/// Begins to scan an object version. Dropping the scan stops it at its next batch.
pub fn scan_object(lake: Arc<dyn Lake>, reader: &DatasetReader, object: &ObjectVersion) -> Scan {
    let (sender, postings) = mpsc::channel(BATCHES);
    let fields = reader.fields.clone();
    let outcome = start(lake, reader.clone(), object.clone(), move |opened, source| {
        let mut sink = Batches { batch: Vec::new(), sender, notes: Notes::default() };
        let rows = opened.format.scan(&**source, &fields, &mut sink)?;
        let Batches { batch, sender, notes } = sink;
        sender.blocking_send(batch).map_err(|_| FormatError::Stopped)?;
        Ok(notes.summary(opened, rows))
    });
    Scan { postings, outcome }
}

/// What a scan tells beside postings.
#[derive(Default)]
struct Notes {
    gaps: RowGaps,
    foreign_values: u64,
    landmarks: Landmarks,
}

impl Notes {
    fn summary(self, opened: &Opened, rows: crate::domain::row::RowCount) -> ScanSummary {
        ScanSummary {
            format: opened.name,
            compression: opened.compression,
            rows,
            gaps: self.gaps,
            foreign_values: self.foreign_values,
            landmarks: self.landmarks,
        }
    }
}

/// Hands postings over in batches.
struct Batches {
    batch: Vec<RowPosting>,
    sender: mpsc::Sender<Vec<RowPosting>>,
    notes: Notes,
}

impl Batches {
    fn hand_over(&mut self) -> Result<(), Stopped> {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        self.sender.blocking_send(batch).map_err(|_| Stopped)
    }
}

impl ScanSink for Batches {
    fn posting(&mut self, posting: RowPosting) -> Result<(), Stopped> {
        self.batch.push(posting);
        if self.batch.len() < BATCH {
            return Ok(());
        }
        self.hand_over()
    }

    fn postings(&mut self, mut postings: &[RowPosting]) -> Result<(), Stopped> {
        while !postings.is_empty() {
            let room = BATCH.saturating_sub(self.batch.len()).min(postings.len());
            let (fitting, rest) = postings.split_at(room);
            self.batch.extend_from_slice(fitting);
            postings = rest;
            if self.batch.len() >= BATCH {
                self.hand_over()?;
            }
        }
        Ok(())
    }

    fn gap(&mut self, gap: RowGap) {
        self.notes.gaps.push(gap);
    }

    fn foreign_value(&mut self, _: RowNumber) {
        self.notes.foreign_values += 1;
    }

    fn landmark(&mut self, landmark: Landmark) {
        self.notes.landmarks.push(landmark);
    }

    fn one_member(&mut self, content_bytes: u64) {
        self.notes.landmarks.member_bytes = Some(content_bytes);
    }

    fn page(&mut self, column: u32, page: Landmark) {
        self.notes.landmarks.push_page(column, page);
    }
}

/// Where some subjects stand in an object version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What is known of the object.
    pub summary: ScanSummary,
    /// The rows of each subject that has any.
    pub rows: BTreeMap<IdentifierDigest, RowSet>,
}

/// Reads an object version once and looks for these subjects, without the index.
///
/// # Errors
///
/// As [`on_object`].
pub async fn find_rows(
    lake: Arc<dyn Lake>,
    reader: &DatasetReader,
    object: &ObjectVersion,
    subjects: Arc<HashSet<IdentifierDigest>>,
) -> Result<Found, ScanError> {
    let fields = reader.fields.clone();
    on_object(lake, reader, object, move |opened, source| {
        let mut sink =
            Search { subjects: &subjects, rows: BTreeMap::new(), notes: Notes::default() };
        let rows = opened.format.scan(&**source, &fields, &mut sink)?;
        let found = sink.rows.into_iter();
        Ok(Found {
            rows: found.filter_map(|(digest, rows)| Some((digest, RowSet::new(rows)?))).collect(),
            summary: sink.notes.summary(opened, rows),
        })
    })
    .await
}

/// Keeps the rows of some subjects.
struct Search<'s> {
    subjects: &'s HashSet<IdentifierDigest>,
    rows: BTreeMap<IdentifierDigest, Vec<RowNumber>>,
    notes: Notes,
}

impl ScanSink for Search<'_> {
    fn posting(&mut self, posting: RowPosting) -> Result<(), Stopped> {
        if self.subjects.contains(&posting.digest) {
            let rows = self.rows.entry(posting.digest).or_default();
            if rows.last() != Some(&posting.row) {
                rows.push(posting.row);
            }
        }
        Ok(())
    }

    fn gap(&mut self, gap: RowGap) {
        self.notes.gaps.push(gap);
    }

    fn foreign_value(&mut self, _: RowNumber) {
        self.notes.foreign_values += 1;
    }

    fn landmark(&mut self, landmark: Landmark) {
        self.notes.landmarks.push(landmark);
    }

    fn one_member(&mut self, content_bytes: u64) {
        self.notes.landmarks.member_bytes = Some(content_bytes);
    }

    fn page(&mut self, column: u32, page: Landmark) {
        self.notes.landmarks.push_page(column, page);
    }
}

/// What the rows of an object version hold, but for those in `except`.
///
/// # Errors
///
/// As [`on_object`].
pub async fn fingerprint(
    lake: Arc<dyn Lake>,
    reader: &DatasetReader,
    object: &ObjectVersion,
    except: Option<RowSet>,
) -> Result<Fingerprint, ScanError> {
    on_object(lake, reader, object, move |opened, source| {
        opened.format.fingerprint(&**source, except.as_ref().into())
    })
    .await
}

/// Whether the version is not there any more, or not as it was: the next listing tells what is.
pub fn is_gone(error: &LakeError) -> bool {
    matches!(error.kind(), LakeErrorKind::NotFound | LakeErrorKind::Drifted)
}

#[cfg(test)]
mod tests;
