//! What goes over the wire, and what is made of answers that no real server gives on demand.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use lacuna::aws::Access;
use lacuna::domain::edit::Segment;
use lacuna::domain::object::{ETag, VersionId};
use lacuna::lake::{LakeErrorKind, Lock, Settled, Target, WriteOutcome, settle};

use super::*;
use crate::support::wire::{Answer, Proxy, Request, Stub};

async fn lake_at(endpoint: &str) -> S3Lake {
    let configuration = services::configuration(endpoint, "access", "secret").await;
    S3Lake::with_configuration(&configuration, settings("bucket")).expect("a lake")
}

/// The same over the configuration that the program makes.
async fn lake_as_configured(endpoint: &str) -> S3Lake {
    let access = Access { region: Some("us-east-1".to_owned()), ..Access::default() };
    let configuration = lacuna::aws::configuration(&access, Duration::from_secs(5)).await;
    let credentials = Credentials::new("access", "secret", None, None, "test");
    let configuration = configuration
        .into_builder()
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .build();
    S3Lake::with_configuration(&configuration, settings("bucket")).expect("a lake")
}

fn version(key: &str, id: &str, size_bytes: u64) -> ObjectVersion {
    ObjectVersion {
        key: ObjectKey::from(key),
        version: VersionId::new(id),
        etag: ETag::new("\"etag\""),
        size_bytes,
        modified_at: "2026-01-01T00:00:00Z".parse().expect("a moment"),
    }
}

/// A bucket that keeps versions and holds one object under every key.
fn holding(request: &Request) -> Answer {
    match (request.method.as_str(), request.parameter("versioning").is_some()) {
        ("GET", true) => Answer::new(200, versioning("Enabled")),
        ("HEAD", _) => Answer::object(3, "\"etag\"").with("x-amz-version-id", "v1"),
        ("PUT", _) => Answer::new(200, "").with("etag", "\"etag\"").with("x-amz-version-id", "v1"),
        ("DELETE", _) => Answer::new(204, ""),
        _ if request.parameter("tagging").is_some() => {
            Answer::new(200, "<Tagging><TagSet></TagSet></Tagging>")
        }
        _ if request.parameter("acl").is_some() => Answer::new(
            200,
            "<AccessControlPolicy><AccessControlList></AccessControlList></AccessControlPolicy>",
        ),
        _ if request.parameter("object-lock").is_some() => {
            Answer::error(404, "ObjectLockConfigurationNotFoundError")
        }
        _ => Answer::new(206, "abc")
            .with("etag", "\"etag\"")
            .with("content-range", "bytes 0-2/3")
            .with("x-amz-version-id", "v1"),
    }
}

fn versioning(status: &str) -> String {
    format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>")
}

/// B14: a key reaches the wire as it is, encoded once, with nothing normalised on the way.
#[tokio::test]
async fn keys_reach_the_wire_as_they_are() {
    let stub = Stub::start(holding);
    let lake = lake_at(&stub.endpoint).await;
    let golden = [
        ("a//b", "/bucket/a//b"),
        ("/lead", "/bucket//lead"),
        ("a/./b/../c", "/bucket/a/./b/../c"),
        ("..", "/bucket/.."),
        ("back\\slash", "/bucket/back%5Cslash"),
        ("a b+c%2Fd?e#f&g", "/bucket/a%20b%2Bc%252Fd%3Fe%23f%26g"),
        ("\u{1b}[2J\n\t", "/bucket/%1B%5B2J%0A%09"),
        ("gr\u{fc}n", "/bucket/gr%C3%BCn"),
        ("trailing/", "/bucket/trailing/"),
    ];
    for (key, path) in golden {
        let object = version(key, "v1", 3);
        assert_eq!(bytes_of(&lake, &object).await.expect("read"), b"abc");
        let base = Base::Version(object.clone());
        write(&lake, &object.key, base, Edit::bytes("new")).await.expect("written");
        lake.delete_version(&object).await.expect("deleted");
        let seen = stub.seen();
        let paths: BTreeSet<&str> =
            seen.iter().map(Request::path).filter(|path| !is_the_bucket(path)).collect();
        assert!(paths.contains(path), "{key:?}: {paths:?}");
        assert!(
            paths.iter().all(|path| golden.iter().any(|(_, known)| known == path)),
            "{paths:?}"
        );
    }
}

