//! PostgreSQL's errors as the metastore's, by what the caller can do about them.

use tokio_postgres::error::SqlState;

use crate::metastore::{MetastoreError, MetastoreErrorKind};

/// What can go wrong within a transaction.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server or the way to it.
    Database(tokio_postgres::Error),
    /// What stands in the index, or what was asked of it.
    Metastore(MetastoreError),
}

pub(super) type Attempt<T> = Result<T, Failure>;

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl From<MetastoreError> for Failure {
    fn from(error: MetastoreError) -> Self {
        Self::Metastore(error)
    }
}

impl Failure {
    /// Whether the connection broke, so that nobody said what became of the last statement.
    pub(super) fn is_broken(&self) -> bool {
        let Self::Database(error) = self else { return false };
        match error.code() {
            Some(code) => [
                SqlState::ADMIN_SHUTDOWN,
                SqlState::CRASH_SHUTDOWN,
                SqlState::CANNOT_CONNECT_NOW,
                SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            ]
            .contains(code),
            None => error.is_closed() || (has_io(error) && !has_tls(error)),
        }
    }

    /// Whether the same transaction, begun anew, may well succeed.
    pub(super) fn is_passing(&self) -> bool {
        let Self::Database(error) = self else { return false };
        let races = [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::UNIQUE_VIOLATION,
            SqlState::TOO_MANY_CONNECTIONS,
        ];
        self.is_broken() || error.code().is_some_and(|code| races.contains(code))
    }

    /// The metastore's error. `shown` names the database without its secrets.
    pub(super) fn told(self, shown: &str) -> MetastoreError {
        match self {
            Self::Metastore(error) => error,
            Self::Database(error) => told(error, shown),
        }
    }
}

fn has_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}

/// Whether the two could not agree on an encrypted connection: a certificate is not the right one.
fn has_tls(error: &tokio_postgres::Error) -> bool {
    let source = std::error::Error::source(error);
    let source = source.and_then(|source| source.downcast_ref::<std::io::Error>());
    source.and_then(std::io::Error::get_ref).is_some_and(|inner| inner.is::<rustls::Error>())
}

fn told(error: tokio_postgres::Error, shown: &str) -> MetastoreError {
    use MetastoreErrorKind::{Corrupt, Other, Unavailable, WrongVersion};
    if has_tls(&error) {
        let advice = "the server's certificate is refused: check its name against the URL, and the \
                      certificates that sslrootcert names";
        return MetastoreError::new(Other, format!("the index at {shown}: {advice}"))
            .caused_by(error);
    }
    let Some(database) = error.as_db_error() else {
        let message = format!(
            "the index at {shown} cannot be reached: start the server, or check `metastore.url`"
        );
        return MetastoreError::new(Unavailable, message).caused_by(error);
    };
    let code = database.code();
    let (kind, advice) = match code.code() {
        "28000" | "28P01" => (Other, "the login is refused: check the user, and PGPASSWORD"),
        "3D000" => (Other, "there is no such database: make it with `createdb`"),
        "42501" => (Other, "the user lacks a privilege there; see docs/postgres.md"),
        "42P01" | "42883" | "42703" => (
            WrongVersion,
            "its tables are missing: run `lacuna index` or `lacuna metastore create`",
        ),
        "53100" => (Unavailable, "the server's disk is full"),
        "55P03" | "57014" => (Unavailable, "another process holds it for too long: try again"),
        "XX001" | "XX002" => (Corrupt, DAMAGED),
        text if text.starts_with("08") || text.starts_with("57") || text.starts_with("53") => {
            (Unavailable, "the server is not there for us: try again")
        }
        _ => (Other, "the database failed"),
    };
    // The detail of an error may quote what a row holds; the message does not.
    let cause = format!("{} (SQLSTATE {})", database.message(), code.code());
    MetastoreError::new(kind, format!("the index at {shown}: {advice}")).caused_by(cause)
}

/// What stands in the database is not what was written.
pub(super) fn damaged(what: &str) -> MetastoreError {
    let message = format!("the index holds {what} that cannot be read: {DAMAGED}");
    MetastoreError::new(MetastoreErrorKind::Corrupt, message)
}

const DAMAGED: &str = "it is damaged; make it anew from the lake with `lacuna index --rebuild`";

/// An error to be told to several callers: kind and message, the cause as text.
pub(super) fn again(error: &MetastoreError) -> MetastoreError {
    let message = match std::error::Error::source(error) {
        Some(source) => format!("{error} ({source})"),
        None => error.to_string(),
    };
    MetastoreError::new(error.kind(), message)
}
