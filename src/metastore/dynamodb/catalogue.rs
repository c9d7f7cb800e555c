//! The catalogue: which object versions are recorded, under which numbers, and what their scans said.
//!
//! What two recorded versions never share is a *slot*: dataset, key and version id. A slot is one
//! item, and it alone says which number's postings are seen: replacing it replaces record and postings
//! at once. Slots of a dataset lie in shards, by the key, so that no partition takes all writes; in a
//! shard they lie in the order of keys, and a listing merges the shards.
//!
//! A sort key has at most 1,024 bytes, and so has a key on S3, alone. So a sort key is the key with
//! its zeros escaped, a terminator and a digest of the version id; where that is too long, it is cut,
//! and a digest of the whole key follows. Keys that agree in their first [`CUT`] bytes are then put in
//! order by whoever lists them.

use std::collections::{BTreeMap, HashMap, HashSet};

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::client::Base;
use super::failure::damaged;
use super::item::{self, Item, Table, bytes_of, is_set, number_of, text_of};
use crate::domain::Timestamp;
use crate::domain::dataset::{DatasetName, ScanSettings};
use crate::domain::landmark::Landmarks;
use crate::domain::object::{ETag, ObjectKey, ObjectVersion, VersionId};
use crate::domain::posting::{ScanOutcome, ScannedObject};
use crate::metastore::MetastoreError;

type Result<T> = std::result::Result<T, MetastoreError>;

/// How many shards a dataset has.
pub(super) const SHARDS: u8 = 8;

/// How many bytes of a key that is too long stand in its sort key.
pub(super) const CUT: usize = 1024 - 2 * DIGEST;

/// How many bytes of a digest stand in a sort key.
pub(super) const DIGEST: usize = 16;

/// Where a recorded version stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) dataset: DatasetName,
    pub(super) key: ObjectKey,
    pub(super) version: VersionId,
}

/// A recorded version.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) slot: Slot,
    pub(super) number: u64,
    /// The count of publications when it was published.
    pub(super) published: u64,
    /// Rows that its postings name.
    pub(super) postings: u64,
    /// Whether postings are being removed from it, or were when somebody died, so that the count may
    /// be too high.
    pub(super) is_miscounted: bool,
    pub(super) scanned: ScannedObject,
}

/// What an entry keeps as a document.
#[derive(Serialize, Deserialize)]
struct ScanDocument {
    size_bytes: u64,
    modified_at: Timestamp,
    settings: ScanSettings,
    scanned_at: Timestamp,
    outcome: ScanOutcome,
}

/// Documents from this length on are compressed.
const LONG: usize = 1024;

/// The longest document of an item, which may have 400 KB in all.
const LONGEST: usize = 300_000;

/// The first bytes of a zstd frame; no JSON begins so.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The document of a scan. Landmarks, which are hints, are left out where it would be too long.
fn document(scanned: &ScannedObject) -> Result<Vec<u8>> {
    let mut scan = ScanDocument {
        size_bytes: scanned.object.size_bytes,
        modified_at: scanned.object.modified_at,
        settings: scanned.settings.clone(),
        scanned_at: scanned.scanned_at,
        outcome: scanned.outcome.clone(),
    };
    let written = written(&scan)?;
    if written.len() <= LONGEST {
        return Ok(written);
    }
    if let ScanOutcome::Indexed(summary) = &mut scan.outcome {
        summary.landmarks = Landmarks::default();
    }
    self::written(&scan)
}

fn written(scan: &ScanDocument) -> Result<Vec<u8>> {
    let document = serde_json::to_vec(scan).map_err(|_| damaged("a scan"))?;
    match document.len() < LONG {
        true => Ok(document),
        false => zstd::encode_all(&*document, 3).map_err(|_| damaged("a scan")),
    }
}

fn scan_of(document: &[u8]) -> Result<ScanDocument> {
    let unpacked = match document.starts_with(&ZSTD) {
        true => zstd::decode_all(document).map_err(|_| damaged("a scan"))?,
        false => document.to_vec(),
    };
    serde_json::from_slice(&unpacked).map_err(|_| damaged("a scan"))
}

