//! What is forgotten, and how the index follows a rewrite.

use std::sync::Arc;

use lacuna::domain::landmark::{Landmark, Landmarks};
use lacuna::domain::object::ObjectVersion;
use lacuna::domain::posting::RowPosting;
use lacuna::domain::row::RowNumber;
use lacuna::metastore::{Metastore, Succession};

use super::{Storage, dataset, digest, indexed, listing, lookup, object, posting, record, rows};

fn succession(old: &ObjectVersion, new: &ObjectVersion, erased: &[u64]) -> Succession {
    Succession {
        dataset: dataset("d"),
        old: old.clone(),
        new: new.clone(),
        erased: erased.iter().copied().map(digest).collect(),
        keeps_old: false,
        landmarks: Landmarks::default(),
    }
}

/// Three subjects in an object of ten rows.
fn postings() -> [RowPosting; 4] {
    [posting(digest(1), 0), posting(digest(2), 1), posting(digest(3), 2), posting(digest(1), 9)]
}

async fn with_postings(storage: &dyn Storage, version: &ObjectVersion) -> Arc<dyn Metastore> {
    let metastore = storage.open();
    record(&*metastore, &dataset("d"), indexed(version, 10), &postings()).await.expect("recorded");
    metastore
}

/// Each change is followed by opening the storage anew.
async fn all_rows(storage: &dyn Storage) -> Vec<String> {
    let metastore = storage.open();
    let mut all = Vec::new();
    for number in 1..=4 {
        let found = rows(&*metastore, digest(number)).await;
        all.extend(found.into_iter().map(|found| format!("{number}: {found}")));
    }
    let named: usize = lookup(&*metastore, &[1, 2, 3, 4].map(digest))
        .await
        .iter()
        .map(|posting| posting.rows.as_slice().len())
        .sum();
    assert_eq!(metastore.size().await.expect("a size").postings, named as u64);
    all
}

pub(super) async fn what_is_forgotten_is_gone(storage: &dyn Storage) {
    let version = object("a", "1", "e");
    let metastore = with_postings(storage, &version).await;
    for _ in 0..2 {
        metastore.forget(&dataset("d"), std::slice::from_ref(&version)).await.expect("forgotten");
        assert!(all_rows(storage).await.is_empty());
    }
    assert_eq!(listing(&*metastore, &dataset("d")).await, []);
    assert_eq!(metastore.datasets().await.expect("datasets"), []);
    metastore.forget(&dataset("never"), &[version]).await.expect("nothing to forget");
}

/// Design promise 5: postings belong to an object version; another of the same key is not touched.
pub(super) async fn only_the_named_version_is_forgotten(storage: &dyn Storage) {
    let version = object("a", "1", "e");
    let metastore = with_postings(storage, &version).await;
    let before = all_rows(storage).await;
    let others = [object("a", "1", "E"), object("a", "2", "e"), object("A", "1", "e")];
    metastore.forget(&dataset("d"), &others).await.expect("nothing to forget");
    assert_eq!(all_rows(storage).await, before);
}

pub(super) async fn a_rewrite_moves_the_postings(storage: &dyn Storage) {
    let (old, new) = (object("a", "v1", "e1"), object("a", "v2", "e2"));
    let metastore = with_postings(storage, &old).await;
    metastore.succeed(&succession(&old, &new, &[1, 4])).await.expect("succeeded");
    assert_eq!(all_rows(storage).await, ["2: a@v2/e2: [1]", "3: a@v2/e2: [2]"]);
    let moved = indexed(&new, 10).succeeded_by(&new, &Landmarks::default());
    assert_eq!(listing(&*metastore, &dataset("d")).await, [moved]);
}

/// Where rows begin in the old version need not be where they begin in the new one.
pub(super) async fn a_rewrite_has_landmarks_of_its_own(storage: &dyn Storage) {
    let landmarks = |byte| {
        let rows = vec![Landmark { row: RowNumber(7), byte }];
        Landmarks { rows, ..Landmarks::default() }
    };
    let [old, new, newest] = ["v1", "v2", "v3"].map(|version| object("a", version, "e"));
    let metastore = storage.open();
    let first = indexed(&old, 10).succeeded_by(&old, &landmarks(1 << 20));
    record(&*metastore, &dataset("d"), first.clone(), &postings()).await.expect("recorded");
    let order = succession(&old, &new, &[1]);
    let order = Succession { keeps_old: true, landmarks: landmarks(2 << 20), ..order };
    metastore.succeed(&order).await.expect("succeeded");
    let order = Succession { landmarks: landmarks(3 << 20), ..succession(&new, &newest, &[1]) };
    metastore.succeed(&order).await.expect("succeeded");
    let mut found = listing(&*storage.open(), &dataset("d")).await;
    found.sort_by(|left, right| left.object.version.as_str().cmp(right.object.version.as_str()));
    assert_eq!(found, [first, indexed(&newest, 10).succeeded_by(&newest, &landmarks(3 << 20))]);
}

