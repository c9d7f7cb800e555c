//! The one connection of a process that writes, on a thread of its own.
//!
//! What waits at the same time shares a transaction, so that many small objects cost one flush of the
//! disk. A job is a savepoint: what fails undoes itself alone.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::batch::Batch;
use super::failure::again;
use super::files::Files;
use super::merger::{Merger, Scope};
use super::redo;
use super::schema::open_writer;
use super::{Settings, catalogue, runs};
use crate::metastore::{MetastoreError, MetastoreErrorKind, Succession};

type Result<T> = std::result::Result<T, MetastoreError>;

/// How many jobs may share a transaction.
const GROUP: usize = 64;

/// How many commits share a transaction at most.
const COMMITS: usize = 4096;

/// How long the next commit is waited for, while there are recordings that may want one.
const PAUSE: Duration = Duration::from_millis(2);

/// How many numbers of objects are reserved at once: at first, and at most.
const NUMBERS: (i64, i64) = (64, 4096);

/// Hands jobs to the writing thread. Dropping it waits for the jobs in flight.
pub(super) struct Writer {
    messages: Mutex<Option<Sender<Message>>>,
    thread: Option<JoinHandle<()>>,
    batch: Arc<Batch>,
    merger: Option<Arc<Merger>>,
}

enum Message {
    Job(Job),
    /// Something waits in the batch.
    Flush,
    Succeed(Box<Order>),
}

/// A succession, and who waits for it.
pub(super) struct Order {
    pub(super) succession: Succession,
    pub(super) reply: oneshot::Sender<Result<()>>,
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
    /// A writer on the index of this folder.
    pub(super) fn new(folder: &Path, files: &Arc<Files>, settings: Settings) -> Result<Self> {
        let batch = Arc::new(Batch::new(settings.postings));
        let merger = Arc::new(Merger::new(folder, files, settings)?);
        let session = Session {
            connection: open_writer(folder)?,
            files: Arc::clone(files),
            batch: Arc::clone(&batch),
            merger: Arc::clone(&merger),
            settings,
            waiting: VecDeque::new(),
            numbers: NUMBERS.0,
            is_begun: false,
        };
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new()
            .name("lacuna-index".to_owned())
            .spawn(move || session.serve(&receiver))
            .map_err(|error| {
                MetastoreError::new(MetastoreErrorKind::Other, "no thread for the index")
                    .caused_by(error)
            })?;
        let messages = Mutex::new(Some(sender));
        Ok(Self { messages, thread: Some(thread), batch, merger: Some(merger) })
    }

    /// Waits until what is due is merged.
    pub(super) async fn settle(&self) {
        if let Some(merger) = self.merger.clone() {
            let _ = tokio::task::spawn_blocking(move || merger.settle()).await;
        }
    }

    /// The postings under way.
    pub(super) fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Has the batch written, soon.
    pub(super) fn flush(&self) -> Result<()> {
        self.send(Message::Flush)
    }

    /// Reserves numbers of objects for the recordings to come.
    pub(super) async fn reserve_numbers(&self) -> Result<()> {
        let numbers = self.run(|session| {
            let count = session.numbers;
            session.numbers = (count * 4).min(NUMBERS.1);
            let last = runs::raise(&session.connection, runs::OBJECTS, count)?;
            Ok((last - count + 1).cast_unsigned()..(last + 1).cast_unsigned())
        });
        self.batch.refill(numbers.await?);
        Ok(())
    }

    /// Carries out a succession.
    pub(super) async fn succeed(&self, succession: Succession) -> Result<()> {
        let (reply, receiver) = oneshot::channel();
        self.send(Message::Succeed(Box::new(Order { succession, reply })))?;
        receiver.await.map_err(|_| stopped())?
    }

    /// Writes runs anew, off this thread.
    pub(super) async fn clear(&self, scope: Scope) -> Result<()> {
        self.run(Session::bury_lost_writers).await?;
        let Some(merger) = &self.merger else { return Err(stopped()) };
        merger.clear(scope).await.map_err(|_| stopped())?
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
        drop(self.merger.take());
    }
}

/// What a job works with.
pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) files: Arc<Files>,
    pub(super) batch: Arc<Batch>,
    merger: Arc<Merger>,
    settings: Settings,
    /// Messages that came while others were done.
    waiting: VecDeque<Message>,
    /// How many numbers are reserved next.
    numbers: i64,
    is_begun: bool,
}

impl Session {
    /// The name that this process's unfinished recordings bear.
    pub(super) fn writer(&self) -> Result<String> {
        self.files.writer()
    }