fn is_the_bucket(path: &str) -> bool {
    path == "/bucket" || path == "/bucket/"
}

/// B17: a machine whose clock is years behind the store's works all the same: a refusal tells the time, with a
/// body or without, and what was refused is signed anew.
#[tokio::test]
async fn a_wrong_clock_is_corrected_by_the_first_refusal() {
    let in_the_store = "Tue, 01 Jan 2030 00:00:30 GMT";
    for begins_with_head in [false, true] {
        let stub = Stub::start(move |request| {
            let is_signed_then = request
                .header("x-amz-date")
                .is_some_and(|signed| signed.starts_with("20300101T0000"));
            match (is_signed_then, request.method.as_str()) {
                (true, _) => holding(request),
                (false, "HEAD") => Answer::new(403, "").with("date", in_the_store),
                (false, _) => Answer::error(403, "RequestTimeTooSkewed").with("date", in_the_store),
            }
        });
        let lake = lake_as_configured(&stub.endpoint).await;
        let object = version("a", "v1", 3);
        if begins_with_head {
            lake.attributes(Target::Version(&object)).await.expect("found");
        }
        assert_eq!(bytes_of(&lake, &object).await.expect("read"), b"abc");
        let base = Base::Version(object.clone());
        write(&lake, &object.key, base, Edit::bytes("new")).await.expect("written");
        let refused = |request: &&Request| {
            !request.header("x-amz-date").unwrap_or_default().starts_with("2030")
        };
        assert_eq!(stub.seen().iter().filter(refused).count(), 1, "one refusal is enough");
    }
}

/// B17: requests that are under way together are all refused, and all signed anew.
#[tokio::test]
async fn a_wrong_clock_is_corrected_for_all_requests_under_way() {
    let meet = Arc::new(std::sync::Barrier::new(4));
    let stub = Stub::start(move |request| {
        let signed = request.header("x-amz-date").unwrap_or_default();
        if signed.starts_with("20300101T0000") {
            return holding(request);
        }
        if request.parameter("versioning").is_none() {
            meet.wait();
        }
        Answer::error(403, "RequestTimeTooSkewed").with("date", "Tue, 01 Jan 2030 00:00:30 GMT")
    });
    let lake = Arc::new(lake_as_configured(&stub.endpoint).await);
    let object = version("a", "v1", 3);
    let reads = (0..4).map(|_| bytes_of(&*lake, &object));
    for read in futures::future::join_all(reads).await {
        assert_eq!(read.expect("read"), b"abc");
    }
}

/// A service that refuses for another reason, at another time than ours, says so.
#[tokio::test]
async fn a_wrong_clock_does_not_hide_a_refusal() {
    let stub = Stub::start(|_| {
        Answer::error(403, "AccessDenied").with("date", "Tue, 01 Jan 2030 00:00:30 GMT")
    });
    let lake = lake_as_configured(&stub.endpoint).await;
    let error = bytes_of(&lake, &version("a", "v1", 3)).await.expect_err("refused");
    assert_eq!(error.kind(), LakeErrorKind::Denied, "{error}");
}

/// C7: no request ever asks to bypass a retention.
#[tokio::test]
async fn a_retention_is_never_bypassed() {
    let stub = Stub::start(|request| match request.method.as_str() {
        "DELETE" => Answer::error(403, "AccessDenied"),
        "HEAD" => holding(request)
            .with("x-amz-object-lock-mode", "GOVERNANCE")
            .with("x-amz-object-lock-retain-until-date", "2036-01-01T00:00:00Z")
            .with("x-amz-object-lock-legal-hold", "OFF"),
        _ => holding(request),
    });
    let lake = lake_at(&stub.endpoint).await;
    let object = version("a", "v1", 3);
    let error = lake.delete_version(&object).await.expect_err("it is locked");
    assert_eq!(error.kind(), LakeErrorKind::Locked);
    let bypass = "x-amz-bypass-governance-retention";
    assert!(stub.seen().iter().all(|request| request.header(bypass).is_none()));
    let lock = lake.attributes(Target::Version(&object)).await.expect("there").lock;
    assert_eq!(lock, Lock::Until("2036-01-01T00:00:00Z".parse().expect("a moment")));
}

