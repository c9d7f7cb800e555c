//! What the doctor says of buckets: a server that answers as told, and the real one.

use std::path::Path;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketVersioningStatus,
    DefaultRetention, ExpirationStatus, LifecycleRule, LifecycleRuleFilter,
    ObjectLockConfiguration, ObjectLockEnabled, ObjectLockRetentionMode, ObjectLockRule,
    VersioningConfiguration,
};

use super::{findings, of, run_in, severity};
use crate::cli::{Run, lake};
use crate::support::services;
use crate::support::wire::{Answer, Request, Stub};

/// A folder whose dataset `reviews` lies in this bucket.
fn configured(bucket: &str) -> tempfile::TempDir {
    let folder = lake();
    let file = folder.path().join("lacuna.toml");
    let text = std::fs::read_to_string(&file).expect("a configuration");
    let location = format!("location = \"s3://{bucket}/reviews/\"");
    std::fs::write(file, text.replace("location = \"reviews\"", &location)).expect("written");
    folder
}

fn to_stub(endpoint: &str) -> Vec<(String, String)> {
    [
        ("LACUNA_S3_ENDPOINT", endpoint),
        ("LACUNA_S3_REGION", "us-east-1"),
        ("LACUNA_S3_PATH_STYLE", "true"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// What a request is about: the name of the first telling parameter, `read` or `read version` of an
/// object, else its method.
fn about(request: &Request) -> String {
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    let names: Vec<&str> = query
        .split('&')
        .filter_map(|pair| pair.split('=').next())
        .filter(|it| !it.is_empty())
        .collect();
    let telling = [
        "versioning",
        "object-lock",
        "replication",
        "notification",
        "requestPayment",
        "lifecycle",
        "versions",
        "list-type",
        "uploads",
        "tagging",
        "acl",
        "retention",
        "legal-hold",
    ];
    if let Some(name) = telling.iter().find(|name| names.contains(name)) {
        return (*name).to_owned();
    }
    match (request.method.as_str(), names.contains(&"versionId")) {
        ("GET", true) => "read version".to_owned(),
        ("GET", false) => "read".to_owned(),
        (method, _) => method.to_owned(),
    }
}

/// A bucket with versions and Object Lock and one object that is not locked.
fn sound(request: &Request) -> Answer {
    let entry = "<Key>reviews/a.json</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                 <ETag>\"e\"</ETag><Size>3</Size><StorageClass>STANDARD</StorageClass>";
    let body = match about(request).as_str() {
        "versioning" => {
            "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>".to_owned()
        }
        "object-lock" => "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>\
                          </ObjectLockConfiguration>"
            .to_owned(),
        "notification" => "<NotificationConfiguration/>".to_owned(),
        "requestPayment" => "<RequestPaymentConfiguration><Payer>BucketOwner</Payer>\
                             </RequestPaymentConfiguration>"
            .to_owned(),
        "versions" => format!(
            "<ListVersionsResult><Version><VersionId>v1</VersionId><IsLatest>true</IsLatest>{entry}\
             </Version></ListVersionsResult>"
        ),
        "list-type" => format!("<ListBucketResult><Contents>{entry}</Contents></ListBucketResult>"),
        "uploads" => "<ListMultipartUploadsResult/>".to_owned(),
        "tagging" => "<Tagging><TagSet/></Tagging>".to_owned(),
        "acl" => "<AccessControlPolicy/>".to_owned(),
        "replication" => return Answer::error(404, "ReplicationConfigurationNotFoundError"),
        "lifecycle" => "<LifecycleConfiguration><Rule><ID>a</ID><Status>Enabled</Status><Filter>\
                        <Prefix></Prefix></Filter><AbortIncompleteMultipartUpload>\
                        <DaysAfterInitiation>7</DaysAfterInitiation>\
                        </AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>"
            .to_owned(),
        "retention" | "legal-hold" => return Answer::error(404, "NoSuchObjectLockConfiguration"),
        "read" | "read version" => "x".to_owned(),
        _ => return Answer::error(404, "NoSuchKey"),
    };
    Answer::new(200, body)
}

/// The same, with an answer that differs.
fn bucket(differing: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static) -> Stub {
    Stub::start(move |request| differing(request).unwrap_or_else(|| sound(request)))
}

fn examined(stub: &Stub, arguments: &[&str]) -> Run {
    let folder = configured("lake");
    let arguments = [&["doctor", "reviews", "--json"], arguments].concat();
    run_in(folder.path(), &to_stub(&stub.endpoint), &arguments)
}

/// What was found of the bucket and of the dataset in it.
fn found(run: &Run) -> Vec<serde_json::Value> {
    [findings(run, "bucket"), findings(run, "dataset")].concat()
}

#[test]
fn a_sound_bucket_is_told_so() {
    let stub = bucket(|_| None);
    let run = examined(&stub, &["--read-only"]);
    let found = found(&run);
    assert_eq!(run.code, 0, "{found:#?}");
    for finding in &found {
        let expected: &[&str] = match finding["check"].as_str().expect("a check") {
            "conditional-writes" | "uploads" | "excess" | "clock" => &["unknown"],
            "object-lock" | "bucket-owner" => &["note"],
            _ => &["ok"],
        };
        let severity = finding["severity"].as_str().expect("a severity");
        assert!(expected.contains(&severity), "{finding:#}");
    }
    let writing = ["PUT", "POST", "DELETE"];
    assert!(stub.seen().iter().all(|request| !writing.contains(&request.method.as_str())));
}

/// Hazards C8 and K16: every permission that is missing is named as policies name it, with the
/// resource, and is never taken for good news.
#[test]
fn missing_permissions_are_named() {
    let (below, lake) = ("arn:aws:s3:::lake/reviews/*", "arn:aws:s3:::lake");
    let cases = [
        ("versioning", "versioning", "unknown", "s3:GetBucketVersioning", lake),
        ("object-lock", "object-lock", "unknown", "s3:GetBucketObjectLockConfiguration", lake),
        ("replication", "replication", "unknown", "s3:GetReplicationConfiguration", lake),
        ("notification", "notifications", "unknown", "s3:GetBucketNotification", lake),
        ("requestPayment", "requester-pays", "unknown", "s3:GetBucketRequestPayment", lake),
        ("lifecycle", "lifecycle-abort", "unknown", "s3:GetLifecycleConfiguration", lake),
        ("versions", "listing-versions", "problem", "s3:ListBucketVersions", lake),
        ("list-type", "listing", "problem", "s3:ListBucket", lake),
        ("uploads", "incomplete-uploads", "unknown", "s3:ListBucketMultipartUploads", lake),
        ("read", "reading", "problem", "s3:GetObject", below),
        ("read version", "reading-versions", "problem", "s3:GetObjectVersion", below),
        ("tagging", "tags", "problem", "s3:GetObjectVersionTagging", below),
        ("acl", "access-list", "unknown", "s3:GetObjectVersionAcl", below),
        ("retention", "lock-visible", "unknown", "s3:GetObjectRetention", below),
        ("legal-hold", "lock-visible", "unknown", "s3:GetObjectLegalHold", below),
    ];
    for (question, check, severity, action, resource) in cases {
        let stub = bucket(move |request| {
            (about(request) == question).then(|| Answer::error(403, "AccessDenied"))
        });
        let run = examined(&stub, &["--read-only"]);
        let found = found(&run);
        let finding = of(&found, check);
        assert_eq!(finding["severity"], severity, "{finding:#}");
        assert_eq!(finding["permission"]["action"], action, "{finding:#}");
        assert_eq!(finding["permission"]["resource"], resource, "{finding:#}");
        assert_eq!(finding["fix"], format!("allow {action} on {resource}"));
        assert_eq!(run.code, 4, "{question}: {}", run.stderr);
    }
}

/// A lock that cannot be seen is not an absent one.
#[test]
fn a_lock_that_cannot_be_seen_is_unknown() {
    let stub = bucket(|request| {
        let hidden = ["retention", "legal-hold"].contains(&about(request).as_str());
        hidden.then(|| Answer::error(403, "AccessDenied"))
    });
    let found = found(&examined(&stub, &["--read-only"]));
    let lock = of(&found, "lock-visible");
    assert_eq!(lock["severity"], "unknown");
    let message = lock["message"].as_str().expect("text");
    assert!(message.contains("s3:GetObjectRetention and s3:GetObjectLegalHold"), "{message}");
    assert!(message.contains("not the same as unlocked"), "{message}");
}

#[test]
fn a_skewed_clock_of_a_store_is_told() {
    for (seconds, expected) in [(0, "ok"), (600, "warning"), (-600, "warning"), (4000, "problem")] {
        let stub = bucket(move |request| {
            let now = lacuna::clock::Clock::system().now().as_second() + seconds;
            let now = jiff::Timestamp::from_second(now).expect("a moment");
            let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            Some(sound(request).with("date", date))
        });
        let found = found(&examined(&stub, &["--read-only"]));
        assert_eq!(severity(&found, "clock"), expected, "{seconds}");
    }
}

#[test]
fn what_a_bucket_does_besides_is_told() {
    let stub = bucket(|request| {
        let body = match about(request).as_str() {
            "versioning" => {
                "<VersioningConfiguration><Status>Enabled</Status>\
                             <MfaDelete>Enabled</MfaDelete></VersioningConfiguration>"
            }
            "replication" => {
                "<ReplicationConfiguration><Role>r</Role><Rule><Status>Enabled</Status>\
                              <Destination><Bucket>arn:aws:s3:::copy</Bucket></Destination></Rule>\
                              </ReplicationConfiguration>"
            }
            "notification" => {
                "<NotificationConfiguration><QueueConfiguration><Queue>q</Queue>\
                               <Event>s3:ObjectCreated:*</Event></QueueConfiguration>\
                               </NotificationConfiguration>"
            }
            "requestPayment" => {
                "<RequestPaymentConfiguration><Payer>Requester</Payer>\
                                 </RequestPaymentConfiguration>"
            }
            "object-lock" => {
                "<ObjectLockConfiguration><ObjectLockEnabled>Enabled\
                              </ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode>\
                              <Days>30</Days></DefaultRetention></Rule></ObjectLockConfiguration>"
            }
            _ => return None,
        };
        Some(Answer::new(200, body))
    });
    // It may write, and does not where what it writes would be retained.
    let run = examined(&stub, &[]);
    let found = found(&run);
    assert_eq!(run.code, 1);
    assert_eq!(severity(&found, "mfa-delete"), "problem");
    assert_eq!(severity(&found, "requester-pays"), "warning");
    assert_eq!(severity(&found, "notifications"), "note");
    let message = |check: &str| of(&found, check)["message"].as_str().expect("text").to_owned();
    assert!(message("replication").contains("s3://copy"));
    assert!(message("object-lock").contains("30 days (COMPLIANCE)"));
    assert_eq!(severity(&found, "conditional-writes"), "unknown");
    assert!(stub.seen().iter().all(|request| ["GET", "HEAD"].contains(&request.method.as_str())));
}

#[test]
fn writing_that_is_denied_is_named() {
    let stub = bucket(|request| match about(request).as_str() {
        "object-lock" => Some(Answer::error(404, "ObjectLockConfigurationNotFoundError")),
        // Nothing of a probe is there.
        "versions" if request.parameter("prefix").is_some_and(|it| it.contains("probe")) => {
            Some(Answer::new(200, "<ListVersionsResult/>"))
        }
        _ if request.method == "PUT" || request.method == "POST" => {
            Some(Answer::error(403, "AccessDenied"))
        }
        _ => None,
    });
    let run = examined(&stub, &[]);
    let found = found(&run);
    for check in ["conditional-writes", "uploads"] {
        let finding = of(&found, check);
        assert_eq!(finding["severity"], "problem", "{finding:#}");
        assert_eq!(finding["permission"]["action"], "s3:PutObject", "{finding:#}");
        assert_eq!(finding["permission"]["resource"], "arn:aws:s3:::lake/reviews/*");
    }
    assert_eq!(run.code, 4);
}

#[test]
fn a_bucket_that_is_not_reached_keeps_nothing_from_being_told() {
    let stub = bucket(|_| Some(Answer::error(404, "NoSuchBucket")));
    let run = examined(&stub, &[]);
    let found = found(&run);
    assert_eq!((run.code, severity(&found, "open")), (1, "problem"));
    for check in ["versioning", "object-lock", "listing", "conditional-writes", "lock-visible"] {
        assert_eq!(severity(&found, check), "unknown", "{check}");
    }
    assert_eq!(severity(&findings(&run, "ledger"), "open"), "note");
    // A lease that is not found where nothing is found proves nothing.
    let folder = configured("lake");
    let elsewhere = ("LACUNA_LEDGER_LOCATION".to_owned(), "s3://lake/lacuna/".to_owned());
    let environment = [to_stub(&stub.endpoint), vec![elsewhere]].concat();
    let run = run_in(folder.path(), &environment, &["doctor", "--json"]);
    let ledger = findings(&run, "ledger");
    assert_eq!((severity(&ledger, "plans"), severity(&ledger, "lease")), ("unknown", "unknown"));
    for name in ["lake--use1-az1--x-s3", "lake-0123-s3alias"] {
        let folder = configured(name);
        let run = run_in(folder.path(), &to_stub(&stub.endpoint), &["doctor", "--json"]);
        assert_eq!(severity(&findings(&run, "bucket"), "bucket-kind"), "problem", "{name}");
    }
}

/// A bucket of the real server.
struct Real {
    runtime: tokio::runtime::Runtime,
    client: Client,
    name: String,
}

impl Real {
    fn new(locks: bool) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let name = services::unique("doctor");
        let client = runtime.block_on(async {
            let client = services::client(&services::s3().configuration().await);
            let asked = client.create_bucket().bucket(&name);
            asked.object_lock_enabled_for_bucket(locks).send().await.expect("a bucket");
            client
        });
        Self { runtime, client, name }
    }

    fn set_versioning(&self, status: BucketVersioningStatus) {
        let wanted = VersioningConfiguration::builder().status(status).build();
        let asked = self.client.put_bucket_versioning().bucket(&self.name);
        let asked = asked.versioning_configuration(wanted).send();
        self.runtime.block_on(asked).expect("versioning is set");
    }

    fn put(&self, key: &str) {
        let body = b"{\"user_id\":\"u1\"}\n".to_vec().into();
        let asked = self.client.put_object().bucket(&self.name).key(key).body(body).send();
        self.runtime.block_on(asked).expect("stored");
    }

    fn doctor(&self, folder: &Path) -> Run {
        run_in(folder, &services::s3().environment(), &["doctor", "reviews", "--json"])
    }

    /// How many versions and unfinished uploads there are.
    fn counts(&self) -> (usize, usize) {
        self.runtime.block_on(async {
            let versions = self.client.list_object_versions().bucket(&self.name).send();
            let versions = versions.await.expect("a listing");
            let uploads = self.client.list_multipart_uploads().bucket(&self.name).send();
            let count = versions.versions().len() + versions.delete_markers().len();
            (count, uploads.await.expect("a listing").uploads().len())
        })
    }
}

#[test]
fn s3_is_examined_and_left_as_it_was() {
    let real = Real::new(false);
    let folder = configured(&real.name);
    real.put("reviews/a.json");
    for status in [None, Some("Enabled"), Some("Suspended")] {
        match status {
            None => {}
            Some("Enabled") => real.set_versioning(BucketVersioningStatus::Enabled),
            Some(_) => real.set_versioning(BucketVersioningStatus::Suspended),
        }
        if status.is_some() {
            real.put("reviews/b.json");
        }
        let before = real.counts();
        let run = real.doctor(folder.path());
        let found = found(&run);
        assert_eq!(real.counts(), before, "{status:?}");
        assert_eq!(run.code, 0, "{found:#?}");
        let expected = match status {
            None => "note",
            Some("Enabled") => "ok",
            Some(_) => "warning",
        };
        assert_eq!(severity(&found, "versioning"), expected);
        for check in ["conditional-writes", "uploads", "reading", "tags", "clock", "listing"] {
            assert_eq!(severity(&found, check), "ok", "{check}");
        }
        if status == Some("Enabled") {
            assert_eq!(severity(&found, "versioning-age"), "unknown", "it is minutes old");
        }
    }
}

/// Hazard B4: parts of broken uploads hold personal data and stand in no listing.
#[test]
fn s3_uploads_that_nobody_ends_are_told() {
    let real = Real::new(false);
    let folder = configured(&real.name);
    real.put("reviews/a.json");
    let found_first = found(&real.doctor(folder.path()));
    assert_eq!(severity(&found_first, "lifecycle-abort"), "warning");
    assert_eq!(severity(&found_first, "incomplete-uploads"), "ok");
    real.runtime.block_on(async {
        let begun = real.client.create_multipart_upload().bucket(&real.name).key("reviews/big");
        begun.send().await.expect("begun");
        let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(3).build();
        let rule = LifecycleRule::builder()
            .id("abort")
            .status(ExpirationStatus::Enabled)
            .filter(LifecycleRuleFilter::builder().prefix("reviews/").build())
            .abort_incomplete_multipart_upload(abort)
            .build()
            .expect("a rule");
        let rules = BucketLifecycleConfiguration::builder().rules(rule).build().expect("rules");
        let asked = real.client.put_bucket_lifecycle_configuration().bucket(&real.name);
        asked.lifecycle_configuration(rules).send().await.expect("set");
    });
    let found = found(&real.doctor(folder.path()));
    assert_eq!(severity(&found, "incomplete-uploads"), "warning");
    assert_eq!(severity(&found, "lifecycle-abort"), "ok");
}

#[test]
fn s3_locks_are_told_and_nothing_is_written_into_them() {
    let real = Real::new(true);
    let folder = configured(&real.name);
    real.put("reviews/a.json");
    let found_first = found(&real.doctor(folder.path()));
    assert_eq!(severity(&found_first, "object-lock"), "note");
    assert_eq!(severity(&found_first, "lock-visible"), "ok");
    assert_eq!(severity(&found_first, "excess"), "unknown");
    assert_eq!(severity(&found_first, "conditional-writes"), "ok");
    let retention =
        DefaultRetention::builder().mode(ObjectLockRetentionMode::Governance).days(1).build();
    let rule = ObjectLockRule::builder().default_retention(retention).build();
    let wanted = ObjectLockConfiguration::builder()
        .object_lock_enabled(ObjectLockEnabled::Enabled)
        .rule(rule)
        .build();
    let asked = real.client.put_object_lock_configuration().bucket(&real.name);
    let asked = asked.object_lock_configuration(wanted).send();
    real.runtime.block_on(asked).expect("set");
    let before = real.counts();
    let found = found(&real.doctor(folder.path()));
    assert_eq!(severity(&found, "object-lock"), "warning");
    assert_eq!(severity(&found, "conditional-writes"), "unknown");
    assert_eq!(real.counts(), before);
}
