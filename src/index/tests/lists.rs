//! Runs over lists that others made: named objects, and inventories.

use std::io::Write as _;

use super::*;
use crate::index::inventory::Placement;

fn line(dataset: &str, key: &str, rest: &str) -> String {
    format!("{{\"dataset\":\"{dataset}\",\"key\":\"{key}\"{rest}}}\n")
}

async fn run_list(
    jobs: &[(IndexTools, IndexTask)],
    list: String,
) -> Result<Vec<IndexReport>, IndexError> {
    let reports = run_objects(jobs, std::io::Cursor::new(list)).await;
    for report in reports.iter().flatten() {
        assert!(report.coverage.is_balanced(), "{report:?}");
    }
    reports
}

/// Nothing but what is named is listed, scanned or forgotten.
#[tokio::test]
async fn just_the_named_objects_are_indexed() {
    let (lake, tools) = ground();
    let gone = lake.put("in/gone.json", "{\"id\":\"x\"}\n");
    let jobs = [(tools.clone(), task("d", "in/"))];
    indexed(&tools, &jobs[0].1).await;
    lake.delete_version(&gone).await.expect("deleted");
    for number in 0..100 {
        lake.put(&format!("in/k{number:02}.json"), "{\"id\":\"x\"}\n");
    }
    lake.put("in/k07.json", "{\"id\":\"y\"}\n");
    lake.listings.swap(0, Ordering::Relaxed);
    let list: String =
        (0..50).map(|number| line("d", &format!("in/k{number:02}.json"), "")).collect();
    let report = run_list(&jobs, list.clone() + "\n  \n").await.expect("indexed").remove(0);
    assert_eq!((report.scanned, report.coverage.listed, report.forgotten), (51, 51, 0));
    assert_eq!(find(&tools, "x").await.len(), 51, "50 of the named, and the one that is gone");
    assert_eq!(find(&tools, "y").await, ["in/k07.json: [0]"]);
    let report = run_list(&jobs, list).await.expect("indexed").remove(0);
    assert_eq!((report.scanned, report.unchanged), (0, 51));
    assert_eq!(indexed(&tools, &jobs[0].1).await.forgotten, 1);
}

/// What stands beside a key has to be so, and what is not there is named.
#[tokio::test]
async fn a_named_object_is_exactly_that_version() {
    let (lake, tools) = ground();
    let old = lake.put("k", "{\"id\":\"old\"}\n");
    let new = lake.put("k", "{\"id\":\"newer\"}\n");
    let jobs = [(tools.clone(), task("d", ""))];
    let pinned = format!(
        ",\"version\":\"{}\",\"etag\":\"{}\",\"size\":{}",
        old.version,
        old.etag.as_str().trim_matches('"'),
        old.size_bytes
    );
    let report = run_list(&jobs, line("d", "k", &pinned)).await.expect("indexed").remove(0);
    assert_eq!((report.scanned, report.coverage.indexed), (1, 1));
    assert_eq!((find(&tools, "old").await.len(), find(&tools, "newer").await.len()), (1, 0));
    for wrong in [
        line("d", "k", ",\"version\":\"none\""),
        line("d", "k", ",\"etag\":\"other\""),
        line("d", "k", &format!(",\"version\":\"{}\",\"size\":{}", new.version, old.size_bytes)),
        line("d", "nowhere", ""),
    ] {
        let report = run_list(&jobs, wrong.clone()).await.expect("a report").remove(0);
        assert_eq!((report.scanned, report.coverage.failed), (0, 1), "{wrong}");
        assert_eq!(report.coverage.gaps.len(), 1, "{wrong}");
    }
}

/// A worker has no listing in which to meet the marks of tables, and leaves their files alone all the
/// same.
#[tokio::test]
async fn files_of_tables_are_left_alone_without_a_listing() {
    let (lake, tools) = ground();
    lake.put("lake/plain/a.json", "{\"id\":\"x\"}\n");
    lake.put("lake/t/a/b.json", "{\"id\":\"x\"}\n");
    lake.put("lake/t/_delta_log/0.json", "{}");
    lake.put("lake/i/data/c.json", "{\"id\":\"x\"}\n");
    lake.put("lake/i/metadata/v1.metadata.json", "{}");
    let jobs = [(tools.clone(), task("d", "lake/"))];
    let keys = ["lake/plain/a.json", "lake/t/a/b.json", "lake/i/data/c.json"];
    let list = keys.iter().map(|key| line("d", key, "")).collect();
    let report = run_list(&jobs, list).await.expect("indexed").remove(0);
    assert_eq!((report.coverage.indexed, report.coverage.excluded), (1, 2), "{report:?}");
    assert_eq!(find(&tools, "x").await, ["lake/plain/a.json: [0]"]);
    let whole = indexed(&tools, &task("d", "lake/")).await;
    assert_eq!((whole.coverage.indexed, whole.coverage.excluded), (1, 4));
}

