//! The one connection of a process that writes, on a thread of its own.
//!
//! Jobs that wait at the same time share a transaction, so that many small objects cost one flush of
//! the disk. Each job is a savepoint: what fails undoes itself alone.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::catalogue;
use super::failure::{again, failure};
use super::owner::{self, Owner};
use super::schema::open_writer;
use crate::metastore::{MetastoreError, MetastoreErrorKind};

type Result<T> = std::result::Result<T, MetastoreError>;

/// How many jobs may share a transaction.
const GROUP: usize = 64;

/// How many records of dead postings one transaction removes.
const SWEEP: usize = 20_000;

/// Hands jobs to the writing thread. Dropping it waits for the jobs in flight.
pub(super) struct Writer {
    messages: Mutex<Option<Sender<Message>>>,
    thread: Option<JoinHandle<()>>,
    recordings: AtomicI64,
}

enum Message {
    Job(Job),
    Clean(Clean),
}

/// A request to copy the log into the database and to empty it.
struct Clean {
    /// Whether the database is written anew before.
    is_deep: bool,
    reply: oneshot::Sender<Result<()>>,
}

/// Runs within the transaction and answers whether its changes stand, and whom to tell when the
/// transaction has ended. Where there is no transaction, it gets the reason instead.
type Job = Box<dyn FnOnce(Result<&mut Session>) -> Done + Send>;

struct Done {
    stands: bool,
    tell: Tell,
}

/// Learns how the transaction ended.
type Tell = Box<dyn FnOnce(Option<&MetastoreError>) + Send>;

impl Writer {
    /// A writer on the database of this folder.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let connection = open_writer(folder)?;
        let session = Session {
            connection,
            folder: folder.to_owned(),
            owner: None,
            is_begun: false,
            has_garbage: true,
        };
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new()
            .name("lacuna-index".to_owned())
            .spawn(move || session.serve(&receiver))
            .map_err(|error| {
                MetastoreError::new(MetastoreErrorKind::Other, "no thread for the index")
                    .caused_by(error)
            })?;
        Ok(Self {
            messages: Mutex::new(Some(sender)),
            thread: Some(thread),
            recordings: AtomicI64::new(1),
        })
    }

    /// A number that no other recording of this writer has.
    pub(super) fn next_recording(&self) -> i64 {
        self.recordings.fetch_add(1, Ordering::Relaxed)
    }

    /// Runs a job in a transaction and answers when it is on the disk. Once called, the job runs
    /// even if nobody waits for its answer.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Session) -> Result<T> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        self.send(Message::Job(Box::new(move |session| {
            let answer = session.and_then(work);
            Done {
                stands: answer.is_ok(),
                tell: Box::new(move |failed| {
                    let answer = match failed {
                        Some(error) => answer.and(Err(again(error))),
                        None => answer,
                    };
                    let _ = sender.send(answer);
                }),
            }
        })))?;
        receiver.await.map_err(|_| stopped())?
    }

    /// Runs a job some time, for nobody.
    pub(super) fn post(&self, work: impl FnOnce(&mut Session) -> Result<()> + Send + 'static) {
        let _ = self.send(Message::Job(Box::new(move |session| Done {
            stands: session.and_then(work).is_ok(),
            tell: Box::new(|_| ()),
        })));
    }

    /// Removes all dead postings, and their bytes from the log.
    pub(super) async fn purge(&self) -> Result<()> {
        self.clean(false).await
    }

    /// The same, and every unused byte of the database with it.
    pub(super) async fn scrub(&self) -> Result<()> {
        self.clean(true).await
    }

    async fn clean(&self, is_deep: bool) -> Result<()> {
        while self.run(|session| catalogue::sweep(&session.connection, SWEEP)).await? {}
        let (reply, receiver) = oneshot::channel();
        self.send(Message::Clean(Clean { is_deep, reply }))?;
        receiver.await.map_err(|_| stopped())?
    }

    fn send(&self, message: Message) -> Result<()> {
        let messages = self.messages.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let sender = messages.as_ref().ok_or_else(stopped)?;
        sender.send(message).map_err(|_| stopped())
    }
}

