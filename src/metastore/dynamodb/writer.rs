//! Publishes recorded versions, several together where several are ready, so that small objects share
//! segments and requests.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::about::{self, InUse};
use super::client::{Base, Write};
use super::failure::{again, lost};
use super::item::{self, Table};
use super::moving;
use super::open::Holdings;
use super::publish;
use super::recorder::Spilled;
use super::segments::{Origin, Segment};
use crate::domain::dataset::DatasetName;
use crate::domain::object::{ObjectKey, VersionId};
use crate::domain::posting::{RowPosting, ScannedObject};
use crate::metastore::MetastoreError;

type Result<T> = std::result::Result<T, MetastoreError>;

/// How many batches are published at once.
const LANES: usize = 2;

/// How many postings a batch has at most, unless one version alone has more.
const POSTINGS: usize = 2 << 20;

/// How many versions a batch has at most.
const JOBS: usize = 500;

/// How many numbers are taken at once.
const NUMBERS: u64 = 256;

/// A version to be published.
pub(super) struct Job {
    pub(super) dataset: DatasetName,
    pub(super) scanned: ScannedObject,
    /// What is not stored yet.
    pub(super) postings: Vec<RowPosting>,
    /// What is stored already, out of every reader's sight.
    pub(super) spilled: Option<Spilled>,
}

type Reply = oneshot::Sender<Result<()>>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<(Job, Reply)>,
    lanes: usize,
}

impl Queue {
    /// The next jobs for one batch: no two that would take one another's place, and one that is
    /// partly stored alone.
    fn take(&mut self) -> Vec<(Job, Reply)> {
        let mut taken: Vec<(Job, Reply)> = Vec::new();
        let mut places: HashSet<(DatasetName, ObjectKey, VersionId)> = HashSet::new();
        let mut postings = 0;
        while let Some((job, _)) = self.jobs.front() {
            let object = &job.scanned.object;
            let place = (job.dataset.clone(), object.key.clone(), object.version.clone());
            postings += job.postings.len();
            let is_full = postings > POSTINGS || taken.len() == JOBS || job.spilled.is_some();
            if !taken.is_empty() && (is_full || taken[0].0.spilled.is_some())
                || !places.insert(place)
            {
                break;
            }
            taken.extend(self.jobs.pop_front());
        }
        taken
    }
}

/// All writing of one handle.
pub(super) struct Writer {
    pub(super) base: Arc<Base>,
    pub(super) holdings: Arc<Holdings>,
    pub(super) limits: moving::Limits,
    /// Held by the lane that moves postings down.
    pub(super) moving: tokio::sync::Mutex<()>,
    queue: Mutex<Queue>,
    /// Numbers that were taken and not used.
    numbers: tokio::sync::Mutex<Range<u64>>,
    in_use: Mutex<InUse>,
    datasets: Mutex<HashSet<DatasetName>>,
}

impl Writer {
    pub(super) fn new(base: Base, limits: moving::Limits) -> Self {
        Self {
            base: Arc::new(base),
            holdings: Arc::default(),
            limits,
            moving: tokio::sync::Mutex::default(),
            queue: Mutex::default(),
            numbers: tokio::sync::Mutex::new(0..0),
            in_use: Mutex::default(),
            datasets: Mutex::default(),
        }
    }

    /// Publishes a version, as soon as a lane is free.
    pub(super) async fn publish(self: &Arc<Self>, job: Job) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let is_new_lane = {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.jobs.push_back((job, reply));
            let is_new = queue.lanes < LANES;
            queue.lanes += usize::from(is_new);
            is_new
        };
        if is_new_lane {
            tokio::spawn(self.clone().drain());
        }
        answer.await.map_err(|_| lost())?
    }

    async fn drain(self: Arc<Self>) {
        loop {
            let batch = {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                let batch = queue.take();
                if batch.is_empty() {
                    queue.lanes -= 1;
                    return;
                }
                batch
            };
            let (jobs, replies): (Vec<Job>, Vec<Reply>) = batch.into_iter().unzip();
            let done = match publish::publish(&self, jobs).await {
                Ok(about) => {
                    // What was published is published, whatever becomes of the moves: others follow.
                    drop(moving::relieve(&self, about).await);
                    Ok(())
                }
                Err(error) => Err(error),
            };
            for reply in replies {
                // Whoever no longer waits does not want to know.
                drop(reply.send(done.as_ref().copied().map_err(again)));
            }
        }
    }

    /// The first of so many numbers in a row that nobody ever had.
    pub(super) async fn take_numbers(&self, count: u64) -> Result<u64> {
        let mut numbers = self.numbers.lock().await;
        if numbers.end - numbers.start < count {
            let more = count.max(NUMBERS);
            let first = about::take_numbers(&self.base, more).await?;
            *numbers = first..first + more;
        }
        let first = numbers.start;
        numbers.start += count;
        Ok(first)
    }

    /// Stores segments, numbered from a part on; answers the part after the last, and how many KiB they
    /// take in each table.
    pub(super) async fn store(
        &self,
        segments: Vec<Segment>,
        (origin, first): (Origin, u32),
    ) -> Result<(u32, [u64; 3])> {
        self.use_tables(&segments).await?;
        let mut sizes = [0; 3];
        let mut writes = Vec::with_capacity(segments.len());
        let mut part = first;
        for segment in segments {
            let table = Table::LEVELS.iter().position(|table| *table == segment.table);
            sizes[table.unwrap_or(0)] += segment.size_kib();
            writes.push(segment.write(origin, part));
            part = part.checked_add(1).ok_or_else(lost)?;
        }
        self.base.write_all(&writes).await?;
        Ok((part, sizes))
    }

    /// Says which tables hold postings before they do.
    async fn use_tables(&self, segments: &[Segment]) -> Result<()> {
        let holds = |table| segments.iter().any(|segment| segment.table == table);
        let top = [0];
        let wanted = InUse {
            middle: holds(Table::Middle),
            bottom: holds(Table::Bottom),
            heavy: segments.iter().any(|it| it.table == Table::Top && it.partition != top),
        };
        let known = *self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        if known.with(wanted) != known {
            about::begin_use(&self.base, known.with(wanted)).await?;
            let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
            *in_use = in_use.with(wanted);
        }
        Ok(())
    }

    /// Says that these datasets are recorded, where this handle did not say so before.
    pub(super) async fn note_datasets(&self, names: HashSet<DatasetName>) -> Result<()> {
        let known = self.datasets.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let fresh: Vec<DatasetName> = names.difference(&known).cloned().collect();
        let writes: Vec<Write> = fresh
            .iter()
            .map(|name| Write::Put(Table::Catalogue, item::key("dataset", name.as_str())))
            .collect();
        self.base.write_all(&writes).await?;
        self.datasets.lock().unwrap_or_else(PoisonError::into_inner).extend(fresh);
        Ok(())
    }
}
