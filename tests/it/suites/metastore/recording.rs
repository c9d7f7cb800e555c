//! What is recorded, and how it is found again.

use std::collections::BTreeSet;

use futures::TryStreamExt as _;
use futures::future::try_join_all;
use lacuna::domain::identifier::{DigestKey, IdentifierDigest};
use lacuna::domain::landmark::Landmarks;
use lacuna::domain::object::ObjectKey;
use lacuna::domain::posting::{RowGap, RowPosting, ScanOutcome};
use lacuna::domain::row::RowNumber;
use lacuna::metastore::{MetastoreErrorKind, ObjectPostings, Succession};

use super::{
    Storage, dataset, digest, indexed, listing, lookup, object, object_of, posting, record, rows,
    told, unreadable,
};

pub(super) async fn what_is_committed_is_found_after_reopening(storage: &dyn Storage) {
    let (reviews, scanned) = (dataset("reviews"), indexed(&object("a", "1", "e"), 9));
    {
        let metastore = storage.open();
        let postings = [posting(digest(1), 0), posting(digest(2), 1), posting(digest(1), 8)];
        record(&*metastore, &reviews, scanned.clone(), &postings).await.expect("recorded");
    }
    let metastore = storage.open();
    assert_eq!(rows(&*metastore, digest(1)).await, ["a@1/e: [0, 8]"]);
    assert_eq!(rows(&*metastore, digest(2)).await, ["a@1/e: [1]"]);
    assert_eq!(listing(&*metastore, &reviews).await, [scanned]);
    assert_eq!(metastore.datasets().await.expect("datasets"), [reviews]);
    let size = metastore.size().await.expect("a size");
    assert_eq!((size.objects, size.postings), (1, 3));
}

pub(super) async fn what_is_not_committed_is_not_seen(storage: &dyn Storage) {
    let (name, version) = (dataset("d"), object("a", "1", "e"));
    let metastore = storage.open();
    let mut recorder = metastore.record(&name, &version).await.expect("begun");
    for block in 0..8 {
        let some = (0..50_000).map(|row| posting(digest(row % 7), block * 50_000 + row)).collect();
        recorder.append(some).await.expect("appended");
    }
    assert_eq!(rows(&*storage.open(), digest(1)).await, [""; 0]);
    drop(recorder);
    record(&*metastore, &name, indexed(&version, 1), &[posting(digest(1), 0)])
        .await
        .expect("recorded");
    let metastore = storage.open();
    assert_eq!(rows(&*metastore, digest(1)).await, ["a@1/e: [0]"]);
    assert_eq!(metastore.size().await.expect("a size").postings, 1);
}

pub(super) async fn a_record_is_replaced_whole(storage: &dyn Storage) {
    let (name, version) = (dataset("d"), object("a", "1", "e"));
    let metastore = storage.open();
    let first = [posting(digest(1), 0), posting(digest(2), 1)];
    record(&*metastore, &name, indexed(&version, 5), &first).await.expect("recorded");
    let second = [posting(digest(2), 4)];
    for _ in 0..2 {
        record(&*metastore, &name, indexed(&version, 6), &second).await.expect("recorded");
    }
    let metastore = storage.open();
    assert_eq!(rows(&*metastore, digest(1)).await, [""; 0]);
    assert_eq!(rows(&*metastore, digest(2)).await, ["a@1/e: [4]"]);
    assert_eq!(listing(&*metastore, &name).await, [indexed(&version, 6)]);
}

pub(super) async fn an_overwritten_version_goes_with_its_postings(storage: &dyn Storage) {
    let name = dataset("d");
    let metastore = storage.open();
    for (etag, row) in [("old", 1), ("new", 2)] {
        let scanned = indexed(&object("a", "null", etag), 5);
        record(&*metastore, &name, scanned, &[posting(digest(1), row)]).await.expect("recorded");
    }
    let metastore = storage.open();
    assert_eq!(rows(&*metastore, digest(1)).await, ["a@null/new: [2]"]);
    assert_eq!(listing(&*metastore, &name).await.len(), 1);
}

