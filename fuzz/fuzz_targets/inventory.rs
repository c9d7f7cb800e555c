//! Any bytes as a report of S3 Inventory: its manifest, or one of its files. The index follows what is
//! read, or the report is refused; nothing is recorded that the report does not name.
#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use lacuna::clock::Clock;
use lacuna::domain::dataset::{Dataset, DatasetName, ErasePolicy, Location, Reading};
use lacuna::domain::field::IdentifierField;
use lacuna::domain::identifier::{IdentifierType, Namespace};
use lacuna::domain::object::ObjectKey;
use lacuna::domain::observe::{Silent, Stop};
use lacuna::index::inventory::Placement;
use lacuna::index::{IndexTask, IndexTools, Inventory, Memory, run_inventory};
use lacuna::lake::memory::MemoryLake;
use lacuna::metastore::memory::MemoryMetastore;
use lacuna_fuzz::choices::Choices;
use lacuna_fuzz::{panics, people, streams};
use libfuzzer_sys::fuzz_target;
use md5::{Digest as _, Md5};

fuzz_target!(init: panics::only_ours(), |bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(read(bytes));
});

const MOMENT: &str = "2026-11-21T00:00:00Z";

async fn read(bytes: &[u8]) {
    let lake = Arc::new(MemoryLake::versioned());
    let known = lake.put(&"clicks/a.json".into(), &b"{\"id\":\"ann\"}\n"[..]);
    let mut choices = Choices::new(bytes);
    let how = choices.below(4);
    let rest = choices.rest();
    let text = match how {
        // Rows that are right but for what the input has of them.
        0 => [row(&known.version.to_string(), known.etag.as_str()).as_bytes(), rest].concat(),
        _ => rest.to_vec(),
    };
    let content = if how < 2 {
        streams::compress(lacuna::domain::dataset::Compression::Gzip, &text, &mut choices)
    } else {
        text.clone()
    };
    let manifest = match how {
        3 => text,
        _ => manifest(if how == 2 { "Parquet" } else { "CSV" }, &content).into_bytes(),
    };
    lake.put(&"report/data/one".into(), Bytes::from(content));
    lake.put(&"report/manifest.json".into(), Bytes::from(manifest));
    let key = ObjectKey::from("report/manifest.json");
    let Ok(inventory) = Inventory::open(lake.clone(), &key, &Placement::Copy).await else { return };
    let metastore = Arc::new(MemoryMetastore::default());
    let tools = IndexTools {
        lake,
        metastore,
        clock: Clock::manual(MOMENT.parse().expect("a moment")),
        observer: Arc::new(Silent),
        stop: Stop::default(),
        memory: Memory::default(),
    };
    let task = IndexTask {
        dataset: dataset(),
        earlier: Vec::new(),
        key: people::key(),
        is_full: false,
        concurrency: Some(1),
    };
    if let Ok(report) = run_inventory(&tools, &task, &inventory).await {
        assert_eq!(report.forgotten, 0, "nothing is forgotten on a report's word");
    }
}

fn row(version: &str, etag: &str) -> String {
    let etag = etag.trim_matches('"');
    format!(
        "\"bucket\",\"clicks/a.json\",\"{version}\",\"true\",\"false\",\"13\",\"{MOMENT}\",\"{etag}\"\n"
    )
}

fn manifest(format: &str, content: &[u8]) -> String {
    let md5: String = Md5::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    let schema = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag";
    serde_json::json!({
        "sourceBucket": "bucket",
        "destinationBucket": "arn:aws:s3:::bucket",
        "version": "2016-11-30",
        "creationTimestamp": "1795392000000",
        "fileFormat": format,
        "fileSchema": schema,
        "files": [{"key": "x/data/one", "size": content.len(), "MD5checksum": md5}],
    })
    .to_string()
}

fn dataset() -> Dataset {
    Dataset {
        name: DatasetName::new("clicks"),
        location: Location::S3 { bucket: "bucket".to_owned(), prefix: "clicks/".to_owned() },
        include: Vec::new(),
        exclude: Vec::new(),
        reading: Reading::default(),
        identifiers: vec![IdentifierField {
            namespace: Namespace::new("user"),
            path: "id".parse().expect("a path"),
            kind: IdentifierType::String,
        }],
        erase: ErasePolicy::default(),
    }
}
