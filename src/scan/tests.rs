use super::*;
use crate::domain::dataset::{DatasetName, ErasePolicy, Location};
use crate::domain::field::IdentifierField;
use crate::domain::identifier::{Identifier, IdentifierType, Namespace, RawValue};
use crate::domain::object::ObjectKey;
use crate::lake::memory::MemoryLake;

fn key() -> DigestKey {
    DigestKey::new([3; 32])
}

fn reader() -> DatasetReader {
    let dataset = Dataset {
        name: DatasetName::new("d"),
        location: Location::Directory("/lake".into()),
        include: Vec::new(),
        exclude: Vec::new(),
        reading: Reading::default(),
        identifiers: vec![IdentifierField {
            namespace: Namespace::new("user"),
            path: "id".parse().expect("a path"),
            kind: IdentifierType::String,
        }],
        erase: ErasePolicy::default(),
    };
    DatasetReader::new(&dataset, &key())
}

fn subject(value: &str) -> IdentifierDigest {
    let raw = RawValue::Text(value.as_bytes());
    let identifier = Identifier::new(Namespace::new("user"), IdentifierType::String, raw);
    identifier.expect("an identifier").digest(&key())
}

fn lake(text: &str) -> (Arc<dyn Lake>, ObjectVersion) {
    let lake = MemoryLake::unversioned();
    let object = lake.put(&ObjectKey::from("a.jsonl"), text.to_owned());
    (Arc::new(lake), object)
}

#[tokio::test]
async fn a_scan_hands_over_every_posting() {
    let text: String = (0..30_000).map(|row| format!("{{\"id\":\"u{}\"}}\n", row % 7)).collect();
    let (lake, object) = lake(&text);
    let mut scan = scan_object(lake, &reader(), &object);
    let mut found = Vec::new();
    while let Some(batch) = scan.next().await {
        found.extend(batch);
    }
    let summary = scan.finish().await.expect("scanned");
    assert_eq!(summary.rows.0, 30_000);
    for (row, posting) in found.iter().enumerate() {
        assert_eq!(posting.row.0, row as u64);
        assert_eq!(posting.digest, subject(&format!("u{}", row % 7)));
    }
    assert_eq!(found.len(), 30_000);
}

#[tokio::test]
async fn subjects_are_found_without_an_index() {
    let (lake, object) = lake("{\"id\":\"a\"}\n{\"id\":\"b\"}\nbroken\n{\"id\":\"a\"}\n");
    let subjects = Arc::new(HashSet::from([subject("a"), subject("z")]));
    let found = find_rows(lake, &reader(), &object, subjects).await.expect("found");
    let rows: Vec<_> = found.rows[&subject("a")].iter().map(|row| row.0).collect();
    assert_eq!((rows, found.rows.len()), (vec![0, 3], 1));
    assert_eq!(found.summary.gaps.count, 1);
}

#[tokio::test]
async fn a_scan_without_a_receiver_stops() {
    let text: String = (0..200_000).map(|row| format!("{{\"id\":\"u{row}\"}}\n")).collect();
    let (lake, object) = lake(&text);
    let scan = scan_object(lake, &reader(), &object);
    assert!(matches!(scan.finish().await, Err(ScanError::Stopped)));
}

/// Hazard D13: a panic in a reader concerns one object, and tells nothing of its content.
#[tokio::test]
async fn a_panic_makes_one_object_unreadable() {
    let (lake, object) = lake("{\"id\":\"a\"}\n");
    let outcome: Result<(), _> = on_object(Arc::clone(&lake), &reader(), &object, |_, source| {
        let bytes = source.read_at(0, 10)?;
        panic!("{bytes:?}");
    })
    .await;
    let Err(ScanError::Unreadable(unreadable)) = outcome else { panic!("unreadable") };
    assert!(!unreadable.reason.contains("id"), "{}", unreadable.reason);
    assert!(fingerprint(lake, &reader(), &object, None).await.is_ok());
}

/// Hazard E2: a failure of the lake is not recorded as a fault of the object, which nobody would read
/// again.
#[tokio::test]
async fn a_failing_lake_makes_nothing_unreadable() {
    let lake = Arc::new(MemoryLake::unversioned());
    let key = ObjectKey::from("a.jsonl");
    let object = lake.put(&key, "{\"id\":\"a\"}\n".repeat(100_000));
    let other = Arc::clone(&lake);
    let outcome: Result<(), _> = on_object(lake, &reader(), &object, move |_, source| {
        other.put(&key, "overwritten");
        let failed = source.read_at(600_000, 10);
        assert!(failed.is_err());
        Err(FormatError::unreadable("the format took it for its own"))
    })
    .await;
    assert!(matches!(outcome, Err(ScanError::Lake(error)) if is_gone(&error)));
}
