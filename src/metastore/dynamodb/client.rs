//! Requests: what the metastore asks of DynamoDB, with what throttling and lost answers make of it.
//!
//! The SDK sends again what got no answer or was throttled, each time after a longer pause. So a
//! condition may meet the result of its own first sending: whoever writes under a condition looks at
//! what is there before he believes that it was not met.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::transact_get_items::TransactGetItemsError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, DeleteRequest, Get, KeysAndAttributes, PutRequest, ReturnValue,
    TransactGetItem, TransactWriteItem, WriteRequest,
};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::failure::{contended, damaged, is_throttling, told};
use super::item::{Item, Table};
use crate::clock::Clock;
use crate::metastore::{MetastoreError, MetastoreErrorKind};

type Result<T> = std::result::Result<T, MetastoreError>;

/// How often the SDK sends a request.
const SENDINGS: u32 = 8;

/// How often what is left of a batch is sent, with pauses up to [`LONGEST_PAUSE`]: about two minutes.
const ROUNDS: u32 = 30;

/// How often a transaction is tried that others are in the way of.
const CONFLICTS: u32 = 12;

const FIRST_PAUSE: Duration = Duration::from_millis(40);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How many requests of one call are under way at once.
pub(super) const AT_ONCE: usize = 16;

/// A change of one item.
pub(super) struct Change<'c> {
    pub(super) table: Table,
    pub(super) key: Item,
    /// An update expression.
    pub(super) update: &'c str,
    /// A condition expression, or nothing.
    pub(super) condition: &'c str,
    /// What the names of both stand for: `:v`.
    pub(super) values: Vec<(&'c str, AttributeValue)>,
}

/// A write within a batch.
#[derive(Clone, Debug)]
pub(super) enum Write {
    Put(Table, Item),
    /// By the key.
    Delete(Table, Item),
}

impl Write {
    fn request(&self) -> Result<WriteRequest> {
        let broken = |_| damaged("a write");
        let builder = WriteRequest::builder();
        Ok(match self {
            Self::Put(_, item) => {
                let put = PutRequest::builder().set_item(Some(item.clone()));
                builder.put_request(put.build().map_err(broken)?)
            }
            Self::Delete(_, key) => {
                let delete = DeleteRequest::builder().set_key(Some(key.clone()));
                builder.delete_request(delete.build().map_err(broken)?)
            }
        }
        .build())
    }

    fn table(&self) -> Table {
        match self {
            Self::Put(table, _) | Self::Delete(table, _) => *table,
        }
    }
}

/// The tables and the way to them.
pub(super) struct Base {
    client: Client,
    prefix: String,
    pub(super) clock: Clock,
}