/// C8: where the permission to see a lock is missing, its headers are left out; that is not free.
#[tokio::test]
async fn a_lock_that_is_not_shown_is_unknown() {
    for (retention, hold, expected) in [
        ((403, "AccessDenied"), (403, "AccessDenied"), Lock::Unknown),
        ((404, "NoSuchObjectLockConfiguration"), (403, "AccessDenied"), Lock::Unknown),
        ((403, "AccessDenied"), (404, "NoSuchObjectLockConfiguration"), Lock::Unknown),
        (
            (404, "NoSuchObjectLockConfiguration"),
            (404, "NoSuchObjectLockConfiguration"),
            Lock::Free,
        ),
    ] {
        let stub = Stub::start(move |request| {
            let asks = |name: &str| request.parameter(name).is_some();
            match () {
                () if asks("object-lock") => Answer::error(403, "AccessDenied"),
                () if asks("retention") => Answer::error(retention.0, retention.1),
                () if asks("legal-hold") => Answer::error(hold.0, hold.1),
                () => holding(request),
            }
        });
        let lake = lake_at(&stub.endpoint).await;
        let found = lake.attributes(Target::Version(&version("a", "v1", 3))).await.expect("there");
        assert_eq!(found.lock, expected, "{retention:?} {hold:?}");
    }
}

/// B9: a body that ends early is an error, wherever it ends; one that goes on is as well.
#[tokio::test]
async fn a_truncated_body_is_an_error() {
    for (sent, promised) in [(0, 3), (1, 3), (2, 3), (2, 2), (4, 4), (3, 4)] {
        let stub = Stub::start(move |request| match holding(request) {
            answer if answer.status == 206 => {
                Answer { body: vec![b'x'; sent], promised_bytes: Some(promised), ..answer }
            }
            answer => answer,
        });
        let lake = lake_at(&stub.endpoint).await;
        let error = bytes_of(&lake, &version("a", "v1", 3)).await.expect_err("not three bytes");
        let kind = error.kind();
        assert!(
            matches!(kind, LakeErrorKind::Corrupt | LakeErrorKind::Unavailable),
            "{sent} {promised}: {kind:?}"
        );
    }
}

/// B11: a store that ignores `If-Match` or `Range` on a read is found out.
#[tokio::test]
async fn other_bytes_than_asked_for_are_refused() {
    let stub = Stub::start(|request| match holding(request) {
        answer if answer.status == 206 => Answer::new(200, "abc").with("etag", "\"other\""),
        answer => answer,
    });
    let lake = lake_at(&stub.endpoint).await;
    let error = bytes_of(&lake, &version("a", "v1", 3)).await.expect_err("another version");
    assert_eq!(error.kind(), LakeErrorKind::Drifted);
    let stub = Stub::start(|request| match holding(request) {
        answer if answer.status == 206 => Answer::new(200, "abc").with("etag", "\"etag\""),
        answer => answer,
    });
    let lake = lake_at(&stub.endpoint).await;
    let error = range_of(&lake, &version("a", "v1", 3), 1..3).await.expect_err("another range");
    assert_eq!(error.kind(), LakeErrorKind::Corrupt);
}

/// B1: what an answer to a conditional write proves, and that it is sent once.
#[tokio::test]
async fn only_proof_makes_a_write_unchanged() {
    use WriteOutcome::{Unchanged, Unknown};
    for (status, code, outcome, kind) in [
        (412, "PreconditionFailed", Unchanged, LakeErrorKind::Drifted),
        (409, "ConditionalRequestConflict", Unchanged, LakeErrorKind::Drifted),
        (404, "NoSuchKey", Unchanged, LakeErrorKind::Drifted),
        (403, "AccessDenied", Unchanged, LakeErrorKind::Denied),
        (400, "BadDigest", Unchanged, LakeErrorKind::Other),
        (501, "NotImplemented", Unchanged, LakeErrorKind::Unsupported),
        (500, "InternalError", Unknown, LakeErrorKind::Unavailable),
        (503, "SlowDown", Unknown, LakeErrorKind::Unavailable),
    ] {
        let stub = Stub::start(move |request| match request.method.as_str() {
            "PUT" => Answer::error(status, code),
            _ => holding(request),
        });
        let lake = lake_at(&stub.endpoint).await;
        let object = version("a", "v1", 3);
        let error = write(&lake, &object.key.clone(), Base::Version(object), Edit::bytes("new"))
            .await
            .expect_err(code);
        assert_eq!((error.outcome, error.error.kind()), (outcome, kind), "{code}: {error}");
        let puts: Vec<Request> =
            stub.seen().into_iter().filter(|request| request.method == "PUT").collect();
        assert_eq!(puts.len(), 1, "{code} is sent once");
        assert_eq!(puts[0].header("if-match"), Some("\"etag\""));
    }
}

