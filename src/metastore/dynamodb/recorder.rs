//! Takes the postings of one version: into memory, and from there into the tables when they are many,
//! under a number that nobody sees yet.

use std::collections::HashSet;
use std::mem;
use std::sync::Arc;

use async_trait::async_trait;

use super::about;
use super::failure::lost;
use super::find::find;
use super::open::{self, Held};
use super::segments::{Origin, packed, place};
use super::writer::{Job, Writer};
use crate::domain::dataset::DatasetName;
use crate::domain::object::ObjectVersion;
use crate::domain::posting::{RowPosting, ScanOutcome, ScannedObject};
use crate::metastore::packing::PackedPosting;
use crate::metastore::{MetastoreError, MetastoreErrorKind, Recorder};

type Result<T> = std::result::Result<T, MetastoreError>;

/// How many postings are held in memory, 24 bytes each.
pub(super) const BUFFER: usize = 512 * 1024;

/// For how many subjects it is asked at once what is stored already.
const SUBJECTS: usize = 2500;

/// What of a version is stored before it is published. Dropped before that, it is given up.
pub(super) struct Spilled {
    writer: Arc<Writer>,
    pub(super) held: Held,
    /// How many postings, each once.
    pub(super) postings: u64,
    /// How many segments.
    pub(super) parts: u32,
    /// How many KiB in each table.
    pub(super) sizes_kib: [u64; 3],
    /// Lowest and highest row of each time that something was stored.
    spans: Vec<(u64, u64)>,
    pub(super) is_published: bool,
}

impl Spilled {
    pub(super) async fn begin(writer: &Arc<Writer>) -> Result<Self> {
        let number = writer.take_numbers(1).await?;
        let held = writer.holdings.begin(&writer.base, number..number + 1).await?;
        Ok(Self {
            writer: writer.clone(),
            held,
            postings: 0,
            parts: 0,
            sizes_kib: [0; 3],
            spans: Vec::new(),
            is_published: false,
        })
    }

    pub(super) fn number(&self) -> u64 {
        self.held.0.start
    }

    /// Stores postings of this number in ascending order, none of which is stored yet.
    pub(super) async fn store(&mut self, postings: Vec<PackedPosting>) -> Result<()> {
        self.postings += postings.len() as u64;
        self.spans.extend(span(&postings));
        open::show(&self.writer.base, &self.held, Some(self.postings)).await?;
        let placing = tokio::task::spawn_blocking(move || place(&postings));
        let segments = placing.await.map_err(|_| lost())?;
        let origin = (Origin::Recorded(self.number()), self.parts);
        let (parts, sizes) = self.writer.store(segments, origin).await?;
        self.parts = parts;
        (0..3).for_each(|at| self.sizes_kib[at] += sizes[at]);
        Ok(())
    }

    /// Those of these postings that are not stored yet. Rows usually ascend, and then it is known
    /// without looking.
    pub(super) async fn unseen(&self, postings: Vec<PackedPosting>) -> Result<Vec<PackedPosting>> {
        let spans = self.spans.iter();
        let overlaps = span(&postings).is_some_and(|(low, high)| {
            spans.into_iter().any(|span| low <= span.1 && span.0 <= high)
        });
        if !overlaps {
            return Ok(postings);
        }
        let mut subjects: Vec<u64> = postings.iter().map(|posting| posting.subject).collect();
        subjects.sort_unstable();
        subjects.dedup();
        let in_use = about::read(&self.writer.base).await?.in_use;
        let mut stored = HashSet::new();
        for some in subjects.chunks(SUBJECTS) {
            let hits = find(&self.writer.base, in_use, some).await?;
            let own = hits.into_iter().filter(|hit| hit.number == self.number());
            stored.extend(own.map(|hit| (hit.subject, hit.row)));
        }
        let is_new = |posting: &PackedPosting| !stored.contains(&(posting.subject, posting.row));
        Ok(postings.into_iter().filter(is_new).collect())
    }
}

impl Drop for Spilled {
    fn drop(&mut self) {
        self.writer.holdings.end(&self.held);
        if self.is_published {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (writer, held) = (self.writer.clone(), self.held.clone());
            // Where this fails, another writer collects it once patience is at an end.
            runtime.spawn(async move { drop(open::give_up(&writer.base, &held).await) });
        }
    }
}

fn span(postings: &[PackedPosting]) -> Option<(u64, u64)> {
    let rows = || postings.iter().map(|posting| posting.row);
    Some((rows().min()?, rows().max()?))
}

/// Postings in ascending order, each once.
pub(super) fn sorted(number: u64, postings: &[RowPosting]) -> Vec<PackedPosting> {
    let mut postings: Vec<PackedPosting> = packed(number, postings).collect();
    postings.sort_unstable();
    postings.dedup();
    postings
}

pub(super) struct DynamoRecorder {
    writer: Arc<Writer>,
    dataset: DatasetName,
    object: ObjectVersion,
    buffer: Vec<RowPosting>,
    spilled: Option<Spilled>,
    is_lost: bool,
}

impl DynamoRecorder {
    pub(super) fn new(writer: Arc<Writer>, dataset: DatasetName, object: ObjectVersion) -> Self {
        Self { writer, dataset, object, buffer: Vec::new(), spilled: None, is_lost: false }
    }

    /// Stores what is in the buffer, unless most of it was said before.
    async fn spill(&mut self) -> Result<()> {
        let mut buffer = mem::take(&mut self.buffer);
        let sorting = tokio::task::spawn_blocking(move || {
            buffer.sort_unstable();
            buffer.dedup();
            buffer
        });
        self.is_lost = true;
        let buffer = sorting.await.map_err(|_| lost())?;
        if buffer.len() > BUFFER / 2 {
            let spilled = match &mut self.spilled {
                Some(spilled) => spilled,
                none => none.insert(Spilled::begin(&self.writer).await?),
            };
            let postings = spilled.unseen(sorted(spilled.number(), &buffer)).await?;
            spilled.store(postings).await?;
        } else {
            self.buffer = buffer;
        }
        self.is_lost = false;
        Ok(())
    }
}

#[async_trait]
impl Recorder for DynamoRecorder {
    async fn append(&mut self, postings: Vec<RowPosting>) -> Result<()> {
        if self.is_lost {
            return Err(lost());
        }
        self.buffer.extend(postings);
        if self.buffer.len() >= BUFFER { self.spill().await } else { Ok(()) }
    }

    async fn commit(mut self: Box<Self>, scanned: ScannedObject) -> Result<()> {
        if self.is_lost {
            return Err(lost());
        }
        if !self.object.is_same_version(&scanned.object) {
            let message =
                format!("{}: another version was scanned than was begun", self.object.key);
            return Err(MetastoreError::new(MetastoreErrorKind::Other, message));
        }
        let dataset = self.dataset.clone();
        let (postings, spilled) = match scanned.outcome {
            // What was spilled goes when this is dropped.
            ScanOutcome::Unreadable(_) => (Vec::new(), None),
            ScanOutcome::Indexed(_) => (mem::take(&mut self.buffer), self.spilled.take()),
        };
        self.writer.publish(Job { dataset, scanned, postings, spilled }).await
    }
}
