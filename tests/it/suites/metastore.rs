//! The contract of `metastore`, run against every implementation.
//!
//! A backend gives a [`Storage`] and calls [`metastore_suite!`], which makes a test of every function
//! that the macro lists. What a backend alone can do stands in a file of its own below `metastore/`.

mod concurrency;
mod dynamodb;
mod embedded;
mod memory;
mod model;
mod postgres;
mod recording;
mod removing;

use std::sync::Arc;

use futures::TryStreamExt as _;
use lacuna::domain::Timestamp;
use lacuna::domain::dataset::{Compression, DatasetName, FormatName, ScanSettings};
use lacuna::domain::identifier::IdentifierDigest;
use lacuna::domain::landmark::{Landmark, Landmarks};
use lacuna::domain::object::{ETag, ObjectKey, ObjectVersion, VersionId};
use lacuna::domain::posting::{
    Posting, RowGaps, RowPosting, ScanOutcome, ScanSummary, ScannedObject, Unreadable,
};
use lacuna::domain::row::{RowCount, RowNumber};
use lacuna::metastore::{Metastore, MetastoreError, ObjectPostings};

/// Where a metastore keeps what it holds; empty at first.
pub(crate) trait Storage: Send + Sync {
    /// A new handle on what is stored, as another process would open it.
    fn open(&self) -> Arc<dyn Metastore>;
}

/// Runs every function of the suite against a storage.
macro_rules! metastore_suite {
    ($storage:expr) => {
        crate::suites::metastore::metastore_suite!(@ $storage;
            recording: what_is_committed_is_found_after_reopening,
            recording: what_is_not_committed_is_not_seen,
            recording: a_record_is_replaced_whole,
            recording: an_overwritten_version_goes_with_its_postings,
            recording: versions_of_a_key_stand_side_by_side,
            recording: datasets_do_not_meet,
            recording: an_unreadable_object_has_a_record_and_no_posting,
            recording: postings_come_in_any_order_and_count_once,
            recording: rows_have_sixty_four_bits,
            recording: digests_count_to_their_sixty_fourth_bit,
            recording: a_million_rows_of_one_identifier,
            recording: every_byte_may_stand_in_a_key,
            recording: a_listing_goes_on_after_a_key,
            recording: keys_are_looked_up_without_their_neighbours,
            recording: what_was_not_read_whole_is_told,
            recording: every_posting_of_a_version_is_told,
            recording: a_lookup_of_thousands_merges_nothing,
            recording: another_key_is_refused,
            removing: what_is_forgotten_is_gone,
            removing: only_the_named_version_is_forgotten,
            removing: a_rewrite_moves_the_postings,
            removing: a_rewrite_has_landmarks_of_its_own,
            removing: a_kept_version_keeps_its_postings,
            removing: a_rewrite_in_place_leaves_no_old_version,
            removing: a_succession_may_be_repeated,
            removing: a_new_version_that_was_scanned_is_worth_more,
            removing: a_succession_of_the_unknown_changes_nothing,
            removing: a_large_version_is_copied_whole,
            concurrency: writers_of_two_handles_do_not_harm_each_other,
            concurrency: a_reader_sees_all_of_a_version_or_nothing,
            concurrency: postings_are_told_once_whatever_is_recorded_beside_it,
            model: any_sequence_ends_like_the_model,
        );
    };
    (@ $storage:expr; $($module:ident: $name:ident,)*) => {
        $(
            #[test]
            fn $name() {
                crate::suites::metastore::block_on(async {
                    crate::suites::metastore::$module::$name(&$storage).await;
                });
            }
        )*
    };
}
pub(crate) use metastore_suite;

pub(crate) fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(test);
}

fn digest(number: u64) -> IdentifierDigest {
    let mut bytes = [0; 16];
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bytes[..8].copy_from_slice(&mixed.to_be_bytes());
    bytes[8..].copy_from_slice(&(!number).to_le_bytes());
    IdentifierDigest::from_bytes(bytes)
}

fn dataset(name: &str) -> DatasetName {
    DatasetName::new(name)
}

fn object(key: &str, version: &str, etag: &str) -> ObjectVersion {
    object_of(ObjectKey::from(key), version, etag)
}

fn object_of(key: ObjectKey, version: &str, etag: &str) -> ObjectVersion {
    ObjectVersion {
        key,
        version: VersionId::new(version),
        etag: ETag::new(etag),
        size_bytes: 1 << 40,
        modified_at: moment(),
    }
}

