//! The index in DynamoDB, for many machines at once and without a server to run. It knows postings and
//! catalogue, and how to keep both whole through throttling and lost answers; it never knows an
//! identifier, only digests.
//!
//! # Layout
//!
//! What has to be cheap is writing: a kilobyte written costs as much as 20 KiB read, and a
//! write is billed by whole kilobytes. So postings are packed across subjects into segments of at most
//! 4 KiB, one an item, in partitions by the first bits of the digest, and in three tables: *top* is not
//! divided, *middle* into 256 partitions, *bottom* into 65,536. A batch goes into the deepest table in
//! which it fills at least a kilobyte of every partition: a thousand postings of one object cost some
//! ten units of writing at the top, two million of many objects as many a thousand in the middle.
//! Dividing every batch by as many bits as a large index wants would cost a unit for each posting;
//! runs over all subjects, as in PostgreSQL, would want a query for every run in every lookup.
//!
//! Recorded segments pile up, so a table that holds more than `PARTITION_KIB` a partition is relieved:
//! what a partition holds is merged and moved to the partitions below it (`moving`, `partition`). A
//! posting moves twice at most, each time for one unit a kilobyte to write and one to delete. A lookup
//! of a subject is a query a table in use: one up to some 80,000 postings, two up to some 20 million,
//! three beyond, of about a page each. An identifier that fills segments alone (`unknown`, in a million
//! rows) has a partition of its own, so that its neighbours do not pay for it. The price of packing
//! across objects is that forgetting an object means rewriting segments everywhere: dead postings
//! are out of sight at once, and removed in a pass over the index when they are worth it (`removal`).
//!
//! # Who sees what
//!
//! A recorded version is an item of the catalogue, its *slot*, which names the number that its postings
//! carry; numbers are never used again. Postings are stored first, under a number that is nobody's, and
//! then the slot is given the number in one conditional write: record and postings appear together, and
//! take the place of others together. A reader takes postings, and then asks whose numbers they are.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use self::catalogue::{Slot, entries};
use self::client::{Base, From};
use self::find::Sweep;
use self::item::{Table, bytes_of};
use self::listing::Listing;
use self::moving::Limits;
use self::publish::{put_always, vacate};
use self::recorder::DynamoRecorder;
use self::removal::dead_item;
use self::writer::Writer;
use super::{
    Metastore, MetastoreError, MetastoreErrorKind, MetastoreSize, MetastoreStream, ObjectPostings,
    Recorder, Succession,
};
use crate::aws::{self, Access};
use crate::clock::Clock;
use crate::domain::dataset::DatasetName;
use crate::domain::identifier::{IdentifierDigest, KeyCheck};
use crate::domain::object::{ObjectKey, ObjectVersion};
use crate::domain::posting::{Posting, RowPosting, ScannedObject};
use crate::domain::row::RowNumber;
use crate::metastore::packing::subject::digest_of;

mod about;
mod catalogue;
mod client;
mod examine;
mod failure;
mod find;
mod item;
mod listing;
mod lookup;
mod moving;
mod open;
mod partition;
mod publish;
mod recorder;
mod removal;
mod segments;
mod succession;
mod tables;
mod writer;

type Result<T> = std::result::Result<T, MetastoreError>;

/// How many KiB a partition has on average before its table is relieved: with what comes in meanwhile,
/// about what one page of a query holds.
const PARTITION_KIB: u64 = 768;

/// How many object versions are forgotten in one transaction, of two writes each.
const FORGET: usize = 50;

/// How long an answer may take to begin.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Where the tables are, and who calls. What is `None` is found as the AWS tools find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamoDbSettings {
    /// What the names of the tables begin with.
    pub prefix: String,
    /// The address of a server that is not AWS: `http://127.0.0.1:4566`.
    pub endpoint: Option<String>,
    /// Region, profile and role.
    pub access: Access,
    /// How many KiB of segments a partition has on average before they are moved on; 768, less in
    /// tests.
    pub partition_limit_kib: u64,
}

impl DynamoDbSettings {
    /// The settings of tables that are found as the AWS tools find them.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
            endpoint: None,
            access: Access::default(),
            partition_limit_kib: PARTITION_KIB,
        }
    }
}

/// The index in tables of DynamoDB.
pub struct DynamoDb {
    writer: Arc<Writer>,
    prefix: String,
}

impl DynamoDb {
    /// A handle on the index; nothing is asked of DynamoDB yet.
    pub async fn connect(settings: DynamoDbSettings, clock: Clock) -> Self {
        let configuration = aws::configuration(&settings.access, ANSWER_LIMIT).await;
        Self::with_configuration(&configuration, settings, clock)
    }

