//! What a failing disk leaves of the index.

use std::collections::BTreeSet;

use super::*;
use crate::domain::Timestamp;
use crate::domain::dataset::{Compression, FormatName, ScanSettings};
use crate::domain::landmark::Landmarks;
use crate::domain::object::{ETag, VersionId};
use crate::domain::posting::{RowGaps, RowPosting, ScanOutcome, ScanSummary};
use crate::domain::row::{RowCount, RowNumber};
use crate::metastore::packing::subject::digest_of;

const SMALL: Settings = Settings { postings: 1000, runs: 100 };

fn object(key: &str, etag: &str) -> ObjectVersion {
    ObjectVersion {
        key: ObjectKey::from(key),
        version: VersionId::null(),
        etag: ETag::new(etag),
        size_bytes: 1,
        modified_at: Timestamp::UNIX_EPOCH,
    }
}

fn scanned(object: ObjectVersion, rows: u64) -> ScannedObject {
    let summary = ScanSummary {
        format: FormatName::Jsonl,
        compression: Compression::None,
        rows: RowCount(rows),
        gaps: RowGaps::default(),
        foreign_values: 0,
        landmarks: Landmarks::default(),
    };
    ScannedObject {
        object,
        settings: ScanSettings::new("settings"),
        scanned_at: Timestamp::UNIX_EPOCH,
        outcome: ScanOutcome::Indexed(summary),
    }
}

fn digest(number: u64) -> IdentifierDigest {
    digest_of((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn name() -> DatasetName {
    DatasetName::new("d")
}

/// Records an object of `rows` rows, in two pieces.
async fn record(index: &Embedded, key: &str, rows: u64) -> Result<()> {
    let object = object(key, "e");
    let mut recorder = index.record(&name(), &object).await?;
    for piece in [0..rows / 2, rows / 2..rows] {
        let of = |row| RowPosting { digest: digest(row % 50), row: RowNumber(row) };
        recorder.append(piece.map(of).collect()).await?;
    }
    recorder.commit(scanned(object, rows)).await
}

/// The rows of subject 7, by object and ETag.
async fn rows_of_seven(index: &Embedded) -> BTreeSet<(String, String, u64)> {
    let found: Vec<_> = index.lookup(&[digest(7)]).try_collect().await.expect("found");
    let told = |posting: Posting| {
        let ObjectVersion { key, etag, .. } = posting.object;
        (key.to_string(), etag.as_str().to_owned(), posting.rows.count().0)
    };
    found.into_iter().map(told).collect()
}

fn kept(key: &str, etag: &str, rows: u64) -> (String, String, u64) {
    (key.to_owned(), etag.to_owned(), rows)
}

async fn sound(index: &Embedded) {
    assert_eq!(index.check().await.expect("checked").damage, [""; 0]);
}

/// Hazard D9: wherever the disk is full or fails, it is told, nothing that was told before is lost, and
/// the next attempt on a disk that works ends well. What was not flushed is not taken for written.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_the_index_as_it_was() {
    let mut steps = 0;
    loop {
        let folder = tempfile::tempdir().expect("a folder");
        let index = Embedded::open_with(folder.path(), SMALL).expect("opened");
        record(&index, "before", 100).await.expect("recorded");
        index.shared.files.fault.after(steps);
        let refused = record(&index, "after", 2200).await;
        if let Err(error) = &refused {
            assert_eq!(error.kind(), MetastoreErrorKind::Unavailable);
            assert!(error.to_string().contains("the disk is full"), "{error}");
        }
        let was_met = index.shared.files.fault.was_met();
        assert_eq!(refused.is_err(), was_met, "step {steps}");
        index.shared.files.fault.after(i64::MAX);
        let mut expected = BTreeSet::from([kept("before", "e", 2)]);
        if !was_met {
            expected.insert(kept("after", "e", 44));
        }
        assert_eq!(rows_of_seven(&index).await, expected, "step {steps}");
        sound(&index).await;
        record(&index, "after", 2200).await.expect("recorded again");
        expected.insert(kept("after", "e", 44));
        drop(index);
        let index = Embedded::open_with(folder.path(), SMALL).expect("opened");
        assert_eq!(rows_of_seven(&index).await, expected, "step {steps}");
        sound(&index).await;
        if !was_met {
            break;
        }
        steps += 1;
    }
    assert!(steps > 6, "{steps} steps");
}

/// Hazards D1 and D9: a removal that was broken off anywhere is either not begun or goes to its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_was_broken_off_is_carried_out() {
    let mut steps = 0;
    let mut settled_later = 0;
    loop {
        let folder = tempfile::tempdir().expect("a folder");
        let index = Embedded::open_with(folder.path(), SMALL).expect("opened");
        for key in ["a", "b"] {
            record(&index, key, 900).await.expect("recorded");
        }
        let order = |key: &str| Succession {
            dataset: name(),
            old: object(key, "e"),
            new: object(key, "f"),
            erased: vec![digest(7), digest(8)],
            keeps_old: false,
            landmarks: Landmarks::default(),
        };
        index.shared.files.fault.after(steps);
        let ended = index.succeed(&order("a")).await;
        let was_met = index.shared.files.fault.was_met();
        assert_eq!(ended.is_err(), was_met, "step {steps}");
        // As after a crash: nothing of this handle's memory is left.
        let redos = |connection: &Connection| runs::redos(connection);
        let left = Arc::clone(&index.shared).read(redos).await.expect("read").len();
        settled_later += left;
        index.shared.files.fault.after(0);
        drop(index);
        let index = Embedded::open_with(folder.path(), SMALL).expect("opened");
        let is_done = !was_met || left > 0;
        let mut expected = BTreeSet::from([kept("b", "e", 18)]);
        if !is_done {
            expected.insert(kept("a", "e", 18));
        }
        assert_eq!(rows_of_seven(&index).await, expected, "step {steps}");
        sound(&index).await;
        index.succeed(&order("a")).await.expect("succeeded");
        index.succeed(&order("b")).await.expect("succeeded");
        assert_eq!(rows_of_seven(&index).await, BTreeSet::new());
        assert_eq!(index.size().await.expect("a size").postings, 2 * (900 - 36));
        sound(&index).await;
        if !was_met {
            break;
        }
        steps += 1;
    }
    assert!(steps > 4 && settled_later > 1, "{steps} steps, {settled_later} carried out later");
}

/// Hazard D10: a redo file that is damaged is not carried out, nor passed over.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_redo_file_is_refused() {
    for steps in 0.. {
        let folder = tempfile::tempdir().expect("a folder");
        let index = Embedded::open_with(folder.path(), SMALL).expect("opened");
        record(&index, "a", 900).await.expect("recorded");
        let (old, new) = (object("a", "e"), object("a", "f"));
        let erased = vec![digest(7)];
        let order = Succession {
            dataset: name(),
            old,
            new,
            erased,
            keeps_old: false,
            landmarks: Landmarks::default(),
        };
        index.shared.files.fault.after(steps);
        let ended = index.succeed(&order).await;
        assert!(ended.is_err(), "a redo file was left behind before");
        let redos = |connection: &Connection| runs::redos(connection);
        let left = Arc::clone(&index.shared).read(redos).await.expect("read");
        drop(index);
        let [redo] = &left[..] else { continue };
        let path = folder.path().join(redo);
        let bytes = std::fs::read(&path).expect("read");
        for at in (0..bytes.len() - 30).step_by(577).chain(bytes.len() - 30..bytes.len()) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            std::fs::write(&path, damaged).expect("written");
            let refused = Embedded::open_with(folder.path(), SMALL).expect_err("damaged");
            assert_eq!(refused.kind(), MetastoreErrorKind::Corrupt, "byte {at}");
        }
        std::fs::write(&path, &bytes[..bytes.len() - 1]).expect("written");
        assert!(Embedded::open_with(folder.path(), SMALL).is_err());
        std::fs::write(&path, bytes).expect("written");
        let index = Embedded::open_with(folder.path(), SMALL).expect("opened");
        assert_eq!(rows_of_seven(&index).await, BTreeSet::new());
        sound(&index).await;
        return;
    }
}

