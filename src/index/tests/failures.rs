//! What goes wrong in the middle, and what the next run makes of it.

use proptest::prelude::*;

use super::*;

/// Hazard D7: one object that fails does not stop the others, and is tried again.
#[tokio::test]
async fn a_failing_object_stops_no_other() {
    let (lake, tools) = ground();
    let task = task("d", "");
    for number in 0..9 {
        lake.put(&format!("k{number}"), "{\"id\":\"x\"}\n");
    }
    for (name, kind) in [
        ("k1", LakeErrorKind::Unavailable),
        ("k3", LakeErrorKind::Archived),
        ("k5", LakeErrorKind::Corrupt),
        ("k7", LakeErrorKind::Other),
    ] {
        lake.fail(name, kind);
    }
    let report = indexed(&tools, &task).await;
    assert_eq!((report.coverage.indexed, report.coverage.failed), (5, 4));
    assert_eq!(gaps(&report).len(), 4);
    lake.faults.lock().unwrap().clear();
    let report = indexed(&tools, &task).await;
    assert_eq!((report.scanned, report.coverage.indexed, report.coverage.failed), (4, 9, 0));
    assert_eq!(find(&tools, "x").await.len(), 9);
}

/// Hazard F8: an object that changes while the listing runs is looked at again, in the same run.
#[tokio::test]
async fn an_object_that_changes_under_the_scan_is_indexed_as_it_is_then() {
    for is_versioned in [true, false] {
        let lake = if is_versioned { MemoryLake::versioned() } else { MemoryLake::unversioned() };
        let lake = Watched::new(lake);
        let tools = tools(lake.clone(), Arc::new(MemoryMetastore::default()));
        lake.put("a", "{\"id\":\"x\"}\n");
        lake.put("b", "{\"id\":\"x\"}\n");
        let later = (ObjectKey::from("a"), "{\"id\":\"y\"}\n{\"id\":\"y\"}\n".to_owned());
        lake.overwrite.lock().unwrap().push(later);
        let report = indexed(&tools, &task("d", "")).await;
        let failed = report.coverage.failed;
        assert_eq!((report.coverage.listed, report.coverage.indexed, failed), (2, 2, 0));
        // A version that is kept was read as it was listed; the next run finds the newer one.
        let expected = if is_versioned { 0 } else { 1 };
        assert_eq!(find(&tools, "y").await.len(), expected, "{is_versioned}");
        indexed(&tools, &task("d", "")).await;
        assert_eq!(find(&tools, "y").await, ["a: [0, 1]"]);
    }
}

#[tokio::test]
async fn an_object_that_never_rests_is_named() {
    let lake = Watched::new(MemoryLake::unversioned());
    let tools = tools(lake.clone(), Arc::new(MemoryMetastore::default()));
    lake.put("a", "{\"id\":\"x\"}\n");
    let changes =
        (0..40).map(|number| (ObjectKey::from("a"), format!("{{\"id\":\"{number}\"}}\n")));
    lake.overwrite.lock().unwrap().extend(changes);
    let report = indexed(&tools, &task("d", "")).await;
    assert_eq!((report.coverage.listed, report.coverage.failed), (1, 1));
    assert_eq!(gaps(&report), [("a".to_owned(), 1)]);
}

/// Hazard D8: a run that is stopped has recorded whole objects, and the next one goes on.
#[tokio::test]
async fn a_stopped_run_is_taken_up_again() {
    let (lake, tools) = ground();
    let task = task("d", "");
    for number in 0..30 {
        lake.put(&format!("k{number:02}"), "{\"id\":\"x\"}\n");
    }
    struct StopAfter(Stop, AtomicU64);
    impl Observer for StopAfter {
        fn event(&self, event: crate::domain::observe::Event<'_>) {
            let is_finished = matches!(event, crate::domain::observe::Event::Finished { .. });
            if is_finished && self.1.fetch_add(1, Ordering::Relaxed) == 6 {
                self.0.request();
            }
        }
    }
    let stop = Stop::default();
    let observer = Arc::new(StopAfter(stop.clone(), AtomicU64::new(0)));
    let stopped = IndexTools { stop, observer, ..tools.clone() };
    let report = indexed(&stopped, &task).await;
    assert!(report.was_interrupted && report.scanned >= 7 && report.scanned < 30, "{report:?}");
    assert_eq!(find(&tools, "x").await.len() as u64, report.scanned);
    let rest = indexed(&tools, &task).await;
    assert_eq!((rest.scanned, rest.unchanged), (30 - report.scanned, report.scanned));
}

#[tokio::test]
async fn two_runs_at_once_do_no_harm() {
    let folder = tempfile::tempdir().expect("a folder");
    let lake = Watched::new(MemoryLake::versioned());
    for number in 0..60 {
        lake.put(
            &format!("k{number:02}"),
            &format!("{{\"id\":\"x\"}}\n{{\"id\":\"u{number}\"}}\n"),
        );
    }
    let open = || {
        let metastore = Embedded::open(folder.path()).expect("opened");
        tools(lake.clone(), Arc::new(metastore))
    };
    let (left, right, task) = (open(), open(), task("d", ""));
    let (first, second) = tokio::join!(run(&left, &task), run(&right, &task));
    for report in [first.expect("indexed"), second.expect("indexed")] {
        assert_eq!((report.coverage.indexed, report.forgotten), (60, 0));
    }
    drop((left, right));
    assert_eq!(find(&open(), "x").await.len(), 60);
    assert_eq!(open().metastore.size().await.expect("a size").postings, 120);
}