    /// The same over a configuration of the caller's.
    pub fn with_configuration(
        configuration: &SdkConfig,
        settings: DynamoDbSettings,
        clock: Clock,
    ) -> Self {
        let DynamoDbSettings { prefix, endpoint, partition_limit_kib, .. } = settings;
        let base = Base::new(configuration, (prefix.clone(), endpoint), clock);
        let limits = Limits { partition_kib: partition_limit_kib };
        Self { writer: Arc::new(Writer::new(base, limits)), prefix }
    }

    /// Makes the tables that are missing, billed on demand, and waits until they can be used. Answers
    /// whether any was missing.
    ///
    /// # Errors
    ///
    /// Where DynamoDB cannot be reached or a permission is missing.
    pub async fn create(&self) -> Result<bool> {
        tables::create(self.base(), &self.prefix).await
    }

    /// Deletes the tables, sound or damaged, and all that is in them.
    ///
    /// # Errors
    ///
    /// Where DynamoDB cannot be reached or a permission is missing.
    pub async fn delete(&self) -> Result<()> {
        tables::delete(self.base(), &self.prefix).await
    }

    fn base(&self) -> &Base {
        &self.writer.base
    }
}

impl fmt::Debug for DynamoDb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DynamoDb({})", self.prefix)
    }
}

#[async_trait]
impl Metastore for DynamoDb {
    async fn bind(&self, key: &KeyCheck) -> Result<()> {
        let key = key.to_string();
        if about::bind(self.base(), &key).await? == key {
            return Ok(());
        }
        Err(MetastoreError::new(
            MetastoreErrorKind::WrongKey,
            format!(
                "the index at {} was filled under another digest key: configure that key, or make the \
                 index anew with `lacuna index --rebuild`",
                self.base().shown()
            ),
        ))
    }

    async fn record(
        &self,
        dataset: &DatasetName,
        object: &ObjectVersion,
    ) -> Result<Box<dyn Recorder>> {
        let writer = self.writer.clone();
        Ok(Box::new(DynamoRecorder::new(writer, dataset.clone(), object.clone())))
    }

    async fn succeed(&self, succession: &Succession) -> Result<()> {
        succession::succeed(&self.writer, succession).await
    }

    async fn forget(&self, dataset: &DatasetName, objects: &[ObjectVersion]) -> Result<()> {
        open::collect_lost(self.base()).await?;
        for objects in objects.chunks(FORGET) {
            forget_some(self.base(), dataset, objects).await?;
        }
        removal::purge_if_due(self.base()).await
    }

    async fn scrub(&self) -> Result<()> {
        removal::scrub(self.base()).await
    }

    fn lookup(&self, digests: &[IdentifierDigest]) -> MetastoreStream<Posting> {
        let mut digests = digests.to_vec();
        digests.sort_unstable();
        digests.dedup();
        let (base, digests): (_, Arc<[_]>) = (self.writer.base.clone(), digests.into());
        let pages = stream::try_unfold(0, move |start| {
            let (base, digests) = (base.clone(), digests.clone());
            async move {
                let end = digests.len().min(start + lookup::PAGE);
                if start == end {
                    return Ok(None);
                }
                let found = lookup::look(base, &digests[start..end]).await?;
                Ok(Some((stream::iter(found.into_iter().map(Ok)), end)))
            }
        });
        pages.try_flatten().boxed()
    }

    fn indexed(
        &self,
        dataset: &DatasetName,
        after: Option<&ObjectKey>,
    ) -> MetastoreStream<ScannedObject> {
        let listing = Listing::new(self.writer.base.clone(), dataset, after.cloned());
        let pages = stream::try_unfold(listing, |mut listing| async move {
            let Some(page) = listing.page().await? else { return Ok::<_, MetastoreError>(None) };
            let page = page.into_iter().map(|entry| Ok(entry.scanned));
            Ok(Some((stream::iter(page), listing)))
        });
        pages.try_flatten().boxed()
    }

    async fn recorded(
        &self,
        dataset: &DatasetName,
        keys: &[ObjectKey],
    ) -> Result<Vec<ScannedObject>> {
        catalogue::of_keys(self.base(), dataset, keys).await
    }

    fn postings(
        &self,
        dataset: &DatasetName,
        objects: &[ObjectVersion],
    ) -> MetastoreStream<ObjectPostings> {
        let (base, dataset) = (self.writer.base.clone(), dataset.clone());
        let objects = objects.to_vec();
        let (send, receive) = tokio::sync::mpsc::channel(2);
        tokio::spawn(async move {
            if let Err(error) = tell_postings(&base, (&dataset, &objects), &send).await {
                // Whoever no longer listens does not want to know.
                drop(send.send(Err(error)).await);
            }
        });
        let received = |mut receive: tokio::sync::mpsc::Receiver<_>| async move {
            receive.recv().await.map(|told| (told, receive))
        };
        stream::unfold(receive, received).boxed()
    }