#[tokio::test]
async fn each_object_goes_to_the_dataset_it_names() {
    let (lake, tools) = ground();
    let jobs = ["a", "b"].map(|name| (tools.clone(), task(name, &format!("{name}/"))));
    let mut list = String::new();
    for number in 0..3000 {
        let name = if number % 3 == 0 { "a" } else { "b" };
        let key = format!("{name}/{number}");
        lake.put(&key, "{\"id\":\"x\"}\n");
        list += &line(name, &key, "");
    }
    list += &line("a", "b/1", "");
    let reports = run_list(&jobs, list).await.expect("indexed");
    let counts: Vec<_> =
        reports.iter().map(|it| (it.coverage.indexed, it.coverage.failed)).collect();
    assert_eq!(
        counts,
        [(1000, 1), (2000, 0)],
        "an object that lies elsewhere is not the dataset's"
    );
}

/// A line that cannot be read ends the run and is named; what stands before it was done.
#[tokio::test]
async fn a_wrong_line_is_named_without_its_content() {
    let (lake, tools) = ground();
    lake.put("k", "{\"id\":\"x\"}\n");
    let jobs = [(tools.clone(), task("d", ""))];
    for (wrong, expected) in [
        ("{\"dataset\":\"d\",\"key\":\"secret\",\"verison\":\"1\"}", "unknown field `verison`"),
        ("{\"dataset\":\"d\"}", "missing field `key`"),
        ("{\"dataset\":\"d\",\"key\":\"secret\",\"size\":\"secret\"}", "wrong type"),
        ("{\"dataset\":\"d\",\"key\":\"secret\"", "not a JSON object"),
        ("{\"dataset\":\"other\",\"key\":\"secret\"}", "`other`"),
        (&"x".repeat(70_000), "too long"),
    ] {
        let list = format!("\n{}\n{wrong}\n{}", line("d", "k", ""), line("d", "k", ""));
        let error = run_list(&jobs, list).await.expect_err("a wrong line");
        let text = error.to_string();
        assert!(matches!(error, IndexError::List(ListError { line: 4, .. })), "{text}");
        assert!(text.contains("line 4") && text.contains(expected), "{text}");
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(find(&tools, "x").await.len(), 1);
    }
}

/// A bucket as an inventory lists it.
struct Listed {
    lake: Arc<Watched>,
    tools: IndexTools,
    reports: Arc<MemoryLake>,
}

const CSV: &str = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, \
                   ETag, StorageClass, EncryptionStatus";

impl Listed {
    fn new(lake: MemoryLake) -> Self {
        let lake = Watched::new(lake);
        let tools = tools(lake.clone(), Arc::new(MemoryMetastore::default()));
        Self { lake, tools, reports: Arc::new(MemoryLake::unversioned()) }
    }

    /// Rows of all versions that there are now, and of a delete marker, in no order.
    async fn rows(&self) -> Vec<String> {
        let listed: Vec<_> = self.lake.list(b"").try_collect().await.expect("a listing");
        let row = |listed: ListedVersion| {
            let ListedVersion { object, standing, .. } = listed;
            let encoded: String = object
                .key
                .as_bytes()
                .iter()
                .map(|byte| match byte {
                    b' ' => "+".to_owned(),
                    b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'_' => char::from(*byte).to_string(),
                    byte => format!("%{byte:02X}"),
                })
                .collect();
            let version = if object.version.is_null() { "" } else { object.version.as_str() };
            let is_latest = standing == crate::domain::object::Standing::Current;
            format!(
                "\"b\",\"{encoded}\",\"{version}\",\"{is_latest}\",\"false\",\"{}\",\"{}\",\"{}\",\
                 \"STANDARD\",\"SSE-S3\"\n",
                object.size_bytes,
                object.modified_at,
                object.etag.as_str().trim_matches('"'),
            )
        };
        let mut rows: Vec<String> = listed.into_iter().map(row).collect();
        rows.push(
            "\"b\",\"k001\",\"m\",\"true\",\"true\",\"\",\"2026-05-01T00:00:00.000Z\",\"\",\"\",\"\"\n"
                .to_owned(),
        );
        rows.sort_by_key(|row| std::hash::BuildHasher::hash_one(&FixedHash, row));
        rows
    }

