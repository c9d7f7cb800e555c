//! Listings, against a store made for it: pages, ranges, and every kind of key.

use std::collections::{BTreeMap, BTreeSet};

use lacuna::domain::object::{Standing, VersionId};
use lacuna::lake::LakeErrorKind;
use proptest::prelude::*;

use super::*;
use crate::support::wire::{Answer, Request, Stub};

/// The objects of a store: versions of a key, oldest first; `None` is a delete marker.
type Objects = BTreeMap<String, Vec<Option<u64>>>;

/// How the store encodes what it lists.
#[derive(Clone, Copy, Debug)]
enum Encoding {
    Form,
    Path,
}

#[derive(Clone, Debug)]
struct Store {
    objects: Objects,
    keeps_versions: bool,
    page: usize,
    encoding: Encoding,
}

/// An entry or a sum of entries of a listing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Version { key: String, place: usize, id: Option<u64>, is_latest: bool },
    Prefix(String),
}

impl Store {
    fn answer(&self, request: &Request) -> Answer {
        if request.parameter("versioning").is_some() {
            let status = match self.keeps_versions {
                true => "<Status>Enabled</Status>",
                false => "",
            };
            let body = format!("<VersioningConfiguration>{status}</VersioningConfiguration>");
            return Answer::new(200, body);
        }
        let text = |name: &str| request.parameter(name).unwrap_or_default();
        let asked: usize = text("max-keys").parse().unwrap_or(usize::MAX);
        let (after, after_version) = match self.keeps_versions {
            true => (text("key-marker"), text("version-id-marker")),
            false if text("continuation-token").is_empty() => (text("start-after"), String::new()),
            false => (text("continuation-token"), String::new()),
        };
        let entries = self.entries(&text("prefix"), &text("delimiter"));
        let mut rest: Vec<Entry> =
            entries.into_iter().filter(|entry| lies_after(entry, &after, &after_version)).collect();
        let is_truncated = rest.len() > self.page.min(asked);
        rest.truncate(self.page.min(asked));
        Answer::new(200, self.document(&rest, is_truncated, &text("prefix")))
    }

    /// All entries in the order of the protocol.
    fn entries(&self, prefix: &str, delimiter: &str) -> Vec<Entry> {
        let mut entries = BTreeSet::new();
        for (key, versions) in &self.objects {
            let Some(rest) = key.strip_prefix(prefix) else { continue };
            if let Some(end) = rest.find(delimiter).filter(|_| !delimiter.is_empty()) {
                entries.insert(Entry::Prefix(format!("{prefix}{}", &rest[..=end])));
                continue;
            }
            for (place, id) in versions.iter().rev().enumerate() {
                let key = key.clone();
                entries.insert(Entry::Version { key, place, id: *id, is_latest: place == 0 });
            }
        }
        let mut entries: Vec<Entry> = entries.into_iter().collect();
        entries.sort_by(|left, right| place_of(left).cmp(&place_of(right)));
        entries
    }

    fn document(&self, entries: &[Entry], is_truncated: bool, prefix: &str) -> String {
        let root = if self.keeps_versions { "ListVersionsResult" } else { "ListBucketResult" };
        let mut body = format!(
            "<{root}><EncodingType>url</EncodingType><IsTruncated>{is_truncated}</IsTruncated>\
             <Prefix>{}</Prefix>",
            self.encoded(prefix)
        );
        let (entry, marker) = match self.keeps_versions {
            true => ("Version", "DeleteMarker"),
            false => ("Contents", "-"),
        };
        for item in entries {
            body.push_str(&match item {
                Entry::Prefix(prefix) => {
                    let prefix = self.encoded(prefix);
                    format!("<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>")
                }
                Entry::Version { key, id, is_latest, .. } => {
                    let element = if id.is_some() { entry } else { marker };
                    format!(
                        "<{element}><Key>{}</Key><VersionId>{}</VersionId>\
                         <IsLatest>{is_latest}</IsLatest><ETag>&quot;e&quot;</ETag><Size>1</Size>\
                         <LastModified>2026-01-01T00:00:00.000Z</LastModified></{element}>",
                        self.encoded(key),
                        id_text(*id),
                    )
                }
            });
        }
        if let Some(last) = entries.last().filter(|_| is_truncated) {
            let (name, version) = name_of(last);
            body.push_str(&match self.keeps_versions {
                true => format!(
                    "<NextKeyMarker>{}</NextKeyMarker>\
                     <NextVersionIdMarker>{version}</NextVersionIdMarker>",
                    self.encoded(name)
                ),
                false => {
                    let token = self.escaped(name);
                    format!("<NextContinuationToken>{token}</NextContinuationToken>")
                }
            });
        }
        body.push_str(&format!("</{root}>"));
        body
    }

