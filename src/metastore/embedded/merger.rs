//! The thread that merges runs while others read and write.
//!
//! A merge claims its runs, reads them, writes the new one, and puts it in their place, in two short
//! transactions. Whoever changes a run meanwhile takes the claim away, and the merge is void. One that
//! is killed leaves a file that nobody names, and a claim that ends with its writer.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::failure::failure;
use super::files::Files;
use super::merge::{Merged, surplus};
use super::redo::{begin, transact, truncate_log};
use super::run::{Run, RunFacts, RunWriter, size_of};
use super::runs::{self, DEATHS, RunRecord};
use super::schema::open_writer;
use super::{Settings, catalogue};
use crate::metastore::{MetastoreError, MetastoreErrorKind};

type Result<T> = std::result::Result<T, MetastoreError>;

/// A merge of at most so many bytes is brought to its end when the process wants to end.
const SHORT_BYTES: u64 = 64 << 20;

/// How many postings of the dead are worth a merge of their own.
const MANY_DEAD: u64 = 1 << 16;

/// How often a merge is begun anew that somebody else made void.
const ATTEMPTS: usize = 16;

/// Hands requests to the merging thread. Dropping it ends the thread, soon.
pub(super) struct Merger {
    requests: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    /// Requests to merge what is due that wait.
    due: Arc<AtomicU64>,
}

enum Request {
    /// Merge what is due.
    Due,
    /// Answer once everything before is done.
    Settled(Sender<()>),
    Clear(Scope, oneshot::Sender<Result<()>>),
}

/// What is to be written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All runs, as one.
    All,
    /// Those that may hold postings of the dead; and every trace of the dead goes.
    Dead,
}

impl Merger {
    pub(super) fn new(folder: &Path, files: &Arc<Files>, settings: Settings) -> Result<Self> {
        let (requests, receiver) = channel();
        let (stop, due) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let worker = Worker {
            connection: open_writer(folder)?,
            files: Arc::clone(files),
            settings,
            stop: Arc::clone(&stop),
            due: Arc::clone(&due),
        };
        let thread = std::thread::Builder::new()
            .name("lacuna-merge".to_owned())
            .spawn(move || worker.serve(&receiver))
            .map_err(|error| {
                MetastoreError::new(MetastoreErrorKind::Other, "no thread for the index")
                    .caused_by(error)
            })?;
        Ok(Self { requests: Some(requests), thread: Some(thread), stop, due })
    }

    fn send(&self, request: Request) {
        if let Some(requests) = &self.requests {
            let _ = requests.send(request);
        }
    }

    /// Lets what is due be merged some time.
    pub(super) fn nudge(&self) {
        if self.due.load(Ordering::Relaxed) == 0 {
            self.due.fetch_add(1, Ordering::Relaxed);
            self.send(Request::Due);
        }
    }

    /// Waits until what is due is merged, or cannot be. Blocks.
    pub(super) fn settle(&self) {
        self.nudge();
        let (sender, receiver) = channel();
        self.send(Request::Settled(sender));
        let _ = receiver.recv();
    }

    /// Writes runs anew.
    pub(super) fn clear(&self, scope: Scope) -> oneshot::Receiver<Result<()>> {
        let (sender, receiver) = oneshot::channel();
        self.send(Request::Clear(scope, sender));
        receiver
    }
}

impl Drop for Merger {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    connection: Connection,
    files: Arc<Files>,
    settings: Settings,
    stop: Arc<AtomicBool>,
    due: Arc<AtomicU64>,
}

/// A merge that has begun.
struct Claimed {
    runs: Vec<RunRecord>,
    /// The same, opened under the lock: another process may take the claim and the files away.
    open: Vec<Arc<Run>>,
    claim: String,
    dead: Vec<u64>,
    cleaned: i64,
}

impl Worker {
    fn serve(self, requests: &Receiver<Request>) {
        while let Ok(request) = requests.recv() {
            match request {
                Request::Due => {
                    self.due.fetch_sub(1, Ordering::Relaxed);
                    // What cannot be merged now is tried again after the next batch.
                    while matches!(self.merge(|it| it.due()), Ok(ControlFlow::Continue(()))) {}
                }
                Request::Settled(sender) => drop(sender.send(())),
                Request::Clear(scope, reply) => drop(reply.send(self.clear(scope))),
            }
        }
    }

    /// The runs that are worth a merge.
    fn due(&self) -> Result<Vec<RunRecord>> {
        let mut runs = runs::all(&self.connection)?;
        let mut free = Vec::new();
        for run in runs.drain(..) {
            if !self.is_claimed(&run)? {
                free.push(run);
            }
        }
        let chosen = surplus(&free, self.settings.runs);
        if !chosen.is_empty() {
            return Ok(chosen);
        }
        for run in free {
            let dead = runs::dead_in(&self.connection, &run)?;
            if dead > MANY_DEAD && dead > run.facts.postings / 2 {
                return Ok(vec![run]);
            }
        }
        Ok(Vec::new())
    }

    fn is_claimed(&self, run: &RunRecord) -> Result<bool> {
        match run.claim.as_deref().and_then(|claim| claim.split_once('-')) {
            Some((writer, _)) => Ok(writer != self.files.writer()? && self.files.is_alive(writer)?),
            None => Ok(false),
        }
    }