fn stopped() -> MetastoreError {
    MetastoreError::new(MetastoreErrorKind::Other, "the index's writer has stopped; start again")
}

impl Drop for Writer {
    fn drop(&mut self) {
        let sender = self.messages.get_mut().map_or(None, Option::take);
        drop(sender);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a job works with.
pub(super) struct Session {
    pub(super) connection: Connection,
    folder: PathBuf,
    owner: Option<Owner>,
    is_begun: bool,
    has_garbage: bool,
}

impl Session {
    /// The name that this process's unfinished recordings bear.
    pub(super) fn writer_name(&mut self) -> Result<String> {
        if self.owner.is_none() {
            let owner =
                Owner::new(&self.folder).map_err(|error| lock_failure(error, &self.folder))?;
            self.owner = Some(owner);
        }
        Ok(self.owner.as_ref().map(|owner| owner.name().to_owned()).unwrap_or_default())
    }

    /// The name, if there was ever an unfinished recording.
    pub(super) fn known_writer_name(&self) -> Option<String> {
        self.owner.as_ref().map(|owner| owner.name().to_owned())
    }

    /// Says that dead rows are there, to be swept when nothing else is to do.
    pub(super) fn litter(&mut self) {
        self.has_garbage = true;
    }

    /// Buries what writers left that are no more.
    pub(super) fn bury_lost_writers(&mut self) -> Result<()> {
        for writer in catalogue::writers(&self.connection)? {
            let is_own = self.owner.as_ref().is_some_and(|owner| owner.name() == writer);
            let is_lost = !is_own
                && !owner::is_alive(&self.folder, &writer)
                    .map_err(|error| lock_failure(error, &self.folder))?;
            if is_lost {
                catalogue::bury_writer(&self.connection, &writer)?;
                self.litter();
            }
        }
        Ok(())
    }

    fn serve(mut self, messages: &Receiver<Message>) {
        while let Some(message) = self.next(messages) {
            let (jobs, clean) = gather(message, messages);
            if !jobs.is_empty() {
                self.run_group(jobs);
            }
            if let Some(Clean { is_deep, reply }) = clean {
                let rewritten = if is_deep { self.execute("VACUUM") } else { Ok(()) };
                let _ = reply.send(rewritten.and_then(|()| self.truncate_log()));
            }
        }
    }

    /// The next message; while there is none, dead rows are swept. Nothing is swept before the first
    /// message: a process that only reads never writes.
    fn next(&mut self, messages: &Receiver<Message>) -> Option<Message> {
        while self.is_begun && self.has_garbage {
            match messages.try_recv() {
                Ok(message) => return Some(message),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {
                    let swept =
                        self.transact(|session| catalogue::sweep(&session.connection, SWEEP));
                    self.has_garbage = swept.unwrap_or(false);
                }
            }
        }
        messages.recv().ok()
    }

    fn run_group(&mut self, jobs: Vec<Job>) {
        let mut waiting = jobs.into_iter();
        let mut tell = Vec::new();
        let ended = self.transact(|session| {
            if !session.is_begun {
                session.bury_lost_writers()?;
                session.is_begun = true;
            }
            for job in waiting.by_ref() {
                tell.push(session.run_job(job)?);
            }
            Ok(())
        });
        for tell in tell {
            tell(ended.as_ref().err());
        }
        if let Err(error) = ended {
            for job in waiting {
                (job(Err(again(&error))).tell)(None);
            }
        }
    }

    fn run_job(&mut self, job: Job) -> Result<Tell> {
        self.execute("SAVEPOINT job")?;
        let Done { stands, tell } = job(Ok(self));
        let end = if stands { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
        if let Err(error) = self.execute(end) {
            tell(Some(&error));
            return Err(error);
        }
        Ok(tell)
    }

    fn transact<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.execute("BEGIN IMMEDIATE")?;
        let ended = work(self).and_then(|answer| self.execute("COMMIT").map(|()| answer));
        if ended.is_err() && !self.connection.is_autocommit() {
            self.execute("ROLLBACK")?;
        }
        ended
    }

    fn execute(&self, statement: &str) -> Result<()> {
        self.connection.execute_batch(statement).map_err(|error| failure("be written", error))
    }

    /// Copies the log into the database and empties it, so that no deleted byte stays in it.
    fn truncate_log(&self) -> Result<()> {
        let busy: i64 = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .map_err(|error| failure("be cleaned", error))?;
        if busy == 0 {
            return Ok(());
        }
        Err(MetastoreError::new(
            MetastoreErrorKind::Unavailable,
            "what was forgotten still stands in the index's log, since another process has been \
             reading for too long: try again",
        ))
    }
}

/// The jobs that wait already, up to a request to clean.
fn gather(first: Message, messages: &Receiver<Message>) -> (Vec<Job>, Option<Clean>) {
    let mut jobs = Vec::new();
    let mut message = first;
    loop {
        match message {
            Message::Job(job) => jobs.push(job),
            Message::Clean(clean) => return (jobs, Some(clean)),
        }
        if jobs.len() == GROUP {
            return (jobs, None);
        }
        match messages.try_recv() {
            Ok(next) => message = next,
            Err(_) => return (jobs, None),
        }
    }
}

fn lock_failure(error: std::io::Error, folder: &Path) -> MetastoreError {
    MetastoreError::new(
        MetastoreErrorKind::Other,
        format!("no lock file can be kept in the index {}", folder.display()),
    )
    .caused_by(error)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metastore::embedded::schema;

    /// Hazard N4: while another process writes for too long, the caller learns that it may try again.
    #[tokio::test]
    async fn a_busy_index_says_try_again() {
        let folder = tempfile::tempdir().expect("a folder");
        schema::prepare(folder.path()).expect("made");
        let writer = Writer::new(folder.path()).expect("a writer");
        let hasten = |session: &mut Session| {
            let soon = session.connection.busy_timeout(Duration::from_millis(50));
            soon.map_err(|error| failure("be hastened", error))
        };
        writer.run(hasten).await.expect("hastened");
        let other = open_writer(folder.path()).expect("another writer");
        other.execute_batch("BEGIN IMMEDIATE").expect("locked");
        let refused = writer.run(|_| Ok(())).await.expect_err("locked by another");
        assert_eq!(refused.kind(), MetastoreErrorKind::Unavailable);
        other.execute_batch("ROLLBACK").expect("released");
        writer.run(|_| Ok(())).await.expect("free again");
    }

    /// One job's failure undoes that job and no other of the same transaction.
    #[tokio::test]
    async fn a_failing_job_undoes_itself_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        schema::prepare(folder.path()).expect("made");
        let writer = Writer::new(folder.path()).expect("a writer");
        let insert = |name: &'static str, fails: bool| {
            writer.run(move |session| {
                let statement = "INSERT INTO about VALUES (?1, '')";
                let inserted = session.connection.execute(statement, [name]);
                inserted.map_err(|error| failure("be written", error))?;
                if fails { Err(stopped()) } else { Ok(()) }
            })
        };
        let (first, second, third) =
            tokio::join!(insert("a", false), insert("b", true), insert("c", false));
        assert!(first.is_ok() && second.is_err() && third.is_ok());
        let reader = schema::open_reader(folder.path()).expect("a reader");
        let names: Vec<String> = reader
            .prepare("SELECT name FROM about ORDER BY name")
            .and_then(|mut select| select.query_map([], |row| row.get(0))?.collect())
            .expect("read");
        assert_eq!(names, ["a", "c"]);
    }
}