#[tokio::test]
async fn another_key_is_refused_before_anything_is_read() {
    let (lake, tools) = ground();
    lake.put("a", "{\"id\":\"x\"}\n");
    indexed(&tools, &task("d", "")).await;
    lake.reads();
    let other = IndexTask { key: DigestKey::new([8; 32]), ..task("d", "") };
    assert!(matches!(run(&tools, &other).await, Err(IndexError::Metastore(_))));
    assert_eq!(lake.reads(), 0);
}

/// A store that does not list in order would make whole stretches of the index look gone.
#[tokio::test]
async fn a_listing_out_of_order_is_refused() {
    let (lake, _) = ground();
    let listed = [lake.put("b", "x"), lake.put("a", "x")].map(|object| {
        Ok(ListedVersion {
            object,
            standing: crate::domain::object::Standing::Current,
            storage_class: None,
        })
    });
    let rule = Rule {
        scope: crate::domain::scope::Scope::new(&task("d", "").dataset, &[], Vec::new())
            .expect("a scope"),
        settings: task("d", "").dataset.scan_settings(),
        is_full: false,
    };
    let drifts = survey(stream::iter(listed).boxed(), stream::empty().boxed(), rule);
    let ended: Result<Vec<_>, _> = drifts.try_collect().await;
    assert!(matches!(ended, Err(IndexError::Disorder(key)) if key == ObjectKey::from("a")));
}

#[derive(Clone, Debug)]
enum Change {
    Put(u8, Vec<u8>),
    Hide(u8),
    Expunge(u8),
    Index,
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0..5_u8, proptest::collection::vec(0..4_u8, 0..6)).prop_map(|(k, s)| Change::Put(k, s)),
        1 => (0..5_u8).prop_map(Change::Hide),
        2 => (0..5_u8).prop_map(Change::Expunge),
        1 => Just(Change::Index),
    ]
}

fn text(subjects: &[u8]) -> String {
    subjects.iter().map(|subject| format!("{{\"id\":\"s{subject}\"}}\n")).collect()
}

async fn change(lake: &Watched, change: &Change) {
    let key = |number: u8| ObjectKey::from(format!("k{number}").as_str());
    match change {
        Change::Put(number, subjects) => drop(lake.lake.put(&key(*number), text(subjects))),
        Change::Hide(number) => lake.lake.delete(&key(*number)),
        Change::Expunge(number) => {
            let versions = lake.versions(&key(*number)).await.expect("versions");
            if let Some(oldest) = versions.last() {
                lake.delete_version(&oldest.object).await.expect("deleted");
            }
        }
        Change::Index => {}
    }
}

/// What every kept version holds, read naively: version, subject, row.
async fn truth(lake: &Watched) -> BTreeSet<(String, IdentifierDigest, u64)> {
    let mut truth = BTreeSet::new();
    let listed: Vec<_> = lake.list(b"").try_collect().await.expect("a listing");
    for version in listed.into_iter().map(|listed| listed.object) {
        let bytes = lake.lake.read(&version, 0..version.size_bytes).await.expect("a stream");
        let bytes: Vec<_> = bytes.try_collect::<Vec<_>>().await.expect("bytes").concat();
        for (row, line) in String::from_utf8(bytes).expect("text").lines().enumerate() {
            let value = line.split('"').nth(3).expect("a value");
            truth.insert((name(&version), subject(value), row as u64));
        }
    }
    truth
}

fn name(object: &ObjectVersion) -> String {
    format!("{}@{}/{}", object.key, object.version, object.etag.as_str())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Hazard E1: whatever happens to the lake, after a run the index says what stands in it.
    #[test]
    fn after_a_run_the_index_is_the_truth(
        is_versioned: bool,
        changes in proptest::collection::vec(any_change(), 0..30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let lake = if is_versioned { MemoryLake::versioned() } else { MemoryLake::unversioned() };
            let lake = Watched::new(lake);
            let tools = tools(lake.clone(), Arc::new(MemoryMetastore::default()));
            for step in changes.iter().chain([&Change::Index]) {
                change(&lake, step).await;
                if matches!(step, Change::Index) {
                    let report = indexed(&tools, &task("d", "")).await;
                    assert_eq!(report.coverage.indexed, report.coverage.listed);
                }
            }
            let subjects: Vec<_> = (0..4).map(|number| subject(&format!("s{number}"))).collect();
            let found: Vec<_> =
                tools.metastore.lookup(&subjects).try_collect().await.expect("a lookup");
            let known: BTreeSet<_> = found
                .iter()
                .flat_map(|posting| {
                    let rows = posting.rows.iter();
                    rows.map(|row| (name(&posting.object), posting.digest, row.0))
                })
                .collect();
            assert_eq!(known, truth(&lake).await);
        });
    }
}
