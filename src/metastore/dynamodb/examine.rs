//! Whether the tables are there, and what these credentials may do with them. A write is tried
//! under a condition that never holds, so that it changes nothing.

use std::fmt;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{
    ConditionCheck, DeleteRequest, KeysAndAttributes, TableStatus, TransactWriteItem, WriteRequest,
};

use super::client::Base;
use super::failure::{Failure, told as told_failure};
use super::item::{Item, Table, bytes, key};
use super::{DynamoDb, Result};
use crate::domain::finding::{Check, Finding, told, untried};
use crate::metastore::MetastoreErrorKind;

/// A condition that never holds.
const NEVER: &str = "attribute_exists(never)";

/// How the trial of one permission ended.
type Tried = (&'static str, Result<()>, bool);

impl DynamoDb {
    /// Whether the tables are there, and what of the permissions for them is missing. Unless it
    /// `writes`, only those for reading are tried.
    pub async fn examine(&self, writes: bool) -> Vec<Finding> {
        let base = self.base();
        let mut findings = Vec::new();
        let mut lacking = Vec::new();
        for table in [Table::Catalogue, Table::Top, Table::Middle, Table::Bottom] {
            let name = base.name(table);
            let (description, was_denied) = described(base, table).await;
            match description {
                Ok(TableStatus::Active) => {}
                Ok(status) => findings.push(
                    Finding::problem(Check::Layout, format!("the table {name} is {status}"))
                        .fix("wait until it is ACTIVE, and run this again"),
                ),
                Err(_) if was_denied => lacking.push(lacks("dynamodb:DescribeTable", &name)),
                Err(error) => {
                    findings.push(unusable(&name, &error));
                    continue;
                }
            }
            let mut tried = tried_reads(base, table).await;
            if writes {
                tried.extend(tried_writes(base, table).await);
            }
            for (action, outcome, was_denied) in tried {
                match outcome {
                    Err(_) if was_denied => lacking.push(lacks(action, &name)),
                    Err(error) => findings.push(Finding::failed(Check::Privileges, &error)),
                    Ok(()) => {}
                }
            }
        }
        let is_there =
            findings.iter().all(|it| it.check != Check::Layout && it.check != Check::Open);
        if is_there {
            findings.push(Finding::ok(Check::Open, "DynamoDB answers"));
            findings.push(Finding::ok(Check::Layout, "the four tables are there"));
        }
        findings.extend(summary(lacking, is_there, writes));
        findings
    }
}

fn summary(lacking: Vec<Finding>, is_there: bool, writes: bool) -> Vec<Finding> {
    let check = Check::Privileges;
    match (lacking.is_empty(), is_there, writes) {
        (false, ..) => lacking,
        (true, false, _) => untried(&[check], "not all tables are there"),
        (true, true, true) => vec![Finding::ok(check, "the tables may be read and written")],
        (true, true, false) => vec![
            Finding::ok(check, "the tables may be read"),
            Finding::unknown(check, "writing was not tried: nothing was to be written"),
        ],
    }
}

fn lacks(action: &str, table: &str) -> Finding {
    Finding::problem(Check::Privileges, format!("{action} is missing on {table}"))
        .lacking(action, format!("arn:aws:dynamodb:*:*:table/{table}"))
}

fn unusable(name: &impl fmt::Display, error: &crate::metastore::MetastoreError) -> Finding {
    match error.kind() {
        MetastoreErrorKind::WrongVersion => {
            Finding::problem(Check::Layout, format!("the table {name} is missing"))
                .fix("run lacuna metastore create")
        }
        _ => Finding::problem(Check::Open, told(error))
            .fix("check `metastore.url`, the credentials and the network"),
    }
}

async fn described(base: &Base, table: Table) -> (Result<TableStatus>, bool) {
    let asked = base.client().describe_table().table_name(base.name(table)).send().await;
    match asked {
        Ok(answer) => {
            let status = answer.table.and_then(|table| table.table_status);
            (Ok(status.unwrap_or(TableStatus::Active)), false)
        }
        Err(error) => {
            let was_denied = is_denied(&error);
            (Err(told_failure(error, &base.shown())), was_denied)
        }
    }
}

fn is_denied<E: Failure>(error: &SdkError<E, HttpResponse>) -> bool {
    let SdkError::ServiceError(answer) = error else { return false };
    answer.err().code() == Some("AccessDeniedException")
}

/// How one trial ended; that a condition did not hold is as it should be.
fn tried<T, E: Failure>(
    base: &Base,
    action: &'static str,
    answer: std::result::Result<T, SdkError<E, HttpResponse>>,
) -> Tried {
    let error = match answer {
        Ok(_) => return (action, Ok(()), false),
        Err(error) => error,
    };
    let code = error.as_service_error().and_then(|error| error.code());
    let unmet = ["ConditionalCheckFailedException", "TransactionCanceledException"];
    if code.is_some_and(|code| unmet.contains(&code)) {
        return (action, Ok(()), false);
    }
    let was_denied = is_denied(&error);
    (action, Err(told_failure(error, &base.shown())), was_denied)
}

/// The key of an item that is never there.
fn nowhere() -> Item {
    key(*b"doctor", *b"doctor")
}

async fn tried_reads(base: &Base, table: Table) -> Vec<Tried> {
    let (client, name) = (base.client(), base.name(table));
    let get = client.get_item().table_name(&name).set_key(Some(nowhere())).send();
    let query = client.query().table_name(&name).key_condition_expression("p = :p");
    let query = query.expression_attribute_values(":p", bytes(*b"doctor")).limit(1).send();
    let scan = client.scan().table_name(&name).limit(1).send();
    let (get, query, scan) = futures::join!(get, query, scan);
    let mut outcomes = vec![
        tried(base, "dynamodb:GetItem", get),
        tried(base, "dynamodb:Query", query),
        tried(base, "dynamodb:Scan", scan),
    ];
    if let Ok(wanted) = KeysAndAttributes::builder().keys(nowhere()).build() {
        let batch = client.batch_get_item().request_items(&name, wanted).send().await;
        outcomes.push(tried(base, "dynamodb:BatchGetItem", batch));
    }
    outcomes
}

async fn tried_writes(base: &Base, table: Table) -> Vec<Tried> {
    let (client, name) = (base.client(), base.name(table));
    let put = client.put_item().table_name(&name).set_item(Some(nowhere()));
    let update = client.update_item().table_name(&name).set_key(Some(nowhere()));
    let update = update.update_expression("SET never = :n");
    let update = update.expression_attribute_values(":n", bytes(*b"n"));
    let delete = client.delete_item().table_name(&name).set_key(Some(nowhere()));
    let (put, update, delete) = futures::join!(
        put.condition_expression(NEVER).send(),
        update.condition_expression(NEVER).send(),
        delete.condition_expression(NEVER).send(),
    );
    let mut outcomes = vec![
        tried(base, "dynamodb:PutItem", put),
        tried(base, "dynamodb:UpdateItem", update),
        tried(base, "dynamodb:DeleteItem", delete),
    ];
    let check = ConditionCheck::builder().table_name(&name).set_key(Some(nowhere()));
    if let Ok(check) = check.condition_expression(NEVER).build() {
        let item = TransactWriteItem::builder().condition_check(check).build();
        let checked = client.transact_write_items().transact_items(item).send().await;
        outcomes.push(tried(base, "dynamodb:ConditionCheckItem", checked));
    }
    // A batch knows no conditions: it deletes what is not there.
    if let Ok(delete) = DeleteRequest::builder().set_key(Some(nowhere())).build() {
        let request = WriteRequest::builder().delete_request(delete).build();
        let batch = client.batch_write_item().request_items(&name, vec![request]).send().await;
        outcomes.push(tried(base, "dynamodb:BatchWriteItem", batch));
    }
    outcomes
}
