//! Tables of a test's own, on the server that `scripts/services` started, and a proxy before it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use lacuna::clock::Clock;
use lacuna::metastore::dynamodb::{DynamoDb, DynamoDbSettings};
use lacuna::metastore::packing::block::{BLOCK_BYTES, Block};

use super::{apart, services};

/// Lacuna's tables under a prefix of their own, which are gone with this.
pub(crate) struct Tables {
    pub prefix: String,
    limit_kib: Option<u64>,
}

/// An item.
pub(crate) type Item = HashMap<String, AttributeValue>;

const POSTINGS: [&str; 3] = ["top", "middle", "bottom"];

impl Tables {
    /// The tables, made.
    pub(crate) fn new() -> Self {
        let tables = Self::missing();
        apart(async { assert!(tables.metastore().await.create().await.expect("tables")) });
        tables
    }

    /// The same, whose postings move on when there are so many KiB of them in a partition.
    pub(crate) fn moving(limit_kib: u64) -> Self {
        let mut tables = Self::new();
        tables.limit_kib = Some(limit_kib);
        tables
    }

    /// Tables that are not made.
    pub(crate) fn missing() -> Self {
        Self { prefix: services::unique("lacuna"), limit_kib: None }
    }

    /// What the configuration calls them.
    pub(crate) fn url(&self) -> String {
        format!("dynamodb://{}?region=us-east-1&endpoint={}", self.prefix, services::dynamodb())
    }

    /// What the program needs in its environment to reach them, and nothing of this machine's own.
    pub(crate) fn environment() -> Vec<(String, String)> {
        [
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// A new handle on them.
    pub(crate) async fn metastore(&self) -> DynamoDb {
        self.metastore_at(&services::dynamodb(), Clock::system()).await
    }

    /// The same at another address, that of a proxy, by another clock.
    pub(crate) async fn metastore_at(&self, endpoint: &str, clock: Clock) -> DynamoDb {
        let configuration = services::configuration(endpoint, "test", "test").await;
        let mut settings = DynamoDbSettings::new(&self.prefix);
        settings.partition_limit_kib = self.limit_kib.unwrap_or(settings.partition_limit_kib);
        DynamoDb::with_configuration(&configuration, settings, clock)
    }

    /// A client beside Lacuna's own.
    pub(crate) async fn client(&self) -> Client {
        Client::new(&services::configuration(&services::dynamodb(), "test", "test").await)
    }

    /// The name of a table.
    pub(crate) fn name(&self, table: &str) -> String {
        format!("{}-{table}", self.prefix)
    }

    /// Every item of a table.
    pub(crate) async fn items(&self, table: &str) -> Vec<Item> {
        let pages = self.client().await.scan().table_name(self.name(table)).into_paginator();
        pages.items().send().collect::<Result<_, _>>().await.expect("items")
    }

    /// How many postings lie in the segments of a table, whoever sees them.
    pub(crate) async fn stored_in(&self, table: &str) -> usize {
        let segments = self.items(table).await.into_iter();
        let count = |item: Item| {
            let Some(AttributeValue::B(blob)) = item.get("b") else { return 0 };
            let mut block = vec![0; BLOCK_BYTES];
            block[..blob.as_ref().len()].copy_from_slice(blob.as_ref());
            Block::read(&block).expect("a block").postings().count()
        };
        segments.map(count).sum()
    }

    /// How many postings lie in all segments.
    pub(crate) async fn stored(&self) -> usize {
        let mut stored = 0;
        for table in POSTINGS {
            stored += self.stored_in(table).await;
        }
        stored
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        apart(async {
            let client = self.client().await;
            for table in POSTINGS.into_iter().chain(["catalogue"]) {
                drop(client.delete_table().table_name(self.name(table)).send().await);
            }
        });
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It passes, and so does its answer.
    Pass,
    /// It passes, and its answer is lost.
    LoseAnswer,
    /// It is answered that this is too much.
    Throttle,
    /// A batch is answered that none of it was done.
    LeaveUndone,
    /// It is refused for good.
    Refuse,
}

/// A proxy before the server that decides what becomes of each request, by its operation.
pub(crate) struct Proxy {
    /// Its address.
    pub endpoint: String,
}

impl Proxy {
    pub(crate) fn start(decide: impl Fn(&str) -> Fate + Send + Sync + 'static) -> Self {
        let server = services::dynamodb().trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let decide = Arc::new(decide);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (server, decide) = (server.clone(), decide.clone());
                // Where either side breaks off, so does the connection.
                thread::spawn(move || drop(relay(client, &server, &*decide)));
            }
        });
        Self { endpoint }
    }
}

fn relay(
    mut client: TcpStream,
    server: &str,
    decide: &dyn Fn(&str) -> Fate,
) -> std::io::Result<()> {
    let Some((head, body)) = receive(&mut client)? else { return Ok(()) };
    let target = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("x-amz-target").then(|| value.trim().to_owned())
    });
    let target = target.unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default();
    let fate = decide(operation);
    if fate == Fate::Throttle {
        let code = "ProvisionedThroughputExceededException";
        let body = format!("{{\"__type\":\"{code}\",\"message\":\"too much\"}}");
        return answer(&mut client, "400 Bad Request", body.as_bytes());
    }
    if fate == Fate::Refuse {
        let body = "{\"__type\":\"ValidationException\",\"message\":\"no\"}";
        return answer(&mut client, "400 Bad Request", body.as_bytes());
    }
    if fate == Fate::LeaveUndone && operation == "BatchWriteItem" {
        let asked: serde_json::Value = serde_json::from_slice(&body)?;
        let left = serde_json::json!({"UnprocessedItems": asked["RequestItems"]});
        return answer(&mut client, "200 OK", left.to_string().as_bytes());
    }
    let mut to_server = TcpStream::connect(server)?;
    let lines = head
        .split("\r\n")
        .filter(|line| !line.is_empty() && !line.to_ascii_lowercase().starts_with("connection:"));
    let head: String = lines.map(|line| format!("{line}\r\n")).collect();
    to_server.write_all(format!("{head}connection: close\r\n\r\n").as_bytes())?;
    to_server.write_all(&body)?;
    let mut answered = Vec::new();
    to_server.read_to_end(&mut answered)?;
    if fate == Fate::LoseAnswer {
        return Ok(());
    }
    client.write_all(&answered)
}

fn answer(client: &mut TcpStream, status: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.0\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n"
    );
    client.write_all(head.as_bytes())?;
    client.write_all(body)
}

/// The head of a request and its body.
fn receive(client: &mut TcpStream) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut received = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let end = received.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&received[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            });
            let length: usize = length.unwrap_or(0);
            if received.len() >= end + 4 + length {
                return Ok(Some((head, received.split_off(end + 4))));
            }
        }
        match client.read(&mut buffer)? {
            0 => return Ok(None),
            length => received.extend_from_slice(&buffer[..length]),
        }
    }
}