    /// Buries what writers left that are no more, and removes files that nobody names.
    pub(super) fn bury_lost_writers(&mut self) -> Result<()> {
        for writer in catalogue::writers(&self.connection)? {
            if !self.files.is_alive(&writer)? {
                catalogue::bury_writer(&self.connection, &writer)?;
            }
        }
        // Under the lock, so that no writer that lived when the files were listed can name one since.
        let mut named: Vec<String> = runs::redos(&self.connection)?;
        named.extend(runs::all(&self.connection)?.into_iter().map(|run| run.facts.file));
        for (writer, file) in self.files.list()? {
            if !named.contains(&file) && !self.files.is_alive(&writer)? {
                self.files.remove(&file);
            }
        }
        Ok(())
    }

    /// Removes a file of this writer, unless the catalogue names it after all.
    pub(super) fn drop_unknown(&self, file: &str) {
        let is_known = redo::transact(&self.connection, &self.files, || {
            Ok(runs::all(&self.connection)?.iter().any(|run| run.facts.file == file))
        });
        if let Ok(false) = is_known {
            self.files.remove(file);
        }
    }

    /// Lets merges catch up, where far more runs have come than there should be. Blocks.
    pub(super) fn await_merges(&self) -> Result<()> {
        if runs::all(&self.connection)?.len() >= 2 * self.settings.runs {
            self.merger.settle();
        }
        Ok(())
    }

    pub(super) fn nudge_merger(&self) {
        self.merger.nudge();
    }

    fn serve(mut self, messages: &Receiver<Message>) {
        while let Some(message) = self.waiting.pop_front().or_else(|| messages.recv().ok()) {
            match message {
                Message::Job(job) => {
                    let jobs = self.gather(Vec::from([job]), messages, |message| match message {
                        Message::Job(job) => Ok(job),
                        other => Err(other),
                    });
                    self.run_group(jobs);
                }
                Message::Succeed(order) => {
                    let orders =
                        self.gather(Vec::from([*order]), messages, |message| match message {
                            Message::Succeed(order) => Ok(*order),
                            other => Err(other),
                        });
                    self.succeed_all(orders);
                }
                Message::Flush => {
                    self.await_commits(messages);
                    self.flush();
                }
            }
        }
    }

    /// Adds what waits already and is of the same kind; what is not waits for its turn.
    fn gather<T>(
        &mut self,
        mut gathered: Vec<T>,
        messages: &Receiver<Message>,
        kind: impl Fn(Message) -> std::result::Result<T, Message>,
    ) -> Vec<T> {
        while gathered.len() < GROUP {
            let Some(next) = self.waiting.pop_front().or_else(|| messages.try_recv().ok()) else {
                break;
            };
            match kind(next) {
                Ok(next) => gathered.push(next),
                Err(other) => {
                    self.waiting.push_front(other);
                    break;
                }
            }
        }
        gathered
    }

    /// Waits while more commits come: a run of many objects costs hardly more than one of a few.
    fn await_commits(&mut self, messages: &Receiver<Message>) {
        loop {
            let waiting = self.batch.waiting();
            if waiting.is_ripe || waiting.commits == 0 || waiting.commits >= COMMITS {
                return;
            }
            match messages.recv_timeout(PAUSE) {
                Ok(Message::Flush) => {}
                Ok(other) => {
                    self.waiting.push_back(other);
                    return;
                }
                Err(_) => return,
            }
        }
    }

    /// Does what the first writing of a process begins with.
    pub(super) fn begin(&mut self) -> Result<()> {
        if !self.is_begun {
            self.transact(Self::bury_lost_writers)?;
            self.is_begun = true;
        }
        Ok(())
    }

    fn run_group(&mut self, jobs: Vec<Job>) {
        let mut waiting = jobs.into_iter();
        let mut tell = Vec::new();
        let ended = self.begin().and_then(|()| {
            self.transact(|session| {
                for job in waiting.by_ref() {
                    tell.push(session.run_job(job)?);
                }
                Ok(())
            })
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
        redo::execute(&self.connection, "SAVEPOINT job")?;
        let Done { stands, tell } = job(Ok(self));
        let end = if stands { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
        if let Err(error) = redo::execute(&self.connection, end) {
            tell(Some(&error));
            return Err(error);
        }
        Ok(tell)
    }

    pub(super) fn transact<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let begun = redo::begin(&self.connection, &self.files)?;
        let answer = work(self);
        begun.end(&self.connection, &self.files, answer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metastore::embedded::failure::failure;
    use crate::metastore::embedded::schema;

    fn writer_in(folder: &Path) -> Writer {
        schema::prepare(folder).expect("made");
        let files = Arc::new(Files::new(folder));
        Writer::new(folder, &files, Settings::default()).expect("a writer")
    }

    /// Hazard N4: while another process writes for too long, the caller learns that it may try again.
    #[tokio::test]
    async fn a_busy_index_says_try_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let writer = writer_in(folder.path());
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
        let writer = writer_in(folder.path());
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