    /// Puts a report with these files where it would lie.
    fn publish(&self, format: &str, schema: &str, files: &[Vec<u8>]) -> ObjectKey {
        use md5::Digest as _;
        let mut named = Vec::new();
        for (number, content) in files.iter().enumerate() {
            let key = format!("lake/b/daily/data/{number}");
            self.reports.put(&ObjectKey::from(key.as_str()), content.clone());
            let md5 = md5::Md5::digest(content);
            let md5: String = md5.iter().map(|byte| format!("{byte:02x}")).collect();
            named.push(serde_json::json!(
                {"key": key, "size": content.len(), "MD5checksum": md5}));
        }
        let manifest = serde_json::json!({
            "sourceBucket": "b", "destinationBucket": "arn:aws:s3:::reports",
            "version": "2016-11-30", "creationTimestamp": "1777593600000",
            "fileFormat": format, "fileSchema": schema, "files": named,
        });
        let key = ObjectKey::from("lake/b/daily/2026-05-01T00-00Z/manifest.json");
        self.reports.put(&key, manifest.to_string());
        key
    }

    async fn publish_csv(&self) -> ObjectKey {
        let rows = self.rows().await;
        let files: Vec<_> =
            rows.chunks(rows.len().div_ceil(3)).map(|rows| gzip(&rows.concat())).collect();
        self.publish("CSV", CSV, &files)
    }

    async fn open(&self, manifest: &ObjectKey) -> Result<Inventory, InventoryError> {
        let placement = Placement::Bucket("reports".to_owned());
        Inventory::open(self.reports.clone(), manifest, &placement).await
    }

    async fn index(&self, task: &IndexTask, manifest: &ObjectKey) -> IndexReport {
        let inventory = self.open(manifest).await.expect("an inventory");
        let report = run_inventory(&self.tools, task, &inventory).await.expect("indexed");
        assert!(report.coverage.is_balanced(), "{report:?}");
        assert_eq!(report.as_of, Some("2026-05-01T00:00:00Z".parse().unwrap()));
        report
    }
}

/// An order that is none, and the same each time.
struct FixedHash;

impl std::hash::BuildHasher for FixedHash {
    type Hasher = std::hash::DefaultHasher;