fn moment() -> Timestamp {
    "2026-03-01T12:00:00.123456789Z".parse().expect("a moment")
}

/// What a scan of an object says that has this many rows.
fn indexed(object: &ObjectVersion, rows: u64) -> ScannedObject {
    let summary = ScanSummary {
        format: FormatName::Jsonl,
        compression: Compression::Gzip,
        rows: RowCount(rows),
        gaps: RowGaps::default(),
        foreign_values: 3,
        landmarks: landmarks(),
    };
    scanned(object, ScanOutcome::Indexed(summary))
}

/// Some of each kind.
fn landmarks() -> Landmarks {
    let mut landmarks = Landmarks::default();
    for at in 1..3 {
        let landmark = Landmark { row: RowNumber(at * 1000), byte: (at * 5) << 20 };
        landmarks.push(landmark);
        landmarks.push_page(11, landmark);
    }
    landmarks
}

fn unreadable(object: &ObjectVersion) -> ScannedObject {
    let reason = "the gzip stream ends early".to_owned();
    scanned(object, ScanOutcome::Unreadable(Unreadable { reason, row: None, byte: Some(17) }))
}

fn scanned(object: &ObjectVersion, outcome: ScanOutcome) -> ScannedObject {
    let settings = ScanSettings::new("0123456789abcdef");
    ScannedObject { object: object.clone(), settings, scanned_at: moment(), outcome }
}

fn posting(digest: IdentifierDigest, row: u64) -> RowPosting {
    RowPosting { digest, row: RowNumber(row) }
}

/// Records a version with these postings.
async fn record(
    metastore: &dyn Metastore,
    name: &DatasetName,
    scanned: ScannedObject,
    postings: &[RowPosting],
) -> Result<(), MetastoreError> {
    let mut recorder = metastore.record(name, &scanned.object).await?;
    for some in postings.chunks(50_000) {
        recorder.append(some.to_vec()).await?;
    }
    recorder.commit(scanned).await
}

/// The postings of these identifiers: digest, dataset, key, version, ETag, rows; sorted.
async fn lookup(metastore: &dyn Metastore, digests: &[IdentifierDigest]) -> Vec<Posting> {
    let mut found: Vec<_> = metastore.lookup(digests).try_collect().await.expect("a lookup");
    found.sort_by_cached_key(order);
    found
}

type Order = (IdentifierDigest, DatasetName, ObjectKey, VersionId, ETag);

fn order(posting: &Posting) -> Order {
    let ObjectVersion { key, version, etag, .. } = posting.object.clone();
    (posting.digest, posting.dataset.clone(), key, version, etag)
}

/// The rows of one identifier in each version, as `key@version/etag: rows`.
async fn rows(metastore: &dyn Metastore, digest: IdentifierDigest) -> Vec<String> {
    let describe = |posting: Posting| {
        let rows: Vec<_> = posting.rows.iter().map(|row| row.0).collect();
        let ObjectVersion { key, version, etag, .. } = posting.object;
        format!("{key}@{version}/{}: {rows:?}", etag.as_str())
    };
    lookup(metastore, &[digest]).await.into_iter().map(describe).collect()
}

/// What a metastore tells of the postings of a version, sorted: subject and row. A subject is known by
/// the first 64 bits of its digest; what is told of the others is right, or zero.
fn told(pieces: Vec<ObjectPostings>, known: &[RowPosting]) -> Vec<(usize, [u8; 8], u64)> {
    let head = |digest: &IdentifierDigest| *digest.as_bytes().first_chunk::<8>().expect("eight");
    let known: std::collections::BTreeSet<_> = known.iter().map(|it| it.digest).collect();
    let mut all = Vec::new();
    for ObjectPostings { place, postings } in pieces {
        for RowPosting { digest, row } in postings {
            let rest = &digest.as_bytes()[8..];
            assert!(known.contains(&digest) || rest == [0; 8], "a digest that nobody has");
            all.push((place, head(&digest), row.0));
        }
    }
    all.sort_unstable();
    all
}

/// Every record of a dataset, in the order of the listing.
async fn listing(metastore: &dyn Metastore, name: &DatasetName) -> Vec<ScannedObject> {
    metastore.indexed(name, None).try_collect().await.expect("a listing")
}
