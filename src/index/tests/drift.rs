//! What is scanned and what is forgotten, and what is not.

use super::*;

#[tokio::test]
async fn what_did_not_change_is_not_read() {
    let (lake, tools) = ground();
    let task = task("d", "");
    for number in 0..50 {
        lake.put(&format!("k{number:02}"), "{\"id\":\"a\"}\n{\"id\":\"b\"}\n");
    }
    let report = indexed(&tools, &task).await;
    assert_eq!((report.scanned, report.unchanged, report.coverage.rows.0), (50, 0, 100));
    assert!(lake.reads() >= 50);
    let report = indexed(&tools, &task).await;
    assert_eq!((report.scanned, report.unchanged, report.coverage.rows.0), (0, 50, 100));
    assert_eq!((lake.reads(), report.coverage.indexed), (0, 50));
    assert_eq!(find(&tools, "b").await.len(), 50);

    lake.put("k07", "{\"id\":\"c\"}\n");
    let report = indexed(&tools, &task).await;
    assert_eq!((report.scanned, report.unchanged), (1, 50), "the superseded version stays");
    let full = IndexTask { is_full: true, ..task };
    assert_eq!(indexed(&tools, &full).await.scanned, 51);
}

/// Hazards C1 and C4: every kept version is indexed, also beneath a delete marker.
#[tokio::test]
async fn superseded_and_hidden_versions_are_indexed() {
    let (lake, tools) = ground();
    lake.put("k", "{\"id\":\"old\"}\n");
    lake.put("k", "{\"id\":\"new\"}\n");
    lake.put("hidden", "{\"id\":\"old\"}\n");
    lake.lake.delete(&ObjectKey::from("hidden"));
    let report = indexed(&tools, &task("d", "")).await;
    assert_eq!((report.coverage.listed, report.coverage.indexed), (3, 3));
    assert_eq!(find(&tools, "old").await, ["hidden: [0]", "k: [0]"]);
    assert_eq!(find(&tools, "new").await, ["k: [0]"]);
}

/// Hazard E1: an overwritten or removed object leaves no stale posting.
#[tokio::test]
async fn the_index_follows_an_unversioned_lake() {
    let lake = Watched::new(MemoryLake::unversioned());
    let tools = tools(lake.clone(), Arc::new(MemoryMetastore::default()));
    let task = task("d", "");
    lake.put("a", "{\"id\":\"x\"}\n");
    lake.put("b", "{\"id\":\"x\"}\n");
    indexed(&tools, &task).await;
    lake.put("a", "{\"id\":\"y\"}\n{\"id\":\"x\"}\n");
    let gone = lake.lake.versions(&ObjectKey::from("b")).await.expect("versions").remove(0);
    lake.delete_version(&gone.object).await.expect("deleted");
    let report = indexed(&tools, &task).await;
    assert_eq!((report.scanned, report.coverage.listed), (1, 1));
    assert!(report.forgotten >= 1);
    assert_eq!(find(&tools, "x").await, ["a: [1]"]);
}

/// Design promise 5: a version that a listing happens to leave out is not forgotten while it is there.
#[tokio::test]
async fn a_version_is_forgotten_only_when_it_is_gone() {
    let (lake, tools) = ground();
    let task = task("d", "");
    let object = lake.put("k", "{\"id\":\"x\"}\n");
    indexed(&tools, &task).await;
    lake.hidden.lock().unwrap().insert(ObjectKey::from("k"));
    let report = indexed(&tools, &task).await;
    assert_eq!((report.forgotten, find(&tools, "x").await.len()), (0, 1));
    lake.delete_version(&object).await.expect("deleted");
    let report = indexed(&tools, &task).await;
    assert_eq!((report.forgotten, find(&tools, "x").await.len()), (1, 0));
}

#[tokio::test]
async fn other_settings_scan_anew() {
    let (lake, tools) = ground();
    lake.put("k", "{\"id\":\"x\",\"owner\":\"y\"}\n");
    let mut task = task("d", "");
    indexed(&tools, &task).await;
    task.dataset.identifiers.push(field("owner"));
    assert_eq!(indexed(&tools, &task).await.scanned, 1);
    assert_eq!(find(&tools, "y").await, ["k: [0]"]);
    task.dataset.identifiers.remove(0);
    assert_eq!(indexed(&tools, &task).await.scanned, 1);
    assert_eq!(find(&tools, "x").await, [""; 0]);
    assert_eq!(indexed(&tools, &task).await.scanned, 0);
}

