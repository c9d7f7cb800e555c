//! What only a real S3 server has: locks, suspended versioning, uploads, all kinds of attributes.

use std::collections::BTreeMap;
use std::sync::mpsc;

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, DefaultRetention, ObjectLockConfiguration,
    ObjectLockEnabled, ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockRetention,
    ObjectLockRetentionMode, ObjectLockRule,
};
use lacuna::domain::edit::Segment;
use lacuna::domain::object::Standing;
use lacuna::domain::scope::PROBE_PREFIX;
use lacuna::lake::probe::{prove_conditional_writes, try_conditional_writes};
use lacuna::lake::{LakeErrorKind, Lock, Versioning, WriteOutcome};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

/// B7: random attributes survive a rewrite exactly, in one request and in parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_attributes_survive() {
    let FreshBucket { lake, client, name } = fresh_bucket(true).await;
    let beside = Beside { client, name };
    let seed = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), seed);
    let value = "[!-~]([ -~]{0,30}[!-~])?";
    let tag = "[a-zA-Z0-9+=._:/@ -]{1,20}";
    let attributes = prop::collection::btree_map(
        prop_oneof![
            Just("content-type".to_owned()),
            Just("cache-control".to_owned()),
            Just("content-disposition".to_owned()),
            Just("content-language".to_owned()),
            "meta:[a-z][a-z0-9-]{0,12}",
        ],
        value,
        0..6,
    );
    let tags = prop::collection::btree_map("tag:[a-zA-Z0-9+=._:/@-]{1,20}", tag, 0..6);
    for round in 0..24u64 {
        let tree = (&attributes, &tags).new_tree(&mut runner).expect("attributes");
        let (mut attributes, tags): (BTreeMap<String, String>, BTreeMap<_, _>) = tree.current();
        attributes.extend(tags);
        let pairs: Vec<(&str, &str)> =
            attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let key = ObjectKey::from(format!("folder/{round}").as_str());
        beside.put(&key, b"0123456789", &pairs).await;
        let before = lake.attributes(Target::Current(&key)).await.expect("there");
        for (name, value) in &attributes {
            assert_eq!(before.carried.get(name).map(|value| value.trim()), Some(value.trim()));
        }
        let size = if round % 6 == 0 { SINGLE_WRITE_BYTES + 1 } else { 10 };
        let edit = Edit::bytes(pattern(size, round));
        let base = Base::Version(before.object);
        let written = write(&*lake, &key, base, edit).await.expect("written");
        let after = lake.attributes(Target::Version(&written)).await.expect("there");
        assert_eq!(after.carried, before.carried);
    }
}

/// A5: attributes that change while the parts are sent are not overwritten with the old ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attributes_that_change_meanwhile_stop_the_write() {
    let FreshBucket { lake, client, name } = fresh_bucket(true).await;
    let beside = Beside { client: client.clone(), name: name.clone() };
    let key = ObjectKey::from("a");
    beside.put(&key, b"0123456789", &[("tag:team", "red")]).await;
    let base = Base::Version(current(&*lake, &key).await);
    let (reached, reaching) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let large = Bytes::from(pattern(SINGLE_WRITE_BYTES * 2, 1));
    let pieces = [Ok(Segment::Bytes(large))].into_iter().chain(std::iter::once_with(move || {
        reached.send(()).expect("the test waits");
        released.recv().expect("the test goes on");
        Ok(Segment::Copy(0..10))
    }));
    let order = order(&key, base, Edit::streamed(pieces));
    let writer = lake.clone();
    let task = tokio::spawn(async move { writer.write(order).await });
    tokio::task::spawn_blocking(move || reaching.recv()).await.expect("joined").expect("reached");
    let tag = Tag::builder().key("team").value("blue").build().expect("a tag");
    let tagging = Tagging::builder().tag_set(tag).build().expect("tags");
    let request = client.put_object_tagging().bucket(&name).key("a").tagging(tagging);
    request.send().await.expect("tagged");
    release.send(()).expect("the writer waits");
    let error = task.await.expect("joined").expect_err("the tags have changed");
    assert_eq!(error.outcome, WriteOutcome::Unchanged);
    assert_eq!(error.error.kind(), LakeErrorKind::Drifted);
    assert_eq!(current_bytes(&*lake, &key).await, b"0123456789");
    assert_eq!(beside.leftovers().await, 0);
}

