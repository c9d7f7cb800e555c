//! The database: how it is opened, what tables it has, and which versions of it are understood.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::failure::failure;
use crate::metastore::{MetastoreError, MetastoreErrorKind};

/// Marks a database as Lacuna's index: `LACU` (SQLite's `application_id`).
const APPLICATION: i32 = 0x4c41_4355;

/// The version of the tables below (SQLite's `user_version`).
const VERSION: i32 = 2;

/// How long a writer waits for another process's, and a purge for readers of the old bytes.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two tries to switch a new index to the write-ahead log.
const PAUSE: Duration = Duration::from_millis(10);

/// The state of an object's row: being recorded, by the writer it names.
pub(super) const PENDING: i64 = 0;
/// The state of an object's row: what readers see.
pub(super) const LIVE: i64 = 1;
/// The state of an object's row: to be removed with its postings.
pub(super) const DEAD: i64 = 2;

/// Objects are numbered from a counter and no number is used twice, so that a posting can never come to
/// belong to another object. `died` and `cleaned` are readings of the counter `deaths`: a run holds no
/// posting of an object that died no later than the run was cleaned. A run is claimed by who merges it.
const TABLES: &str = "
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE datasets (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE objects (
    id INTEGER PRIMARY KEY,
    dataset INTEGER NOT NULL REFERENCES datasets (id),
    key BLOB NOT NULL,
    version TEXT NOT NULL,
    etag TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    modified_at TEXT NOT NULL,
    state INTEGER NOT NULL,
    writer TEXT,
    died INTEGER,
    postings INTEGER NOT NULL,
    scan TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX live ON objects (dataset, key, version) WHERE state = 1;
CREATE INDEX unsettled ON objects (state, writer) WHERE state <> 1;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    file TEXT NOT NULL UNIQUE,
    blocks INTEGER NOT NULL,
    postings INTEGER NOT NULL,
    lowest INTEGER NOT NULL,
    highest INTEGER NOT NULL,
    cleaned INTEGER NOT NULL,
    claim TEXT
) STRICT;
CREATE TABLE redo (file TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
";

/// The file of the catalogue within the metastore's folder.
pub(super) fn catalogue_path(folder: &Path) -> PathBuf {
    folder.join("catalogue.sqlite")
}

/// Makes the folder and the database where they are missing, and checks their version.
pub(super) fn prepare(folder: &Path) -> Result<(), MetastoreError> {
    make_folder(folder)?;
    let path = catalogue_path(folder);
    if make_private_file(&path)? {
        sync_folders(folder);
    }
    let mut connection = open(&path)?;
    if marks(&connection)? == (0, 0) {
        create(&mut connection, folder)?;
    }
    check_version(&connection, folder)
}

fn make_folder(folder: &Path) -> Result<(), MetastoreError> {
    let problem = |text: String| MetastoreError::new(MetastoreErrorKind::Other, text);
    match DirBuilder::new().recursive(true).mode(0o700).create(folder) {
        Ok(()) => Ok(()),
        Err(_) if folder.exists() && !folder.is_dir() => Err(problem(format!(
            "the metastore {} is not a folder; name another in the configuration",
            folder.display()
        ))),
        Err(error) => {
            Err(problem(format!("the metastore folder {} could not be made", folder.display()))
                .caused_by(error))
        }
    }
}

/// The database is made before SQLite opens it, so that it is readable by its owner only; SQLite gives
/// its log the same mode. Answers whether it was made.
fn make_private_file(path: &Path) -> Result<bool, MetastoreError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(MetastoreError::new(
            MetastoreErrorKind::Other,
            format!("the index {} could not be made", path.display()),
        )
        .caused_by(error)),
    }
}

/// Puts the names of a new index on the disk, up to the root. Folders that may not be opened were not made
/// just now.
fn sync_folders(folder: &Path) {
    for folder in folder.ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
}

fn open(path: &Path) -> Result<Connection, MetastoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(PATIENCE)?;
        Ok(connection)
    };
    open().map_err(|error| failure("be opened", error))
}

/// `application_id` and `user_version`.
fn marks(connection: &Connection) -> Result<(i32, i32), MetastoreError> {
    let read = |name| connection.pragma_query_value(None, name, |row| row.get(0));
    let both = || Ok((read("application_id")?, read("user_version")?));
    both().map_err(|error| failure("be opened", error))
}

fn create(connection: &mut Connection, folder: &Path) -> Result<(), MetastoreError> {
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| failure("be opened", error))?;
    if tables > 0 && marks(connection)? == (0, 0) {
        return Err(foreign(folder));
    }
    let make = |connection: &mut Connection| -> rusqlite::Result<()> {
        switch_to_log(connection)?;
        connection.pragma_update(None, "secure_delete", true)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version: i32 =
            transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version == 0 {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        transaction.commit()
    };
    make(connection).map_err(|error| failure("be made", error))
}

/// Switches to the write-ahead log. Where several do at once SQLite lets some fail at once, whatever its
/// timeout, since each may hold what another waits for: so the waiting is done here, and no longer than
/// [`PATIENCE`].
fn switch_to_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::ZERO)?;
    let mut waited = Duration::ZERO;
    let switched = loop {
        match connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && waited < PATIENCE =>
            {
                std::thread::sleep(PAUSE);
                waited += PAUSE;
            }
            answer => break answer,
        }
    };
    connection.busy_timeout(PATIENCE)?;
    switched
}

fn check_version(connection: &Connection, folder: &Path) -> Result<(), MetastoreError> {
    match marks(connection)? {
        (APPLICATION, VERSION) => Ok(()),
        (APPLICATION, version) if version > VERSION => Err(MetastoreError::new(
            MetastoreErrorKind::WrongVersion,
            format!(
                "the index in {} was written by a newer lacuna (layout {version}, this one knows \
                 {VERSION}): use that lacuna, or name a new metastore and index again",
                folder.display()
            ),
        )),
        (APPLICATION, version) => Err(MetastoreError::new(
            MetastoreErrorKind::WrongVersion,
            format!(
                "the index in {} was written by an older lacuna (layout {version}, this one reads \
                 {VERSION}): make it anew from the lake with `lacuna index --rebuild`",
                folder.display()
            ),
        )),
        _ => Err(foreign(folder)),
    }
}

fn foreign(folder: &Path) -> MetastoreError {
    MetastoreError::new(
        MetastoreErrorKind::WrongVersion,
        format!(
            "{} is a database of another program: name another metastore in the configuration",
            catalogue_path(folder).display()
        ),
    )
}

/// A connection that may write. Every commit is on the disk when it returns, and what is deleted is
/// overwritten.
pub(super) fn open_writer(folder: &Path) -> Result<Connection, MetastoreError> {
    let connection = open(&catalogue_path(folder))?;
    let settle = || -> rusqlite::Result<()> {
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "secure_delete", true)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "cache_size", -8 * 1024)
    };
    settle().map_err(|error| failure("be opened", error))?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn open_reader(folder: &Path) -> Result<Connection, MetastoreError> {
    let connection = open(&catalogue_path(folder))?;
    connection
        .pragma_update(None, "query_only", true)
        .map_err(|error| failure("be opened", error))?;
    Ok(connection)
}
