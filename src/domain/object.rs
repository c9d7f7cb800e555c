//! Objects and their versions: which bytes are meant.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// The key of an object, byte for byte: nothing in it is normalised, and it need not be UTF-8.
///
/// On S3 it is the whole key within the bucket, in a directory the path below the dataset's folder
/// with `/` between names. It prints with control, bidirectional and invalid characters escaped, so
/// that a key can neither move the cursor of a terminal nor forge a line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Arc<[u8]>);

impl ObjectKey {
    /// A key of these bytes.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its text, where it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl From<&str> for ObjectKey {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes())
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character == '\\' || is_unprintable(character) {
                    write!(formatter, "{}", character.escape_default())?;
                } else {
                    fmt::Write::write_char(formatter, character)?;
                }
            }
            for byte in chunk.invalid() {
                write!(formatter, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Control characters, line separators, and what changes the direction of text or cannot be seen.
pub fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ObjectKey({self})")
    }
}

/// In documents a key is its text, or `{"bytes": "<hexadecimal>"}` where it is not UTF-8.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum KeyDocument<'a> {
    Text(std::borrow::Cow<'a, str>),
    Bytes { bytes: String },
}

impl Serialize for ObjectKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_str() {
            Some(text) => KeyDocument::Text(text.into()),
            None => KeyDocument::Bytes { bytes: super::identifier::hex(&self.0) },
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ObjectKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match KeyDocument::deserialize(deserializer)? {
            KeyDocument::Text(text) => Ok(Self::from(text.as_ref())),
            KeyDocument::Bytes { bytes } => super::identifier::unhex(&bytes)
                .map(Self::new)
                .ok_or_else(|| serde::de::Error::custom("a key's bytes are hexadecimal")),
        }
    }
}

/// What a store calls the content of an object, opaque and compared byte for byte (quotes included).
///
/// A directory makes it of inode, size, modification and change time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ETag(Arc<str>);

impl ETag {
    /// An ETag as the store wrote it.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// As the store wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of one kept version of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VersionId(Arc<str>);

impl VersionId {
    /// A version id as the store wrote it.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The one version of an object in a store that keeps none: S3 calls it `null`, and so does a
    /// directory. Overwriting replaces its bytes, so it means something only beside an [`ETag`].
    pub fn null() -> Self {
        Self::new("null")
    }

    /// Whether this is the `null` version.
    pub fn is_null(&self) -> bool {
        &*self.0 == "null"
    }

    /// As the store wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Which bytes are meant: one version of one object, pinned by its ETag.
///
/// It travels unchanged from the listing to the index and into the plan. Two are the same version
/// when key, version id and ETag agree ([`ObjectVersion::is_same_version`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectVersion {
    /// The key.
    pub key: ObjectKey,
    /// The version.
    pub version: VersionId,
    /// The ETag of its content.
    pub etag: ETag,
    /// Its length in bytes, as stored.
    pub size_bytes: u64,
    /// When it was written, by the store's clock.
    pub modified_at: Timestamp,
}

impl ObjectVersion {
    /// Whether both name the same bytes of the same object.
    pub fn is_same_version(&self, other: &Self) -> bool {
        self.key == other.key && self.version == other.version && self.etag == other.etag
    }
}

/// One kept version as a listing tells of it. Delete markers hold no data and are not listed: under
/// one, every version of the key is [`Standing::Superseded`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedVersion {
    /// The version.
    pub object: ObjectVersion,
    /// Whether readers of the key get it.
    pub standing: Standing,
    /// The storage class, where the store has any (`STANDARD`, `GLACIER`, …).
    pub storage_class: Option<String>,
}

/// Whether a version is what a reader of its key gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// A reader of the key gets these bytes.
    Current,
    /// A newer version or a delete marker lies above it.
    Superseded,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cannot_reach_the_terminal() {
        let key = ObjectKey::new(*b"a b+%2F//\x1b[2J\n\xff\xe2\x80\xaex\\");
        assert_eq!(key.to_string(), "a b+%2F//\\u{1b}[2J\\n\\xff\\u{202e}x\\\\");
    }

    #[test]
    fn every_key_survives_a_document() {
        for bytes in [&b"plain/key.json"[..], b"\xff\x00/x", "grün 🎈".as_bytes(), b""] {
            let key = ObjectKey::new(bytes);
            let document = serde_json::to_string(&key).expect("a key is serialised");
            assert_eq!(serde_json::from_str::<ObjectKey>(&document).expect("and read"), key);
        }
    }
}