pub(super) async fn versions_of_a_key_stand_side_by_side(storage: &dyn Storage) {
    let name = dataset("d");
    let metastore = storage.open();
    for (version, row) in [("v1", 1), ("v2", 2)] {
        let scanned = indexed(&object("a", version, "same"), 5);
        record(&*metastore, &name, scanned, &[posting(digest(1), row)]).await.expect("recorded");
    }
    let metastore = storage.open();
    assert_eq!(rows(&*metastore, digest(1)).await, ["a@v1/same: [1]", "a@v2/same: [2]"]);
}

pub(super) async fn datasets_do_not_meet(storage: &dyn Storage) {
    let metastore = storage.open();
    let version = object("a", "1", "e");
    for (name, row) in [("one", 1), ("two", 2)] {
        let postings = [posting(digest(1), row)];
        record(&*metastore, &dataset(name), indexed(&version, 5), &postings)
            .await
            .expect("recorded");
    }
    metastore.forget(&dataset("one"), std::slice::from_ref(&version)).await.expect("forgotten");
    let found = lookup(&*storage.open(), &[digest(1)]).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].dataset, dataset("two"));
    assert_eq!(metastore.datasets().await.expect("datasets"), [dataset("two")]);
}

pub(super) async fn an_unreadable_object_has_a_record_and_no_posting(storage: &dyn Storage) {
    let (name, version) = (dataset("d"), object("a", "1", "e"));
    let metastore = storage.open();
    let told: Vec<_> = (0..300_000).map(|row| posting(digest(1), row)).collect();
    for postings in [&told[..10], &told] {
        record(&*metastore, &name, unreadable(&version), postings).await.expect("recorded");
        let metastore = storage.open();
        assert_eq!(rows(&*metastore, digest(1)).await, [""; 0]);
        assert_eq!(listing(&*metastore, &name).await, [unreadable(&version)]);
        assert_eq!(metastore.size().await.expect("a size").postings, 0);
    }
}

pub(super) async fn postings_come_in_any_order_and_count_once(storage: &dyn Storage) {
    let (name, version) = (dataset("d"), object("a", "1", "e"));
    let metastore = storage.open();
    // More than any buffer holds, backwards, and every row of every third block twice.
    let mut postings = Vec::new();
    for block in (0..12_u64).rev() {
        let times = if block % 3 == 0 { 2 } else { 1 };
        for _ in 0..times {
            postings.extend((0..40_000).map(|row| posting(digest(row % 3), block * 40_000 + row)));
        }
    }
    record(&*metastore, &name, indexed(&version, 480_000), &postings).await.expect("recorded");
    let metastore = storage.open();
    let found = lookup(&*metastore, &[digest(0), digest(1), digest(2)]).await;
    let mut all: Vec<u64> =
        found.iter().flat_map(|posting| posting.rows.iter().map(|row| row.0)).collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..480_000), "every row once");
    assert_eq!(found.len(), 3);
    assert_eq!(metastore.size().await.expect("a size").postings, 480_000);
}

/// Hazard E9: row numbers above 2^32 and up to the last.
pub(super) async fn rows_have_sixty_four_bits(storage: &dyn Storage) {
    let (name, version) = (dataset("d"), object("a", "1", "e"));
    let high = 1 << 63;
    let order = [0, high, 5, high, u64::MAX, i64::MAX as u64, u64::MAX - 1, 1 << 32, 5, 1 << 32];
    let metastore = storage.open();
    let mut recorder = metastore.record(&name, &version).await.expect("begun");
    // Enough between the rows that they meet in different batches, not in order, and more than once.
    for row in order {
        let filling = (0..270_000).map(|_| posting(digest(9), 0));
        let batch = filling.chain([posting(digest(1), row)]).collect();
        recorder.append(batch).await.expect("appended");
    }
    recorder.commit(indexed(&version, u64::MAX)).await.expect("committed");
    let found = lookup(&*storage.open(), &[digest(1)]).await;
    assert_eq!(found.len(), 1);
    let numbers = BTreeSet::from(order);
    assert!(found[0].rows.iter().map(|row| row.0).eq(numbers));
    assert_eq!(metastore.size().await.expect("a size").postings, 7 + 1);
}

