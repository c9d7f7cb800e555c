//! An S3 Inventory report in place of a listing: which versions a bucket kept at a moment of the past.
//! It knows the report's manifest and rows; what became of the bucket since, it does not know.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html>
//!
//! Rows come in no order that could be relied on, neither within a file nor from one to the next. So a
//! run does not walk through the index beside them, as it does beside a listing, but looks every
//! version up in it: one look for a thousand versions, in memory that does not grow with the report,
//! and without a copy of it on a disk to be sorted there. What the price is: nothing is forgotten on a
//! report's word. That would be wrong in any case for versions that were written after it.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::stream::{self, Stream, TryStreamExt as _};
use md5::{Digest as _, Md5};
use serde::Deserialize;
use tokio::sync::mpsc;

use self::bytes::SourceReader;
use self::row::{InventoryRow, Schema};
use super::run::{Origin, Plan, work_off};
use super::survey::{Drift, inspect};
use super::{IndexError, IndexReport, IndexTask, IndexTools};
use crate::domain::Timestamp;
use crate::domain::dataset::Location;
use crate::domain::object::{ListedVersion, ObjectKey, ObjectVersion};
use crate::domain::scope::TableRoot;
use crate::format::SharedSource;
use crate::lake::{Lake, LakeError, LakeErrorKind, Target, Versioning, tables};
use crate::scan::LakeSource;

mod bytes;
mod csv;
mod parquet;
mod row;

/// How long a manifest may be, in bytes; it names the files of a report, some 200 bytes each.
const MANIFEST_BYTES: u64 = 64 << 20;

/// How many rows are handed over at once, and how many such batches may wait.
const BATCH: usize = 1000;
const BATCHES: usize = 4;

/// A report whose files are there and whole.
#[derive(Debug)]
pub struct Inventory {
    lake: Arc<dyn Lake>,
    bucket: String,
    /// When it was begun: what was written later may be missing.
    made_at: Timestamp,
    schema: Schema,
    files: Vec<ObjectVersion>,
    tables: BTreeSet<TableRoot>,
}

/// A report cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InventoryError {
    /// The manifest or a file of the report cannot be read.
    #[error("the inventory cannot be read")]
    Lake(#[from] LakeError),
    /// The manifest is none, or not one that is understood.
    #[error("the inventory's manifest {key} {problem}")]
    Manifest {
        /// The manifest.
        key: ObjectKey,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of the report is missing, or not the one that the manifest means.
    #[error("the inventory's file {key} {problem}")]
    File {
        /// The file.
        key: ObjectKey,
        /// What is wrong with it.
        problem: String,
    },
    /// The report does not tell enough.
    #[error("the inventory {0}")]
    Unsuitable(String),
}

/// Where the files of a report lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In this bucket, under the keys that the manifest names.
    Bucket(String),
    /// In a copy of the report: beside the manifest, or in `data/` beside it or beside its folder.
    Copy,
}

/// `manifest.json`. Fields that AWS may add are passed over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    source_bucket: String,
    destination_bucket: String,
    creation_timestamp: String,
    file_format: String,
    file_schema: String,
    files: Vec<ManifestFile>,
}

#[derive(Debug, Deserialize)]
struct ManifestFile {
    key: String,
    size: u64,
    #[serde(rename = "MD5checksum")]
    md5: String,
}

impl Inventory {
    /// Opens the report of a manifest. Every file is read once, to see that it is as the manifest says,
    /// and for the tables that it tells of.
    ///
    /// # Errors
    ///
    /// [`InventoryError`]; nothing of the report is used then.
    pub async fn open(
        lake: Arc<dyn Lake>,
        manifest_key: &ObjectKey,
        placement: &Placement,
    ) -> Result<Self, InventoryError> {
        let (manifest, made_at) = read_manifest(&*lake, manifest_key).await?;
        let wrong =
            |problem: String| InventoryError::Manifest { key: manifest_key.clone(), problem };
        if let Placement::Bucket(bucket) = placement
            && bucket_of(&manifest.destination_bucket) != *bucket
        {
            let named = bucket_of(&manifest.destination_bucket).escape_debug();
            return Err(wrong(format!(
                "names files in the bucket `{named}`, but lies in another; give its place there"
            )));
        }
        let schema = Schema::new(&manifest.file_format, &manifest.file_schema).map_err(wrong)?;
        let mut files = Vec::with_capacity(manifest.files.len());
        for file in &manifest.files {
            files.push(find_file(&*lake, manifest_key, placement, file).await?);
        }
        let bucket = manifest.source_bucket;
        let mut inventory = Self { lake, bucket, made_at, schema, files, tables: BTreeSet::new() };
        inventory.check(manifest.files).await?;
        inventory.tables = inventory.find_tables().await?;
        Ok(inventory)
    }

    /// The bucket that it lists.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Whether it is of the bucket that a dataset lies in.
    pub fn lists(&self, location: &Location) -> bool {
        matches!(location, Location::S3 { bucket, .. } if *bucket == self.bucket)
    }

