//! What the doctor says of indexes that lie elsewhere.

use super::{findings, of, run_in, severity};
use crate::cli::{lake, run};
use crate::support::dynamodb::Tables;
use crate::support::postgres::Database;
use crate::support::wire::{Answer, Stub};

fn at(url: String) -> Vec<(String, String)> {
    let environment = Tables::environment();
    environment.into_iter().chain([("LACUNA_METASTORE_URL".to_owned(), url)]).collect()
}

/// The SDK reads the action that a request is about from a header.
fn tables(denied: &'static [&'static str]) -> Stub {
    Stub::start(move |request| {
        let target = request.header("x-amz-target").unwrap_or_default();
        let action = target.rsplit('.').next().unwrap_or_default().to_owned();
        let failed = |code: &str| {
            let body = format!("{{\"__type\":\"com.amazonaws.dynamodb.v20120810#{code}\"}}");
            Answer::new(400, body)
        };
        if denied.contains(&action.as_str()) {
            return failed("AccessDeniedException");
        }
        match action.as_str() {
            "DescribeTable" => Answer::new(200, "{\"Table\":{\"TableStatus\":\"ACTIVE\"}}"),
            "PutItem" | "UpdateItem" | "DeleteItem" => failed("ConditionalCheckFailedException"),
            "TransactWriteItems" => failed("TransactionCanceledException"),
            "Query" | "Scan" => Answer::new(200, "{\"Items\":[],\"Count\":0}"),
            _ => Answer::new(200, "{}"),
        }
    })
}

#[test]
fn missing_permissions_of_tables_are_named() {
    let folder = lake();
    for action in ["DescribeTable", "GetItem", "BatchGetItem", "Scan", "PutItem", "BatchWriteItem"]
    {
        let denied: &'static [&'static str] = Box::leak(Box::new([action]));
        let stub = tables(denied);
        let url = format!("dynamodb://lacuna?region=us-east-1&endpoint={}", stub.endpoint);
        let doctor = run_in(folder.path(), &at(url), &["doctor", "clicks", "--json"]);
        let index = findings(&doctor, "metastore");
        let lacking: Vec<_> = index
            .iter()
            .filter(|finding| finding["check"] == "privileges" && !finding["permission"].is_null())
            .collect();
        assert_eq!(lacking.len(), 4, "{action}: {index:#?}");
        for finding in lacking {
            assert_eq!(finding["severity"], "problem");
            assert_eq!(finding["permission"]["action"], format!("dynamodb:{action}"));
            let resource = finding["permission"]["resource"].as_str().expect("a resource");
            assert!(resource.starts_with("arn:aws:dynamodb:*:*:table/lacuna-"), "{resource}");
        }
    }
}

#[test]
fn dynamodb_is_examined() {
    let folder = lake();
    let missing = Tables::missing();
    let doctor = run_in(folder.path(), &at(missing.url()), &["doctor", "clicks", "--json"]);
    let index = findings(&doctor, "metastore");
    let layouts = index.iter().filter(|finding| finding["check"] == "layout");
    assert_eq!((doctor.code, layouts.count()), (1, 4), "{index:#?}");
    assert_eq!(severity(&index, "privileges"), "unknown");
    let made = Tables::new();
    let doctor = run_in(folder.path(), &at(made.url()), &["doctor", "clicks", "--json"]);
    let index = findings(&doctor, "metastore");
    assert_eq!(doctor.code, 0, "{index:#?}");
    for check in ["open", "layout", "privileges", "digest-key"] {
        assert_eq!(severity(&index, check), "ok", "{check}");
    }
}

#[test]
fn postgres_is_examined() {
    let folder = lake();
    let path = folder.path();
    let database = Database::empty();
    let url = database.url().to_owned();
    let doctor = || run_in(path, &at(url.clone()), &["doctor", "clicks", "--json"]);
    let index = findings(&doctor(), "metastore");
    assert_eq!((severity(&index, "open"), severity(&index, "layout")), ("ok", "note"));
    assert_eq!(severity(&index, "digest-key"), "unknown");
    assert_eq!(run_in(path, &at(url.clone()), &["index"]).code, 0);
    let sound = doctor();
    assert_eq!(sound.code, 0, "{}", sound.stdout);
    let index = findings(&sound, "metastore");
    for check in ["open", "layout", "privileges", "writable", "encryption", "digest-key"] {
        assert_eq!(severity(&index, check), "ok", "{check}");
    }
}

#[test]
fn postgres_privileges_that_are_missing_are_named() {
    let folder = lake();
    let path = folder.path();
    let database = Database::new();
    let role = database.url().rsplit('/').next().expect("a name").replace("lacuna", "reader");
    let administrate = |sql: String| {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            database.client().await.batch_execute(&sql).await.expect("administrated");
        });
    };
    administrate(format!(
        "CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
    ));
    let (_, host) = database.url().split_once('@').expect("a user");
    let url = format!("postgres://{role}@{host}");
    let doctor = run_in(path, &at(url), &["doctor", "clicks", "--json"]);
    let index = findings(&doctor, "metastore");
    administrate(format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    let lacking = of(&index, "privileges");
    assert_eq!((doctor.code, &lacking["severity"]), (1, &"problem".into()), "{index:#?}");
    let message = lacking["message"].as_str().expect("text");
    for right in ["DELETE on lacuna_objects", "INSERT on lacuna_segments"] {
        assert!(message.contains(right), "{message}");
    }
    assert!(!message.contains("SELECT"), "{message}");
    let nobody = "postgres://nobody@127.0.0.1:1/nothing".to_owned();
    let unreached = run(path, &["doctor", "nothing"]);
    assert_eq!(unreached.code, 2);
    let unreached = run_in(path, &at(nobody), &["doctor", "clicks", "--json"]);
    let index = findings(&unreached, "metastore");
    assert_eq!((severity(&index, "open"), severity(&index, "privileges")), ("problem", "unknown"));
}