    fn encoded(&self, text: &str) -> String {
        let mut encoded = String::new();
        for byte in text.bytes() {
            match (byte, self.encoding) {
                (b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-', _) => {
                    encoded.push(char::from(byte));
                }
                (b' ', Encoding::Form) => encoded.push('+'),
                (b'+', Encoding::Path) => encoded.push('+'),
                _ => encoded.push_str(&format!("%{byte:02X}")),
            }
        }
        encoded
    }

    fn escaped(&self, text: &str) -> String {
        text.replace('&', "&amp;").replace('<', "&lt;")
    }
}

fn id_text(id: Option<u64>) -> String {
    id.map_or_else(|| "marker".to_owned(), |id| format!("v{id}"))
}

fn name_of(entry: &Entry) -> (&str, String) {
    match entry {
        Entry::Version { key, id, place, .. } => (key, format!("{}@{place}", id_text(*id))),
        Entry::Prefix(prefix) => (prefix, String::new()),
    }
}

fn place_of(entry: &Entry) -> (&str, usize) {
    match entry {
        Entry::Version { key, place, .. } => (key, *place),
        Entry::Prefix(prefix) => (prefix, 0),
    }
}

/// A marker names a key, or one version of it, or a sum: all that it sums up lies before.
fn lies_after(entry: &Entry, after: &str, after_version: &str) -> bool {
    match entry {
        _ if after.is_empty() => true,
        Entry::Version { key, place, .. } => match after_version.split_once('@') {
            Some((_, version)) => {
                let version: usize = version.parse().expect("a place");
                key.as_str() > after || key == after && *place > version
            }
            None => key.as_str() > after,
        },
        Entry::Prefix(prefix) => prefix.as_str() > after,
    }
}

async fn told(store: &Store, prefix: &str) -> Vec<(String, String, Standing)> {
    let store = store.clone();
    let stub = Stub::start(move |request| store.answer(request));
    let configuration = services::configuration(&stub.endpoint, "access", "secret").await;
    let settings = S3Settings { lists_in_byte_order: Some(true), ..settings("bucket") };
    let lake = S3Lake::with_configuration(&configuration, settings).expect("a lake");
    let listed = listing(&lake, prefix.as_bytes()).await;
    listed
        .into_iter()
        .map(|listed| {
            let key = listed.object.key.as_str().expect("text").to_owned();
            (key, listed.object.version.as_str().to_owned(), listed.standing)
        })
        .collect()
}

fn expected(store: &Store, prefix: &str) -> Vec<(String, String, Standing)> {
    let mut expected = Vec::new();
    for (key, versions) in store.objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
        for (place, id) in versions.iter().rev().enumerate() {
            let standing = if place == 0 { Standing::Current } else { Standing::Superseded };
            let id = match (store.keeps_versions, id) {
                (true, None) => continue,
                (true, id) => id_text(*id),
                (false, _) => VersionId::null().as_str().to_owned(),
            };
            expected.push((key.clone(), id, standing));
        }
    }
    expected
}