    /// Compares every file with its checksum.
    async fn check(&self, named: Vec<ManifestFile>) -> Result<(), InventoryError> {
        for (object, named) in self.files.iter().zip(named) {
            let source = LakeSource::open(Arc::clone(&self.lake), object.clone());
            let md5 = off_the_runtime(move || checksum(source)).await?;
            if !md5.eq_ignore_ascii_case(&named.md5) {
                let problem = "is not as the manifest says: its MD5 is another; fetch it again";
                return Err(InventoryError::File {
                    key: object.key.clone(),
                    problem: problem.to_owned(),
                });
            }
        }
        Ok(())
    }

    async fn find_tables(&self) -> Result<BTreeSet<TableRoot>, InventoryError> {
        let marks = |roots: BTreeSet<TableRoot>, rows: Vec<InventoryRow>| {
            let marks = rows.iter().filter_map(|row| TableRoot::marked_by(&row.listed.object.key));
            roots.into_iter().chain(marks).collect()
        };
        let rows = self.rows();
        rows.try_fold(BTreeSet::new(), |roots, rows| std::future::ready(Ok(marks(roots, rows))))
            .await
    }

    /// All rows that tell of a version, in no order.
    fn rows(&self) -> impl Stream<Item = Result<Vec<InventoryRow>, InventoryError>> + use<> {
        let open = |object: &ObjectVersion| {
            (object.key.clone(), LakeSource::open(Arc::clone(&self.lake), object.clone()))
        };
        let files: Vec<_> = self.files.iter().map(open).collect();
        let (schema, bucket) = (self.schema.clone(), self.bucket.clone());
        let (sender, receiver) = mpsc::channel(BATCHES);
        tokio::task::spawn_blocking(move || {
            let mut sink = Batches { bucket, batch: Vec::new(), sender };
            for (key, source) in files {
                if let Err(problem) = read_file(source, &schema, &mut sink) {
                    let _ = sink.sender.blocking_send(Err(problem.about(key)));
                    return;
                }
            }
            if sink.batch.is_empty() || sink.hand_over().is_ok() {
                // An empty batch says that this was all; silence would not be told from a panic.
                let _ = sink.hand_over();
            }
        });
        stream::unfold(Some(receiver), |receiver| async {
            let mut receiver = receiver?;
            match receiver.recv().await {
                Some(Ok(rows)) if rows.is_empty() => None,
                Some(Ok(rows)) => Some((Ok(rows), Some(receiver))),
                Some(Err(error)) => Some((Err(error), None)),
                None => Some((Err(broken_off()), None)),
            }
        })
    }
}

/// Rows on their way to whoever consumes them.
struct Batches {
    bucket: String,
    batch: Vec<InventoryRow>,
    sender: mpsc::Sender<Result<Vec<InventoryRow>, InventoryError>>,
}

impl Batches {
    fn take(&mut self, row: row::Fields<'_>) -> Result<(), Problem> {
        if let Some(row) = row.read(&self.bucket)? {
            self.batch.push(row);
        }
        if self.batch.len() < BATCH { Ok(()) } else { self.hand_over() }
    }

    fn hand_over(&mut self) -> Result<(), Problem> {
        let batch = std::mem::take(&mut self.batch);
        self.sender.blocking_send(Ok(batch)).map_err(|_| Problem::Stopped)
    }
}

/// Why reading a file ended early.
enum Problem {
    /// Nobody wants more.
    Stopped,
    /// The store failed.
    Lake(LakeError),
    /// The file is wrong.
    Content(String),
}

impl Problem {
    fn about(self, key: ObjectKey) -> InventoryError {
        match self {
            Self::Stopped => {
                InventoryError::File { key, problem: "was not read to its end".to_owned() }
            }
            Self::Lake(error) => InventoryError::Lake(error),
            Self::Content(problem) => InventoryError::File { key, problem },
        }
    }
}

fn read_file(source: SharedSource, schema: &Schema, sink: &mut Batches) -> Result<(), Problem> {
    match schema {
        Schema::Csv(columns) => csv::read(source, columns, |row| sink.take(row)),
        Schema::Parquet => parquet::read(source, |row| sink.take(row)),
    }
}

fn checksum(source: SharedSource) -> Result<String, InventoryError> {
    let mut reader = SourceReader::new(source);
    let mut md5 = Md5::new();
    loop {
        let piece = reader.piece().map_err(InventoryError::Lake)?;
        if piece.is_empty() {
            return Ok(md5.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        md5.update(&piece);
    }
}

async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, InventoryError> + Send + 'static,
) -> Result<T, InventoryError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(broken_off()),
    }
}

fn broken_off() -> InventoryError {
    InventoryError::Unsuitable("could not be read to its end; report it as a bug".to_owned())
}

/// The bucket of an ARN, or the name itself.
fn bucket_of(arn: &str) -> &str {
    arn.rsplit(':').next().unwrap_or(arn)
}

