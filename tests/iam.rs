//! Holds the policies of `docs/iam.md` against what the code asks of AWS: a call without a policy
//! fails here, and so does a policy that allows what its role is not for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use super::{root, sources};

const LAKE: &str = "arn:aws:s3:::lake";
const OBJECT: &str = "arn:aws:s3:::lake/reviews/2026/a.json";
const PROBE: &str = "arn:aws:s3:::lake/reviews/.lacuna-probe-0123";
const STAGE: &str = "arn:aws:s3:::lake/reviews/2026/.lacuna-stage-0123-0";
const TABLE: &str = "arn:aws:dynamodb:eu-west-1:111122223333:table/lacuna-top";

const ALL: &[&str] = &["Indexing", "Planning", "Erasing", "Expunging"];
const ASKING: &[&str] = &["Planning", "Erasing", "Expunging"];
const WRITING: &[&str] = &["Erasing"];
const INDEX: &[&str] = &["Index in DynamoDB"];
const CREATING: &[&str] = &["Creating the tables"];
const TELLING: &[&str] = &["Events"];
const TOPIC: &str = "arn:aws:sns:eu-west-1:111122223333:erasures";

/// An operation of the SDK, what it takes on which resource, and which roles call it.
type Need = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

const S3: &[Need] = &[
    (
        "abort_multipart_upload",
        &[("s3:AbortMultipartUpload", OBJECT), ("s3:AbortMultipartUpload", STAGE)],
        WRITING,
    ),
    ("complete_multipart_upload", &[("s3:PutObject", OBJECT), ("s3:PutObject", STAGE)], WRITING),
    (
        "create_multipart_upload",
        &[("s3:PutObject", OBJECT), ("s3:PutObjectTagging", OBJECT), ("s3:PutObjectAcl", OBJECT)],
        WRITING,
    ),
    (
        "delete_object",
        &[
            ("s3:DeleteObject", PROBE),
            ("s3:DeleteObjectVersion", PROBE),
            ("s3:DeleteObject", STAGE),
            ("s3:DeleteObjectVersion", STAGE),
        ],
        WRITING,
    ),
    ("get_bucket_lifecycle_configuration", &[("s3:GetLifecycleConfiguration", LAKE)], ASKING),
    ("get_bucket_notification_configuration", &[("s3:GetBucketNotification", LAKE)], ASKING),
    ("get_bucket_replication", &[("s3:GetReplicationConfiguration", LAKE)], ASKING),
    ("get_bucket_request_payment", &[("s3:GetBucketRequestPayment", LAKE)], ASKING),
    ("get_bucket_versioning", &[("s3:GetBucketVersioning", LAKE)], ALL),
    ("get_object", &[("s3:GetObject", OBJECT), ("s3:GetObjectVersion", OBJECT)], ALL),
    ("get_object_acl", &[("s3:GetObjectAcl", OBJECT), ("s3:GetObjectVersionAcl", OBJECT)], ASKING),
    ("get_object_legal_hold", &[("s3:GetObjectLegalHold", OBJECT)], ASKING),
    ("get_object_lock_configuration", &[("s3:GetBucketObjectLockConfiguration", LAKE)], ASKING),
    ("get_object_retention", &[("s3:GetObjectRetention", OBJECT)], ASKING),
    (
        "get_object_tagging",
        &[("s3:GetObjectTagging", OBJECT), ("s3:GetObjectVersionTagging", OBJECT)],
        ASKING,
    ),
    ("head_object", &[("s3:GetObject", OBJECT), ("s3:GetObjectVersion", OBJECT)], ALL),
    ("list_multipart_uploads", &[("s3:ListBucketMultipartUploads", LAKE)], ASKING),
    ("list_object_versions", &[("s3:ListBucketVersions", LAKE)], ALL),
    ("list_objects_v2", &[("s3:ListBucket", LAKE)], ALL),
    (
        "list_parts",
        &[("s3:ListMultipartUploadParts", OBJECT), ("s3:ListMultipartUploadParts", STAGE)],
        WRITING,
    ),
    (
        "put_object",
        &[
            ("s3:PutObject", OBJECT),
            ("s3:PutObject", PROBE),
            ("s3:PutObjectTagging", OBJECT),
            ("s3:PutObjectAcl", OBJECT),
        ],
        WRITING,
    ),
    ("upload_part", &[("s3:PutObject", OBJECT), ("s3:PutObject", STAGE)], WRITING),
    ("upload_part_copy", &[("s3:PutObject", OBJECT), ("s3:GetObjectVersion", OBJECT)], WRITING),
];