fn digest(bytes: &[u8]) -> [u8; DIGEST] {
    let mut short = [0; DIGEST];
    short.copy_from_slice(&Sha256::digest(bytes)[..DIGEST]);
    short
}

/// A key such that the order of bytes stays, and none is the beginning of another.
fn escaped(key: &ObjectKey) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(key.as_bytes().len() + 2);
    for byte in key.as_bytes() {
        escaped.push(*byte);
        if *byte == 0 {
            escaped.push(0xff);
        }
    }
    escaped.extend([0, 0]);
    escaped
}

/// What the sort keys of all versions of a key begin with.
fn sort_prefix(key: &ObjectKey) -> Vec<u8> {
    let mut escaped = escaped(key);
    if escaped.len() > CUT + DIGEST {
        escaped.truncate(CUT);
        escaped.extend(digest(key.as_bytes()));
    }
    escaped
}

/// The lowest sort key that a key from this one on can have.
pub(super) fn sort_floor(key: &ObjectKey) -> Vec<u8> {
    let mut floor = escaped(key);
    floor.truncate(CUT);
    floor
}

fn shard(key: &ObjectKey) -> u8 {
    digest(key.as_bytes())[0] % SHARDS
}

/// The partition of a shard of a dataset.
pub(super) fn shard_partition(dataset: &DatasetName, shard: u8) -> Vec<u8> {
    [b"o", [shard].as_slice(), dataset.as_str().as_bytes()].concat()
}

impl Slot {
    pub(super) fn new(dataset: &DatasetName, object: &ObjectVersion) -> Self {
        let (key, version) = (object.key.clone(), object.version.clone());
        Self { dataset: dataset.clone(), key, version }
    }

    /// The key of its item.
    pub(super) fn item_key(&self) -> Item {
        let sort = [sort_prefix(&self.key), digest(self.version.as_str().as_bytes()).to_vec()];
        item::key(shard_partition(&self.dataset, shard(&self.key)), sort.concat())
    }
}

impl Entry {
    pub(super) fn item(&self) -> Result<Item> {
        let scanned = &self.scanned;
        let rest = [
            ("n", item::number(self.number)),
            ("u", item::number(self.published)),
            ("c", item::number(self.postings)),
            ("k", item::bytes(self.slot.key.as_bytes())),
            ("v", item::text(self.slot.version.as_str())),
            ("e", item::text(scanned.object.etag.as_str())),
            ("d", item::bytes(document(scanned)?)),
        ];
        let mut item = item::item(self.slot.item_key(), rest);
        if self.is_miscounted {
            item.insert("x".to_owned(), AttributeValue::Bool(true));
        }
        Ok(item)
    }

    pub(super) fn of(item: &Item) -> Result<Self> {
        let dataset = match bytes_of(item, "p")? {
            [b'o', _, name @ ..] => std::str::from_utf8(name).map_err(|_| damaged("a name"))?,
            _ => return Err(damaged("a record")),
        };
        let scan = scan_of(bytes_of(item, "d")?)?;
        let object = ObjectVersion {
            key: ObjectKey::new(bytes_of(item, "k")?),
            version: VersionId::new(text_of(item, "v")?),
            etag: ETag::new(text_of(item, "e")?),
            size_bytes: scan.size_bytes,
            modified_at: scan.modified_at,
        };
        let slot = Slot::new(&DatasetName::new(dataset), &object);
        let ScanDocument { settings, scanned_at, outcome, .. } = scan;
        Ok(Self {
            slot,
            number: number_of(item, "n")?,
            published: number_of(item, "u")?,
            postings: number_of(item, "c")?,
            is_miscounted: is_set(item, "x"),
            scanned: ScannedObject { object, settings, scanned_at, outcome },
        })
    }
}

/// The key of the item that says whose a number is.
pub(super) fn number_key(number: u64) -> Item {
    item::key([b"n", number.to_be_bytes().as_slice()].concat(), *b"n")
}