async fn read_manifest(
    lake: &dyn Lake,
    key: &ObjectKey,
) -> Result<(Manifest, Timestamp), InventoryError> {
    let wrong =
        |problem: &str| InventoryError::Manifest { key: key.clone(), problem: problem.to_owned() };
    let object = lake.attributes(Target::Current(key)).await?.object;
    if object.size_bytes > MANIFEST_BYTES {
        return Err(wrong("is too long to be one"));
    }
    let pieces: Vec<_> = lake.read(&object, 0..object.size_bytes).await?.try_collect().await?;
    let not_one = "is not a manifest.json of S3 Inventory";
    let manifest: Manifest =
        serde_json::from_slice(&pieces.concat()).map_err(|_| wrong(not_one))?;
    let made_at = manifest.creation_timestamp.parse().ok();
    let made_at = made_at.and_then(|moment| Timestamp::from_millisecond(moment).ok());
    let made_at = made_at.ok_or_else(|| wrong("does not say when the inventory was made"))?;
    Ok((manifest, made_at))
}

/// The file of the report that the manifest names.
async fn find_file(
    lake: &dyn Lake,
    manifest_key: &ObjectKey,
    placement: &Placement,
    file: &ManifestFile,
) -> Result<ObjectVersion, InventoryError> {
    for key in places(manifest_key, placement, &file.key) {
        let object = match lake.attributes(Target::Current(&key)).await {
            Ok(attributes) => attributes.object,
            Err(error) if error.kind() == LakeErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        if object.size_bytes != file.size {
            let problem = "is not as long as the manifest says; fetch it again".to_owned();
            return Err(InventoryError::File { key, problem });
        }
        return Ok(object);
    }
    let problem = match placement {
        Placement::Bucket(_) => "is missing",
        Placement::Copy => {
            "is missing; put it beside the manifest, or into data/ beside the manifest or its folder"
        }
    };
    let key = ObjectKey::from(file.key.as_str());
    Err(InventoryError::File { key, problem: problem.to_owned() })
}

/// The keys under which a file of the report may lie.
fn places(manifest_key: &ObjectKey, placement: &Placement, file: &str) -> Vec<ObjectKey> {
    if let Placement::Bucket(_) = placement {
        return vec![ObjectKey::from(file)];
    }
    let folder_of = |path: &[u8]| match memchr::memrchr(b'/', path) {
        Some(end) => path[..=end].to_vec(),
        None => Vec::new(),
    };
    let name = file.rsplit('/').next().unwrap_or(file).as_bytes();
    let folder = folder_of(manifest_key.as_bytes());
    let above = folder_of(folder.strip_suffix(b"/").unwrap_or(&folder));
    let data: &[u8] = b"data/";
    let paths = [[&above, data, name], [&folder, data, name], [&folder, b"", name]];
    paths.iter().map(|path| ObjectKey::new(path.concat())).collect()
}

/// Brings the index in step with what the report says of a dataset. Nothing is forgotten.
///
/// # Errors
///
/// [`IndexError::Inventory`] where the report is not of the dataset's bucket, lists current versions
/// only where older ones are kept, or cannot be read to its end; what was recorded stays. As
/// [`run`](super::run()) otherwise.
pub async fn run_inventory(
    tools: &IndexTools,
    task: &IndexTask,
    inventory: &Inventory,
) -> Result<IndexReport, IndexError> {
    tools.metastore.bind(&task.key.check_value()).await?;
    let location = &task.dataset.location;
    if !inventory.lists(location) {
        let (bucket, dataset) = (inventory.bucket.escape_debug(), &task.dataset.name);
        let text = format!("is of the bucket `{bucket}`, where `{dataset}` does not lie");
        return Err(InventoryError::Unsuitable(text).into());
    }
    let keeps_versions = tools.lake.capabilities().await?.versioning != Versioning::Never;
    let rule = task.rule(tables::outermost(inventory.tables.clone()))?;
    let prefix = location.prefix();
    let is_below = |row: &InventoryRow| row.listed.object.key.as_bytes().starts_with(prefix);
    let drifts = inventory.rows().map_err(IndexError::from).and_then(async |rows| {
        let mut listed: Vec<ListedVersion> = Vec::with_capacity(rows.len());
        for row in rows.into_iter().filter(is_below) {
            if keeps_versions && !row.has_version {
                let text = "lists current versions only, and the bucket keeps older ones: \
                            configure it to include all versions";
                return Err(InventoryError::Unsuitable(text.to_owned()).into());
            }
            listed.push(row.listed);
        }
        let drifts = inspect(listed, &*tools.metastore, &task.dataset.name, &rule).await?;
        Ok(stream::iter(drifts.into_iter().map(Ok::<Drift, IndexError>)))
    });
    let plan = Plan { origin: Origin::Report(inventory.made_at), entries: None };
    work_off(tools, task, plan, drifts.try_flatten()).await
}