    async fn datasets(&self) -> Result<Vec<DatasetName>> {
        let mut names = Vec::new();
        for item in self.base().whole(Table::Catalogue, b"dataset").await? {
            let name = std::str::from_utf8(bytes_of(&item, "s")?)
                .map_err(|_| failure::damaged("a name"))?;
            let name = DatasetName::new(name);
            if has_record(self.base(), &name).await? {
                names.push(name);
            }
        }
        Ok(names)
    }

    async fn size(&self) -> Result<MetastoreSize> {
        let mut size = MetastoreSize::default();
        for name in self.base().whole(Table::Catalogue, b"dataset").await? {
            let name = std::str::from_utf8(bytes_of(&name, "s")?)
                .map_err(|_| failure::damaged("a name"))?;
            let name = DatasetName::new(name);
            let shards = (0..catalogue::SHARDS).map(|shard| count_shard(self.base(), &name, shard));
            for (objects, postings) in futures::future::try_join_all(shards).await? {
                size.objects += objects;
                size.postings += postings;
            }
        }
        size.size_bytes = tables::size_bytes(self.base()).await?;
        Ok(size)
    }
}

async fn count_shard(base: &Base, dataset: &DatasetName, shard: u8) -> Result<(u64, u64)> {
    let partition = catalogue::shard_partition(dataset, shard);
    let (mut objects, mut postings, mut from) = (0, 0, From::default());
    loop {
        let (items, last) = base.page(Table::Catalogue, &partition, from).await?;
        for item in &items {
            objects += 1;
            postings += item::number_of(item, "c")?;
        }
        let Some(after) = last else { return Ok((objects, postings)) };
        from = From { after: Some(after), ..From::default() };
    }
}

async fn has_record(base: &Base, dataset: &DatasetName) -> Result<bool> {
    for shard in 0..catalogue::SHARDS {
        let partition = catalogue::shard_partition(dataset, shard);
        let from = From { limit: Some(1), ..From::default() };
        if !base.page(Table::Catalogue, &partition, from).await?.0.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn forget_some(base: &Base, dataset: &DatasetName, objects: &[ObjectVersion]) -> Result<()> {
    for attempt in 0..8 {
        let slots: Vec<Slot> = objects.iter().map(|object| Slot::new(dataset, object)).collect();
        let known = entries(base, &slots).await?;
        let is_meant = |entry: &&catalogue::Entry| {
            objects.iter().any(|object| entry.scanned.object.is_same_version(object))
        };
        let mut writes = Vec::new();
        for entry in known.values().filter(is_meant) {
            writes.push(vacate(base, entry)?);
            writes.push(put_always(base, dead_item(entry.number, entry.postings))?);
        }
        // Where one was changed meanwhile, or a lost answer says so, they are looked at anew.
        if writes.is_empty() || base.transact(writes).await? {
            return Ok(());
        }
        client::pause(attempt).await;
    }
    Err(failure::contended())
}

type Told = tokio::sync::mpsc::Sender<Result<ObjectPostings>>;

/// Tells the postings of these versions, from the top of the index down.
async fn tell_postings(
    base: &Base,
    (dataset, objects): (&DatasetName, &[ObjectVersion]),
    told: &Told,
) -> Result<()> {
    let slots: Vec<Slot> = objects.iter().map(|object| Slot::new(dataset, object)).collect();
    let known = entries(base, &slots).await?;
    let mut places: HashMap<u64, Vec<usize>> = HashMap::new();
    for (place, (slot, object)) in slots.iter().zip(objects).enumerate() {
        let entry = known.get(slot).filter(|it| it.scanned.object.is_same_version(object));
        if let Some(entry) = entry {
            places.entry(entry.number).or_default().push(place);
        }
    }
    if places.is_empty() {
        return Ok(());
    }
    let mut sweep = Sweep::new(base);
    while let Some(page) = sweep.page().await? {
        let mut found: BTreeMap<usize, Vec<RowPosting>> = BTreeMap::new();
        for swept in page.iter().filter(|swept| swept.counts) {
            for posting in swept.segment.block()?.postings() {
                for place in places.get(&posting.object).into_iter().flatten() {
                    found.entry(*place).or_default().push(RowPosting {
                        digest: digest_of(posting.subject),
                        row: RowNumber(posting.row),
                    });
                }
            }
        }
        for (place, postings) in found {
            if told.send(Ok(ObjectPostings { place, postings })).await.is_err() {
                return Ok(());
            }
        }
    }
    let still = entries(base, &slots).await?;
    let is_same = |slot: &Slot| {
        still.get(slot).map(|entry| entry.number) == known.get(slot).map(|entry| entry.number)
    };
    if slots.iter().all(is_same) {
        return Ok(());
    }
    let message = "an object version was recorded anew while its postings were read: try again";
    Err(MetastoreError::new(MetastoreErrorKind::Unavailable, message))
}