impl Base {
    pub(super) fn new(
        configuration: &SdkConfig,
        (prefix, endpoint): (String, Option<String>),
        clock: Clock,
    ) -> Self {
        let retries = RetryConfig::standard()
            .with_max_attempts(SENDINGS)
            .with_initial_backoff(FIRST_PAUSE)
            .with_max_backoff(LONGEST_PAUSE);
        let mut builder =
            aws_sdk_dynamodb::config::Builder::from(configuration).retry_config(retries);
        if let Some(endpoint) = endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        Self { client: Client::from_conf(builder.build()), prefix, clock }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The tables as people write them.
    pub(super) fn shown(&self) -> String {
        format!("dynamodb://{}", self.prefix)
    }

    pub(super) fn name(&self, table: Table) -> String {
        format!("{}-{}", self.prefix, table.suffix())
    }

    /// The present second.
    pub(super) fn now(&self) -> u64 {
        self.clock.now().as_second().cast_unsigned()
    }

    pub(super) async fn get(&self, table: Table, key: Item) -> Result<Option<Item>> {
        let asked = self.client.get_item().table_name(self.name(table)).consistent_read(true);
        let answer = asked.set_key(Some(key)).send().await;
        Ok(answer.map_err(|error| told(error, &self.shown()))?.item)
    }

    /// Puts an item if the condition holds; answers whether it did.
    pub(super) async fn put(
        &self,
        table: Table,
        item: Item,
        condition: Option<(&str, Vec<(&str, AttributeValue)>)>,
    ) -> Result<bool> {
        let mut asked = self.client.put_item().table_name(self.name(table)).set_item(Some(item));
        if let Some((condition, values)) = condition {
            asked = asked.condition_expression(condition);
            for (name, value) in values {
                asked = asked.expression_attribute_values(name, value);
            }
        }
        match asked.send().await {
            Ok(_) => Ok(true),
            Err(error) if is_unmet(error.as_service_error()) => Ok(false),
            Err(error) => Err(told(error, &self.shown())),
        }
    }

    /// Deletes an item if the condition holds; answers whether it did.
    pub(super) async fn delete(
        &self,
        table: Table,
        key: Item,
        (condition, name, value): (&str, &str, AttributeValue),
    ) -> Result<bool> {
        let asked = self.client.delete_item().table_name(self.name(table)).set_key(Some(key));
        let asked = asked.condition_expression(condition).expression_attribute_values(name, value);
        match asked.send().await {
            Ok(_) => Ok(true),
            Err(error) if is_unmet(error.as_service_error()) => Ok(false),
            Err(error) => Err(told(error, &self.shown())),
        }
    }

    /// Changes an item if the condition holds; answers the new one if it did.
    pub(super) async fn update(&self, change: Change<'_>) -> Result<Option<Item>> {
        let mut asked = self
            .client
            .update_item()
            .table_name(self.name(change.table))
            .set_key(Some(change.key))
            .update_expression(change.update)
            .return_values(ReturnValue::AllNew);
        if !change.condition.is_empty() {
            asked = asked.condition_expression(change.condition);
        }
        for (name, value) in change.values {
            asked = asked.expression_attribute_values(name, value);
        }
        match asked.send().await {
            Ok(answer) => Ok(answer.attributes),
            Err(error) if is_unmet(error.as_service_error()) => Ok(None),
            Err(error) => Err(told(error, &self.shown())),
        }
    }

    /// Carries out writes of different items, in no order.
    pub(super) async fn write_all(&self, writes: &[Write]) -> Result<()> {
        stream::iter(writes.chunks(25).map(Ok))
            .try_for_each_concurrent(AT_ONCE, |some| self.write_some(some))
            .await
    }

    async fn write_some(&self, writes: &[Write]) -> Result<()> {
        let mut asked = self.client.batch_write_item();
        for table in Table::LEVELS.into_iter().chain([Table::Catalogue]) {
            let of_table = writes.iter().filter(|write| write.table() == table);
            let requests: Vec<WriteRequest> =
                of_table.map(Write::request).collect::<Result<_>>()?;
            if !requests.is_empty() {
                asked = asked.request_items(self.name(table), requests);
            }
        }
        let mut left = asked.get_request_items().clone().unwrap_or_default();
        for round in 0..ROUNDS {
            let asked = self.client.batch_write_item().set_request_items(Some(left.clone()));
            match asked.send().await {
                Ok(answer) => left = answer.unprocessed_items.unwrap_or_default(),
                Err(error) if is_throttled(error.as_service_error()) => {}
                Err(error) => return Err(told(error, &self.shown())),
            }
            if left.is_empty() {
                return Ok(());
            }
            pause(round).await;
        }
        Err(self.throttled())
    }

    /// Items by their keys, which differ; what is missing is left out.
    pub(super) async fn get_all(&self, table: Table, keys: Vec<Item>) -> Result<Vec<Item>> {
        let chunks: Vec<Vec<Item>> = keys.chunks(100).map(<[Item]>::to_vec).collect();
        let asked = chunks.into_iter().map(|keys| self.get_some(table, keys));
        let found: Vec<Vec<Item>> =
            stream::iter(asked).buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn get_some(&self, table: Table, mut keys: Vec<Item>) -> Result<Vec<Item>> {
        let mut found = Vec::new();
        for round in 0..ROUNDS {
            let wanted =
                KeysAndAttributes::builder().consistent_read(true).set_keys(Some(keys.clone()));
            let wanted = wanted.build().map_err(|_| damaged("a key"))?;
            let asked = self.client.batch_get_item().request_items(self.name(table), wanted);
            match asked.send().await {
                Ok(answer) => {
                    found.extend(
                        answer.responses.into_iter().flatten().flat_map(|(_, items)| items),
                    );
                    let left = answer.unprocessed_keys.into_iter().flatten();
                    keys = left.flat_map(|(_, left)| left.keys).collect();
                }
                Err(error) if is_throttled(error.as_service_error()) => {}
                Err(error) => return Err(told(error, &self.shown())),
            }
            if keys.is_empty() {
                return Ok(found);
            }
            pause(round).await;
        }
        Err(self.throttled())
    }

    /// A page of a partition in the order of sort keys, from `from` on (inclusive) or after the key
    /// that the last page ended with; and the key that this one ended with, unless it was the last.
    pub(super) async fn page(
        &self,
        table: Table,
        partition: &[u8],
        from: From,
    ) -> Result<(Vec<Item>, Option<Item>)> {
        let mut asked = self
            .client
            .query()
            .table_name(self.name(table))
            .consistent_read(true)
            .expression_attribute_values(":p", super::item::bytes(partition));
        asked = match from.sort {
            None => asked.key_condition_expression("p = :p"),
            Some(sort) => asked
                .key_condition_expression("p = :p AND s >= :s")
                .expression_attribute_values(":s", super::item::bytes(sort)),
        };
        let asked = asked.set_limit(from.limit).set_exclusive_start_key(from.after);
        let answer = asked.send().await.map_err(|error| told(error, &self.shown()))?;
        let last = answer.last_evaluated_key.filter(|key| !key.is_empty());
        Ok((answer.items.unwrap_or_default(), last))
    }

    /// Every item of a partition whose sort key begins so.
    pub(super) async fn beginning(
        &self,
        table: Table,
        partition: &[u8],
        prefix: &[u8],
    ) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        let mut after = None;
        loop {
            let asked = self
                .client
                .query()
                .table_name(self.name(table))
                .consistent_read(true)
                .key_condition_expression("p = :p AND begins_with(s, :s)")
                .expression_attribute_values(":p", super::item::bytes(partition))
                .expression_attribute_values(":s", super::item::bytes(prefix));
            let answer = asked.set_exclusive_start_key(after).send().await;
            let answer = answer.map_err(|error| told(error, &self.shown()))?;
            items.extend(answer.items.unwrap_or_default());
            after = answer.last_evaluated_key.filter(|key| !key.is_empty());
            if after.is_none() {
                return Ok(items);
            }
        }
    }

    /// Every item of a partition, in the order of sort keys.
    pub(super) async fn whole(&self, table: Table, partition: &[u8]) -> Result<Vec<Item>> {
        let (mut items, mut last) = self.page(table, partition, From::default()).await?;
        while let Some(after) = last {
            let from = From { after: Some(after), ..From::default() };
            let (more, end) = self.page(table, partition, from).await?;
            items.extend(more);
            last = end;
        }
        Ok(items)
    }

    /// A page of a table, after the key that the last one ended with.
    pub(super) async fn scan(
        &self,
        table: Table,
        after: Option<Item>,
    ) -> Result<(Vec<Item>, Option<Item>)> {
        let asked = self.client.scan().table_name(self.name(table)).consistent_read(true);
        let answer = asked.set_exclusive_start_key(after).send().await;
        let answer = answer.map_err(|error| told(error, &self.shown()))?;
        let last = answer.last_evaluated_key.filter(|key| !key.is_empty());
        Ok((answer.items.unwrap_or_default(), last))
    }

    /// Items of the catalogue as they were at one moment, each or nothing in its place.
    pub(super) async fn at_once(&self, keys: &[Item]) -> Result<Vec<Option<Item>>> {
        let wanted = |key: &Item| {
            let get = Get::builder().table_name(self.name(Table::Catalogue));
            let get = get.set_key(Some(key.clone())).build().map_err(|_| damaged("a key"))?;
            Ok(TransactGetItem::builder().get(get).build())
        };
        let wanted: Vec<TransactGetItem> = keys.iter().map(wanted).collect::<Result<_>>()?;
        for round in 0..CONFLICTS {
            let asked = self.client.transact_get_items().set_transact_items(Some(wanted.clone()));
            match asked.send().await {
                Ok(answer) => {
                    let found = answer.responses.unwrap_or_default().into_iter();
                    return Ok(found.map(|it| it.item.filter(|item| !item.is_empty())).collect());
                }
                Err(error) => match error.as_service_error() {
                    Some(TransactGetItemsError::TransactionCanceledException(_)) => {}
                    _ => return Err(told(error, &self.shown())),
                },
            }
            pause(round).await;
        }
        Err(contended())
    }

    /// Carries out writes of the catalogue together if all their conditions hold; answers whether they
    /// were.
    pub(super) async fn transact(&self, writes: Vec<TransactWriteItem>) -> Result<bool> {
        for round in 0..CONFLICTS {
            let asked = self.client.transact_write_items().set_transact_items(Some(writes.clone()));
            let error = match asked.send().await {
                Ok(_) => return Ok(true),
                Err(error) => error,
            };
            match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => {
                    let codes = canceled.cancellation_reasons().iter().filter_map(|why| why.code());
                    let codes: Vec<&str> = codes.filter(|code| *code != "None").collect();
                    if codes.contains(&"ConditionalCheckFailed") {
                        return Ok(false);
                    }
                    let passes = |code: &&str| {
                        matches!(*code, "TransactionConflict" | "ThrottlingError")
                            || *code == "ProvisionedThroughputExceeded"
                    };
                    if !codes.iter().all(passes) {
                        return Err(told(error, &self.shown()));
                    }
                }
                Some(TransactWriteItemsError::TransactionInProgressException(_)) => {}
                _ => return Err(told(error, &self.shown())),
            }
            pause(round).await;
        }
        Err(contended())
    }

