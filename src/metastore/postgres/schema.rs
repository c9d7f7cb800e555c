//! The tables: which versions of them are understood, and how they are brought up.

use async_trait::async_trait;

use super::failure::Attempt;
use super::lock;
use super::pool::{Session, Work};
use crate::metastore::{MetastoreError, MetastoreErrorKind};

/// What makes each version of the tables out of the one before, from nothing on.
const MIGRATIONS: &[&str] = &[include_str!("../../../schema/postgres/0001_index.sql")];

const VERSION: &str = "schema version";

/// Brings the tables up to the version of this program.
pub(super) struct Migrate;

#[async_trait]
impl Work for Migrate {
    /// Whether there was anything to do.
    type Answer = bool;

    async fn attempt(&self, session: &Session) -> Attempt<bool> {
        if version(session).await? == MIGRATIONS.len() {
            return Ok(false);
        }
        lock::take(session, lock::TABLES).await?;
        let version = version(session).await?;
        if version == MIGRATIONS.len() {
            return Ok(false);
        }
        for migration in &MIGRATIONS[version..] {
            session.run(migration).await?;
        }
        let now = MIGRATIONS.len().to_string();
        let sql = "INSERT INTO lacuna_about (name, value) VALUES ($1, $2)
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        session.execute(sql, &[&VERSION, &now]).await?;
        Ok(true)
    }
}

/// How the tables stand to this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// There are none.
    Missing,
    /// They were made by an older one.
    Behind,
    /// They are as it makes them.
    Current,
}

/// How the tables stand to this program; an error where a newer one made them.
pub(super) async fn standing(session: &Session) -> Attempt<Standing> {
    Ok(match version(session).await? {
        0 => Standing::Missing,
        version if version < MIGRATIONS.len() => Standing::Behind,
        _ => Standing::Current,
    })
}

/// How many migrations the tables have seen; at most as many as there are.
async fn version(session: &Session) -> Attempt<usize> {
    // Not `to_regclass`, which may remember from before that there was no such table.
    let exists = "SELECT EXISTS (SELECT FROM pg_tables WHERE tablename = 'lacuna_about'
                                 AND schemaname = ANY (current_schemas(false)))";
    let exists = session.query(exists, &[]).await?;
    if !exists.first().is_some_and(|row| row.get(0)) {
        return Ok(0);
    }
    let sql = "SELECT value FROM lacuna_about WHERE name = $1";
    let rows = session.query(sql, &[&VERSION]).await?;
    let version = rows.first().and_then(|row| row.get::<_, &str>(0).parse().ok());
    match version {
        Some(version) if version <= MIGRATIONS.len() => Ok(version),
        _ => {
            let message = "the index in PostgreSQL was made by a newer Lacuna: use that version, or \
                           name another database";
            Err(MetastoreError::new(MetastoreErrorKind::WrongVersion, message).into())
        }
    }
}
