//! Datasets: objects of one meaning, where their identifiers stand, and how they are erased.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::field::{FieldPath, IdentifierField};
use super::identifier::hex;

/// The name of a dataset, as the configuration spells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DatasetName(Arc<str>);

impl DatasetName {
    /// A dataset of this name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Objects of one meaning: where they are, where identifiers stand in them, how they are erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Its name, unique in the configuration.
    pub name: DatasetName,
    /// Where its objects are.
    pub location: Location,
    /// Globs below the location, one of which a key has to match; empty: every key.
    pub include: Vec<String>,
    /// Globs below the location, none of which a key may match.
    pub exclude: Vec<String>,
    /// How its bytes are read.
    pub reading: Reading,
    /// The fields that hold identifiers; at least one.
    pub identifiers: Vec<IdentifierField>,
    /// What an erasure does to its rows.
    pub erase: ErasePolicy,
}

impl Dataset {
    /// A digest of everything that decides what a scan of an object yields. An object scanned under
    /// another value is scanned again.
    pub fn scan_settings(&self) -> ScanSettings {
        let document = serde_json::json!([&self.reading, &self.identifiers]);
        ScanSettings(hex(&Sha256::digest(document.to_string())[..8]))
    }
}

/// Which settings an object was scanned under: 16 hexadecimal characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScanSettings(String);

impl ScanSettings {
    /// Settings read back from storage.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// As storage keeps them.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where the objects of a dataset are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// A folder of a file system, as an absolute path. Keys are relative to it.
    Directory(PathBuf),
    /// A bucket and a prefix of keys, which is empty or ends in `/`. Keys are whole keys of the bucket.
    S3 {
        /// The bucket.
        bucket: String,
        /// What its keys begin with.
        prefix: String,
    },
}

impl Location {
    /// What every key of the location begins with, within the lake that holds it.
    pub fn prefix(&self) -> &[u8] {
        match self {
            Self::Directory(_) => b"",
            Self::S3 { prefix, .. } => prefix.as_bytes(),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(formatter),
            Self::S3 { bucket, prefix } => write!(formatter, "s3://{bucket}/{prefix}"),
        }
    }
}

/// How the bytes of a dataset's objects are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The format of every object; `None`: detected object by object.
    pub format: Option<FormatName>,
    /// How its CSV is written.
    pub csv: CsvDialect,
}

/// A format that Lacuna reads and rewrites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FormatName {
    /// A JSON document a line.
    Jsonl,
    /// Delimited text: CSV, TSV and their kin.
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl FormatName {
    /// As configuration and documents spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }
}

impl fmt::Display for FormatName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How an object as a whole is compressed; Parquet compresses its own pages and counts as `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952), one member or several.
    Gzip,
    /// zstd (RFC 8878), one frame or several.
    Zstd,
    /// bzip2, one stream or several.
    Bzip2,
    /// lz4 in frames, one or several; not its older format.
    Lz4,
    /// snappy in frames; neither its raw format nor Hadoop's.
    Snappy,
}

impl Compression {
    /// As documents spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Lz4 => "lz4",
            Self::Snappy => "snappy",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How delimited text is written. Each is one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsvDialect {
    /// Between fields; `None`: found in the header, by the identifier columns' names.
    pub delimiter: Option<u8>,
    /// Around a field that holds a delimiter or a line ending.
    pub quote: u8,
    /// Before a quote within quotes, where quotes are not doubled.
    pub escape: Option<u8>,
    /// Whether the first record names the columns. Without, they are named `1`, `2`, ….
    pub header: bool,
}

impl Default for CsvDialect {
    fn default() -> Self {
        Self { delimiter: None, quote: b'"', escape: None, header: true }
    }
}

/// What an erasure does to a dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasePolicy {
    /// What becomes of a row.
    pub action: EraseAction,
    /// Which superseded versions are deleted for good.
    pub superseded: SupersededPolicy,
}

/// What becomes of a row of a data subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub enum EraseAction {
    /// The row becomes a blank, except for the fields that may stay. None of them holds an identifier.
    Blank {
        /// Fields that a blank row keeps.
        keep: Vec<FieldPath>,
    },
    /// Just these fields of the row become null. All identifier fields are among them.
    Redact {
        /// Fields that are taken out.
        fields: Vec<FieldPath>,
    },
}

impl Default for EraseAction {
    fn default() -> Self {
        Self::Blank { keep: Vec::new() }
    }
}

/// Which superseded versions of an object an erasure deletes for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SupersededPolicy {
    /// Those that hold a row of the subject.
    #[default]
    Matching,
    /// Every one of an object that is rewritten.
    All,
    /// None; report and certificate name them.
    Keep,
}
