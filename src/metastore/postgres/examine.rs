//! Whether a database can hold the index, and what this user may do with it. Reads only.

use async_trait::async_trait;

use super::failure::Attempt;
use super::pool::{Session, Work};
use super::schema::{self, Standing};
use super::{Postgres, Result};
use crate::domain::finding::{Check, Finding, told, untried};
use crate::metastore::MetastoreErrorKind;

/// The oldest version of PostgreSQL that will do, as it numbers them.
const OLDEST: i32 = 150_000;

/// What is asked once the server answers.
const OF_DATABASE: &[Check] =
    &[Check::Encryption, Check::Layout, Check::Privileges, Check::Writable];

impl Postgres {
    /// What the server says of itself, of the tables, and of this user.
    pub async fn examine(&self) -> Vec<Finding> {
        let server = match self.pool().transact(&AskServer).await {
            Ok(server) => server,
            Err(error) => {
                let found = Finding::problem(Check::Open, told(&error))
                    .fix("check `metastore.url`, the password and the server");
                let rest = untried(OF_DATABASE, "the server is not reached");
                return [vec![found], rest].concat();
            }
        };
        let mut findings = server.findings();
        let standing = self.pool().transact(&AskLayout).await;
        findings.push(layout(&standing));
        findings.push(match standing {
            Ok(Standing::Current | Standing::Behind) => privileges(
                self.pool().transact(&AskTables).await,
                "somebody who owns the tables grants them",
            ),
            Ok(Standing::Missing) => {
                privileges(self.pool().transact(&AskSchema).await, "the schema's owner grants it")
            }
            Err(_) => Finding::unknown(Check::Privileges, "not tried: the tables are not known"),
        });
        findings
    }
}

/// What a server says of itself.
struct Server {
    version: i32,
    shown_version: String,
    is_read_only: bool,
    is_encrypted: bool,
    is_near: bool,
}

impl Server {
    fn findings(&self) -> Vec<Finding> {
        let version = &self.shown_version;
        let open = match self.version >= OLDEST {
            true => Finding::ok(Check::Open, format!("PostgreSQL {version} answers")),
            false => {
                Finding::problem(Check::Open, format!("PostgreSQL {version} is older than 15"))
                    .fix("move the index to PostgreSQL 15 or newer")
            }
        };
        let writable = match self.is_read_only {
            false => Finding::ok(Check::Writable, "the database can be written to"),
            true => Finding::problem(
                Check::Writable,
                "the server is a replica or read-only: nothing can be indexed or erased",
            )
            .fix("name the primary server in `metastore.url`"),
        };
        let encryption = match (self.is_encrypted, self.is_near) {
            (true, _) => Finding::ok(Check::Encryption, "the connection is encrypted"),
            (false, true) => {
                Finding::ok(Check::Encryption, "the connection does not leave this machine")
            }
            (false, false) => Finding::warning(
                Check::Encryption,
                "the connection is not encrypted: others can read digests and keys of objects",
            )
            .fix("add sslmode=verify-full to `metastore.url`"),
        };
        vec![open, writable, encryption]
    }
}

fn layout(standing: &Result<Standing>) -> Finding {
    let check = Check::Layout;
    match standing {
        Ok(Standing::Current) => Finding::ok(check, "the tables have the layout of this program"),
        Ok(Standing::Behind) => Finding::warning(check, "the tables were made by an older Lacuna")
            .fix("run lacuna metastore migrate"),
        Ok(Standing::Missing) => {
            Finding::note(check, "there are no tables yet: `lacuna index` makes them")
        }
        Err(error) if error.kind() == MetastoreErrorKind::WrongVersion => {
            Finding::problem(check, told(error))
        }
        Err(error) => Finding::failed(check, error),
    }
}

fn privileges(lacking: Result<Vec<String>>, who: &str) -> Finding {
    let check = Check::Privileges;
    match lacking {
        Ok(lacking) if lacking.is_empty() => {
            Finding::ok(check, "this user may read and write the index")
        }
        Ok(lacking) => {
            let grants: Vec<String> = lacking
                .iter()
                .filter_map(|it| it.split_once(" on "))
                .map(|(right, what)| format!("GRANT {right} ON {what} TO CURRENT_USER"))
                .collect();
            Finding::problem(check, format!("this user lacks {}", lacking.join(", ")))
                .fix(format!("{who}: {}", grants.join("; ")))
        }
        Err(error) => Finding::failed(check, &error),
    }
}

struct AskServer;

#[async_trait]
impl Work for AskServer {
    type Answer = Server;

    async fn attempt(&self, session: &Session) -> Attempt<Server> {
        let sql = "SELECT current_setting('server_version_num')::int4,
                       current_setting('server_version'),
                       pg_is_in_recovery() OR current_setting('transaction_read_only')::bool,
                       coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
                       inet_server_addr() IS NULL OR inet_server_addr() <<= '127.0.0.0/8'
                           OR inet_server_addr() = '::1'";
        let rows = session.query(sql, &[]).await?;
        let Some(row) = rows.first() else { return Err(super::failure::damaged("nothing").into()) };
        Ok(Server {
            version: row.get(0),
            shown_version: row.get(1),
            is_read_only: row.get(2),
            is_encrypted: row.get(3),
            is_near: row.get(4),
        })
    }
}

struct AskLayout;

#[async_trait]
impl Work for AskLayout {
    type Answer = Standing;

    async fn attempt(&self, session: &Session) -> Attempt<Standing> {
        schema::standing(session).await
    }
}

/// What this user lacks on the tables and sequences.
struct AskTables;

#[async_trait]
impl Work for AskTables {
    type Answer = Vec<String>;

    async fn attempt(&self, session: &Session) -> Attempt<Vec<String>> {
        let sql = "SELECT right_name || ' on ' || relname FROM (
                       SELECT relname, right_name, CASE relkind
                           WHEN 'S' THEN has_sequence_privilege(pg_class.oid, right_name)
                           ELSE has_table_privilege(pg_class.oid, right_name) END AS has
                       FROM pg_class JOIN (VALUES ('r', 'SELECT'), ('r', 'INSERT'), ('r', 'UPDATE'),
                               ('r', 'DELETE'), ('S', 'USAGE')) rights (kind, right_name)
                           ON relkind = kind::\"char\"
                       WHERE relname LIKE 'lacuna\\_%'
                           AND relnamespace = current_schema()::regnamespace) asked
                   WHERE NOT has ORDER BY relname, right_name";
        let rows = session.query(sql, &[]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

/// Whether this user may make the tables.
struct AskSchema;

#[async_trait]
impl Work for AskSchema {
    type Answer = Vec<String>;

    async fn attempt(&self, session: &Session) -> Attempt<Vec<String>> {
        let sql = "SELECT 'CREATE on SCHEMA ' || coalesce(current_schema(), 'public')
                   WHERE current_schema() IS NULL
                       OR NOT has_schema_privilege(current_schema(), 'CREATE')";
        let rows = session.query(sql, &[]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}