    fn clear(&self, scope: Scope) -> Result<()> {
        let choose = |it: &Self| {
            let mut runs = runs::all(&it.connection)?;
            if scope == Scope::All {
                return Ok(if runs.len() > 1 || it.holds_dead(&runs)? { runs } else { Vec::new() });
            }
            let mut chosen = Vec::new();
            for run in runs.drain(..) {
                if runs::dead_in(&it.connection, &run)? > 0 {
                    chosen.push(run);
                }
            }
            Ok(chosen)
        };
        for _ in 0..ATTEMPTS {
            match self.merge(choose)? {
                ControlFlow::Break(true) if scope == Scope::All => return Ok(()),
                ControlFlow::Break(true) => return self.scrub_catalogue(),
                ControlFlow::Break(false) => {
                    let text = "the index is being closed; try again";
                    return Err(MetastoreError::new(MetastoreErrorKind::Unavailable, text));
                }
                ControlFlow::Continue(()) => {}
            }
        }
        Err(MetastoreError::new(
            MetastoreErrorKind::Unavailable,
            "other processes change the index all the time: try again",
        ))
    }

    fn holds_dead(&self, runs: &[RunRecord]) -> Result<bool> {
        for run in runs {
            if runs::dead_in(&self.connection, run)? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Merges what `choose` chooses. Continues after a merge, also a void one; breaks where there is
    /// nothing to do (`true`) or the process ends (`false`).
    fn merge(&self, choose: impl Fn(&Self) -> Result<Vec<RunRecord>>) -> Result<ControlFlow<bool>> {
        let Some(claimed) = self.claim(choose)? else { return Ok(ControlFlow::Break(true)) };
        let Some(run) = self.write(&claimed)? else { return Ok(ControlFlow::Break(false)) };
        let run = run.0;
        let ended = self.replace(&claimed, run.as_ref());
        match ended {
            Ok(true) => {
                claimed.runs.iter().for_each(|old| self.files.remove(&old.facts.file));
                Ok(ControlFlow::Continue(()))
            }
            Ok(false) => {
                run.iter().for_each(|new| self.files.remove(&new.file));
                Ok(ControlFlow::Continue(()))
            }
            // Whether it stands is not known: the file is kept, and is garbage if it does not.
            Err(error) => Err(error),
        }
    }

    fn claim(&self, choose: impl Fn(&Self) -> Result<Vec<RunRecord>>) -> Result<Option<Claimed>> {
        // Mostly there is nothing to do, which needs no lock.
        if choose(self)?.is_empty() {
            if catalogue::has_dead(&self.connection)? {
                transact(&self.connection, &self.files, || {
                    runs::mark_clean(&self.connection)?;
                    catalogue::forget_dead(&self.connection)
                })?;
            }
            return Ok(None);
        }
        transact(&self.connection, &self.files, || {
            let runs = choose(self)?;
            let claim = self.files.name("merge")?;
            for run in &runs {
                runs::claim(&self.connection, run.id, &claim)?;
            }
            let open = runs::open_some(&self.files, &runs)?;
            let cleaned = runs::counter(&self.connection, DEATHS)?;
            let dead = catalogue::dead(&self.connection)?;
            Ok((!runs.is_empty()).then_some(Claimed { runs, open, claim, dead, cleaned }))
        })
    }

    /// Writes the new run, which may turn out to be empty; `None` where the process ends.
    fn write(&self, claimed: &Claimed) -> Result<Option<(Option<RunFacts>,)>> {
        let sizes = claimed.runs.iter().map(|run| size_of(run.facts.blocks));
        let is_short = sizes.sum::<u64>() <= SHORT_BYTES;
        let mut postings = Merged::new(claimed.open.clone())?;
        let mut run = RunWriter::new(&self.files)?;
        let mut count = 0_u64;
        while let Some(posting) = postings.next()? {
            count += 1;
            let is_time = count.is_multiple_of(1 << 16);
            if is_time && !is_short && self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            if claimed.dead.is_empty() || claimed.dead.binary_search(&posting.object).is_err() {
                run.push(posting)?;
            }
        }
        Ok(Some((run.finish()?,)))
    }

    /// Puts the new run in the place of the claimed ones; `false` where they are not as they were.
    fn replace(&self, claimed: &Claimed, run: Option<&RunFacts>) -> Result<bool> {
        transact(&self.connection, &self.files, || {
            let now = runs::all(&self.connection)?;
            let is_own = |run: &&RunRecord| run.claim.as_ref() == Some(&claimed.claim);
            if now.iter().filter(is_own).count() != claimed.runs.len() {
                return Ok(false);
            }
            for old in &claimed.runs {
                runs::remove(&self.connection, old.id)?;
            }
            if let Some(run) = run {
                runs::add(&self.connection, run, claimed.cleaned)?;
            }
            catalogue::forget_dead(&self.connection)?;
            Ok(true)
        })
    }

    /// Writes the catalogue anew if anything of it was deleted since it was last, and empties its log.
    fn scrub_catalogue(&self) -> Result<()> {
        let deaths = runs::counter(&self.connection, DEATHS)?;
        let scrubbed = runs::counter(&self.connection, runs::SCRUBBED)?;
        if deaths != scrubbed {
            begin(&self.connection, &self.files)?.end(&self.connection, &self.files, Ok(()))?;
            let vacuumed = self.connection.execute_batch("VACUUM");
            vacuumed.map_err(|error| failure("be cleaned", error))?;
            transact(&self.connection, &self.files, || {
                runs::raise(&self.connection, runs::SCRUBBED, deaths - scrubbed).map(drop)
            })?;
        }
        truncate_log(&self.connection)
    }
}
