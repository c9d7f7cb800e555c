//! Advisory locks: one namespace a schema, a number for each purpose.

use super::failure::Attempt;
use super::pool::Session;

/// Held while tables are made or changed.
pub(super) const TABLES: i32 = 1;

/// Held while segments that others can see are changed or replaced.
pub(super) const SEGMENTS: i32 = 2;

/// Writers hold a lock of their own, from this number on.
const WRITERS: i32 = 16;

/// Takes a lock until the transaction ends; waits for whoever holds it.
pub(super) async fn take(session: &Session, lock: i32) -> Attempt<()> {
    session.run("SET LOCAL lock_timeout = '15min'").await?;
    let sql = "SELECT pg_advisory_xact_lock(hashtext('lacuna ' || current_schema()), $1)";
    session.query(sql, &[&lock]).await?;
    session.run("SET LOCAL lock_timeout = DEFAULT").await
}

/// Takes a lock until the transaction ends, unless somebody holds it.
pub(super) async fn try_take(session: &Session, lock: i32) -> Attempt<bool> {
    let sql = "SELECT pg_try_advisory_xact_lock(hashtext('lacuna ' || current_schema()), $1)";
    let rows = session.query(sql, &[&lock]).await?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

/// Takes a writer's lock for as long as the connection lives.
pub(super) async fn begin_writer(session: &Session, writer: i64) -> Attempt<()> {
    let sql = "SELECT pg_advisory_lock(hashtext('lacuna ' || current_schema()), $1)";
    session.query(sql, &[&writer_lock(writer)]).await.map(drop)
}

/// Whether a writer is gone.
pub(super) async fn is_writer_gone(session: &Session, writer: i64) -> Attempt<bool> {
    try_take(session, writer_lock(writer)).await
}

fn writer_lock(writer: i64) -> i32 {
    let span = i64::from(i32::MAX - WRITERS);
    i32::try_from(writer.rem_euclid(span)).unwrap_or(0) + WRITERS
}
