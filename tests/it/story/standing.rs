//! What may stand in a bucket beside plain current objects: several versions, delete markers, holds and
//! retentions, in one erasure on the real server.

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{
    ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockRetention, ObjectLockRetentionMode,
};
use serde_json::Value;
use tempfile::TempDir;

use super::reviews_at;
use crate::support::place::{Bucket, Place};
use crate::support::program::Program;

/// 2099-03-01T00:00:00Z.
const UNTIL_SECONDS: i64 = 4_076_006_400;

const CANARY: &str = "csecret";

fn record(version: u32) -> String {
    let (one, two) = ("{\"user_id\":\"u1\",\"secret\":\"", "{\"user_id\":\"u2\",\"n\":");
    format!("{one}{CANARY}{version}\"}}\n{two}{version}}}\n")
}

/// The versions of a key that still hold the subject's secret.
fn holding(bucket: &Bucket, key: &str) -> usize {
    let all = bucket.all().into_iter().filter(|(other, _)| other == key);
    all.filter(|(_, bytes)| String::from_utf8_lossy(bytes).contains(CANARY)).count()
}

/// C1, C4, C7: three versions of an object, a delete marker on another, a legal hold on a third and a
/// retention on a fourth end erased, erased, held by name, and retained until its day.
#[test]
fn versions_a_marker_a_hold_and_a_retention_end_as_they_can() {
    let bucket = Bucket::with_locks();
    let keys = ["versions.json", "hidden.json", "held.json", "retained.json"];
    for version in 0..3 {
        bucket.put(keys[0], record(version).as_bytes());
    }
    keys[1..].iter().for_each(|key| bucket.put(key, record(7).as_bytes()));
    bucket.delete(keys[1]);
    bucket.block_on(async |client, name| {
        let status = ObjectLockLegalHoldStatus::On;
        let hold = ObjectLockLegalHold::builder().status(status).build();
        let asked = client.put_object_legal_hold().bucket(name).key(keys[2]).legal_hold(hold);
        asked.send().await.expect("a hold");
        let retention = ObjectLockRetention::builder().mode(ObjectLockRetentionMode::Governance);
        let until = DateTime::from_secs(UNTIL_SECONDS);
        let retention = retention.retain_until_date(until).build();
        let asked = client.put_object_retention().bucket(name).key(keys[3]).retention(retention);
        asked.send().await.expect("a retention");
    });
    let home = TempDir::new().expect("a folder");
    let program = Program::new(home.path(), &reviews_at(&bucket.location()), bucket.environment());
    program.run(&["index"]).success();
    let plan = program.run(&["plan", "--json", "--request", "R-1", "--subject", "u1"]);
    let id = plan.success().json()["plan_id"].as_str().expect("an id").to_owned();
    program.run(&["approve", &id, "--by", "officer", "--confirm", &id[..8]]).success();
    let erased = program.run(&["erase", "--json", &id]).success().json();
    assert_eq!((&erased["counts"]["erased"], &erased["counts"]["failed"]), (&4.into(), &0.into()));
    let reasons: Vec<(&str, &Value)> = erased["retained"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|kept| (kept["object"]["key"].as_str().expect("a key"), &kept["reason"]))
        .collect();
    let held = serde_json::json!({"reason": "legal_hold"});
    let retained = serde_json::json!({"reason": "locked", "until": "2099-03-01T00:00:00Z"});
    assert_eq!(reasons, [(keys[2], &held), (keys[3], &retained)]);

    assert_eq!(
        keys.map(|key| holding(&bucket, key)),
        [0, 0, 1, 1],
        "what may not go is still there"
    );
    for key in [keys[0], keys[2], keys[3]] {
        let current = String::from_utf8(bucket.get(key)).expect("text");
        let (first, second) = current.split_once('\n').expect("two lines");
        assert!(first.trim_end() == "{}" && second.contains("\"u2\""), "{key}: {current}");
    }
    assert!(!bucket.all().iter().any(|(key, _)| key == keys[1]), "a hidden version is deleted");
    let certificate = program.run(&["certificate", "--json", &id]).success().json();
    assert_eq!(certificate["grade"], "complete_with_retained_copies");
    let text = program.run(&["certificate", &id]).success().stdout();
    assert!(text.contains("2099-03-01") && text.contains("legal hold"), "{text}");
    // The same command finds nothing more to do, and finds nothing else.
    let again = program.run(&["erase", "--json", &id]).success().json();
    assert_eq!(again["retained"], erased["retained"]);
}
