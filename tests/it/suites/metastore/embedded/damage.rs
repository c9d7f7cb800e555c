//! What a disk does to the index.

use super::*;

async fn filled(folder: &Folder) -> Embedded {
    let metastore = folder.embedded();
    let name = dataset("d");
    for part in 0..2_u64 {
        let postings: Vec<_> =
            (0..1500).map(|row| posting(digest(row % 900), part * 1500 + row)).collect();
        let scanned = indexed(&object(&format!("{part}"), "1", "e"), 3000);
        record(&metastore, &name, scanned, &postings).await.expect("recorded");
    }
    metastore
}

/// Hazard D10: whatever byte of a run is damaged, the check finds it, and no lookup goes wrong.
#[test]
fn a_flipped_byte_of_a_run_is_found() {
    block_on(async {
        let folder = Folder::new();
        let metastore = filled(&folder).await;
        let subjects: Vec<_> = (0..900).map(digest).collect();
        let expected = lookup(&metastore, &subjects).await;
        drop(metastore);
        for path in runs_on_disk(&folder.path()) {
            let bytes = std::fs::read(&path).expect("read");
            let blocks = bytes.len() / (BLOCK_BYTES + 8) * BLOCK_BYTES;
            let places = (0..blocks).step_by(331).chain(blocks..bytes.len());
            for at in places {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << (at % 8);
                std::fs::write(&path, &damaged).expect("written");
                let metastore = folder.embedded();
                let is_found = match metastore.check().await {
                    Ok(checked) => !checked.damage.is_empty(),
                    Err(error) => error.kind() == MetastoreErrorKind::Corrupt,
                };
                assert!(is_found, "byte {at}");
                let found: Result<Vec<_>, _> =
                    futures::TryStreamExt::try_collect(metastore.lookup(&subjects[..40])).await;
                for posting in found.unwrap_or_default() {
                    assert!(expected.contains(&posting), "byte {at}");
                }
            }
            std::fs::write(&path, &bytes).expect("written");
        }
        sound(&folder.embedded()).await;
    });
}

/// Hazard D10: a run that is cut short, or gone, is damage that is named.
#[test]
fn a_run_that_is_cut_short_or_gone_is_damage() {
    block_on(async {
        let folder = Folder::new();
        drop(filled(&folder).await);
        let path = runs_on_disk(&folder.path()).remove(0);
        let bytes = std::fs::read(&path).expect("read");
        for keep in [0, 1, 4096, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..keep]).expect("written");
            let error = folder.embedded().check().await.expect_err("damaged");
            assert_eq!(error.kind(), MetastoreErrorKind::Corrupt);
        }
        std::fs::remove_file(&path).expect("removed");
        let error = folder.embedded().check().await.expect_err("damaged");
        assert_eq!(error.kind(), MetastoreErrorKind::Corrupt);
        assert!(error.to_string().contains("lacuna index --rebuild"), "{error}");
    });
}

/// Hazard D10: blocks that stand in each other's place have good checksums, and are found all the same.
#[test]
fn blocks_in_each_others_place_are_found() {
    block_on(async {
        let folder = Folder::new();
        drop(filled(&folder).await);
        let path = runs_on_disk(&folder.path()).remove(0);
        let mut bytes = std::fs::read(&path).expect("read");
        let (first, rest) = bytes.split_at_mut(BLOCK_BYTES);
        first.swap_with_slice(&mut rest[..BLOCK_BYTES]);
        std::fs::write(&path, bytes).expect("written");
        let checked = folder.embedded().check().await.expect("checked");
        assert!(checked.damage.iter().any(|it| it.contains("out of order")), "{checked:?}");
    });
}

/// A count that does not fit the postings is named with its object.
#[test]
fn a_wrong_count_is_found() {
    block_on(async {
        let folder = Folder::new();
        drop(filled(&folder).await);
        let path = folder.path().join("catalogue.sqlite");
        let connection = rusqlite::Connection::open(&path).expect("opened");
        let change = "UPDATE objects SET postings = postings + 1 WHERE key = CAST('1' AS BLOB)";
        assert_eq!(connection.execute(change, []).expect("changed"), 1);
        let checked = folder.embedded().check().await.expect("checked");
        assert_eq!(checked.damage, ["d: 1: 1500 postings instead of 1501"]);
    });
}