/// A merge that a removal overtakes is void: it would bring the removed back.
#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_was_overtaken_is_void() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = Embedded::open_with(folder.path(), SMALL).expect("opened");
    for key in ["a", "b", "c"] {
        record(&index, key, 300).await.expect("recorded");
    }
    let claim = |session: &mut Session| {
        let runs = runs::all(&session.connection)?;
        runs.iter().try_for_each(|run| runs::claim(&session.connection, run.id, "mine-1"))?;
        Ok(runs.len())
    };
    assert_eq!(index.write(claim).await.expect("claimed"), 3);
    let order = Succession {
        dataset: name(),
        old: object("a", "e"),
        new: object("a", "f"),
        erased: vec![digest(7)],
        keeps_old: false,
        landmarks: Landmarks::default(),
    };
    index.succeed(&order).await.expect("succeeded");
    let claims = |session: &mut Session| {
        let runs = runs::all(&session.connection)?;
        Ok(runs.iter().filter(|run| run.claim.is_some()).count())
    };
    assert_eq!(index.write(claims).await.expect("read"), 2, "the run that lost postings is free");
    index.compact().await.expect("compacted");
    let expected = BTreeSet::from([kept("b", "e", 6), kept("c", "e", 6)]);
    assert_eq!(rows_of_seven(&index).await, expected);
    sound(&index).await;
}

/// A subject of very many rows in very many objects is told in steps, each object once and whole.
#[test]
fn a_lookup_in_steps_tells_each_object_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = Files::new(folder.path());
    let mut runs = Vec::new();
    for part in 0..3_u64 {
        let mut run = run::RunWriter::new(&files).expect("begun");
        for object in 0..40_000_u64 {
            for row in 0..3 + object % 5 {
                let row = row * 3 + part;
                let posting = crate::metastore::packing::PackedPosting { subject: 9, object, row };
                run.push(posting).expect("pushed");
            }
        }
        let facts = run.finish().expect("written").expect("not empty");
        let file = files.open(&facts.file).expect("opened").expect("there");
        runs.push(Arc::new(Run::new(part as i64, file, facts.blocks).expect("sound")));
    }
    let mut told = Vec::new();
    let (mut from, mut steps, mut hints) = (0, 0, Default::default());
    let mut reader = lookup::Reader::new(&runs);
    loop {
        let next = reader.read(9, (from, &mut hints), 500).expect("read");
        told.extend_from_slice(reader.rows());
        steps += 1;
        match next {
            Some(next) => from = next,
            None => break,
        }
    }
    let expected: Vec<_> = (0..40_000)
        .flat_map(|object| (0..9 + object % 5 * 3).map(move |row| (object, row)))
        .collect();
    assert!(told == expected, "{} of {} rows", told.len(), expected.len());
    assert!(steps > 3, "{steps} steps");
}
