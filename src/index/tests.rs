use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::TryStreamExt as _;
use futures::stream::{self, StreamExt as _};

use super::*;
use crate::domain::dataset::{DatasetName, ErasePolicy, Location, Reading};
use crate::domain::field::IdentifierField;
use crate::domain::identifier::{
    Identifier, IdentifierDigest, IdentifierType, Namespace, RawValue,
};
use crate::domain::object::{ListedVersion, ObjectVersion};
use crate::domain::observe::Silent;
use crate::lake::directory::DirectoryLake;
use crate::lake::memory::MemoryLake;
use crate::lake::{
    Attributes, ByteStream, Capabilities, LakeErrorKind, Staging, Target, VersionStream, Write,
    WriteError,
};
use crate::metastore::embedded::Embedded;
use crate::metastore::memory::MemoryMetastore;

mod copying;
mod drift;
mod failures;
mod lists;
mod many;

/// A lake that counts reads, and does before a read what a test asks for.
#[derive(Debug)]
struct Watched {
    lake: MemoryLake,
    reads: AtomicU64,
    listings: AtomicU64,
    faults: Mutex<BTreeMap<ObjectKey, LakeErrorKind>>,
    /// Put in place of the key's object when it is read next.
    overwrite: Mutex<Vec<(ObjectKey, String)>>,
    hidden: Mutex<BTreeSet<ObjectKey>>,
}

impl Watched {
    fn new(lake: MemoryLake) -> Arc<Self> {
        Arc::new(Self {
            lake,
            reads: AtomicU64::new(0),
            listings: AtomicU64::new(0),
            faults: Mutex::default(),
            overwrite: Mutex::default(),
            hidden: Mutex::default(),
        })
    }

    fn put(&self, key: &str, text: &str) -> ObjectVersion {
        self.lake.put(&ObjectKey::from(key), text.to_owned())
    }

    fn fail(&self, key: &str, kind: LakeErrorKind) {
        self.faults.lock().unwrap().insert(ObjectKey::from(key), kind);
    }

    /// How many reads there were since this was asked last.
    fn reads(&self) -> u64 {
        self.reads.swap(0, Ordering::Relaxed)
    }
}

#[async_trait]
impl Lake for Watched {
    fn location(&self) -> &str {
        self.lake.location()
    }

    async fn capabilities(&self) -> Result<Capabilities, LakeError> {
        self.lake.capabilities().await
    }

    fn list(&self, prefix: &[u8]) -> VersionStream {
        self.listings.fetch_add(1, Ordering::Relaxed);
        let hidden = self.hidden.lock().unwrap().clone();
        let keep = move |listed: &ListedVersion| !hidden.contains(&listed.object.key);
        self.lake.list(prefix).try_filter(move |listed| std::future::ready(keep(listed))).boxed()
    }

    async fn versions(&self, key: &ObjectKey) -> Result<Vec<ListedVersion>, LakeError> {
        self.lake.versions(key).await
    }

    async fn attributes(&self, target: Target<'_>) -> Result<Attributes, LakeError> {
        self.lake.attributes(target).await
    }

    async fn read(
        &self,
        object: &ObjectVersion,
        range: Range<u64>,
    ) -> Result<ByteStream, LakeError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if let Some(kind) = self.faults.lock().unwrap().get(&object.key) {
            return Err(LakeError::about(*kind, &object.key, "as the test wants it"));
        }
        let due = {
            let mut overwrite = self.overwrite.lock().unwrap();
            let at = overwrite.iter().position(|(key, _)| *key == object.key);
            at.map(|at| overwrite.remove(at))
        };
        if let Some((key, text)) = due {
            self.lake.put(&key, text);
        }
        self.lake.read(object, range).await
    }

    async fn write(&self, write: Write) -> Result<ObjectVersion, WriteError> {
        self.lake.write(write).await
    }

    async fn abandon(&self, key: &ObjectKey, staging: &Staging) -> Result<(), LakeError> {
        self.lake.abandon(key, staging).await
    }

    async fn delete_version(&self, object: &ObjectVersion) -> Result<(), LakeError> {
        self.lake.delete_version(object).await
    }
}

fn key() -> DigestKey {
    DigestKey::new([9; 32])
}

fn subject(value: &str) -> IdentifierDigest {
    let raw = RawValue::Text(value.as_bytes());
    let identifier = Identifier::new(Namespace::new("user"), IdentifierType::String, raw);
    identifier.expect("an identifier").digest(&key())
}

fn field(path: &str) -> IdentifierField {
    IdentifierField {
        namespace: Namespace::new("user"),
        path: path.parse().expect("a path"),
        kind: IdentifierType::String,
    }
}

fn task(name: &str, prefix: &str) -> IndexTask {
    let dataset = Dataset {
        name: DatasetName::new(name),
        location: Location::S3 { bucket: "b".to_owned(), prefix: prefix.to_owned() },
        include: Vec::new(),
        exclude: Vec::new(),
        reading: Reading::default(),
        identifiers: vec![field("id")],
        erase: ErasePolicy::default(),
    };
    IndexTask { dataset, earlier: Vec::new(), key: key(), is_full: false, concurrency: Some(3) }
}

fn tools(lake: Arc<dyn Lake>, metastore: Arc<dyn Metastore>) -> IndexTools {
    IndexTools {
        lake,
        metastore,
        clock: Clock::manual("2026-05-01T00:00:00Z".parse().expect("a moment")),
        observer: Arc::new(Silent),
        stop: Stop::default(),
        memory: Memory::default(),
    }
}

/// A lake that keeps versions, an index, and the tools for both.
fn ground() -> (Arc<Watched>, IndexTools) {
    let lake = Watched::new(MemoryLake::versioned());
    let tools = tools(lake.clone(), Arc::new(MemoryMetastore::default()));
    (lake, tools)
}

async fn indexed(tools: &IndexTools, task: &IndexTask) -> IndexReport {
    let report = run(tools, task).await.expect("indexed");
    assert!(report.coverage.is_balanced(), "{report:?}");
    report
}

/// Where a subject is: `key@version: rows`, in order.
async fn find(tools: &IndexTools, value: &str) -> Vec<String> {
    let found: Vec<_> =
        tools.metastore.lookup(&[subject(value)]).try_collect().await.expect("a lookup");
    let mut found: Vec<_> = found
        .into_iter()
        .map(|posting| {
            let rows: Vec<_> = posting.rows.iter().map(|row| row.0).collect();
            format!("{}: {rows:?}", posting.object.key)
        })
        .collect();
    found.sort();
    found
}

fn gaps(report: &IndexReport) -> Vec<(String, u64)> {
    report.coverage.gaps.iter().map(|gap| (gap.key.to_string(), gap.versions)).collect()
}