/// C7, C8: locks are told, and never bypassed.
#[tokio::test]
async fn locks_are_told_and_kept() {
    let configuration = services::s3().configuration().await;
    let client = services::client(&configuration);
    let name = services::unique("locked");
    let request = client.create_bucket().bucket(&name).object_lock_enabled_for_bucket(true);
    request.send().await.expect("a bucket is made");
    let lake = S3Lake::with_configuration(&configuration, settings(&name)).expect("a lake");
    let beside = Beside { client: client.clone(), name: name.clone() };
    let key = ObjectKey::from("a");
    beside.put(&key, b"one", &[]).await;
    let object = current(&lake, &key).await;
    let lock = async || lake.attributes(Target::Version(&object)).await.expect("there").lock;
    assert_eq!(lock().await, Lock::Free);
    set_hold(&client, &name, ObjectLockLegalHoldStatus::On).await;
    assert_eq!(lock().await, Lock::LegalHold);
    let error = lake.delete_version(&object).await.expect_err("held");
    assert_eq!(error.kind(), LakeErrorKind::Locked);
    set_hold(&client, &name, ObjectLockLegalHoldStatus::Off).await;
    let until = "2036-01-01T00:00:00Z".parse().expect("a moment");
    let retention = ObjectLockRetention::builder()
        .mode(ObjectLockRetentionMode::Governance)
        .retain_until_date(DateTime::from_secs(2_082_758_400))
        .build();
    let request = client.put_object_retention().bucket(&name).key("a").retention(retention);
    request.send().await.expect("retained");
    assert_eq!(lock().await, Lock::Until(until));
    let error = lake.delete_version(&object).await.expect_err("retained");
    assert_eq!(error.kind(), LakeErrorKind::Locked);
    let base = Base::Version(object.clone());
    write(&lake, &key, base, Edit::bytes("two")).await.expect("a new version may be written");
    assert_eq!(bytes_of(&lake, &object).await.expect("the old one stays"), b"one");
}

/// C7: a bucket that locks whatever is written to it keeps what a probe of conditional writes wrote, and is
/// written to all the same, by one run after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_may_be_retained() {
    let configuration = services::s3().configuration().await;
    let client = services::client(&configuration);
    let name = services::unique("retaining");
    let request = client.create_bucket().bucket(&name).object_lock_enabled_for_bucket(true);
    request.send().await.expect("a bucket is made");
    let retention =
        DefaultRetention::builder().mode(ObjectLockRetentionMode::Governance).days(1).build();
    let wanted = ObjectLockConfiguration::builder()
        .object_lock_enabled(ObjectLockEnabled::Enabled)
        .rule(ObjectLockRule::builder().default_retention(retention).build())
        .build();
    let request = client.put_object_lock_configuration().bucket(&name);
    request.object_lock_configuration(wanted).send().await.expect("set");
    let lake = S3Lake::with_configuration(&configuration, settings(&name)).expect("a lake");
    let run = "0123";
    try_conditional_writes(&lake, b"data/", run).await.expect("it honours conditions");
    let key = ObjectKey::from(format!("data/{PROBE_PREFIX}{run}").as_str());
    let kept = lake.versions(&key).await.expect("versions");
    assert!(!kept.is_empty());
    try_conditional_writes(&lake, b"data/", run).await.expect("and again");
    assert_eq!(lake.versions(&key).await.expect("versions").len(), kept.len());
}

async fn set_hold(client: &Client, name: &str, status: ObjectLockLegalHoldStatus) {
    let hold = ObjectLockLegalHold::builder().status(status).build();
    let request = client.put_object_legal_hold().bucket(name).key("a").legal_hold(hold);
    request.send().await.expect("a legal hold is set");
}

