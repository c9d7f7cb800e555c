//! Reads are pinned: the bytes of the version asked for, or none.

use futures::StreamExt as _;
use lacuna::lake::LakeErrorKind;

use super::*;

/// An empty range is empty, every other one exact.
pub(crate) async fn a_range_is_exactly_what_was_asked_for(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("a/b");
    let bytes = pattern(3 << 20 | 17, 1);
    foreign.put(&key, &bytes, &[]).await;
    let object = current(&*lake, &key).await;
    let end = object.size_bytes;
    let middle = 1 << 20;
    for range in
        [0..0, 0..end, 0..1, end - 1..end, 7..7, end..end, middle - 1..middle + 1, 5..2 << 20]
    {
        let read = range_of(&*lake, &object, range.clone()).await.expect("within the object");
        let expected = &bytes[range.start as usize..range.end as usize];
        assert!(read == expected, "{range:?}");
    }
    let empty = ObjectKey::from("empty");
    foreign.put(&empty, b"", &[]).await;
    assert_eq!(current_bytes(&*lake, &empty).await, b"");
}

/// B9: fewer bytes than asked for are an error, not the end.
pub(crate) async fn a_range_beyond_the_end_is_an_error(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("a");
    foreign.put(&key, b"0123456789", &[]).await;
    let object = current(&*lake, &key).await;
    #[expect(clippy::reversed_empty_ranges, reason = "what a caller must not ask for")]
    for range in [0..11, 10..11, 11..12, 20..21, 0..u64::MAX, 11..11, 5..4] {
        assert!(range_of(&*lake, &object, range.clone()).await.is_err(), "{range:?}");
    }
    let longer = ObjectVersion { size_bytes: 20, ..object };
    assert!(range_of(&*lake, &longer, 5..15).await.is_err(), "the caller's size is not believed");
}

/// Nothing is not an empty object.
pub(crate) async fn what_is_not_there_is_not_found(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let there = ObjectKey::from("there/object");
    foreign.put(&there, b"x", &[]).await;
    let object = current(&*lake, &there).await;
    for key in ["absent", "there", "there/object.", "absent/object"] {
        let key = ObjectKey::from(key);
        let error = lake.attributes(Target::Current(&key)).await.expect_err("absent");
        assert_eq!(error.kind(), LakeErrorKind::NotFound, "{key}: {error}");
        assert_eq!(lake.versions(&key).await.expect("versions"), []);
        let forged = ObjectVersion { key: key.clone(), ..object.clone() };
        assert_eq!(refusal(bytes_of(&*lake, &forged).await), LakeErrorKind::NotFound, "{key}");
    }
    foreign.delete(&there).await;
    let error = lake.attributes(Target::Current(&there)).await.expect_err("deleted");
    assert_eq!(error.kind(), LakeErrorKind::NotFound);
}

fn refusal(result: Result<Vec<u8>, LakeError>) -> LakeErrorKind {
    result.expect_err("nothing is to be read").kind()
}

/// A1: once overwritten, a pinned read gives the old bytes or an error.
pub(crate) async fn a_read_after_an_overwrite_never_gives_the_new_bytes(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("a");
    foreign.put(&key, b"old bytes", &[]).await;
    let old = current(&*lake, &key).await;
    foreign.put(&key, b"new bytes", &[]).await;
    match bytes_of(&*lake, &old).await {
        Ok(bytes) => assert!(under.holds().versions && bytes == b"old bytes"),
        Err(error) => {
            assert!(!under.holds().versions, "{error}");
            assert_eq!(error.kind(), LakeErrorKind::Drifted, "{error}");
        }
    }
    foreign.delete(&key).await;
    match bytes_of(&*lake, &old).await {
        Ok(bytes) => assert!(under.holds().versions && bytes == b"old bytes"),
        Err(error) => {
            assert!(!under.holds().versions, "{error}");
            assert_eq!(error.kind(), LakeErrorKind::NotFound, "{error}");
        }
    }
}

/// G35: a read that is under way while the object is overwritten ends in the old bytes or an error.
pub(crate) async fn a_read_during_an_overwrite_never_mixes(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("a");
    let old_bytes = pattern(8 << 20, 1);
    foreign.put(&key, &old_bytes, &[]).await;
    let old = current(&*lake, &key).await;
    let mut stream = lake.read(&old, 0..old.size_bytes).await.expect("the read begins");
    let mut read = stream.next().await.expect("a first piece").expect("of the old bytes").to_vec();
    foreign.put(&key, &pattern(8 << 20, 2), &[]).await;
    while let Some(piece) = stream.next().await {
        let Ok(piece) = piece else { return };
        read.extend_from_slice(&piece);
    }
    assert!(read == old_bytes);
}

/// C1: where versions are kept, an old one can be read until it is deleted.
pub(crate) async fn a_kept_version_stays_readable(under: &dyn LakeUnderTest) {
    if !under.holds().versions {
        return;
    }
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("a");
    foreign.put(&key, b"old", &[]).await;
    let old = current(&*lake, &key).await;
    write(&*lake, &key, Base::Version(old.clone()), Edit::bytes("new")).await.expect("written");
    foreign.delete(&key).await;
    assert_eq!(bytes_of(&*lake, &old).await.expect("still kept"), b"old");
    assert!(
        lake.attributes(Target::Version(&old)).await.expect("kept").object.is_same_version(&old)
    );
    lake.delete_version(&old).await.expect("it is deleted");
    assert_eq!(refusal(bytes_of(&*lake, &old).await), LakeErrorKind::NotFound);
    let gone = lake.attributes(Target::Version(&old)).await.expect_err("deleted");
    assert_eq!(gone.kind(), LakeErrorKind::NotFound);
}
