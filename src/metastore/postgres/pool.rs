//! Connections, and transactions that are tried again. It knows that an answer may get lost on its
//! way; it never knows what a transaction is about.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use super::connect::PostgresSettings;
use super::failure::{Attempt, Failure};
use crate::metastore::{MetastoreError, MetastoreErrorKind};

/// Connections of one process at most: enough to keep two cores and a server busy.
const CONNECTIONS: usize = 8;

/// How often a transaction is tried.
const ATTEMPTS: u32 = 6;

/// The pause after the first attempt; each next one is twice as long.
const PAUSE: Duration = Duration::from_millis(20);

/// Every statement is meant to follow an index, however large the tables have become or how little
/// the server knows of them yet, and is planned once.
const HABITS: &str = "SET jit = off; SET enable_seqscan = off; SET enable_hashjoin = off;
    SET enable_mergejoin = off; SET plan_cache_mode = force_generic_plan;
    SET client_min_messages = warning";

/// The values of a statement's parameters.
pub(super) type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A connection and the statements that it has prepared.
pub(super) struct Session {
    pub(super) client: Client,
    statements: Mutex<HashMap<&'static str, Statement>>,
}

impl Session {
    async fn prepared(&self, sql: &'static str) -> Attempt<Statement> {
        let known =
            self.statements.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        let mut statements = self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        statements.insert(sql, statement.clone());
        Ok(statement)
    }

    /// The rows that a statement answers with. It is prepared once a connection.
    pub(super) async fn query(&self, sql: &'static str, values: Values<'_>) -> Attempt<Vec<Row>> {
        let statement = self.prepared(sql).await?;
        Ok(self.client.query(&statement, values).await?)
    }

    /// How many rows a statement changed. It is prepared once a connection.
    pub(super) async fn execute(&self, sql: &'static str, values: Values<'_>) -> Attempt<u64> {
        let statement = self.prepared(sql).await?;
        Ok(self.client.execute(&statement, values).await?)
    }

    /// Statements without values or answers.
    pub(super) async fn run(&self, sql: &str) -> Attempt<()> {
        Ok(self.client.batch_execute(sql).await?)
    }
}

/// What a transaction does. It may be tried several times, and then begins from the start.
#[async_trait]
pub(super) trait Work: Sync {
    /// What it answers with.
    type Answer: Send;

    /// How the transaction begins.
    fn begin(&self) -> &'static str {
        "BEGIN"
    }

    /// Does it once.
    async fn attempt(&self, session: &Session) -> Attempt<Self::Answer>;
}

/// How a transaction begins that sees one state of the index throughout.
pub(super) const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The connections of one metastore.
pub(super) struct Pool {
    settings: PostgresSettings,
    idle: Mutex<Vec<Session>>,
    permits: Semaphore,
}

/// A connection on loan. Dropped, it is closed, and its transaction undone.
struct Lease<'p> {
    session: Session,
    pool: &'p Pool,
    _permit: SemaphorePermit<'p>,
}

impl Lease<'_> {
    fn give_back(self) {
        self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.session);
    }
}

/// How one attempt at a transaction ended.
enum Ended<T> {
    Committed(T),
    Failed(Failure),
    /// The connection broke while the server was to commit: the transaction's number.
    Unknown(T, String),
}

impl Pool {
    pub(super) fn new(settings: PostgresSettings) -> Self {
        Self { settings, idle: Mutex::new(Vec::new()), permits: Semaphore::new(CONNECTIONS) }
    }

    /// The database, without secrets.
    pub(super) fn shown(&self) -> &str {
        self.settings.shown()
    }

    /// A connection of the caller's own.
    pub(super) async fn connect(&self) -> Attempt<Session> {
        let client = self.settings.connect().await?;
        let session = Session { client, statements: Mutex::new(HashMap::new()) };
        session.run(HABITS).await?;
        Ok(session)
    }

