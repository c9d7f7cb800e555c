//! What is recorded and not yet on the disk: the postings of all recordings of a process, in one list.
//!
//! A posting takes 16 bytes: the subject's 64 bits, the object's place in the list of this batch (24
//! bits), the row (40). Objects stand there in the order of their numbers, so that these sort as
//! postings do. A row beyond 40 bits is kept apart, at length.

use std::collections::{BTreeMap, HashSet};
use std::mem;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::failure::again;
use crate::domain::dataset::DatasetName;
use crate::domain::object::ObjectVersion;
use crate::domain::posting::{RowPosting, ScannedObject};
use crate::metastore::packing::PackedPosting;
use crate::metastore::packing::subject::subject_of;
use crate::metastore::{MetastoreError, MetastoreErrorKind};

type Result<T> = std::result::Result<T, MetastoreError>;

const ROW_BITS: u32 = 40;
const PLACES: usize = 1 << 24;

/// The postings under way.
pub(super) struct Batch {
    state: Mutex<State>,
    /// Told when a batch was taken.
    room: Notify,
    /// How many postings may wait.
    capacity: usize,
}

#[derive(Default)]
struct State {
    held: Held,
    /// A list that was written, to be filled again.
    spare: Vec<u128>,
    open: BTreeMap<u64, Recording>,
    commits: Vec<Commit>,
    numbers: Range<u64>,
}

/// The postings of a batch.
#[derive(Default)]
pub(super) struct Held {
    pub(super) postings: Vec<u128>,
    pub(super) beyond: Vec<PackedPosting>,
    /// The objects, by place.
    pub(super) objects: Vec<HeldObject>,
    /// Objects whose recording was given up.
    pub(super) dropped: HashSet<u64>,
}

#[derive(Clone, Copy, Default)]
pub(super) struct HeldObject {
    pub(super) number: u64,
    /// Whether the batch has a posting of it.
    pub(super) is_touched: bool,
}

impl Held {
    /// The posting that an entry of the list means, and the place of its object.
    pub(super) fn unpack(&self, entry: u128) -> (usize, PackedPosting) {
        let low = entry as u64;
        let place = (low >> ROW_BITS) as usize;
        let (object, row) = (self.objects[place].number, low & ((1 << ROW_BITS) - 1));
        (place, PackedPosting { subject: (entry >> 64) as u64, object, row })
    }

    fn len(&self) -> usize {
        self.postings.len() + self.beyond.len()
    }

    fn push(&mut self, place: usize, postings: &[RowPosting]) {
        let Some(object) = self.objects.get_mut(place) else { return };
        object.is_touched |= !postings.is_empty();
        let number = object.number;
        self.postings.reserve(postings.len());
        for posting in postings {
            let (subject, row) = (subject_of(&posting.digest), posting.row.0);
            if row >> ROW_BITS == 0 && place < PLACES {
                let low = (place as u64) << ROW_BITS | row;
                self.postings.push(u128::from(subject) << 64 | u128::from(low));
            } else {
                self.beyond.push(PackedPosting { subject, object: number, row });
            }
        }
    }
}

/// A recording that has begun and not ended.
#[derive(Clone, Debug)]
pub(super) struct Recording {
    pub(super) dataset: DatasetName,
    pub(super) object: ObjectVersion,
    place: usize,
    highest_row: Option<u64>,
    /// The highest row that is in a run.
    highest_spilled: Option<u64>,
    /// How many of its postings are in runs.
    pub(super) spilled: u64,
    /// Whether the catalogue has a row of it, as pending.
    pub(super) is_pending: bool,
    /// Whether a posting may be in a run and in the batch, or in two runs.
    pub(super) may_repeat: bool,
    /// Why some of its postings were lost on the way to the disk, if they were.
    lost: Option<(MetastoreErrorKind, String)>,
}

impl Recording {
    /// # Errors
    ///
    /// Where some of its postings were lost, with the reason.
    fn sound(&self) -> Result<()> {
        let lost = self.lost.as_ref();
        lost.map_or(Ok(()), |(kind, text)| Err(MetastoreError::new(*kind, text.clone())))
    }
}

/// A recording that is to become visible.
pub(super) struct Commit {
    pub(super) number: u64,
    pub(super) scanned: ScannedObject,
    pub(super) reply: oneshot::Sender<Result<()>>,
}

/// A batch that was taken to be written.
pub(super) struct Taken {
    pub(super) held: Held,
    pub(super) commits: Vec<(Commit, Recording)>,
    /// Recordings that go on and have postings in the batch.
    pub(super) spilling: Vec<(u64, Recording)>,
    /// Recordings that cannot be committed and have a row in the catalogue.
    pub(super) failed: Vec<u64>,
}

/// How much waits to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) commits: usize,
    /// Whether there is nothing to wait for: the batch is full, or every recording wants to commit.
    pub(super) is_ripe: bool,
}

