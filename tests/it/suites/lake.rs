//! The contract of `lake`, run against every implementation.
//!
//! A backend gives a [`LakeUnderTest`] and calls [`lake_suite!`], which makes a test of every function
//! that the macro lists. What a backend alone can do stands in a file of its own below `lake/`.

mod directory;
mod identity;
mod memory;
mod reading;
mod removing;
mod s3;
mod wrappers;
mod writing;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use lacuna::domain::edit::Edit;
use lacuna::domain::object::{ListedVersion, ObjectKey, ObjectVersion};
use lacuna::lake::{
    Base, Lake, LakeError, ObserverError, OperationId, Staging, Target, Unobserved, Write,
    WriteError, WriteObserver,
};

/// A backend, as the suite meets it.
#[async_trait]
pub(crate) trait LakeUnderTest: Send + Sync {
    /// An empty lake of its own.
    async fn fresh(&self) -> Ground;

    /// What the backend can hold.
    fn holds(&self) -> Holds;

    /// Whether the server behind the backend is known to spoil a key that the backend itself holds.
    fn spoils(&self, _key: &[u8]) -> bool {
        false
    }
}

/// An empty lake and the other programs that use it.
pub(crate) struct Ground {
    /// The lake.
    pub lake: Arc<dyn Lake>,
    /// Another program beside it.
    pub foreign: Box<dyn Foreign>,
}

/// Another program that uses the same store, without Lacuna.
#[async_trait]
pub(crate) trait Foreign: Send + Sync {
    /// Stores an object the way people do, with attributes as [`Holds::attributes`] names them.
    async fn put(&self, key: &ObjectKey, bytes: &[u8], attributes: &[(&str, &str)]);

    /// Deletes the current version, which leaves a delete marker where versions are kept.
    async fn delete(&self, key: &ObjectKey);

    /// How many unfinished writes the store holds: multipart uploads, temporary files.
    async fn leftovers(&self) -> usize;
}

/// What a backend can hold.
#[derive(Clone, Copy)]
pub(crate) struct Holds {
    /// Whether overwriting keeps the old version.
    pub versions: bool,
    /// Keys it holds beside those that every backend does ([`identity::KEYS`]).
    pub keys: &'static [&'static [u8]],
    /// Keys it cannot hold: each has to be an error, never another key.
    pub refuses: &'static [&'static [u8]],
    /// Whether `a` and `a/b` may both be objects.
    pub key_below_key: bool,
    /// Attributes of an object that a rewrite keeps, by their names in `Attributes::carried`.
    pub attributes: &'static [(&'static str, &'static str)],
    /// A write of more bytes than this is stored in several parts.
    pub part_bytes: usize,
}

/// Makes a module of tests of a backend: `lake_suite!(memory, MemoryUnderTest)`, the fixture being an
/// expression of a [`LakeUnderTest`]. Every function of the suite stands in this list and nowhere else.
macro_rules! lake_suite {
    ($module:ident, $fixture:expr) => {
        $crate::suites::lake::lake_suite! { @tests $module, $fixture,
            identity: keys_come_back_byte_for_byte
            identity: keys_that_the_store_cannot_hold_are_errors
            identity: a_listing_is_in_ascending_order_of_bytes
            identity: a_listing_keeps_to_its_prefix
            identity: versions_are_those_of_exactly_the_key
            identity: every_way_to_a_version_names_it_alike
            identity: versions_come_newest_first
            identity: overwriting_without_versions_leaves_one
            identity: nothing_shows_content
            reading: a_range_is_exactly_what_was_asked_for
            reading: a_range_beyond_the_end_is_an_error
            reading: what_is_not_there_is_not_found
            reading: a_read_after_an_overwrite_never_gives_the_new_bytes
            reading: a_read_during_an_overwrite_never_mixes
            reading: a_kept_version_stays_readable
            writing: an_edit_is_copies_and_bytes
            writing: an_edit_may_leave_nothing
            writing: a_large_edit_of_unknown_length_arrives_whole
            writing: a_large_object_is_spliced
            writing: a_failing_edit_changes_nothing
            writing: a_panicking_edit_changes_nothing
            writing: a_copy_beyond_the_end_changes_nothing
            writing: a_refusing_observer_changes_nothing
            writing: a_stale_base_is_refused
            writing: a_deleted_base_is_refused
            writing: a_base_made_again_is_never_mistaken
            writing: two_writers_have_one_winner
            writing: two_creators_have_one_winner
            writing: absent_means_absent
            writing: what_belongs_to_the_object_stays
            writing: a_write_is_known_by_its_operation
            writing: another_write_is_not_taken_for_ours
            writing: a_dropped_write_is_invisible_and_abandoned
            writing: abandoning_nothing_is_success
            removing: only_that_version_goes
            removing: a_version_that_is_gone_is_gone
            removing: versions_beneath_a_delete_marker_go
            removing: an_overwritten_version_takes_nothing_with_it
            removing: the_superseded_bytes_of_our_write_go
        }
    };
    (@tests $module:ident, $fixture:expr, $($file:ident: $test:ident)*) => {
        mod $module {
            #[allow(unused_imports, reason = "the fixture may be named by a path")]
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    $crate::suites::lake::$file::$test(&$fixture).await;
                }
            )*
        }
    };
}
pub(crate) use lake_suite;