    async fn lease(&self) -> Attempt<Lease<'_>> {
        let closed = |_| {
            let message = "the index is being closed";
            Failure::from(MetastoreError::new(MetastoreErrorKind::Other, message))
        };
        let permit = self.permits.acquire().await.map_err(closed)?;
        let session = loop {
            let pooled = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match pooled {
                Some(session) if session.client.is_closed() => {}
                Some(session) => break session,
                None => break self.connect().await?,
            }
        };
        Ok(Lease { session, pool: self, _permit: permit })
    }

    /// Runs a transaction; anew where another one came in between or the connection broke. Where it
    /// broke at the commit, the server is asked what became of it.
    pub(super) async fn transact<W: Work>(&self, work: &W) -> Result<W::Answer, MetastoreError> {
        let mut pause = PAUSE;
        for attempt in 1.. {
            let failure = match self.once(work).await {
                Ended::Committed(answer) => return Ok(answer),
                Ended::Unknown(answer, transaction) => match self.settled(&transaction).await {
                    Ok(true) => return Ok(answer),
                    Ok(false) => None,
                    Err(failure) => Some(failure),
                },
                Ended::Failed(failure) => Some(failure),
            };
            match failure {
                Some(failure) if !failure.is_passing() || attempt == ATTEMPTS => {
                    return Err(failure.told(self.shown()));
                }
                None if attempt == ATTEMPTS => break,
                _ => tokio::time::sleep(pause).await,
            }
            pause *= 2;
        }
        let message = format!("the index at {} loses its connections: try again", self.shown());
        Err(MetastoreError::new(MetastoreErrorKind::Unavailable, message))
    }

    async fn once<W: Work>(&self, work: &W) -> Ended<W::Answer> {
        let lease = match self.lease().await {
            Ok(lease) => lease,
            Err(failure) => return Ended::Failed(failure),
        };
        let session = &lease.session;
        let done = async {
            session.run(work.begin()).await?;
            let answer = work.attempt(session).await?;
            let number =
                session.query("SELECT pg_current_xact_id_if_assigned()::text", &[]).await?;
            Ok((answer, number.first().and_then(|row| row.get::<_, Option<String>>(0))))
        };
        let (answer, number) = match done.await {
            Ok(done) => done,
            Err(failure) => {
                if !session.client.is_closed() && session.run("ROLLBACK").await.is_ok() {
                    lease.give_back();
                }
                return Ended::Failed(failure);
            }
        };
        match (session.run("COMMIT").await, number) {
            (Ok(()), _) => {
                lease.give_back();
                Ended::Committed(answer)
            }
            (Err(failure), Some(number)) if failure.is_broken() => Ended::Unknown(answer, number),
            (Err(failure), _) => Ended::Failed(failure),
        }
    }

    /// Whether a transaction was committed, once the server knows.
    async fn settled(&self, transaction: &str) -> Attempt<bool> {
        let mut pause = PAUSE;
        for attempt in 1.. {
            let asked = async {
                let lease = self.lease().await?;
                let sql = "SELECT pg_xact_status($1::text::xid8)";
                let answer = lease.session.query(sql, &[&transaction]).await?;
                lease.give_back();
                Ok::<_, Failure>(answer.first().and_then(|row| row.get::<_, Option<String>>(0)))
            };
            match asked.await {
                Ok(Some(state)) if state == "committed" => return Ok(true),
                Ok(Some(state)) if state == "aborted" => return Ok(false),
                Ok(_) if attempt < 4 * ATTEMPTS => {}
                Err(failure) if failure.is_passing() && attempt < 4 * ATTEMPTS => {}
                Ok(_) => break,
                Err(failure) => return Err(failure),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
        let message = format!(
            "the index at {}: nobody can say whether the last change was stored: try again",
            self.shown()
        );
        Err(MetastoreError::new(MetastoreErrorKind::Unavailable, message).into())
    }

    /// Runs a statement that cannot stand in a transaction.
    pub(super) async fn run_alone(&self, sql: &str) -> Result<(), MetastoreError> {
        let alone = async {
            let lease = self.lease().await?;
            lease.session.run(sql).await?;
            lease.give_back();
            Ok::<_, Failure>(())
        };
        alone.await.map_err(|failure| failure.told(self.shown()))
    }
}