pub(super) async fn a_kept_version_keeps_its_postings(storage: &dyn Storage) {
    let (old, new) = (object("a", "v1", "e1"), object("a", "v2", "e2"));
    let metastore = with_postings(storage, &old).await;
    let order = Succession { keeps_old: true, ..succession(&old, &new, &[1]) };
    for _ in 0..2 {
        metastore.succeed(&order).await.expect("succeeded");
        let expected = [
            "1: a@v1/e1: [0, 9]",
            "2: a@v1/e1: [1]",
            "2: a@v2/e2: [1]",
            "3: a@v1/e1: [2]",
            "3: a@v2/e2: [2]",
        ];
        assert_eq!(all_rows(storage).await, expected);
    }
    metastore.succeed(&succession(&old, &new, &[1])).await.expect("succeeded");
    assert_eq!(all_rows(storage).await, ["2: a@v2/e2: [1]", "3: a@v2/e2: [2]"]);
}

/// Hazard C5: where versions are not kept, the old bytes are gone whatever the caller says.
pub(super) async fn a_rewrite_in_place_leaves_no_old_version(storage: &dyn Storage) {
    let (old, new) = (object("a", "null", "e1"), object("a", "null", "e2"));
    let metastore = with_postings(storage, &old).await;
    let order = Succession { keeps_old: true, ..succession(&old, &new, &[1]) };
    metastore.succeed(&order).await.expect("succeeded");
    assert_eq!(all_rows(storage).await, ["2: a@null/e2: [1]", "3: a@null/e2: [2]"]);

    // A version of its own is followed by the `null` version, which another program wrote before.
    let (kept, null) = (object("b", "v1", "e1"), object("b", "null", "e0"));
    record(&*metastore, &dataset("d"), indexed(&kept, 10), &postings()).await.expect("recorded");
    record(&*metastore, &dataset("d"), indexed(&null, 10), &postings()).await.expect("recorded");
    let order =
        Succession { keeps_old: true, ..succession(&kept, &object("b", "null", "e2"), &[1, 2]) };
    metastore.succeed(&order).await.expect("succeeded");
    let left = rows(&*storage.open(), digest(3)).await;
    assert_eq!(left, ["a@null/e2: [2]", "b@null/e2: [2]", "b@v1/e1: [2]"]);
    assert_eq!(rows(&*storage.open(), digest(1)).await, ["b@v1/e1: [0, 9]"]);
}

/// Hazard D1: a run that was killed carries out the same succession again.
pub(super) async fn a_succession_may_be_repeated(storage: &dyn Storage) {
    let (old, new) = (object("a", "null", "e1"), object("a", "null", "e2"));
    let metastore = with_postings(storage, &old).await;
    for _ in 0..3 {
        metastore.succeed(&succession(&old, &new, &[1, 3])).await.expect("succeeded");
        assert_eq!(all_rows(storage).await, ["2: a@null/e2: [1]"]);
    }
    metastore.succeed(&succession(&new, &new, &[2])).await.expect("succeeded");
    assert!(all_rows(storage).await.is_empty());
    assert_eq!(listing(&*metastore, &dataset("d")).await.len(), 1, "the record stays");
}

pub(super) async fn a_new_version_that_was_scanned_is_worth_more(storage: &dyn Storage) {
    let (old, new) = (object("a", "v1", "e1"), object("a", "v2", "e2"));
    for keeps_old in [true, false] {
        let metastore = with_postings(storage, &old).await;
        let seen = [posting(digest(1), 0), posting(digest(4), 7)];
        record(&*metastore, &dataset("d"), indexed(&new, 20), &seen).await.expect("recorded");
        let order = Succession { keeps_old, ..succession(&old, &new, &[1]) };
        metastore.succeed(&order).await.expect("succeeded");
        let found = all_rows(storage).await;
        assert!(found.contains(&"4: a@v2/e2: [7]".to_owned()), "{found:?}");
        assert!(!found.contains(&"1: a@v2/e2: [0]".to_owned()), "{found:?}");
        assert_eq!(found.len(), if keeps_old { 4 } else { 1 }, "{found:?}");
    }
}

pub(super) async fn a_succession_of_the_unknown_changes_nothing(storage: &dyn Storage) {
    let old = object("a", "v1", "e1");
    let metastore = with_postings(storage, &old).await;
    let before = all_rows(storage).await;
    for keeps_old in [true, false] {
        let unknown = succession(&object("a", "v0", "e0"), &object("a", "v9", "e9"), &[1]);
        let order = Succession { keeps_old, ..unknown };
        metastore.succeed(&order).await.expect("nothing to do");
        assert_eq!(all_rows(storage).await, before);
    }
}

pub(super) async fn a_large_version_is_copied_whole(storage: &dyn Storage) {
    let (old, new) = (object("a", "v1", "e1"), object("a", "v2", "e2"));
    let metastore = storage.open();
    let many: Vec<_> = (0..120_000).map(|row| posting(digest(row), row)).collect();
    record(&*metastore, &dataset("d"), indexed(&old, 120_000), &many).await.expect("recorded");
    let order = Succession { keeps_old: true, ..succession(&old, &new, &[5, 70_000]) };
    metastore.succeed(&order).await.expect("succeeded");
    let metastore = storage.open();
    assert_eq!(metastore.size().await.expect("a size").postings, 240_000 - 2);
    let all: Vec<_> = (0..120_000).map(digest).collect();
    let found = lookup(&*metastore, &all).await;
    assert_eq!(found.iter().filter(|posting| posting.object == new).count(), 120_000 - 2);
    assert_eq!(rows(&*metastore, digest(5)).await, ["a@v1/e1: [5]"]);
    metastore.forget(&dataset("d"), &[old, new]).await.expect("forgotten");
    assert_eq!(storage.open().size().await.expect("a size").postings, 0);
}