impl Batch {
    pub(super) fn new(capacity: usize) -> Self {
        Self { state: Mutex::default(), room: Notify::new(), capacity }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a recording and answers its object's number; `None` where no number is left.
    pub(super) fn begin(&self, dataset: &DatasetName, object: &ObjectVersion) -> Option<u64> {
        let mut state = self.state();
        let number = state.numbers.next()?;
        let place = state.held.objects.len();
        state.held.objects.push(HeldObject { number, is_touched: false });
        let recording = Recording {
            dataset: dataset.clone(),
            object: object.clone(),
            place,
            highest_row: None,
            highest_spilled: None,
            spilled: 0,
            is_pending: false,
            may_repeat: false,
            lost: None,
        };
        state.open.insert(number, recording);
        Some(number)
    }

    /// Gives out these numbers, which are higher than any before. Dropped where others came first.
    pub(super) fn refill(&self, numbers: Range<u64>) {
        let mut state = self.state();
        if state.numbers.is_empty() && numbers.start >= state.numbers.end {
            state.numbers = numbers;
        }
    }

    /// Takes postings of a recording, once there is room. `nudge` lets somebody make room.
    pub(super) async fn append(
        &self,
        number: u64,
        postings: &[RowPosting],
        nudge: impl Fn() -> Result<()>,
    ) -> Result<()> {
        loop {
            let mut waiting = std::pin::pin!(self.room.notified());
            waiting.as_mut().enable();
            if let Some(is_full) = self.try_append(number, postings)? {
                return if is_full { nudge() } else { Ok(()) };
            }
            nudge()?;
            waiting.await;
        }
    }

    /// Answers whether the batch is full now; `None` where it was before.
    fn try_append(&self, number: u64, postings: &[RowPosting]) -> Result<Option<bool>> {
        let mut state = self.state();
        let state = &mut *state;
        let recording = state.open.get_mut(&number).ok_or_else(lost)?;
        recording.sound()?;
        if state.held.len() >= self.capacity {
            return Ok(None);
        }
        let rows = || postings.iter().map(|posting| posting.row.0);
        recording.may_repeat |=
            rows().min().is_some_and(|row| Some(row) <= recording.highest_spilled);
        recording.highest_row = recording.highest_row.max(rows().max());
        if state.held.postings.capacity() == 0 {
            state.held.postings = mem::take(&mut state.spare);
        }
        state.held.push(recording.place, postings);
        Ok(Some(state.held.len() >= self.capacity))
    }

    /// Asks for a recording to become visible. From here on it does, whoever waits for it.
    pub(super) fn commit(
        &self,
        number: u64,
        scanned: ScannedObject,
    ) -> Result<oneshot::Receiver<Result<()>>> {
        let mut state = self.state();
        state.open.get(&number).ok_or_else(lost)?.sound()?;
        let (reply, receiver) = oneshot::channel();
        state.commits.push(Commit { number, scanned, reply });
        Ok(receiver)
    }

    /// Gives a recording up. Answers whether the catalogue has a row of it.
    pub(super) fn abandon(&self, number: u64) -> bool {
        let mut state = self.state();
        state.held.dropped.insert(number);
        state.open.remove(&number).is_some_and(|recording| recording.is_pending)
    }

    pub(super) fn waiting(&self) -> Waiting {
        let state = self.state();
        let commits = state.commits.len();
        let is_ripe = state.held.len() >= self.capacity || commits == state.open.len();
        Waiting { commits, is_ripe }
    }

    /// Takes everything, to be written; `None` where there is nothing to do.
    pub(super) fn take(&self) -> Option<Taken> {
        let mut state = self.state();
        if state.commits.is_empty() && state.held.len() < self.capacity {
            return None;
        }
        let mut held = mem::take(&mut state.held);
        let mut commits = Vec::with_capacity(state.commits.len());
        let mut failed = Vec::new();
        for commit in mem::take(&mut state.commits) {
            let Some(recording) = state.open.remove(&commit.number) else { continue };
            match recording.sound() {
                Ok(()) => commits.push((commit, recording)),
                Err(error) => {
                    held.dropped.insert(commit.number);
                    failed.extend(recording.is_pending.then_some(commit.number));
                    let _ = commit.reply.send(Err(error));
                }
            }
        }
        let is_touched = |place: usize| held.objects.get(place).is_some_and(|it| it.is_touched);
        let mut spilling = Vec::new();
        let mut objects = Vec::with_capacity(state.open.len());
        for (place, (number, recording)) in state.open.iter_mut().enumerate() {
            if is_touched(recording.place) {
                spilling.push((*number, recording.clone()));
                recording.highest_spilled = recording.highest_row;
            }
            recording.place = place;
            objects.push(HeldObject { number: *number, is_touched: false });
        }
        state.held.objects = objects;
        drop(state);
        self.room.notify_waiters();
        Some(Taken { held, commits, spilling, failed })
    }

    /// Notes how many postings of which recordings were spilled. Answers those that were given up
    /// meanwhile.
    pub(super) fn spilled(&self, counts: &[(u64, u64)], list: Vec<u128>) -> Vec<u64> {
        let mut state = self.state();
        if list.capacity() <= 2 * self.capacity {
            state.spare = list;
            state.spare.clear();
        }
        let mut given_up = Vec::new();
        for (number, count) in counts {
            match state.open.get_mut(number) {
                Some(recording) => {
                    recording.spilled += count;
                    recording.is_pending = true;
                }
                None => given_up.push(*number),
            }
        }
        given_up
    }

    /// Notes that postings of these recordings were lost, and why.
    pub(super) fn lose(&self, numbers: impl Iterator<Item = u64>, why: &MetastoreError) {
        let mut state = self.state();
        for number in numbers {
            if let Some(recording) = state.open.get_mut(&number) {
                recording.lost = Some((why.kind(), again(why).to_string()));
            }
        }
    }
}

pub(super) fn lost() -> MetastoreError {
    MetastoreError::new(
        MetastoreErrorKind::Other,
        "the recording of an object was interrupted: index it again",
    )
}
