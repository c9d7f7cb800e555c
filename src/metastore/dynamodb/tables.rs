//! The tables: their description, and how they are made.

use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
};
use serde::Deserialize;

use super::about;
use super::client::Base;
use super::failure::{damaged, told};
use crate::metastore::{MetastoreError, MetastoreErrorKind};

type Result<T> = std::result::Result<T, MetastoreError>;

/// What each table is made of, as `aws dynamodb create-table --cli-input-json` takes it.
const TABLES: &str = include_str!("../../../schema/dynamodb/tables.json");

/// What the names of tables begin with in the description.
const PREFIX: &str = "PREFIX";

/// How often it is asked whether a table is ready: for some two minutes.
const ROUNDS: u32 = 120;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Description {
    table_name: String,
    key_schema: Vec<KeyPart>,
    attribute_definitions: Vec<Attribute>,
    billing_mode: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct KeyPart {
    attribute_name: String,
    key_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Attribute {
    attribute_name: String,
    attribute_type: String,
}

fn descriptions() -> Result<Vec<Description>> {
    serde_json::from_str(TABLES).map_err(|_| damaged("a description of tables"))
}

/// Makes the tables that are missing, and waits until all can be used.
pub(super) async fn create(base: &Base, prefix: &str) -> Result<()> {
    let descriptions = descriptions()?;
    let names: Vec<String> =
        descriptions.iter().map(|it| it.table_name.replacen(PREFIX, prefix, 1)).collect();
    for (description, name) in descriptions.iter().zip(&names) {
        create_one(base, description, name).await?;
    }
    for name in &names {
        wait_for(base, name).await?;
    }
    about::note_layout(base).await
}

async fn create_one(base: &Base, description: &Description, name: &str) -> Result<()> {
    let broken = |_| damaged("a description of tables");
    let mut asked = base
        .client()
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::from(description.billing_mode.as_str()));
    for part in &description.key_schema {
        let element = KeySchemaElement::builder()
            .attribute_name(&part.attribute_name)
            .key_type(KeyType::from(part.key_type.as_str()));
        asked = asked.key_schema(element.build().map_err(broken)?);
    }
    for attribute in &description.attribute_definitions {
        let definition = AttributeDefinition::builder()
            .attribute_name(&attribute.attribute_name)
            .attribute_type(ScalarAttributeType::from(attribute.attribute_type.as_str()));
        asked = asked.attribute_definitions(definition.build().map_err(broken)?);
    }
    match asked.send().await {
        Ok(_) => Ok(()),
        Err(error)
            if error.as_service_error().is_some_and(|it| it.is_resource_in_use_exception()) =>
        {
            Ok(())
        }
        Err(error) => Err(told(error, &base.shown())),
    }
}

async fn wait_for(base: &Base, name: &str) -> Result<()> {
    for _ in 0..ROUNDS {
        let asked = base.client().describe_table().table_name(name).send().await;
        let table = asked.map_err(|error| told(error, &base.shown()))?.table;
        if table.and_then(|table| table.table_status) == Some(TableStatus::Active) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let message = format!("the table {name} was made and is not ready: try again");
    Err(MetastoreError::new(MetastoreErrorKind::Unavailable, message))
}

/// How many bytes all tables have; DynamoDB counts anew every six hours.
pub(super) async fn size_bytes(base: &Base) -> Result<u64> {
    let mut size = 0;
    for table in super::item::Table::LEVELS.into_iter().chain([super::item::Table::Catalogue]) {
        let asked = base.client().describe_table().table_name(base.name(table)).send().await;
        let table = asked.map_err(|error| told(error, &base.shown()))?.table;
        let bytes = table.and_then(|table| table.table_size_bytes).unwrap_or(0);
        size += bytes.max(0).cast_unsigned();
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::super::item::Table;
    use super::*;

    #[test]
    fn every_table_is_described() {
        let described: Vec<String> =
            descriptions().expect("readable").into_iter().map(|it| it.table_name).collect();
        let tables = [Table::Catalogue, Table::Top, Table::Middle, Table::Bottom];
        assert_eq!(described, tables.map(|table| format!("{PREFIX}-{}", table.suffix())));
    }
}