/// An operation id that no other test has.
pub(crate) fn operation() -> OperationId {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    OperationId::new(format!("{:016x}{next:016x}", std::process::id()))
}

/// A write that nobody observes.
pub(crate) fn order(key: &ObjectKey, base: Base, edit: Edit) -> Write {
    let observer = Arc::new(Unobserved);
    Write { key: key.clone(), base, edit, operation: operation(), observer }
}

/// Carries out a write that nobody observes.
pub(crate) async fn write(
    lake: &dyn Lake,
    key: &ObjectKey,
    base: Base,
    edit: Edit,
) -> Result<ObjectVersion, WriteError> {
    lake.write(order(key, base, edit)).await
}

/// Creates an object through the lake itself.
pub(crate) async fn create(lake: &dyn Lake, key: &ObjectKey, bytes: &[u8]) -> ObjectVersion {
    let edit = Edit::bytes(Bytes::copy_from_slice(bytes));
    write(lake, key, Base::Absent, edit).await.expect("the object is created")
}

/// The bytes of a range of a version.
pub(crate) async fn range_of(
    lake: &dyn Lake,
    object: &ObjectVersion,
    range: Range<u64>,
) -> Result<Vec<u8>, LakeError> {
    let mut stream = lake.read(object, range).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = stream.try_next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// All bytes of a version.
pub(crate) async fn bytes_of(
    lake: &dyn Lake,
    object: &ObjectVersion,
) -> Result<Vec<u8>, LakeError> {
    range_of(lake, object, 0..object.size_bytes).await
}

/// The current version of a key.
pub(crate) async fn current(lake: &dyn Lake, key: &ObjectKey) -> ObjectVersion {
    lake.attributes(Target::Current(key)).await.expect("the object is there").object
}

/// The bytes of the current version of a key.
pub(crate) async fn current_bytes(lake: &dyn Lake, key: &ObjectKey) -> Vec<u8> {
    let object = current(lake, key).await;
    bytes_of(lake, &object).await.expect("the current version is read")
}

/// A whole listing.
pub(crate) async fn listing(lake: &dyn Lake, prefix: &[u8]) -> Vec<ListedVersion> {
    lake.list(prefix).try_collect().await.expect("the listing is complete")
}

/// Bytes that differ everywhere, so that a piece in the wrong place is noticed.
pub(crate) fn pattern(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(step).collect()
}

/// Remembers where a write told that its unfinished bytes would lie.
#[derive(Default)]
pub(crate) struct Notes(Mutex<Vec<Staging>>);

impl Notes {
    /// What was noted so far.
    pub(crate) fn taken(&self) -> Vec<Staging> {
        self.0.lock().expect("no test panicked").clone()
    }
}

#[async_trait]
impl WriteObserver for Notes {
    async fn staged(&self, _: &ObjectKey, staging: &Staging) -> Result<(), ObserverError> {
        self.0.lock().expect("no test panicked").push(staging.clone());
        Ok(())
    }
}