    fn throttled(&self) -> MetastoreError {
        let message =
            format!("the index at {}: DynamoDB takes no more for now: try again", self.shown());
        MetastoreError::new(MetastoreErrorKind::Unavailable, message)
    }
}

/// Where a page of a partition begins.
#[derive(Clone, Debug, Default)]
pub(super) struct From {
    /// The lowest sort key.
    pub(super) sort: Option<Vec<u8>>,
    /// The key that the last page ended with.
    pub(super) after: Option<Item>,
    /// How many items at most.
    pub(super) limit: Option<i32>,
}

fn is_unmet<E: aws_sdk_dynamodb::error::ProvideErrorMetadata>(error: Option<&E>) -> bool {
    error.and_then(|error| error.code()) == Some("ConditionalCheckFailedException")
}

fn is_throttled<E: aws_sdk_dynamodb::error::ProvideErrorMetadata>(error: Option<&E>) -> bool {
    error.and_then(|error| error.code()).is_some_and(is_throttling)
}

/// Waits, longer from round to round, and not as long as everybody else does.
pub(super) async fn pause(round: u32) {
    let longest = FIRST_PAUSE.saturating_mul(1 << round.min(10)).min(LONGEST_PAUSE);
    let mut random = [0; 2];
    // Without randomness the pause is merely the same for all.
    let share = getrandom::fill(&mut random).map_or(0, |()| u16::from_le_bytes(random));
    tokio::time::sleep(longest / 2 + longest / 2 * u32::from(share) / 65_536).await;
}