/// B10: a store that wants to be left alone for a time is understood.
#[tokio::test]
async fn a_pause_is_understood_as_seconds_and_as_a_date() {
    let now = "Tue, 01 Jan 2030 00:00:30 GMT";
    for (after, pause) in [
        ("7", Some(7)),
        ("Tue, 01 Jan 2030 00:01:00 GMT", Some(30)),
        ("Tue, 01 Jan 2030 00:00:00 GMT", None),
        ("soon", None),
    ] {
        let stub = Stub::start(move |request| match request.method.as_str() {
            "PUT" => Answer::error(503, "SlowDown").with("retry-after", after).with("date", now),
            _ => holding(request),
        });
        let lake = lake_at(&stub.endpoint).await;
        let object = version("a", "v1", 3);
        let base = Base::Version(object.clone());
        let error = write(&lake, &object.key, base, Edit::bytes("new")).await.expect_err(after);
        assert_eq!(error.error.kind(), LakeErrorKind::Unavailable, "{after}");
        assert_eq!(error.error.pause(), pause.map(Duration::from_secs), "{after}");
    }
}

/// B18: credentials that end meanwhile are named, and nothing is taken for gone or for changed.
#[tokio::test]
async fn credentials_that_expire_are_named() {
    let stub = Stub::start(|request| match request.parameter("versioning") {
        Some(_) => holding(request),
        None => Answer::error(400, "ExpiredToken"),
    });
    let lake = lake_at(&stub.endpoint).await;
    let object = version("a", "v1", 3);
    let error = bytes_of(&lake, &object).await.expect_err("expired");
    assert_eq!(error.kind(), LakeErrorKind::Other);
    assert!(error.to_string().contains("renew them"), "{error}");
    let base = Base::Version(object.clone());
    let error = write(&lake, &object.key, base, Edit::bytes("new")).await.expect_err("expired");
    assert_eq!(error.outcome, WriteOutcome::Unchanged);
}

/// B2, B3: an error within a 200 leaves the outcome of a completion open; a conflict does not, and
/// ends the upload.
#[tokio::test]
async fn a_completion_may_fail_within_a_200() {
    for (status, code, outcome, aborts) in [
        (200, "InternalError", WriteOutcome::Unknown, 0),
        (409, "ConditionalRequestConflict", WriteOutcome::Unchanged, 1),
        (412, "PreconditionFailed", WriteOutcome::Unchanged, 1),
    ] {
        let stub = Stub::start(move |request| match request.method.as_str() {
            "POST" if request.parameter("uploads").is_some() => Answer::new(
                200,
                "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
            ),
            "POST" => Answer::error(status, code),
            "GET" if request.parameter("uploadId").is_some() => Answer::error(404, "NoSuchUpload"),
            _ => holding(request),
        });
        let lake = lake_at(&stub.endpoint).await;
        let object = version("a", "v1", 3);
        let edit = Edit::bytes(vec![b'x'; SINGLE_WRITE_BYTES + 1]);
        let base = Base::Version(object.clone());
        let error = write(&lake, &object.key, base, edit).await.expect_err(code);
        assert_eq!(error.outcome, outcome, "{code}");
        let count = |method: &str, parameter: &str| {
            let asks = |request: &&Request| {
                request.method == method && request.parameter(parameter).is_some()
            };
            stub.seen().iter().filter(asks).count()
        };
        assert_eq!(count("DELETE", "uploadId"), aborts, "{code}");
        assert_eq!(count("POST", "uploadId"), 1, "{code} is sent once");
    }
}