/// The item that says that a number is this slot's.
pub(super) fn number_item(number: u64, slot: &Slot) -> Item {
    let rest = [
        ("d", item::text(slot.dataset.as_str())),
        ("k", item::bytes(slot.key.as_bytes())),
        ("v", item::text(slot.version.as_str())),
    ];
    item::item(number_key(number), rest)
}

fn slot_of_number(item: &Item) -> Result<(u64, Slot)> {
    let number = super::item::eight(bytes_of(item, "p")?.get(1..).unwrap_or_default())?;
    let slot = Slot {
        dataset: DatasetName::new(text_of(item, "d")?),
        key: ObjectKey::new(bytes_of(item, "k")?),
        version: VersionId::new(text_of(item, "v")?),
    };
    Ok((number, slot))
}

/// The entries of these slots.
pub(super) async fn entries(
    base: &Base,
    slots: impl IntoIterator<Item = &Slot>,
) -> Result<HashMap<Slot, Entry>> {
    let slots: HashSet<&Slot> = slots.into_iter().collect();
    let keys = slots.iter().map(|slot| slot.item_key()).collect();
    let items = base.get_all(Table::Catalogue, keys).await?;
    let entry = |item: &Item| {
        let entry = Entry::of(item)?;
        Ok((entry.slot.clone(), entry))
    };
    items.iter().map(entry).collect()
}

/// The entry of a slot.
pub(super) async fn entry(base: &Base, slot: &Slot) -> Result<Option<Entry>> {
    let item = base.get(Table::Catalogue, slot.item_key()).await?;
    item.as_ref().map(Entry::of).transpose()
}

/// What became of a number.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// It is a recorded version's.
    Recorded(Box<Entry>),
    /// It is nobody's; its slot's present entry was published then.
    Nobodys(Option<u64>),
}

/// What became of these numbers.
pub(super) async fn standings(
    base: &Base,
    numbers: impl IntoIterator<Item = u64>,
) -> Result<BTreeMap<u64, Standing>> {
    let mut standings: BTreeMap<u64, Standing> =
        numbers.into_iter().map(|number| (number, Standing::Nobodys(None))).collect();
    let keys = standings.keys().map(|number| number_key(*number)).collect();
    let items = base.get_all(Table::Catalogue, keys).await?;
    let known: Vec<(u64, Slot)> = items.iter().map(slot_of_number).collect::<Result<_>>()?;
    let entries = entries(base, known.iter().map(|(_, slot)| slot)).await?;
    let mut doubtful = Vec::new();
    for (number, slot) in known {
        match entries.get(&slot) {
            Some(entry) if entry.number == number => {
                standings.insert(number, Standing::Recorded(Box::new(entry.clone())));
            }
            _ => doubtful.push((number, slot)),
        }
    }
    for some in doubtful.chunks(50) {
        standings.extend(settled(base, some).await?);
    }
    Ok(one_a_slot(standings))
}

/// The same, where two numbers were found in one slot, one after the other: the later one has it.
fn one_a_slot(mut standings: BTreeMap<u64, Standing>) -> BTreeMap<u64, Standing> {
    let mut latest: HashMap<Slot, (u64, u64)> = HashMap::new();
    for standing in standings.values() {
        if let Standing::Recorded(entry) = standing {
            let at = (entry.published, entry.number);
            let known = latest.entry(entry.slot.clone()).or_insert(at);
            *known = at.max(*known);
        }
    }
    for (number, standing) in &mut standings {
        let Standing::Recorded(entry) = standing else { continue };
        if let Some((published, holder)) = latest.get(&entry.slot)
            && holder != number
        {
            *standing = Standing::Nobodys(Some(*published));
        }
    }
    standings
}

