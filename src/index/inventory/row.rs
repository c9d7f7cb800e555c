//! What a row of a report says, whatever format it is written in.

use super::Problem;
use crate::domain::Timestamp;
use crate::domain::object::{ETag, ListedVersion, ObjectKey, ObjectVersion, Standing, VersionId};

/// How the files of a report are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Schema {
    /// As CSV, without a header: which field each column is.
    Csv(Vec<Option<Field>>),
    /// As Parquet; the files name their columns.
    Parquet,
}

/// A field of a row that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Bucket,
    Key,
    VersionId,
    IsLatest,
    IsDeleteMarker,
    Size,
    LastModified,
    ETag,
    StorageClass,
}

/// Each field as a manifest spells it in a schema of CSV, and as Parquet names its column.
const NAMES: [(Field, &str, &str); 9] = [
    (Field::Bucket, "Bucket", "bucket"),
    (Field::Key, "Key", "key"),
    (Field::VersionId, "VersionId", "version_id"),
    (Field::IsLatest, "IsLatest", "is_latest"),
    (Field::IsDeleteMarker, "IsDeleteMarker", "is_delete_marker"),
    (Field::Size, "Size", "size"),
    (Field::LastModified, "LastModifiedDate", "last_modified_date"),
    (Field::ETag, "ETag", "e_tag"),
    (Field::StorageClass, "StorageClass", "storage_class"),
];

/// What a report has to tell of a version, so that it can be recognised in the index.
const NEEDED: [Field; 5] =
    [Field::Bucket, Field::Key, Field::Size, Field::LastModified, Field::ETag];

impl Field {
    /// The field that a column of Parquet is.
    pub(super) fn of_column(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, _, column)| *column == name).map(|(field, ..)| *field)
    }

    fn name(self) -> &'static str {
        NAMES.iter().find(|(field, ..)| *field == self).map_or("", |(_, name, _)| name)
    }
}

impl Schema {
    /// The schema of a manifest, or what is wrong with it.
    pub(super) fn new(format: &str, schema: &str) -> Result<Self, String> {
        match format {
            "CSV" => {
                let field = |name: &str| NAMES.iter().find(|(_, spelt, _)| *spelt == name.trim());
                let columns: Vec<Option<Field>> =
                    schema.split(',').map(|name| field(name).map(|(field, ..)| *field)).collect();
                needed(|field| columns.contains(&Some(field)))?;
                Ok(Self::Csv(columns))
            }
            "Parquet" => Ok(Self::Parquet),
            "ORC" => {
                Err("is of files in ORC, which is not supported: choose CSV or Parquet".to_owned())
            }
            _ => Err("is of files in an unknown format: choose CSV or Parquet".to_owned()),
        }
    }
}

/// Whether all that is needed is there.
pub(super) fn needed(is_there: impl Fn(Field) -> bool) -> Result<(), String> {
    match NEEDED.into_iter().find(|field| !is_there(*field)) {
        Some(field) => Err(format!(
            "has no field {}: add it to the configuration of the inventory",
            field.name()
        )),
        None => Ok(()),
    }
}

/// A version that a report lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InventoryRow {
    pub(super) listed: ListedVersion,
    /// Whether the report tells version ids.
    pub(super) has_version: bool,
}

/// The fields of a row; `None` where a column is missing or empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) bucket: Option<&'a [u8]>,
    pub(super) key: Option<&'a [u8]>,
    /// The outer `None`: the report has no such column.
    pub(super) version: Option<Option<&'a str>>,
    pub(super) is_latest: Option<bool>,
    pub(super) is_delete_marker: bool,
    pub(super) size_bytes: Option<u64>,
    pub(super) modified_at: Option<Timestamp>,
    pub(super) etag: Option<&'a str>,
    pub(super) storage_class: Option<&'a str>,
}

impl Fields<'_> {
    /// The version that the row tells of; `None` where it tells of a delete marker, which holds no data.
    pub(super) fn read(self, bucket: &str) -> Result<Option<InventoryRow>, Problem> {
        let wrong = |what: &str| Problem::Content(format!("holds a row {what}"));
        if self.bucket != Some(bucket.as_bytes()) {
            return Err(wrong("of another bucket than the manifest names"));
        }
        let key = self.key.filter(|key| !key.is_empty()).ok_or_else(|| wrong("without a key"))?;
        if self.is_delete_marker {
            return Ok(None);
        }
        let version = self.version.flatten().filter(|version| !version.is_empty());
        let etag = self.etag.filter(|etag| !etag.is_empty());
        let etag = etag.ok_or_else(|| wrong("without an ETag"))?;
        let modified_at = self.modified_at.ok_or_else(|| wrong("without a time"))?;
        let object = ObjectVersion {
            key: ObjectKey::new(key),
            version: version.map_or_else(VersionId::null, VersionId::new),
            // A listing quotes it, a report does not.
            etag: ETag::new(format!("\"{}\"", etag.trim_matches('"'))),
            size_bytes: self.size_bytes.ok_or_else(|| wrong("without a size"))?,
            // To the second, as listings tell it.
            modified_at: Timestamp::from_second(modified_at.as_second()).unwrap_or(modified_at),
        };
        let standing = match self.is_latest {
            Some(false) => Standing::Superseded,
            _ => Standing::Current,
        };
        let storage_class = self.storage_class.filter(|class| !class.is_empty());
        let storage_class = storage_class.map(str::to_owned);
        let listed = ListedVersion { object, standing, storage_class };
        Ok(Some(InventoryRow { listed, has_version: self.version.is_some() }))
    }
}