/// B7: a rewrite that would lose what it cannot see does not happen.
#[tokio::test]
async fn what_cannot_be_carried_over_forbids_the_write() {
    let hidden_tags = Stub::start(|request| match request.parameter("tagging") {
        Some(_) => Answer::error(403, "AccessDenied"),
        None => holding(request),
    });
    let hidden_metadata = Stub::start(|request| match request.method.as_str() {
        "HEAD" => holding(request).with("x-amz-missing-meta", "1"),
        _ => holding(request),
    });
    for (stub, kind) in
        [(&hidden_tags, LakeErrorKind::Denied), (&hidden_metadata, LakeErrorKind::Unsupported)]
    {
        let lake = lake_at(&stub.endpoint).await;
        let object = version("a", "v1", 3);
        let error = write(&lake, &object.key.clone(), Base::Version(object), Edit::bytes("new"))
            .await
            .expect_err("it would lose something");
        assert_eq!((error.outcome, error.error.kind()), (WriteOutcome::Unchanged, kind));
        assert!(stub.seen().iter().all(|request| request.method != "PUT"));
    }
}

/// B12: every request names the account that has to own the bucket.
#[tokio::test]
async fn the_owner_is_named_on_every_request() {
    let stub = Stub::start(holding);
    let configuration = services::configuration(&stub.endpoint, "access", "secret").await;
    let bucket_owner = Some("111122223333".to_owned());
    let settings = S3Settings { bucket_owner, ..settings("bucket") };
    let lake = S3Lake::with_configuration(&configuration, settings).expect("a lake");
    let object = version("a", "v1", 3);
    bytes_of(&lake, &object).await.expect("read");
    write(&lake, &object.key.clone(), Base::Version(object), Edit::bytes("new"))
        .await
        .expect("written");
    let seen = stub.seen();
    assert!(seen.len() > 4);
    for request in seen {
        assert_eq!(request.header("x-amz-expected-bucket-owner"), Some("111122223333"));
    }
}

/// B1: the real server commits, its answer is lost, and settling finds out, for small and large
/// writes. Nothing is written twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_settled() {
    for versions in [true, false] {
        let FreshBucket { client, name, .. } = fresh_bucket(versions).await;
        let server = services::s3();
        let proxy = Proxy::start(&server.endpoint);
        let configuration = server.configuration_at(&proxy.endpoint).await;
        let lake = S3Lake::with_configuration(&configuration, settings(&name)).expect("a lake");
        let beside = Beside { client, name: name.clone() };
        let key = ObjectKey::from("folder/a");
        for (lost, size) in [
            (format!("PUT /{name}/folder/a"), 10),
            (format!("POST /{name}/folder/a?uploadId"), SINGLE_WRITE_BYTES + 1),
        ] {
            beside.put(&key, b"0123456789", &[]).await;
            let before = lake.versions(&key).await.expect("versions").len();
            let base = Base::Version(current(&lake, &key).await);
            let order = order(&key, base, Edit::bytes(pattern(size, 3)));
            let operation = order.operation.clone();
            proxy.lose_answer_to(&lost);
            let error = lake.write(order).await.expect_err("the answer is lost");
            assert!(proxy.has_lost(), "{lost}");
            assert_eq!(error.outcome, WriteOutcome::Unknown, "{error}");
            let settled = settled_soon(&lake, &key, &operation).await;
            assert_eq!(bytes_of(&lake, &settled).await.expect("read"), pattern(size, 3));
            let after = lake.versions(&key).await.expect("versions").len();
            assert_eq!(after, if versions { before + 1 } else { 1 });
        }
    }
}