/// Hazards E4 and E5: digests that differ in one of their first 64 bits belong to two people; what is
/// known of the others is an index's own affair.
pub(super) async fn digests_count_to_their_sixty_fourth_bit(storage: &dyn Storage) {
    let name = dataset("d");
    let metastore = storage.open();
    let neighbours: Vec<_> = (0..64)
        .map(|bit| {
            let mut bytes = *digest(1).as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            posting(IdentifierDigest::from_bytes(bytes), 100 + bit as u64)
        })
        .collect();
    let scanned = indexed(&object("a", "1", "e"), 500);
    record(&*metastore, &name, scanned, &neighbours).await.expect("recorded");
    let metastore = storage.open();
    assert_eq!(rows(&*metastore, digest(1)).await, [""; 0]);
    for neighbour in neighbours {
        let found = lookup(&*metastore, &[neighbour.digest]).await;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].rows.as_slice(), [neighbour.row]);
    }
}

/// Hazard E15: an identifier such as `unknown` is a subject of very many rows.
pub(super) async fn a_million_rows_of_one_identifier(storage: &dyn Storage) {
    let (name, version) = (dataset("d"), object("a", "1", "e"));
    let metastore = storage.open();
    let postings: Vec<_> = (0..1_000_000).map(|row| posting(digest(1), row * 3)).collect();
    record(&*metastore, &name, indexed(&version, 3_000_000), &postings).await.expect("recorded");
    let other = indexed(&object("b", "1", "e"), 3);
    record(&*metastore, &name, other, &[posting(digest(1), 2)]).await.expect("recorded");
    let found = lookup(&*storage.open(), &[digest(1)]).await;
    assert_eq!(found.len(), 2);
    assert!(found[0].rows.iter().map(|row| row.0).eq((0..1_000_000).map(|row| row * 3)));
    assert_eq!(found[1].object.key, ObjectKey::from("b"));
}

/// Hazard B14: keys are bytes; nothing is normalised, cut short or confused.
pub(super) async fn every_byte_may_stand_in_a_key(storage: &dyn Storage) {
    let name = dataset("d");
    let metastore = storage.open();
    let mut keys: Vec<Vec<u8>> = (0..=255).map(|byte| vec![b'k', byte, b'x']).collect();
    keys.extend([b"k".to_vec(), b"k/".to_vec(), b"k//".to_vec(), b"k/../k".to_vec(), vec![0]]);
    keys.extend([vec![0xff], vec![0xff, 0xff], "k\u{e9}".into(), "ke\u{301}".into()]);
    for (row, key) in keys.iter().enumerate() {
        let version = object_of(ObjectKey::new(key.as_slice()), "null", "e");
        record(&*metastore, &name, indexed(&version, 999), &[posting(digest(1), row as u64)])
            .await
            .expect("recorded");
    }
    let metastore = storage.open();
    for posting in lookup(&*metastore, &[digest(1)]).await {
        let row = usize::try_from(posting.rows.first().0).expect("small");
        assert_eq!(posting.object.key.as_bytes(), keys[row]);
    }
    keys.sort_unstable();
    keys.dedup();
    let listed = listing(&*metastore, &name).await;
    assert!(listed.iter().map(|scanned| scanned.object.key.as_bytes()).eq(&keys));
}

