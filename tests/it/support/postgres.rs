//! A database of a test's own, on the server that `scripts/services` started.

use std::collections::BTreeSet;

use lacuna::metastore::postgres::{Postgres, PostgresSettings};
use tokio_postgres::{Client, NoTls};

use super::{apart, services};

/// A database with Lacuna's tables, which is gone with this.
pub(crate) struct Database {
    name: String,
    url: String,
}

impl Database {
    /// A database with the tables.
    pub(crate) fn new() -> Self {
        let database = Self::empty();
        let metastore = database.metastore();
        apart(async move {
            metastore.migrate().await.expect("migrated");
        });
        database
    }

    /// A database without any table.
    pub(crate) fn empty() -> Self {
        let server = services::postgres();
        let name = services::unique("lacuna").replace('-', "_");
        let (base, _) = server.rsplit_once('/').expect("a URL of a database");
        let url = format!("{base}/{name}");
        let create = format!("CREATE DATABASE {name}");
        apart(async move { administrate(&create).await });
        Self { name, url }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A new handle on it.
    pub(crate) fn metastore(&self) -> Postgres {
        Postgres::new(PostgresSettings::new(&self.url, None).expect("a URL"))
    }

    /// What `user_objects` answers, each record once.
    pub(crate) fn user_objects(&self, digest: &str) -> BTreeSet<(String, i64)> {
        let mut records = BTreeSet::new();
        apart(async {
            let client = self.client().await;
            let sql = "SELECT userid, s3path, recordline FROM user_objects($1)";
            for row in client.query(sql, &[&digest]).await.expect("an answer") {
                assert_eq!(row.get::<_, &str>(0), digest);
                assert!(records.insert((row.get(1), row.get(2))), "a record is told once");
            }
        });
        records
    }

    /// A client beside Lacuna's own.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.url).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        if !std::thread::panicking() {
            apart(async move { administrate(&drop).await });
        }
    }
}

async fn administrate(statement: &str) {
    connect(&services::postgres()).await.batch_execute(statement).await.expect("administrated");
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap_or_else(|error| {
        panic!("no PostgreSQL at {url}: run scripts/services start postgres ({error})")
    });
    tokio::spawn(connection);
    client
}