/// C5: a bucket whose versioning was suspended: the null version is replaced, the others stay.
#[tokio::test]
async fn a_suspended_bucket_has_a_null_version() {
    let FreshBucket { client, name, .. } = fresh_bucket(true).await;
    let beside = Beside { client: client.clone(), name: name.clone() };
    let key = ObjectKey::from("a");
    beside.put(&key, b"kept", &[]).await;
    set_versioning(&client, &name, BucketVersioningStatus::Suspended).await;
    let configuration = services::s3().configuration().await;
    let lake = S3Lake::with_configuration(&configuration, settings(&name)).expect("a lake");
    let capabilities = lake.capabilities().await.expect("asked");
    assert_eq!(capabilities.versioning, Versioning::Suspended);
    let kept = current(&lake, &key).await;
    beside.put(&key, b"null zero", &[]).await;
    let base = Base::Version(current(&lake, &key).await);
    let first = write(&lake, &key, base, Edit::bytes("null one")).await.expect("written");
    assert!(first.version.is_null());
    let base = Base::Version(first.clone());
    let second = write(&lake, &key, base, Edit::bytes("null two")).await.expect("written");
    let versions = lake.versions(&key).await.expect("versions");
    let standings: Vec<Standing> = versions.iter().map(|version| version.standing).collect();
    assert_eq!(standings, [Standing::Current, Standing::Superseded]);
    assert!(versions[0].object.is_same_version(&second));
    assert_eq!(bytes_of(&lake, &kept).await.expect("kept"), b"kept");
    assert!(bytes_of(&lake, &first).await.is_err(), "replaced");
    lake.delete_version(&first).await.expect("gone by itself");
    assert_eq!(current_bytes(&lake, &key).await, b"null two", "the other null version stays");
    lake.delete_version(&second).await.expect("deleted");
    assert_eq!(current_bytes(&lake, &key).await, b"kept");
}

/// B4: parts that no listing shows are gone after abandoning, however often it is done.
#[tokio::test]
async fn abandoned_parts_are_gone() {
    let FreshBucket { lake, client, name } = fresh_bucket(true).await;
    let upload = client.create_multipart_upload().bucket(&name).key("a/b").send().await;
    let upload = upload.expect("begun").upload_id.expect("named");
    for number in 1..=3 {
        let part = client.upload_part().bucket(&name).key("a/b").upload_id(&upload);
        let part = part.part_number(number).body(pattern(5 << 20, 1).into());
        part.send().await.expect("a part");
    }
    let key = ObjectKey::from("a/b");
    let beside = Beside { client, name };
    assert_eq!(beside.leftovers().await, 1);
    for _ in 0..2 {
        lake.abandon(&key, &Staging(upload.clone())).await.expect("abandoned");
        assert_eq!(beside.leftovers().await, 0);
    }
    lake.abandon(&key, &Staging("no-such-upload".to_owned())).await.expect("nothing to do");
}

/// A6: the ETag of an object in parts is no digest of its bytes, and pins it all the same.
#[tokio::test]
async fn an_etag_is_opaque() {
    let FreshBucket { lake, client, name } = fresh_bucket(false).await;
    let bytes = pattern(SINGLE_WRITE_BYTES * 2, 4);
    let request = client.create_multipart_upload().bucket(&name).key("a").send().await;
    let upload = request.expect("begun").upload_id.expect("named");
    let part = client.upload_part().bucket(&name).key("a").upload_id(&upload).part_number(1);
    let part = part.body(bytes.clone().into()).send().await.expect("a part");
    let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build();
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    let request = client.complete_multipart_upload().bucket(&name).key("a").upload_id(&upload);
    request.multipart_upload(parts).send().await.expect("completed");
    let key = ObjectKey::from("a");
    let object = current(&*lake, &key).await;
    assert!(bytes_of(&*lake, &object).await.expect("read") == bytes);
    assert_eq!(lake.versions(&key).await.expect("versions")[0].object, object);
    let base = Base::Version(object.clone());
    let edit = Edit::new(vec![Segment::Copy(1..object.size_bytes)]);
    let written = write(&*lake, &key, base, edit).await.expect("written");
    assert!(bytes_of(&*lake, &written).await.expect("read") == bytes[1..]);
}

/// B11: the server of the tests keeps to conditions, also under races.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditional_writes_are_proved() {
    for versions in [true, false] {
        let FreshBucket { lake, .. } = fresh_bucket(versions).await;
        let scratch = ObjectKey::from(".lacuna/probe");
        let proved = prove_conditional_writes(&*lake, scratch, operation).await;
        proved.expect("the server honours conditions");
        assert_eq!(listing(&*lake, b"").await, []);
    }
}