fn store() -> impl Strategy<Value = Store> {
    let key = prop_oneof!["[ab]{1,2}(/[ab.+ ]{0,2}){0,3}", "y=1/m=[0-9]/[a-c]{0,2}"];
    let versions = prop::collection::vec(prop::option::weighted(0.8, 0..9u64), 1..4);
    let objects = prop::collection::btree_map(key, versions, 0..40);
    let encoding = prop_oneof![Just(Encoding::Form), Just(Encoding::Path)];
    (objects, any::<bool>(), 1usize..12, encoding).prop_map(|(objects, keeps, page, encoding)| {
        let only = |(key, _)| (key, vec![Some(0)]);
        let objects = match keeps {
            true => objects,
            false => objects.into_iter().map(only).collect(),
        };
        Store { objects, keeps_versions: keeps, page, encoding }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// B14, C1, C4: whatever the keys and however they fall on pages and ranges, a listing tells
    /// every kept version once and in order, and knows what lies under a delete marker.
    #[test]
    fn a_listing_in_ranges_is_complete(store in store(), prefix in "|a|y|y=1/m|a/|b/a") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()
            .expect("a runtime");
        let told = runtime.block_on(told(&store, &prefix));
        prop_assert_eq!(told, expected(&store, &prefix));
    }
}

/// More folders than a page holds, and single folders above them.
#[tokio::test]
async fn many_folders_are_listed_in_order() {
    for (keeps_versions, folders) in [(true, 150), (false, 150), (true, 9), (false, 40)] {
        let key = |n: u32| (format!("t/only/d={}/f{}", n / 3 * 7 % folders, n % 3), vec![Some(1)]);
        let objects: Objects = (0..folders * 3).map(key).collect();
        let store = Store { objects, keeps_versions, page: 50, encoding: Encoding::Form };
        assert_eq!(told(&store, "t/").await, expected(&store, "t/"));
    }
}

/// A store that sorts by something else is an error, since order is promised further up.
#[tokio::test]
async fn a_listing_out_of_order_is_an_error() {
    let stub = Stub::start(|request| {
        let page = |key: &str, next: &str| {
            let entry = format!(
                "<Contents><Key>{key}</Key><ETag>e</ETag><Size>1</Size>\
                 <LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            );
            Answer::new(200, format!("<ListBucketResult>{entry}{next}</ListBucketResult>"))
        };
        match (request.parameter("versioning"), request.parameter("continuation-token")) {
            (Some(_), _) => Answer::new(200, "<VersioningConfiguration/>"),
            (None, Some(_)) => page("a-b", ""),
            (None, None) => page(
                "a/b",
                "<IsTruncated>true</IsTruncated>\
                 <NextContinuationToken>t</NextContinuationToken>",
            ),
        }
    });
    let configuration = services::configuration(&stub.endpoint, "access", "secret").await;
    let lake = S3Lake::with_configuration(&configuration, settings("bucket")).expect("a lake");
    let listed: Result<Vec<_>, LakeError> = lake.list(b"").try_collect().await;
    assert_eq!(listed.expect_err("out of order").kind(), LakeErrorKind::Unsupported);
}

/// A listing that breaks off is an error, not an end.
#[tokio::test]
async fn a_listing_that_breaks_off_is_an_error() {
    for (status, root) in
        [("<Status>Enabled</Status>", "ListVersionsResult"), ("", "ListBucketResult")]
    {
        let stub = Stub::start(move |request| match request.parameter("versioning") {
            Some(_) => Answer::new(
                200,
                format!("<VersioningConfiguration>{status}</VersioningConfiguration>"),
            ),
            None => Answer::new(200, format!("<{root}><IsTruncated>true</IsTruncated></{root}>")),
        });
        let configuration = services::configuration(&stub.endpoint, "access", "secret").await;
        let lake = S3Lake::with_configuration(&configuration, settings("bucket")).expect("a lake");
        let listed: Result<Vec<_>, LakeError> = lake.list(b"").try_collect().await;
        assert_eq!(listed.expect_err("it breaks off").kind(), LakeErrorKind::Unsupported);
    }
}