    fn build_hasher(&self) -> Self::Hasher {
        std::hash::DefaultHasher::new()
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("compressed");
    encoder.finish().expect("compressed")
}

/// An inventory in no order takes the place of the listing: every version it tells of is indexed, and
/// nothing is forgotten on its word, neither what is newer than it nor what is gone since.
#[tokio::test]
async fn an_inventory_takes_the_place_of_the_listing() {
    for is_versioned in [true, false] {
        let lake = if is_versioned { MemoryLake::versioned() } else { MemoryLake::unversioned() };
        let listed = Listed::new(lake);
        for number in 0..2500 {
            listed.lake.put(&format!("k{number:03}"), "{\"id\":\"x\"}\n");
        }
        listed.lake.put("k007", "{\"id\":\"y\"}\n");
        listed.lake.put("odd +%/ü", "{\"id\":\"z\"}\n");
        listed.lake.put("t/a.json", "{\"id\":\"t\"}\n");
        listed.lake.put("t/_delta_log/0.json", "{}");
        let manifest = listed.publish_csv().await;
        let newer = listed.lake.put("later", "{\"id\":\"x\"}\n");
        let removed = listed.lake.versions(&ObjectKey::from("k100")).await.expect("versions");
        listed.lake.delete_version(&removed[0].object).await.expect("deleted");

        let task = task("d", "");
        listed.lake.listings.swap(0, Ordering::Relaxed);
        let report = listed.index(&task, &manifest).await;
        assert_eq!(listed.lake.listings.load(Ordering::Relaxed), 0, "the bucket is not listed");
        // Without versions, the overwritten object is one; the removed one is not there to be read.
        let kept = if is_versioned { 2501 } else { 2500 };
        assert_eq!((report.scanned, report.coverage.excluded), (kept, 2), "{:?}", report.coverage);
        assert_eq!(find(&listed.tools, "z").await, ["odd +%/ü: [0]"]);
        assert_eq!(find(&listed.tools, "t").await, [""; 0], "a table's file");

        let report = indexed(&listed.tools, &task).await;
        assert_eq!((report.scanned, report.unchanged, report.as_of), (1, kept, None));
        let report = listed.index(&task, &manifest).await;
        assert_eq!((report.scanned, report.unchanged, report.forgotten), (0, kept, 0));
        let known: Vec<_> =
            listed.tools.metastore.recorded(&task.dataset.name, &[newer.key]).await.expect("known");
        assert_eq!(known.len(), 1, "what the inventory does not know stays");
    }
}

/// Only what lies below the dataset's prefix is taken from it.
#[tokio::test]
async fn an_inventory_is_read_for_the_dataset_alone() {
    let listed = Listed::new(MemoryLake::versioned());
    for key in ["in/a", "in/b", "inn/c", "out/d"] {
        listed.lake.put(key, "{\"id\":\"x\"}\n");
    }
    let manifest = listed.publish_csv().await;
    let report = listed.index(&task("d", "in/"), &manifest).await;
    assert_eq!((report.coverage.listed, report.scanned), (2, 2));
    let mut elsewhere = task("d", "in/");
    elsewhere.dataset.location = Location::S3 { bucket: "c".to_owned(), prefix: String::new() };
    let inventory = listed.open(&manifest).await.expect("an inventory");
    let refused = run_inventory(&listed.tools, &elsewhere, &inventory).await.expect_err("refused");
    assert!(refused.to_string().contains("the bucket `b`"), "{refused}");
}

fn parquet(versions: &[(ListedVersion, bool)]) -> Vec<u8> {
    use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
    use parquet::file::writer::SerializedFileWriter;
    let schema = "message s3_inventory {
        required binary bucket (STRING); required binary key (STRING);
        optional binary version_id (STRING); optional boolean is_latest;
        optional boolean is_delete_marker; optional int64 size;
        optional int64 last_modified_date (TIMESTAMP(MILLIS,true));
        optional binary e_tag (STRING); optional binary storage_class (STRING);
        optional int32 unknown_field; }";
    let schema = parquet::schema::parser::parse_message_type(schema).expect("a schema");
    let mut file =
        SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::default()).expect("a writer");
    let mut group = file.next_row_group().expect("a row group");
    let (all, present) = (versions, vec![1_i16; versions.len()]);
    let texts = |of: &dyn Fn(&ListedVersion) -> String| -> Vec<ByteArray> {
        all.iter().map(|(listed, _)| ByteArray::from(of(listed).into_bytes())).collect()
    };
    for column in 0.. {
        let Some(mut writer) = group.next_column().expect("a column") else { break };
        let text =
            |values: Vec<ByteArray>, levels: Option<&[i16]>| (values, levels.map(<[i16]>::to_vec));
        let (values, levels) = match column {
            0 => text(texts(&|_| "b".to_owned()), None),
            1 => text(
                all.iter()
                    .map(|(it, _)| ByteArray::from(it.object.key.as_bytes().to_vec()))
                    .collect(),
                None,
            ),
            2 => text(texts(&|it| it.object.version.as_str().to_owned()), Some(&present)),
            7 => text(
                texts(&|it| it.object.etag.as_str().trim_matches('"').to_owned()),
                Some(&present),
            ),
            8 => text(texts(&|_| "STANDARD".to_owned()), Some(&present)),
            3 | 4 => {
                let values: Vec<bool> =
                    all.iter().map(|(_, is_marker)| column == 3 || *is_marker).collect();
                let typed = writer.typed::<BoolType>();
                typed.write_batch(&values, Some(&present), None).expect("written");
                writer.close().expect("closed");
                continue;
            }
            5 | 6 => {
                let value = |it: &ListedVersion| match column {
                    5 => it.object.size_bytes as i64,
                    _ => it.object.modified_at.as_millisecond(),
                };
                let values: Vec<i64> = all.iter().map(|(it, _)| value(it)).collect();
                let typed = writer.typed::<Int64Type>();
                typed.write_batch(&values, Some(&present), None).expect("written");
                writer.close().expect("closed");
                continue;
            }
            _ => {
                let absent = vec![0_i16; all.len()];
                let typed = writer.typed::<parquet::data_type::Int32Type>();
                typed.write_batch(&[], Some(&absent), None).expect("written");
                writer.close().expect("closed");
                continue;
            }
        };
        let typed = writer.typed::<ByteArrayType>();
        typed.write_batch(&values, levels.as_deref(), None).expect("written");
        writer.close().expect("closed");
    }
    group.close().expect("closed");
    file.into_inner().expect("a file")
}

