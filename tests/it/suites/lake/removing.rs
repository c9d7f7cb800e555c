//! Exactly one version goes, for good.

use lacuna::domain::edit::Segment;
use lacuna::domain::object::Standing;
use lacuna::lake::LakeErrorKind;

use super::*;

/// C1, C2: no neighbour, no other version, no delete marker.
pub(crate) async fn only_that_version_goes(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("k/a");
    let neighbours = ["k/ab", "k/a.b", "k", "k/A"].map(ObjectKey::from);
    let neighbours = &neighbours[..];
    foreign.put(&key, b"one", &[]).await;
    let first = current(&*lake, &key).await;
    foreign.put(&key, b"two", &[]).await;
    let second = current(&*lake, &key).await;
    for neighbour in neighbours {
        if under.holds().key_below_key || neighbour.as_bytes() != b"k" {
            foreign.put(neighbour, b"neighbour", &[]).await;
        }
    }
    let before = listing(&*lake, b"").await;
    if under.holds().versions {
        lake.delete_version(&first).await.expect("deleted");
        let versions = lake.versions(&key).await.expect("versions");
        assert_eq!(versions.len(), 1);
        assert_eq!(versions[0].object, second);
        assert_eq!(versions[0].standing, Standing::Current);
    }
    lake.delete_version(&second).await.expect("deleted");
    assert_eq!(lake.versions(&key).await.expect("versions"), []);
    let expected: Vec<_> = before.into_iter().filter(|entry| entry.object.key != key).collect();
    assert_eq!(listing(&*lake, b"").await, expected);
}

/// Deleting what is gone already is success, twice as well.
pub(crate) async fn a_version_that_is_gone_is_gone(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("folder/a");
    foreign.put(&key, b"one", &[]).await;
    let object = current(&*lake, &key).await;
    for _ in 0..2 {
        lake.delete_version(&object).await.expect("deleted");
        assert_eq!(lake.versions(&key).await.expect("versions"), []);
        let error = lake.attributes(Target::Current(&key)).await.expect_err("gone");
        assert_eq!(error.kind(), LakeErrorKind::NotFound);
    }
}

/// C4: a delete marker hides versions that still hold data; they are listed and can go.
pub(crate) async fn versions_beneath_a_delete_marker_go(under: &dyn LakeUnderTest) {
    if !under.holds().versions {
        return;
    }
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("a");
    foreign.put(&key, b"one", &[]).await;
    foreign.put(&key, b"two", &[]).await;
    foreign.delete(&key).await;
    let hidden = lake.versions(&key).await.expect("versions");
    assert_eq!(hidden.len(), 2);
    assert!(hidden.iter().all(|version| version.standing == Standing::Superseded));
    assert_eq!(listing(&*lake, b"").await, hidden);
    for version in &hidden {
        lake.delete_version(&version.object).await.expect("deleted");
    }
    assert_eq!(listing(&*lake, b"").await, []);
    let error = lake.attributes(Target::Current(&key)).await.expect_err("still deleted");
    assert_eq!(error.kind(), LakeErrorKind::NotFound);
}

/// C3: deleting a version that a foreign write took the place of deletes nothing of the other's.
pub(crate) async fn an_overwritten_version_takes_nothing_with_it(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("a");
    foreign.put(&key, b"one", &[]).await;
    let first = current(&*lake, &key).await;
    foreign.put(&key, b"two", &[]).await;
    if let Err(error) = lake.delete_version(&first).await {
        assert!(!under.holds().versions, "{error}");
        assert_eq!(error.kind(), LakeErrorKind::Drifted, "{error}");
    }
    assert_eq!(current_bytes(&*lake, &key).await, b"two");
    assert_eq!(lake.versions(&key).await.expect("versions").len(), 1);
}

/// C1: after our own write the superseded version can be deleted, and then nothing of it is left.
pub(crate) async fn the_superseded_bytes_of_our_write_go(under: &dyn LakeUnderTest) {
    let Ground { lake, foreign } = under.fresh().await;
    let key = ObjectKey::from("a");
    foreign.put(&key, b"0123456789", &[]).await;
    let old = current(&*lake, &key).await;
    let edit = Edit::new(vec![Segment::Copy(0..5)]);
    let base = Base::Version(old.clone());
    let written = write(&*lake, &key, base, edit).await.expect("written");
    lake.delete_version(&old).await.expect("deleted, or gone by itself");
    let versions = lake.versions(&key).await.expect("versions");
    assert_eq!(versions.len(), 1);
    assert!(versions[0].object.is_same_version(&written));
    assert_eq!(bytes_of(&*lake, &written).await.expect("read"), b"01234");
    let error = bytes_of(&*lake, &old).await.expect_err("gone");
    assert!(matches!(error.kind(), LakeErrorKind::NotFound | LakeErrorKind::Drifted));
}