pub(super) async fn a_listing_goes_on_after_a_key(storage: &dyn Storage) {
    let name = dataset("d");
    let metastore = storage.open();
    let mut scans = Vec::new();
    for number in 0..1200 {
        let key = format!("{:04}", number * 7 % 1200);
        for version in ["v1", "v2"].iter().take(1 + usize::from(number % 5 == 0)) {
            scans.push(indexed(&object(&key, version, "e"), 1));
        }
    }
    let mut keys: Vec<ObjectKey> = scans.iter().map(|scanned| scanned.object.key.clone()).collect();
    for some in scans.chunks(60) {
        let recorded = some.iter().map(|scanned| record(&*metastore, &name, scanned.clone(), &[]));
        try_join_all(recorded).await.expect("recorded");
    }
    keys.sort_unstable();
    let metastore = storage.open();
    for after in [None, Some(keys[0].clone()), Some("0600+".into()), Some("zzz".into())] {
        let found: Vec<_> = metastore
            .indexed(&name, after.as_ref())
            .map_ok(|scanned| scanned.object.key)
            .try_collect()
            .await
            .expect("a listing");
        let expected = keys.iter().filter(|key| after.as_ref().is_none_or(|after| *key > after));
        assert!(found.iter().eq(expected), "after {after:?}");
    }
    assert_eq!(listing(&*metastore, &dataset("unknown")).await, []);
}

pub(super) async fn keys_are_looked_up_without_their_neighbours(storage: &dyn Storage) {
    let name = dataset("d");
    let metastore = storage.open();
    for key in ["a", "a/", "a/b", "b"] {
        for version in ["v1", "v2"] {
            let scanned = indexed(&object(key, version, "e"), 1);
            record(&*metastore, &name, scanned, &[]).await.expect("recorded");
        }
    }
    let other = indexed(&object("a", "v1", "e"), 7);
    record(&*metastore, &dataset("other"), other, &[]).await.expect("recorded");
    metastore.forget(&name, &[object("b", "v1", "e")]).await.expect("forgotten");
    let metastore = storage.open();
    for asked in [vec![], vec!["a"], vec!["a/", "b", "nowhere", "b"], vec!["A"]] {
        let keys: Vec<ObjectKey> = asked.iter().map(|key| ObjectKey::from(*key)).collect();
        let mut found = metastore.recorded(&name, &keys).await.expect("records");
        found.sort_by_key(|scanned| (scanned.object.key.clone(), scanned.object.version.clone()));
        let mut expected = listing(&*metastore, &name).await;
        expected.retain(|scanned| keys.contains(&scanned.object.key));
        assert_eq!(found, expected, "{asked:?}");
    }
}

pub(super) async fn what_was_not_read_whole_is_told(storage: &dyn Storage) {
    let name = dataset("d");
    let metastore = storage.open();
    let mut expected = Vec::new();
    for number in 0..40 {
        let object = object(&format!("k{number:02}"), "v", "e");
        let mut scanned = indexed(&object, 10);
        match (number % 4, &mut scanned.outcome) {
            (1, _) => scanned = unreadable(&object),
            (2, ScanOutcome::Indexed(summary)) => {
                // What a gap says of itself is not to be taken for what the scan says.
                let reason = "\"gaps\":{\"count\":0,".to_owned();
                summary.gaps.push(RowGap { row: RowNumber(3), byte: None, reason });
            }
            _ => {}
        }
        record(&*metastore, &name, scanned.clone(), &[]).await.expect("recorded");
        if !scanned.is_whole() {
            expected.push(scanned);
        }
    }
    assert_eq!(expected.len(), 20);
    let told: Vec<_> = storage.open().flawed(&name).try_collect().await.expect("a listing");
    assert_eq!(told, expected);
}