const DYNAMODB: &[Need] = &[
    ("batch_get_item", &[("dynamodb:BatchGetItem", TABLE)], INDEX),
    ("batch_write_item", &[("dynamodb:BatchWriteItem", TABLE)], INDEX),
    ("create_table", &[("dynamodb:CreateTable", TABLE), ("dynamodb:UpdateItem", TABLE)], CREATING),
    ("delete_item", &[("dynamodb:DeleteItem", TABLE)], INDEX),
    ("delete_table", &[("dynamodb:DeleteTable", TABLE)], CREATING),
    ("describe_table", &[("dynamodb:DescribeTable", TABLE)], INDEX),
    ("get_item", &[("dynamodb:GetItem", TABLE)], INDEX),
    ("put_item", &[("dynamodb:PutItem", TABLE)], INDEX),
    ("query", &[("dynamodb:Query", TABLE)], INDEX),
    ("scan", &[("dynamodb:Scan", TABLE)], INDEX),
    ("transact_get_items", &[("dynamodb:GetItem", TABLE)], INDEX),
    (
        "transact_write_items",
        &[
            ("dynamodb:PutItem", TABLE),
            ("dynamodb:UpdateItem", TABLE),
            ("dynamodb:DeleteItem", TABLE),
            ("dynamodb:ConditionCheckItem", TABLE),
        ],
        INDEX,
    ),
    ("update_item", &[("dynamodb:UpdateItem", TABLE)], INDEX),
];

const SNS: &[Need] = &[("publish", &[("sns:Publish", TOPIC)], TELLING)];

/// The policies of the page, by their headings. Every block of JSON on it is one.
fn policies() -> BTreeMap<String, Value> {
    let text = fs::read_to_string(root().join("docs/iam.md")).expect("a page");
    let mut policies = BTreeMap::new();
    for section in text.split("\n## ").skip(1) {
        let heading = section.lines().next().expect("a heading").to_owned();
        for block in section.split("```json\n").skip(1) {
            let json = block.split("```").next().expect("an end");
            let policy: Value = serde_json::from_str(json).expect("JSON");
            assert_eq!(policy["Version"], "2012-10-17", "{heading}");
            let told = policies.insert(heading.clone(), policy);
            assert!(told.is_none(), "{heading} has two policies");
        }
    }
    policies
}

/// One text or several.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        several => {
            let several = several.as_array().expect("texts").iter();
            several.map(|text| text.as_str().expect("a text")).collect()
        }
    }
}

/// Whether a pattern of IAM, whose `*` stands for anything, matches.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len())
                .filter(|at| rest.is_char_boundary(*at))
                .any(|at| matches(after, &rest[at..]))
        }),
    }
}

/// Whether a policy allows an action on a resource: some statement does, and none denies it.
fn allows(policy: &Value, action: &str, resource: &str) -> bool {
    let concerns = |statement: &&Value| {
        texts(&statement["Action"]).iter().any(|pattern| matches(pattern, action))
            && texts(&statement["Resource"]).iter().any(|pattern| matches(pattern, resource))
    };
    let statements: Vec<&Value> =
        policy["Statement"].as_array().expect("statements").iter().filter(concerns).collect();
    let has = |effect: &str| statements.iter().any(|statement| statement["Effect"] == effect);
    has("Allow") && !has("Deny")
}

/// The operations of the SDK that the sources of a folder call on a client.
fn called(folder: &str) -> BTreeSet<String> {
    let mut called = BTreeSet::new();
    for file in sources(&root().join(folder)) {
        let text = fs::read_to_string(file).expect("a source");
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
        let code: String = lines.flat_map(str::chars).filter(|it| !it.is_whitespace()).collect();
        for beginning in ["client.", "client()."] {
            for (at, found) in code.match_indices(beginning) {
                let rest = &code[at + found.len()..];
                let end = rest.find(|it: char| !it.is_ascii_lowercase() && it != '_' && it != '2');
                let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
                if after.starts_with("()") && name != "config" {
                    called.insert(name.to_owned());
                }
            }
        }
    }
    called
}

fn check(folder: &str, needs: &[Need]) {
    let known: BTreeSet<String> =
        needs.iter().map(|(operation, ..)| (*operation).to_owned()).collect();
    assert_eq!(called(folder), known, "what {folder} calls, and what this test knows of");
    let policies = policies();
    for (operation, takes, roles) in needs {
        for role in *roles {
            let policy = policies.get(*role).unwrap_or_else(|| panic!("no policy `{role}`"));
            for (action, resource) in *takes {
                let is_allowed = allows(policy, action, resource);
                assert!(is_allowed, "`{role}` calls {operation}: it takes {action} on {resource}");
            }
        }
    }
}