/// Hazard E2: everything below the location is indexed, unreadable, excluded or failed, and named.
#[tokio::test]
async fn the_ledger_sums_exactly() {
    let (lake, tools) = ground();
    lake.put("in/a.json", "{\"id\":\"x\"}\nbroken\n{\"id\":[1]}\n");
    lake.put("in/b.json", "\u{1f}\u{8b} not gzip at all");
    lake.put("in/c.csv", "id\nx\n");
    lake.put("in/skip/d.json", "{\"id\":\"x\"}\n");
    lake.put("in/t/_delta_log/0.json", "{}");
    lake.put("in/t/part.json", "{\"id\":\"x\"}\n");
    lake.put("in/e.json", "{\"id\":\"x\"}\n");
    lake.put("out/f.json", "{\"id\":\"x\"}\n");
    lake.fail("in/e.json", LakeErrorKind::Denied);
    let mut task = task("d", "in/");
    task.dataset.include = vec!["**/*.json".to_owned()];
    task.dataset.exclude = vec!["skip/**".to_owned()];
    let report = indexed(&tools, &task).await;
    let Coverage { listed, indexed: whole, unreadable, excluded, failed, .. } = report.coverage;
    assert_eq!((listed, whole, unreadable, excluded, failed), (7, 1, 1, 4, 1), "{report:?}");
    assert_eq!(report.coverage.unreadable_rows, 1);
    let named: Vec<_> = gaps(&report).into_iter().collect();
    let expected =
        [("in/c.csv", 1), ("in/skip/d.json", 1), ("in/t/", 2), ("in/b.json", 1), ("in/e.json", 1)];
    let expected: Vec<_> = expected.map(|(key, count)| (key.to_owned(), count)).into();
    assert_eq!(named, expected);
    assert_eq!(find(&tools, "x").await, ["in/a.json: [0]"]);

    lake.faults.lock().unwrap().clear();
    let known = coverage(&*tools.metastore, &task.dataset, &[]).await.expect("a ledger");
    assert_eq!((known.listed, known.indexed, known.unreadable), (2, 1, 1));
    assert_eq!(indexed(&tools, &task).await.coverage.indexed, 2, "what was denied is tried again");
}

#[tokio::test]
async fn an_object_has_one_dataset() {
    let (lake, tools) = ground();
    lake.put("a.json", "{\"id\":\"x\"}\n");
    lake.put("b.json", "{\"id\":\"x\"}\n");
    let mut first = task("first", "");
    first.dataset.include = vec!["a*".to_owned()];
    let second = IndexTask { earlier: vec![first.dataset.clone()], ..task("second", "") };
    assert_eq!(indexed(&tools, &first).await.coverage.indexed, 1);
    let report = indexed(&tools, &second).await;
    assert_eq!((report.coverage.indexed, report.coverage.excluded), (1, 1));
    assert_eq!(find(&tools, "x").await, ["a.json: [0]", "b.json: [0]"]);
}

/// Hazard E8: a row's number is the line's in JSON lines, the record's in CSV, as the format says.
#[tokio::test]
async fn row_numbers_are_the_formats() {
    let (lake, tools) = ground();
    lake.put("a.jsonl", "{\"id\":\"x\"}\n\n{\"id\":\"x\"}\r\n{\"id\":\"x\"}");
    lake.put("b.csv", "id,note\nx,\"two\nlines\"\ny,\nx,\n");
    indexed(&tools, &task("d", "")).await;
    assert_eq!(find(&tools, "x").await, ["a.jsonl: [0, 2, 3]", "b.csv: [0, 2]"]);
}

#[tokio::test]
async fn a_directory_is_indexed_into_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let lake = folder.path().join("lake");
    std::fs::create_dir_all(lake.join("deep")).expect("made");
    std::fs::write(lake.join("a.jsonl"), "{\"id\":\"x\"}\n").expect("written");
    std::fs::write(lake.join("deep/b.jsonl"), "{\"id\":\"y\"}\n{\"id\":\"x\"}\n").expect("written");
    std::os::unix::fs::symlink(lake.join("a.jsonl"), lake.join("link.jsonl")).expect("linked");
    let open = || {
        let metastore = Embedded::open(&folder.path().join("index")).expect("opened");
        let lake = DirectoryLake::new(lake.clone()).expect("a lake");
        tools(Arc::new(lake), Arc::new(metastore))
    };
    let mut task = task("d", "");
    task.dataset.location = Location::Directory(lake.clone());
    let report = indexed(&open(), &task).await;
    assert_eq!((report.coverage.indexed, report.coverage.excluded), (2, 1), "{report:?}");
    assert_eq!(find(&open(), "x").await, ["a.jsonl: [0]", "deep/b.jsonl: [1]"]);
    std::fs::remove_file(lake.join("a.jsonl")).expect("removed");
    std::fs::write(lake.join("deep/b.jsonl"), "{\"id\":\"z\"}\n").expect("written");
    let report = indexed(&open(), &task).await;
    assert_eq!((report.scanned, report.coverage.indexed), (1, 1));
    assert_eq!(find(&open(), "x").await, [""; 0]);
    assert_eq!(find(&open(), "z").await, ["deep/b.jsonl: [0]"]);

    // A link in place of a file is no object: its target is not the dataset's to change.
    std::fs::rename(lake.join("deep/b.jsonl"), folder.path().join("elsewhere")).expect("moved");
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), lake.join("deep/b.jsonl"))
        .expect("linked");
    let report = indexed(&open(), &task).await;
    assert_eq!((report.forgotten, report.coverage.excluded), (1, 2));
    assert_eq!(find(&open(), "z").await, [""; 0]);
}
