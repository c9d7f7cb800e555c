//! Publishes recorded versions, several in one transaction where several are ready. What one process
//! wrote and did not publish is known by the writer's number, whose lock a connection holds.

use std::collections::{HashSet, VecDeque};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::catalogue;
use super::failure::{Attempt, again, damaged};
use super::lock;
use super::maintenance;
use super::pool::{Pool, Session, Values, Work};
use super::publish::Publish;
use super::recorder::lost;
use super::segments::{Packer, Segment};
use crate::domain::dataset::DatasetName;
use crate::domain::object::{ObjectKey, ObjectVersion, VersionId};
use crate::domain::posting::{RowPosting, ScannedObject};
use crate::metastore::packing::PackedPosting;
use crate::metastore::packing::subject::subject_of;
use crate::metastore::{MetastoreError, MetastoreErrorKind};

/// How many transactions publish at once: one is packed while another is stored.
const LANES: usize = 2;

/// How many postings one transaction publishes at most, unless one version alone has more.
const POSTINGS: usize = 2 << 20;

/// How many versions one transaction publishes at most.
const JOBS: usize = 500;

/// A version to be published.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) dataset: DatasetName,
    pub(super) scanned: ScannedObject,
    /// What is not stored yet.
    pub(super) postings: Vec<RowPosting>,
    /// What is stored already, out of every reader's sight.
    pub(super) spilled: Option<Spilled>,
}

/// What of a version is stored before it is published.
#[derive(Clone, Debug)]
pub(super) struct Spilled {
    pub(super) id: i64,
    /// How many postings.
    pub(super) postings: u64,
    /// Lowest and highest row of each part.
    parts: Vec<(u64, u64)>,
}

impl Spilled {
    pub(super) fn new(id: i64) -> Self {
        Self { id, postings: 0, parts: Vec::new() }
    }

    /// Counts a part that was stored.
    pub(super) fn add(&mut self, postings: &[RowPosting]) {
        self.postings += postings.len() as u64;
        self.parts.extend(span(postings));
    }

    /// Whether a posting may stand in two of its parts, or in one and in these: their rows overlap.
    pub(super) fn may_repeat(&self, rest: &[RowPosting]) -> bool {
        let mut parts: Vec<(u64, u64)> = self.parts.iter().copied().chain(span(rest)).collect();
        parts.sort_unstable();
        parts.windows(2).any(|pair| pair[1].0 <= pair[0].1)
    }
}

fn span(postings: &[RowPosting]) -> Option<(u64, u64)> {
    let rows = || postings.iter().map(|posting| posting.row.0);
    Some((rows().min()?, rows().max()?))
}

/// The postings of an object as segments hold them.
pub(super) fn packed(
    id: i64,
    postings: &[RowPosting],
) -> impl Iterator<Item = PackedPosting> + use<'_> {
    let object = id.cast_unsigned();
    postings.iter().map(move |posting| {
        let subject = subject_of(&posting.digest);
        PackedPosting { subject, object, row: posting.row.0 }
    })
}

/// Postings in any order as segments, and how many there are; repetitions count once.
pub(super) fn pack(postings: impl Iterator<Item = PackedPosting>) -> (Vec<Segment>, u64) {
    let mut postings: Vec<PackedPosting> = postings.collect();
    postings.sort_unstable();
    postings.dedup();
    let mut packer = Packer::new();
    postings.into_iter().for_each(|posting| packer.push(posting));
    let count = packer.postings;
    (packer.finish(), count)
}

type Reply = oneshot::Sender<Result<(), MetastoreError>>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<(Job, Reply)>,
    lanes: usize,
}

impl Queue {
    /// The next jobs for one transaction: no two that would take one another's place.
    fn take(&mut self) -> Vec<(Job, Reply)> {
        let mut taken = Vec::new();
        let mut places: HashSet<(DatasetName, ObjectKey, VersionId)> = HashSet::new();
        let mut postings = 0;
        while let Some((job, _)) = self.jobs.front() {
            let object = &job.scanned.object;
            let place = (job.dataset.clone(), object.key.clone(), object.version.clone());
            postings += job.postings.len();
            let is_full = !taken.is_empty() && (postings > POSTINGS || taken.len() == JOBS);
            if is_full || !places.insert(place) {
                break;
            }
            taken.extend(self.jobs.pop_front());
        }
        taken
    }
}

/// All writing of one handle.
pub(super) struct Writer {
    pub(super) pool: Pool,
    pub(super) maintenance: maintenance::Turn,
    queue: Mutex<Queue>,
    lock: tokio::sync::Mutex<Option<(i64, Session)>>,
}

impl Writer {
    pub(super) fn new(pool: Pool) -> Self {
        let queue = Mutex::new(Queue::default());
        Self { pool, maintenance: maintenance::Turn::default(), queue, lock: None.into() }
    }