#[test]
fn every_call_of_s3_has_its_policy() {
    check("src/lake/s3", S3);
}

#[test]
fn every_call_of_dynamodb_has_its_policy() {
    check("src/metastore/dynamodb", DYNAMODB);
}

#[test]
fn every_call_of_sns_has_its_policy() {
    check("src/notify", SNS);
}

/// Hazard K16: what a role is not for, it may not do.
#[test]
fn no_role_may_do_what_it_is_not_for() {
    let policies = policies();
    for (role, policy) in &policies {
        for action in
            ["s3:BypassGovernanceRetention", "s3:PutObjectRetention", "s3:PutBucketPolicy"]
        {
            assert!(
                !allows(policy, action, OBJECT) && !allows(policy, action, LAKE),
                "{role}: {action}"
            );
        }
        for statement in policy["Statement"].as_array().expect("statements") {
            let is_deny = statement["Effect"] == "Deny";
            let wide = |text: &str| ["*", "s3:*", "dynamodb:*"].contains(&text);
            let texts = [texts(&statement["Action"]), texts(&statement["Resource"])].concat();
            assert!(is_deny || !texts.iter().any(|text| wide(text)), "{role}: {statement}");
        }
    }
    let may = |role: &str, action: &str, resource: &str| allows(&policies[role], action, resource);
    let writing =
        ["s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:AbortMultipartUpload"];
    for role in ["Indexing", "Planning"] {
        for (action, resource) in writing.iter().flat_map(|it| [(it, OBJECT), (it, PROBE)]) {
            assert!(!may(role, action, resource), "{role}: {action} on {resource}");
        }
    }
    assert!(!may("Erasing", "s3:DeleteObjectVersion", OBJECT));
    assert!(!may("Erasing", "s3:DeleteObject", OBJECT));
    assert!(may("Expunging", "s3:DeleteObjectVersion", OBJECT));
    assert!(!may("Expunging", "s3:DeleteObject", OBJECT));
    assert!(!may("Expunging", "s3:PutObject", OBJECT));
    // Every run of `erase` proves the bucket by a probe.
    for action in ["s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"] {
        assert!(may("Erasing", action, PROBE) && may("Expunging", action, PROBE), "{action}");
    }
    let ledger = |action: &str, name: &str| {
        may("Ledger", action, &format!("arn:aws:s3:::erasure/lacuna/{name}"))
    };
    assert!(ledger("s3:PutObject", "plans/1.json") && ledger("s3:GetObject", "plans/1.json"));
    for action in ["s3:DeleteObject", "s3:DeleteObjectVersion"] {
        assert!(!ledger(action, "plans/1.json") && !ledger(action, "audit/1/0-0.json"));
        assert!(ledger(action, "lease.json") && ledger(action, "leftovers/a.json"));
    }
}

/// What the program says that it takes, some policy allows.
#[test]
fn every_permission_that_the_program_names_is_in_a_policy() {
    let policies = policies();
    let mut named = BTreeSet::new();
    for file in sources(&root().join("src/lake/s3")) {
        let text = fs::read_to_string(file).expect("a source");
        for (at, found) in text.match_indices("\"s3:") {
            let rest = &text[at + found.len()..];
            named.extend(
                rest.split(|it: char| !it.is_ascii_alphanumeric()).next().map(str::to_owned),
            );
        }
    }
    assert!(named.len() > 20, "{named:?}");
    for name in named.iter().filter(|name| !name.is_empty()) {
        let action = format!("s3:{name}");
        let allowed = |policy: &Value| {
            [LAKE, OBJECT, PROBE].iter().any(|resource| allows(policy, &action, resource))
        };
        assert!(policies.values().any(allowed), "{action} is in no policy");
    }
}

#[test]
fn patterns_match_as_iam_matches_them() {
    assert!(matches("arn:aws:s3:::lake/reviews/*.lacuna-stage-*", STAGE));
    assert!(matches("arn:aws:s3:::lake/reviews/*.lacuna-probe-*", PROBE));
    assert!(!matches("arn:aws:s3:::lake/reviews/*.lacuna-stage-*", OBJECT));
    assert!(!matches("arn:aws:s3:::lake/*", LAKE));
    assert!(
        matches("*", OBJECT)
            && matches("s3:Get*", "s3:GetObject")
            && !matches("s3:Get", "s3:GetObject")
    );
}