/// The server may still be at work when the connection breaks.
async fn settled_soon(lake: &S3Lake, key: &ObjectKey, operation: &OperationId) -> ObjectVersion {
    for _ in 0..100 {
        match settle(lake, key, operation).await.expect("settled") {
            Settled::Committed(object) => return object,
            Settled::NotCommitted => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    panic!("the write was not committed");
}

/// B6: a copy is pinned to the version it copies from, by id and by ETag.
#[tokio::test]
async fn a_copied_part_is_pinned() {
    const SIZE: usize = 20 << 20;
    let stub = Stub::start(|request| match request.method.as_str() {
        "HEAD" => Answer::object(SIZE, "\"etag\"").with("x-amz-version-id", "v1"),
        "POST" if request.parameter("uploads").is_some() => Answer::new(
            200,
            "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
        ),
        "POST" => Answer::new(
            200,
            "<CompleteMultipartUploadResult><ETag>\"etag\"</ETag></CompleteMultipartUploadResult>",
        )
        .with("x-amz-version-id", "v1"),
        "PUT" if request.header("x-amz-copy-source").is_some() => {
            Answer::new(200, "<CopyPartResult><ETag>\"part\"</ETag></CopyPartResult>")
        }
        _ => holding(request),
    });
    let lake = lake_at(&stub.endpoint).await;
    let object = version("a b/c+d", "v1", SIZE as u64);
    let edit = Edit::new(vec![Segment::Copy(0..SIZE as u64)]);
    write(&lake, &object.key.clone(), Base::Version(object), edit).await.expect("written");
    let copies: Vec<Request> = stub
        .seen()
        .into_iter()
        .filter(|request| request.header("x-amz-copy-source").is_some())
        .collect();
    assert!(!copies.is_empty());
    for copy in copies {
        assert_eq!(copy.header("x-amz-copy-source"), Some("bucket/a%20b/c%2Bd?versionId=v1"));
        assert_eq!(copy.header("x-amz-copy-source-if-match"), Some("\"etag\""));
    }
}

/// Whether a request is permitted.
type Allows = fn(&Request) -> bool;

/// A bucket whose object is large enough for stages, and whose answers hold just what is asked for.
fn staging(request: &Request, allows: Allows) -> Answer {
    const SIZE: usize = 64 << 20;
    let asks = |name: &str| request.parameter(name).is_some();
    if !allows(request) {
        return Answer::error(403, "AccessDenied");
    }
    match request.method.as_str() {
        "HEAD" => Answer::object(SIZE, "\"etag\"").with("x-amz-version-id", "v1"),
        "POST" if asks("uploads") => Answer::new(
            200,
            "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
        ),
        "POST" => Answer::new(
            200,
            "<CompleteMultipartUploadResult><ETag>\"made\"</ETag></CompleteMultipartUploadResult>",
        )
        .with("x-amz-version-id", "v7"),
        "PUT" if request.header("x-amz-copy-source").is_some() => {
            Answer::new(200, "<CopyPartResult><ETag>\"part\"</ETag></CopyPartResult>")
        }
        "GET" if asks("uploadId") => Answer::error(404, "NoSuchUpload"),
        "GET" if asks("versions") => Answer::new(200, "<ListVersionsResult></ListVersionsResult>"),
        "GET" if asks("replication") => Answer::error(404, "ReplicationConfigurationNotFoundError"),
        "GET" if asks("notification") => Answer::new(200, "<NotificationConfiguration/>"),
        "GET" if request.header("range").is_some() => {
            let range = request.header("range").expect("a range").trim_start_matches("bytes=");
            let (first, last) = range.split_once('-').expect("two ends");
            let number = |text: &str| text.parse::<usize>().expect("a number");
            let length = number(last) - number(first) + 1;
            Answer::new(206, vec![b'x'; length])
                .with("etag", "\"etag\"")
                .with("content-range", format!("bytes {range}/{SIZE}"))
                .with("x-amz-version-id", "v1")
        }
        _ => holding(request),
    }
}

fn is_stage(request: &Request) -> bool {
    request.path().contains(".lacuna-stage-")
}

/// One row in the middle of a large object.
async fn write_one_row(stub: &Stub) -> Vec<Request> {
    let lake = lake_at(&stub.endpoint).await;
    let object = version("a b/c+d", "v1", 64 << 20);
    let (middle, end) = (32 << 20, object.size_bytes);
    let row = Segment::Bytes(Bytes::from_static(b"{}"));
    let edit = Edit::new(vec![Segment::Copy(0..middle), row, Segment::Copy(middle + 2..end)]);
    // What the object looks like afterwards is not the stub's to say.
    drop(write(&lake, &object.key.clone(), Base::Version(object), edit).await);
    stub.seen()
}

/// B6, B15: a stage is copied from as pinned as the object itself, is made where nothing was, and goes by
/// its version.
#[tokio::test]
async fn a_stage_is_pinned() {
    let stub = Stub::start(|request| staging(request, |_| true));
    let seen = write_one_row(&stub).await;
    let is_copy = |request: &&Request| request.header("x-amz-copy-source").is_some();
    let sources: BTreeSet<_> = seen
        .iter()
        .filter(is_copy)
        .map(|copy| (copy.header("x-amz-copy-source"), copy.header("x-amz-copy-source-if-match")))
        .collect();
    let stage = seen.iter().find(|request| is_stage(request)).expect("a stage").path().to_owned();
    let of_stage = format!("{}?versionId=v7", stage.trim_start_matches('/'));
    let expected = [
        (Some("bucket/a%20b/c%2Bd?versionId=v1"), Some("\"etag\"")),
        (Some(of_stage.as_str()), Some("\"made\"")),
    ];
    assert_eq!(sources, BTreeSet::from(expected));
    let completed = |request: &&Request| {
        is_stage(request) && request.method == "POST" && request.parameter("uploadId").is_some()
    };
    let completed: Vec<&Request> = seen.iter().filter(completed).collect();
    assert_eq!(completed.len(), 1);
    assert_eq!(completed[0].header("if-none-match"), Some("*"));
    let deleted = |request: &&Request| is_stage(request) && request.method == "DELETE";
    let deleted: Vec<_> =
        seen.iter().filter(deleted).map(|request| request.parameter("versionId")).collect();
    assert_eq!(deleted, [Some("v7".to_owned())]);
}

/// Where stages are forbidden, may be kept, copied or told of, or fail, the object is written without.
#[tokio::test]
async fn stages_are_not_forced() {
    let allowed: [(&str, Allows); 5] = [
        ("replication", |request| request.parameter("replication").is_none()),
        ("notification", |request| request.parameter("notification").is_none()),
        ("lock", |request| request.parameter("object-lock").is_none()),
        ("begin", |request| !is_stage(request) || request.parameter("uploads").is_none()),
        ("fill", |request| !is_stage(request) || request.method != "PUT"),
    ];
    for (what, allows) in allowed {
        let stub = Stub::start(move |request| staging(request, allows));
        let seen = write_one_row(&stub).await;
        let is_completed = seen.iter().any(|request| {
            !is_stage(request)
                && request.method == "POST"
                && request.parameter("uploadId").is_some()
        });
        assert!(is_completed, "{what}");
        let stages = seen.iter().filter(|request| is_stage(request)).count();
        assert_eq!(stages > 0, matches!(what, "begin" | "fill"), "{what}");
        let sent = |request: &&Request| {
            !is_stage(request)
                && request.method == "PUT"
                && request.header("x-amz-copy-source").is_none()
        };
        assert_eq!(seen.iter().filter(sent).count(), 1, "{what}: a part was sent");
    }
}

/// Missing credentials are a matter of permission, not of trying again.
#[tokio::test]
async fn missing_credentials_are_told() {
    let stub = Stub::start(holding);
    let configuration = services::configuration(&stub.endpoint, "access", "secret").await;
    let http = aws_smithy_http_client::Builder::new().build_http();
    let empty = ProviderConfig::empty().with_http_client(http);
    let profile = ProfileFileCredentialsProvider::builder().configure(&empty);
    let profile = SharedCredentialsProvider::new(profile.profile_name("lacuna-absent").build());
    let nobody = configuration.into_builder().credentials_provider(profile).build();
    let lake = S3Lake::with_configuration(&nobody, settings("bucket")).expect("a lake");
    let error = lake.capabilities().await.expect_err("nothing can be signed");
    assert_eq!(error.kind(), LakeErrorKind::Denied, "{error:?}");
    assert!(stub.seen().is_empty());
}

/// A store that is not there, and one that answers no HTTP, leave a write open.
#[tokio::test]
async fn no_answer_is_unavailable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let lake = lake_at(&endpoint).await;
    let error = lake.capabilities().await.expect_err("nobody listens");
    assert_eq!(error.kind(), LakeErrorKind::Unavailable, "{error:?}");
}

/// Connecting asks nobody, and refuses what cannot be a bucket.
#[tokio::test]
async fn connecting_asks_nobody() {
    let region = Some("eu-west-1".to_owned());
    let valid = S3Settings { region: region.clone(), ..S3Settings::new("bucket") };
    let lake = S3Lake::connect(valid).await.expect("a lake");
    assert_eq!(lake.location(), "s3://bucket");
    for name in ["", "a/b", "express--use1-az4--x-s3"] {
        let wrong = S3Settings { region: region.clone(), ..S3Settings::new(name) };
        assert!(S3Lake::connect(wrong).await.is_err(), "{name}");
    }
}