    /// Publishes a version, as soon as a lane is free.
    pub(super) async fn publish(self: &Arc<Self>, job: Job) -> Result<(), MetastoreError> {
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
            let done = match self.publish_all(jobs).await {
                Ok(()) => maintenance::after_publishing(&self).await,
                Err(error) => Err(error),
            };
            for reply in replies {
                // Whoever no longer waits does not want to know.
                drop(reply.send(done.as_ref().copied().map_err(again)));
            }
        }
    }

    async fn publish_all(&self, mut jobs: Vec<Job>) -> Result<(), MetastoreError> {
        let ids = self.numbers(jobs.iter().map(|job| job.spilled.as_ref().map(|at| at.id))).await?;
        let postings: Vec<_> = jobs.iter_mut().map(|job| mem::take(&mut job.postings)).collect();
        let packing = tokio::task::spawn_blocking(move || Publish::pack(jobs, ids, postings));
        let publish = packing.await.map_err(|error| {
            MetastoreError::new(MetastoreErrorKind::Other, "packing postings was broken off")
                .caused_by(error)
        })?;
        self.pool.transact(&publish).await
    }

    /// A number for each: its own where it has one.
    async fn numbers(
        &self,
        known: impl Iterator<Item = Option<i64>>,
    ) -> Result<Vec<i64>, MetastoreError> {
        let known: Vec<Option<i64>> = known.collect();
        let missing = known.iter().filter(|number| number.is_none()).count();
        let mut fresh = self.pool.transact(&Numbers(missing)).await?.into_iter();
        let numbers = known.into_iter().map(|number| number.or_else(|| fresh.next()));
        numbers.collect::<Option<_>>().ok_or_else(|| damaged("no number"))
    }

    /// Begins to record a version in several transactions; answers its number.
    pub(super) async fn begin(
        &self,
        dataset: &DatasetName,
        object: &ObjectVersion,
    ) -> Result<i64, MetastoreError> {
        let writer = self.number().await?;
        let id = self.fresh().await?;
        let begin = Begin { id, writer, dataset, object };
        self.pool.transact(&begin).await?;
        Ok(id)
    }

    /// A number for one more version.
    pub(super) async fn fresh(&self) -> Result<i64, MetastoreError> {
        let number = self.numbers([None].into_iter()).await?.into_iter().next();
        number.ok_or_else(|| damaged("no number"))
    }

    /// The number under which this handle is known to live.
    async fn number(&self) -> Result<i64, MetastoreError> {
        let mut lock = self.lock.lock().await;
        if let Some((number, session)) = &*lock
            && !session.client.is_closed()
        {
            return Ok(*number);
        }
        let begun = async {
            let session = self.pool.connect().await?;
            let rows = session.query("SELECT nextval('lacuna_writer_numbers')", &[]).await?;
            let number = rows.first().map(|row| row.get(0)).ok_or_else(|| damaged("no number"))?;
            lock::begin_writer(&session, number).await?;
            Ok((number, session))
        };
        let (number, session) = begun
            .await
            .map_err(|failure: super::failure::Failure| failure.told(self.pool.shown()))?;
        *lock = Some((number, session));
        Ok(number)
    }
}

/// Takes numbers for object versions.
struct Numbers(usize);

#[async_trait]
impl Work for Numbers {
    type Answer = Vec<i64>;

    async fn attempt(&self, session: &Session) -> Attempt<Vec<i64>> {
        let sql = "SELECT nextval('lacuna_object_numbers') FROM generate_series(1, $1::bigint)";
        let count = i64::try_from(self.0).unwrap_or(i64::MAX);
        let rows = session.query(sql, &[&count]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

/// Begins to record a version in several transactions.
struct Begin<'b> {
    id: i64,
    writer: i64,
    dataset: &'b DatasetName,
    object: &'b ObjectVersion,
}

#[async_trait]
impl Work for Begin<'_> {
    type Answer = ();

    async fn attempt(&self, session: &Session) -> Attempt<()> {
        let dataset = catalogue::dataset_id(session, self.dataset).await?;
        let sql = "INSERT INTO lacuna_objects (id, dataset, key, version, etag, state, writer, postings, scan)
                   VALUES ($1, $2, $3, $4, $5, 0, $6, 0, '') ON CONFLICT (id) DO NOTHING";
        let values: Values<'_> = &[
            &self.id,
            &dataset,
            &self.object.key.as_bytes(),
            &self.object.version.as_str(),
            &self.object.etag.as_str(),
            &self.writer,
        ];
        session.execute(sql, values).await.map(drop)
    }
}

/// Removes what writers that are gone left behind.
pub(super) struct CollectLost;

#[async_trait]
impl Work for CollectLost {
    type Answer = ();

    async fn attempt(&self, session: &Session) -> Attempt<()> {
        let sql = "SELECT DISTINCT writer FROM lacuna_objects WHERE state <> 1 AND state = 0";
        for row in session.query(sql, &[]).await? {
            let writer: i64 = row.get(0);
            if lock::is_writer_gone(session, writer).await? {
                let sql =
                    "SELECT id FROM lacuna_objects WHERE state <> 1 AND state = 0 AND writer = $1";
                let rows = session.query(sql, &[&writer]).await?;
                let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
                catalogue::abandon(session, &ids).await?;
            }
        }
        Ok(())
    }
}