#[tokio::test]
async fn an_inventory_may_be_parquet() {
    let listed = Listed::new(MemoryLake::versioned());
    for number in 0..1500 {
        listed.lake.put(&format!("k {number}%2B"), "{\"id\":\"x\"}\n");
    }
    let versions: Vec<_> = listed.lake.list(b"").try_collect().await.expect("a listing");
    let mut rows: Vec<_> = versions.into_iter().map(|listed| (listed, false)).collect();
    rows.reverse();
    let mut marker = rows[0].clone();
    (marker.0.object.key, marker.1) = (ObjectKey::from("hidden"), true);
    rows.push(marker);
    let files: Vec<_> = rows.chunks(900).map(parquet).collect();
    let manifest = listed.publish("Parquet", "message s3.inventory { … }", &files);
    let report = listed.index(&task("d", ""), &manifest).await;
    assert_eq!((report.scanned, report.coverage.indexed), (1500, 1500), "{:?}", report.coverage);
    let report = indexed(&listed.tools, &task("d", "")).await;
    assert_eq!(
        (report.scanned, report.unchanged),
        (0, 1500),
        "it names versions as a listing does"
    );
}

/// A report that is damaged, of another kind, or tells too little is refused before anything is done.
#[tokio::test]
async fn an_unusable_inventory_is_refused_by_name() {
    let listed = Listed::new(MemoryLake::versioned());
    listed.lake.put("k", "{\"id\":\"x\"}\n");
    let rows = listed.rows().await.concat();
    let whole = gzip(&rows);
    let refused = async |format: &str, schema: &str, file: &[u8], damage: bool| {
        let manifest = listed.publish(format, schema, &[file.to_vec()]);
        if damage {
            let mut other = file.to_vec();
            other[20] ^= 1;
            listed.reports.put(&ObjectKey::from("lake/b/daily/data/0"), other);
        }
        listed.open(&manifest).await.expect_err("refused").to_string()
    };
    assert!(refused("ORC", "struct<>", &whole, false).await.contains("choose CSV or Parquet"));
    assert!(refused("CSV", CSV, &whole, true).await.contains("MD5"));
    let without = CSV.replace("ETag", "Other");
    assert!(refused("CSV", &without, &whole, false).await.contains("no field ETag"));
    assert!(
        refused("CSV", "Bucket, Key, Size, LastModifiedDate, ETag", &whole, false)
            .await
            .contains("number of fields")
    );
    let cut = gzip(&rows);
    assert!(refused("CSV", CSV, &cut[..cut.len() - 9], false).await.contains("not whole gzip"));
    assert!(refused("Parquet", "", b"PAR1 is not enough", false).await.contains("no Parquet"));
    let other = gzip(&rows.replace("\"b\",", "\"c\","));
    assert!(refused("CSV", CSV, &other, false).await.contains("another bucket"));

    let manifest = listed.publish("CSV", CSV, std::slice::from_ref(&whole));
    let elsewhere = Placement::Bucket("copies".to_owned());
    let lake: Arc<dyn Lake> = listed.reports.clone();
    let error = Inventory::open(lake.clone(), &manifest, &elsewhere).await.expect_err("refused");
    assert!(error.to_string().contains("`reports`"), "{error}");
    Inventory::open(lake, &manifest, &Placement::Copy).await.expect("data/ beside its folder");
    assert_eq!(find(&listed.tools, "x").await, [""; 0]);
}

/// Where older versions are kept, a report of current ones alone would leave them out in silence.
#[tokio::test]
async fn an_inventory_of_current_versions_is_refused_where_older_ones_are_kept() {
    let listed = Listed::new(MemoryLake::versioned());
    listed.lake.put("k", "{\"id\":\"x\"}\n");
    let row = "\"b\",\"k\",\"11\",\"2026-05-01T00:00:00.000Z\",\"00\"\n";
    let schema = "Bucket, Key, Size, LastModifiedDate, ETag";
    let manifest = listed.publish("CSV", schema, &[gzip(row)]);
    let inventory = listed.open(&manifest).await.expect("an inventory");
    let refused = run_inventory(&listed.tools, &task("d", ""), &inventory).await;
    let text = refused.expect_err("refused").to_string();
    assert!(text.contains("include all versions"), "{text}");
}