/// The standings of numbers whose slots seem to be another's: they may have been given a new slot, or
/// may have come to be recorded, just when they were looked at. Both are transactions, so they are
/// looked at in one.
async fn settled(base: &Base, doubtful: &[(u64, Slot)]) -> Result<Vec<(u64, Standing)>> {
    let mut left: Vec<(u64, Slot)> = doubtful.to_vec();
    let mut settled = Vec::new();
    while !left.is_empty() {
        let mut keys: Vec<Item> = left.iter().map(|(number, _)| number_key(*number)).collect();
        let mut slots: Vec<&Slot> = left.iter().map(|(_, slot)| slot).collect();
        slots.sort_unstable();
        slots.dedup();
        keys.extend(slots.iter().map(|slot| slot.item_key()));
        let found = base.at_once(&keys).await?;
        let mut now: HashMap<u64, Slot> = HashMap::new();
        let mut entries: HashMap<Slot, Entry> = HashMap::new();
        for item in found.iter().flatten() {
            if item.contains_key("n") {
                let entry = Entry::of(item)?;
                entries.insert(entry.slot.clone(), entry);
            } else {
                now.extend([slot_of_number(item)?]);
            }
        }
        let mut again = Vec::new();
        for (number, slot) in left {
            let entry = entries.get(&slot);
            let standing = match (now.remove(&number), entry) {
                (Some(moved), _) if moved != slot => {
                    again.push((number, moved));
                    continue;
                }
                (Some(_), Some(entry)) if entry.number == number => {
                    Standing::Recorded(Box::new(entry.clone()))
                }
                (_, entry) => Standing::Nobodys(entry.map(|entry| entry.published)),
            };
            settled.push((number, standing));
        }
        left = again;
    }
    Ok(settled)
}

/// Every recorded version of these keys.
pub(super) async fn of_keys(
    base: &Base,
    dataset: &DatasetName,
    keys: &[ObjectKey],
) -> Result<Vec<ScannedObject>> {
    use futures::stream::{self, StreamExt as _, TryStreamExt as _};
    let keys: HashSet<&ObjectKey> = keys.iter().collect();
    let reads: Vec<_> = keys.into_iter().map(|key| of_key(base, dataset, key)).collect();
    let found: Vec<Vec<_>> =
        stream::iter(reads).buffer_unordered(super::client::AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

async fn of_key(base: &Base, dataset: &DatasetName, key: &ObjectKey) -> Result<Vec<ScannedObject>> {
    let prefix = sort_prefix(key);
    let partition = shard_partition(dataset, shard(key));
    let items = base.beginning(Table::Catalogue, &partition, &prefix).await?;
    let entries = items.iter().map(|item| Ok(Entry::of(item)?.scanned));
    // A digest of a long key may be another's; the key decides.
    let is_same =
        |found: &Result<ScannedObject>| found.as_ref().map_or(true, |it| it.object.key == *key);
    entries.filter(is_same).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_key() -> impl Strategy<Value = ObjectKey> {
        let byte = prop_oneof![Just(0_u8), Just(1), Just(0xff), Just(b'/'), Just(b'a')];
        let lengths = prop_oneof![0..4_usize, CUT - 3..1025_usize];
        (proptest::collection::vec(byte, 4), lengths).prop_map(|(tail, length)| {
            let mut bytes = vec![b'a'; length.saturating_sub(4)];
            bytes.extend(&tail[..length.min(4)]);
            ObjectKey::new(bytes)
        })
    }

    fn sort_key(key: &ObjectKey, version: &str) -> Vec<u8> {
        let slot = Slot {
            dataset: DatasetName::new("d"),
            key: key.clone(),
            version: VersionId::new(version),
        };
        bytes_of(&slot.item_key(), "s").expect("bytes").to_vec()
    }

    proptest! {
        /// Sort keys are never too long, never two keys' at once, and in the order of keys but where
        /// they agree as far as they are cut.
        #[test]
        fn sort_keys_stand_for_keys(left in any_key(), right in any_key()) {
            let (one, two) = (sort_key(&left, "v"), sort_key(&right, "v"));
            prop_assert!(one.len() <= 1024 && two.len() <= 1024);
            prop_assert_eq!(one == two, left == right);
            prop_assert_ne!(&one, &sort_key(&left, "w"));
            let are_cut = one.len().min(two.len()) >= CUT && one[..CUT] == two[..CUT];
            if left != right && !are_cut {
                prop_assert_eq!(one < two, left < right);
            }
            prop_assert!(sort_floor(&left) <= one);
            if left < right {
                prop_assert!(sort_floor(&left) <= two);
            }
        }
    }
}
