//! Scans an object block by block, on as many threads as are idle.
//!
//! The thread of the scan reads, decompresses and cuts blocks at line endings; helpers and, when they
//! are busy, the thread itself read the blocks' records; the thread tells the findings in order.
//! A cut at a line ending is a guess: it may stand within quotes. So a block counts only if the one
//! before it was read to its last byte, and is otherwise read again together with what was left.
//! Correctness does not depend on the guess, only speed.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::blocks::{Block, Blocks};
use super::helpers::Busy;
use super::window::{Findings, Problem, ReadWindow, check_length};
use super::{ScanSink, Source};
use crate::domain::landmark::{Landmark, Landmarks};
use crate::domain::row::{RowCount, RowNumber};
use crate::format::{FormatError, LONGEST_RECORD_BYTES};

/// Objects shorter than this are not worth a helper.
const ALONE_BYTES: u64 = if cfg!(test) { 4 << 10 } else { 4 << 20 };

/// How many blocks may be under way for each helper, and besides.
const AHEAD: usize = 2;

/// Reads all blocks and tells the sink what stands in them.
pub(super) fn scan<S: Source, W: ReadWindow>(
    mut blocks: Blocks<S>,
    reader: W,
    sink: &mut dyn ScanSink,
) -> Result<RowCount, FormatError> {
    let _own = Busy::own();
    let mut merge = Merge::new(reader, sink);
    while !(merge.byte >= ALONE_BYTES && merge.reader.is_settled()) {
        let Some(block) = blocks.next()? else { return merge.finish(blocks.one_member()) };
        let done = read_block(&mut merge.reader, &block, std::mem::take(&mut merge.spare));
        merge.take(block, done)?;
    }
    let helpers = Busy::helpers();
    let (jobs, queue) = sync_channel(helpers.count());
    let queue = Mutex::new(queue);
    thread::scope(|scope| {
        // They end when this is dropped: `scope` waits for them, and the queue outlives it.
        let jobs = jobs;
        let (answers, done) = channel();
        for _ in 0..helpers.count() {
            let (reader, queue, answers) = (merge.reader.clone(), &queue, answers.clone());
            scope.spawn(move || help(reader, queue, &answers));
        }
        let most = AHEAD * (1 + helpers.count());
        Team { merge, jobs, done, most, sent: 0, taken: 0, waiting: BTreeMap::new() }.run(blocks)
    })
}

/// A block that was read, or the panic of its reader.
type Answer = (u64, Block, thread::Result<Done>);

/// What came of a block.
struct Done {
    findings: Findings,
    /// How many bytes were read, from the start on.
    outcome: Result<usize, Problem>,
}

fn read_block<W: ReadWindow>(reader: &mut W, block: &Block, mut findings: Findings) -> Done {
    findings.clear();
    let outcome = read_parts(reader, block, &mut findings);
    Done { findings, outcome }
}

/// Reads the line that the cut before went through, and then what follows it.
fn read_parts<W: ReadWindow>(
    reader: &mut W,
    block: &Block,
    findings: &mut Findings,
) -> Result<usize, Problem> {
    let taken = reader.read(&block.first, false, findings)?;
    let shift = |problem, by| match problem {
        Problem::Broken { broken, start } => Problem::Broken { broken, start: start + by },
        other => other,
    };
    findings.base = taken as u64;
    let more = if taken == block.first.len() {
        reader.read(&block.rest, false, findings)
    } else {
        let joined = [&block.first[taken..], &block.rest[..]].concat();
        reader.read(&joined, false, findings)
    };
    more.map(|more| taken + more).map_err(|problem| shift(problem, taken))
}

fn help<W: ReadWindow>(mut reader: W, jobs: &Mutex<Receiver<(u64, Block)>>, done: &Sender<Answer>) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, block)) = next else { return };
        let read = AssertUnwindSafe(|| read_block(&mut reader, &block, Findings::default()));
        let answer: Result<Done, Box<dyn Any + Send>> = catch_unwind(read);
        let failed = answer.is_err();
        if done.send((number, block, answer)).is_err() || failed {
            return;
        }
    }
}

/// The thread of the scan and its helpers.
struct Team<'s, W> {
    merge: Merge<'s, W>,
    jobs: SyncSender<(u64, Block)>,
    done: Receiver<Answer>,
    /// How many blocks may be under way.
    most: usize,
    sent: u64,
    taken: u64,
    /// Blocks that were read before their turn.
    waiting: BTreeMap<u64, (Block, Done)>,
}

