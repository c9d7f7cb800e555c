//! Items and their keys: what stands where in the tables, in bytes and numbers.
//!
//! | table | `p` | `s` | holds |
//! | --- | --- | --- | --- |
//! | catalogue | `about` | `about` | counters, the check of the digest key, the levels in use |
//! | | `dataset` | name | a dataset that was ever recorded |
//! | | `open` | first number | numbers that somebody records under, and when he was last seen |
//! | | `dead` | number | a version that is no longer recorded, its postings to be purged |
//! | | `n` number | `n` | whose number this is: dataset, key, version id |
//! | | `o` shard dataset | key, version id | a recorded version; see `catalogue` |
//! | top, middle, bottom | level, digest's first bits | a number and a part | a segment of postings |
//! | | the same | zero | the head of the partition; see `partition` |

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use super::failure::damaged;
use crate::metastore::MetastoreError;

/// An item, or the key of one.
pub(super) type Item = HashMap<String, AttributeValue>;

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Table {
    Catalogue,
    /// Postings that are not divided, and those of very heavy subjects.
    Top,
    /// Postings divided by the first 8 bits of the digest.
    Middle,
    /// Postings divided by the first 16 bits.
    Bottom,
}

impl Table {
    /// The tables of postings, from the top down.
    pub(super) const LEVELS: [Self; 3] = [Self::Top, Self::Middle, Self::Bottom];

    /// What follows the prefix in its name.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Catalogue => "catalogue",
            Self::Top => "top",
            Self::Middle => "middle",
            Self::Bottom => "bottom",
        }
    }

    /// The table that postings of this one move down to.
    pub(super) fn below(self) -> Option<Self> {
        match self {
            Self::Top => Some(Self::Middle),
            Self::Middle => Some(Self::Bottom),
            Self::Bottom | Self::Catalogue => None,
        }
    }

    /// The table that postings of this one came from, where they moved.
    pub(super) fn above(self) -> Option<Self> {
        match self {
            Self::Bottom => Some(Self::Middle),
            Self::Middle => Some(Self::Top),
            Self::Top | Self::Catalogue => None,
        }
    }

    /// By how many bytes of the digest it is divided.
    pub(super) fn prefix_bytes(self) -> usize {
        match self {
            Self::Catalogue | Self::Top => 0,
            Self::Middle => 1,
            Self::Bottom => 2,
        }
    }

    /// Into how many partitions it is divided.
    pub(super) fn partitions(self) -> u64 {
        1 << (8 * self.prefix_bytes())
    }

    /// The partition of a subject.
    pub(super) fn partition(self, subject: u64) -> Vec<u8> {
        let bytes = subject.to_be_bytes();
        let prefix = &bytes[..self.prefix_bytes()];
        [&[u8::try_from(8 * prefix.len()).unwrap_or(0)], prefix].concat()
    }

    /// The partition above one of this table, from which postings may have moved into it.
    pub(super) fn partition_above(self, partition: &[u8]) -> Vec<u8> {
        let subject = partition.get(1..).unwrap_or_default();
        let mut bytes = [0; 8];
        bytes[..subject.len().min(8)].copy_from_slice(&subject[..subject.len().min(8)]);
        self.above().unwrap_or(self).partition(u64::from_be_bytes(bytes))
    }
}

/// The partition of a subject that fills whole segments, in the top table.
pub(super) fn heavy_partition(subject: u64) -> Vec<u8> {
    [&[64], subject.to_be_bytes().as_slice()].concat()
}

/// A value of bytes.
pub(super) fn bytes(value: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

/// A value of a number.
pub(super) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// A value of text.
pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A key.
pub(super) fn key(partition: impl Into<Vec<u8>>, sort: impl Into<Vec<u8>>) -> Item {
    HashMap::from([("p".to_owned(), bytes(partition)), ("s".to_owned(), bytes(sort))])
}

/// An item of a key and attributes.
pub(super) fn item<const N: usize>(key: Item, rest: [(&str, AttributeValue); N]) -> Item {
    let mut item = key;
    item.extend(rest.map(|(name, value)| (name.to_owned(), value)));
    item
}

/// The key of an item.
pub(super) fn key_of(item: &Item) -> Item {
    let part = |name: &str| item.get(name).map(|value| (name.to_owned(), value.clone()));
    ["p", "s"].into_iter().filter_map(part).collect()
}

/// The bytes of an attribute.
pub(super) fn bytes_of<'i>(item: &'i Item, name: &str) -> Result<&'i [u8], MetastoreError> {
    match item.get(name) {
        Some(AttributeValue::B(blob)) => Ok(blob.as_ref()),
        _ => Err(damaged("an item without bytes")),
    }
}

/// The number of an attribute; zero where there is none.
pub(super) fn number_of(item: &Item, name: &str) -> Result<u64, MetastoreError> {
    match item.get(name) {
        None => Ok(0),
        Some(AttributeValue::N(text)) => text.parse().map_err(|_| damaged("a number")),
        _ => Err(damaged("an item without a number")),
    }
}

/// The text of an attribute.
pub(super) fn text_of<'i>(item: &'i Item, name: &str) -> Result<&'i str, MetastoreError> {
    match item.get(name) {
        Some(AttributeValue::S(text)) => Ok(text),
        _ => Err(damaged("an item without text")),
    }
}

/// Whether an attribute is set and true.
pub(super) fn is_set(item: &Item, name: &str) -> bool {
    matches!(item.get(name), Some(AttributeValue::Bool(true)))
}

/// A number of eight bytes that sorts as it counts.
pub(super) fn eight(bytes: &[u8]) -> Result<u64, MetastoreError> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| damaged("a number"))
}
