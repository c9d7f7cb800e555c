use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::domain::object::ObjectKey;
use crate::lake::memory::MemoryLake;

fn content(length: usize) -> Bytes {
    (0..length).map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime")
}

/// A source on an object of these bytes, read by a thread that is not the runtime's.
fn with_source<T>(bytes: &Bytes, read: impl FnOnce(&LakeSource) -> T) -> T {
    let runtime = runtime();
    let lake = MemoryLake::unversioned();
    let object = lake.put(&ObjectKey::from("a"), bytes.clone());
    let source = {
        let _entered = runtime.enter();
        LakeSource::new(Arc::new(lake), object)
    };
    read(&source)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is read in whatever order, it is the object's bytes.
    #[test]
    fn every_read_answers_what_the_object_holds(
        length in 1..9_000_000_usize,
        reads in proptest::collection::vec((any::<u32>(), 0..700_000_usize, any::<bool>()), 1..60),
    ) {
        let bytes = content(length);
        with_source(&bytes, |source| {
            let mut at = 0;
            for (jump, size, is_sequential) in reads {
                let start = if is_sequential { at } else { jump as usize % length };
                let size = size.min(length - start);
                let read = source.read_at(start as u64, size).expect("read");
                assert!(read == bytes[start..start + size], "{size} bytes from {start}");
                at = if start + size == length { 0 } else { start + size };
            }
        });
    }
}

#[test]
fn a_sequential_reader_reads_the_whole() {
    let bytes = content(20 << 20);
    with_source(&bytes, |source| {
        let mut read = Vec::new();
        while read.len() < bytes.len() {
            let length = 100_003.min(bytes.len() - read.len());
            read.extend_from_slice(&source.read_at(read.len() as u64, length).expect("read"));
        }
        assert!(read == bytes);
        assert!(source.state.lock().expect("whole").stream.is_some(), "by a stream");
    });
}

#[test]
fn a_read_beyond_the_end_is_an_error_and_no_failure_of_the_lake() {
    with_source(&content(10), |source| {
        assert!(source.read_at(4, 7).is_err());
        assert!(source.read_at(u64::MAX, 1).is_err());
        assert!(source.failure().is_none());
        assert!(source.read_at(10, 0).expect("nothing").is_empty());
    });
}

/// Hazard A1: an object that was overwritten is an error, never a mixture of two versions.
#[test]
fn an_overwritten_object_is_told_by_its_kind() {
    let runtime = runtime();
    let lake = Arc::new(MemoryLake::unversioned());
    let key = ObjectKey::from("a");
    let object = lake.put(&key, content(4 << 20));
    let source = {
        let _entered = runtime.enter();
        LakeSource::new(Arc::clone(&lake) as Arc<dyn Lake>, object)
    };
    source.read_at(0, 10).expect("read");
    lake.put(&key, content(5 << 20));
    let error = FormatError::from(source.read_at(3 << 20, 10).expect_err("overwritten"));
    assert!(lake_error(&error).is_some_and(super::super::is_gone), "{error:?}");
    assert!(source.failure().is_some());
}