impl<W: ReadWindow> Team<'_, W> {
    fn run<S: Source>(mut self, mut blocks: Blocks<S>) -> Result<RowCount, FormatError> {
        while let Some(block) = blocks.next()? {
            self.send(block)?;
            while let Ok(answer) = self.done.try_recv() {
                self.note(answer)?;
            }
            while self.under_way() >= self.most {
                self.wait()?;
            }
        }
        while self.under_way() > 0 {
            self.wait()?;
        }
        self.merge.finish(blocks.one_member())
    }

    fn under_way(&self) -> usize {
        usize::try_from(self.sent - self.taken).unwrap_or(usize::MAX)
    }

    fn send(&mut self, block: Block) -> Result<(), FormatError> {
        let number = self.sent;
        self.sent += 1;
        match self.jobs.try_send((number, block)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full((_, block)) | TrySendError::Disconnected((_, block))) => {
                let room = std::mem::take(&mut self.merge.spare);
                let done = read_block(&mut self.merge.reader, &block, room);
                self.note((number, block, Ok(done)))
            }
        }
    }

    fn wait(&mut self) -> Result<(), FormatError> {
        let answer = self.done.recv().map_err(|_| FormatError::Stopped)?;
        self.note(answer)
    }

    fn note(&mut self, (number, block, done): Answer) -> Result<(), FormatError> {
        let done = done.unwrap_or_else(|panic| resume_unwind(panic));
        self.waiting.insert(number, (block, done));
        while let Some((block, done)) = self.waiting.remove(&self.taken) {
            self.taken += 1;
            self.merge.take(block, done)?;
        }
        Ok(())
    }
}

/// Puts blocks together again, in order.
struct Merge<'s, W> {
    reader: W,
    sink: &'s mut dyn ScanSink,
    rows: u64,
    /// Up to where the content was read; the bytes left begin there.
    byte: u64,
    left: Vec<u8>,
    /// How long the bytes left were when no record ended in them.
    tried: usize,
    marked: u64,
    /// Room for findings.
    spare: Findings,
}

impl<'s, W: ReadWindow> Merge<'s, W> {
    fn new(reader: W, sink: &'s mut dyn ScanSink) -> Self {
        let (rows, byte, tried, marked) = (0, 0, 0, 0);
        let (left, spare) = (Vec::new(), Findings::default());
        Self { reader, sink, rows, byte, left, tried, marked, spare }
    }

    /// Takes the next block.
    fn take(&mut self, block: Block, done: Done) -> Result<(), FormatError> {
        if self.left.is_empty() {
            self.byte = block.start;
            let taken = self.tell(done)?;
            let (first, rest) = (&block.first, &block.rest);
            self.left.extend_from_slice(first.get(taken..).unwrap_or_default());
            self.left.extend_from_slice(&rest[taken.saturating_sub(first.len()).min(rest.len())..]);
            self.tried = self.left.len();
            return self.check_left();
        }
        self.left.extend_from_slice(&block.first);
        self.left.extend_from_slice(&block.rest);
        // Trying only when there is twice as much keeps a long record from being read again and again.
        if self.left.len() >= 2 * self.tried || self.left.len() > LONGEST_RECORD_BYTES {
            self.read_left(false)?;
        }
        self.check_left()
    }

    fn read_left(&mut self, ended: bool) -> Result<(), FormatError> {
        let mut findings = std::mem::take(&mut self.spare);
        findings.clear();
        let outcome = self.reader.read(&self.left, ended, &mut findings);
        let taken = self.tell(Done { findings, outcome })?;
        self.left.drain(..taken);
        self.tried = self.left.len();
        Ok(())
    }

    fn check_left(&self) -> Result<(), FormatError> {
        let too_long = self.tried == self.left.len() && self.tried > LONGEST_RECORD_BYTES;
        let checked = if too_long { check_length(self.tried, 0) } else { Ok(()) };
        checked.map_err(|problem| self.fail(problem, self.rows))
    }

    /// Tells what was read from `byte` on; answers how many bytes that are.
    fn tell(&mut self, done: Done) -> Result<usize, FormatError> {
        let Done { findings, outcome } = done;
        self.mark();
        findings.tell(self.rows, self.byte, self.sink)?;
        let rows = self.rows + findings.rows;
        self.spare = findings;
        let taken = outcome.map_err(|problem| self.fail(problem, rows))?;
        self.rows = rows;
        self.byte += taken as u64;
        Ok(taken)
    }

    /// A block begins with a record: reading can begin there.
    fn mark(&mut self) {
        if self.rows > 0 && self.byte >= self.marked + Landmarks::DISTANCE_BYTES {
            self.marked = self.byte;
            self.sink.landmark(Landmark { row: RowNumber(self.rows), byte: self.byte });
        }
    }

    fn fail(&self, problem: Problem, row: u64) -> FormatError {
        match problem {
            Problem::Format(error) => error,
            Problem::Broken { broken, start } => {
                let byte = self.byte + start as u64 + broken.at as u64;
                FormatError::unreadable_at(broken.reason, Some(RowNumber(row)), byte)
            }
        }
    }

    fn finish(mut self, member_bytes: Option<u64>) -> Result<RowCount, FormatError> {
        if !self.left.is_empty() {
            self.read_left(true)?;
        }
        // Of use just together with landmarks.
        if let Some(bytes) = member_bytes.filter(|_| self.marked > 0) {
            self.sink.one_member(bytes);
        }
        Ok(RowCount(self.rows))
    }
}