pub(super) async fn every_posting_of_a_version_is_told(storage: &dyn Storage) {
    let (name, other) = (dataset("d"), dataset("other"));
    let metastore = storage.open();
    let some = |subjects: std::ops::Range<u64>, row: u64| -> Vec<RowPosting> {
        subjects.map(|subject| posting(digest(subject), row + subject % 7)).collect()
    };
    let large = some(0..70_000, 0);
    let (first, second, replacing) = (some(5..20, 100), some(10..40, 200), some(0..3, 300));
    for (name, key, version, etag, postings) in [
        (&name, "large", "null", "e", &large),
        (&name, "a", "v1", "e", &first),
        (&name, "a", "v2", "e", &second),
        (&name, "b", "null", "old", &first),
        (&name, "b", "null", "new", &replacing),
        (&name, "gone", "null", "e", &first),
        (&name, "empty", "null", "e", &Vec::new()),
        (&other, "a", "v1", "e", &replacing),
    ] {
        let scanned = indexed(&object(key, version, etag), 100_000);
        record(&*metastore, name, scanned, postings).await.expect("recorded");
    }
    metastore.forget(&name, &[object("gone", "null", "e")]).await.expect("forgotten");
    let (old, new) = (object("a", "v1", "e"), object("a", "v3", "f"));
    let erased = vec![digest(7)];
    let order = Succession {
        dataset: name.clone(),
        old,
        new,
        erased,
        keeps_old: true,
        landmarks: Landmarks::default(),
    };
    metastore.succeed(&order).await.expect("succeeded");

    let asked = [
        object("b", "null", "new"),
        object("a", "v2", "e"),
        object("nowhere", "null", "e"),
        object("large", "null", "e"),
        object("b", "null", "old"),
        object("empty", "null", "e"),
        object("a", "v3", "f"),
        object("gone", "null", "e"),
        object("a", "v1", "e"),
    ];
    let left: Vec<_> = first.iter().filter(|it| it.digest != digest(7)).copied().collect();
    let expected = [(0, &replacing), (1, &second), (3, &large), (6, &left), (8, &first)];
    let one = |(place, postings): (usize, &Vec<RowPosting>)| {
        vec![ObjectPostings { place, postings: postings.clone() }]
    };
    let expected: Vec<_> = expected.into_iter().flat_map(one).collect();
    let metastore = storage.open();
    let found: Vec<_> =
        metastore.postings(&name, &asked).try_collect().await.expect("every posting");
    assert!(told(found, &large) == told(expected, &large), "told is what was recorded");

    for (name, asked) in [(&dataset("unknown"), &asked[..]), (&name, &[])] {
        let found: Vec<_> = metastore.postings(name, asked).try_collect().await.expect("nothing");
        assert_eq!(told(found, &[]), []);
    }
}

pub(super) async fn a_lookup_of_thousands_merges_nothing(storage: &dyn Storage) {
    let name = dataset("d");
    let metastore = storage.open();
    for part in 0..4_u64 {
        let version = object(&format!("part-{part}"), "1", "e");
        let postings: Vec<_> =
            (0..5000).map(|number| posting(digest(number), part * 5000 + number)).collect();
        record(&*metastore, &name, indexed(&version, 20_000), &postings).await.expect("recorded");
    }
    let mut wanted: Vec<_> = (0..4000).chain(1_000_000..1_001_000).map(digest).collect();
    wanted.push(digest(0));
    let found = lookup(&*storage.open(), &wanted).await;
    assert_eq!(found.len(), 4 * 4000, "asking twice for one identifier answers once");
    for posting in found {
        assert_eq!(posting.rows.count().0, 1);
    }
    assert!(lookup(&*metastore, &[]).await.is_empty());
}

/// Hazard E12: an index that was filled under another key would find nobody.
pub(super) async fn another_key_is_refused(storage: &dyn Storage) {
    let (first, second) = (DigestKey::new([1; 32]), DigestKey::new([2; 32]));
    let metastore = storage.open();
    metastore.bind(&first.check_value()).await.expect("bound");
    metastore.bind(&first.check_value()).await.expect("bound again");
    let reopened = storage.open();
    reopened.bind(&first.check_value()).await.expect("bound by another");
    let refused = reopened.bind(&second.check_value()).await.expect_err("another key");
    assert_eq!(refused.kind(), MetastoreErrorKind::WrongKey);
}
