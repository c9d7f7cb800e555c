//! Numbers that somebody records under. Postings are stored before anybody sees them; until they are
//! published, an item says who holds their numbers and when he was last seen. Publishing is on condition
//! of that item. A holder that was not seen for [`PATIENCE_SECONDS`] is taken for gone: whoever collects
//! takes the item from it first, so that it can publish nothing any more, and only then its postings.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;

use super::catalogue::{Standing, standings};
use super::client::{Base, Change, Write};
use super::failure::lost;
use super::item::{self, Item, Table, bytes_of, eight, is_set, number_of};
use super::removal;
use crate::metastore::MetastoreError;

type Result<T> = std::result::Result<T, MetastoreError>;

/// For how long a holder may be silent: a machine that sleeps, a network that is down.
pub(super) const PATIENCE_SECONDS: u64 = 30 * 60;

/// How often a holder shows itself.
const BEAT: Duration = Duration::from_secs(60);

/// Numbers that are held, by the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held(pub(super) Range<u64>);

fn key(first: u64) -> Item {
    item::key("open", first.to_be_bytes())
}

/// That the item is there, and nobody has taken it.
pub(super) const IS_HELD: &str = "attribute_exists(p) AND attribute_not_exists(taken)";

impl Held {
    /// The key of its item.
    pub(super) fn key(&self) -> Item {
        key(self.0.start)
    }
}

/// What one handle holds; shown as living by a task that ends with the last of it.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    held: Mutex<Living>,
}

#[derive(Debug, Default)]
struct Living {
    /// Postings stored so far, by the first number.
    numbers: BTreeMap<u64, u64>,
    is_beating: bool,
}

impl Holdings {
    /// Holds numbers from now on.
    pub(super) async fn begin(
        self: &Arc<Self>,
        base: &Arc<Base>,
        numbers: Range<u64>,
    ) -> Result<Held> {
        let held = Held(numbers);
        let rest = [
            ("z", item::number(held.0.end)),
            ("t", item::number(base.now())),
            ("c", item::number(0)),
        ];
        base.put(Table::Catalogue, item::item(held.key(), rest), None).await?;
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        all.numbers.insert(held.0.start, 0);
        if !all.is_beating {
            all.is_beating = true;
            tokio::spawn(beat(Arc::downgrade(self), base.clone()));
        }
        Ok(held)
    }

    /// No longer shows the holder as living: what it held was published or given up.
    pub(super) fn end(&self, held: &Held) {
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        all.numbers.remove(&held.0.start);
    }

    fn all(&self) -> Vec<u64> {
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        all.is_beating = !all.numbers.is_empty();
        all.numbers.keys().copied().collect()
    }
}

async fn beat(holdings: Weak<Holdings>, base: Arc<Base>) {
    loop {
        tokio::time::sleep(BEAT).await;
        let Some(all) = holdings.upgrade().map(|holdings| holdings.all()) else { return };
        if all.is_empty() {
            return;
        }
        for first in all {
            // One that fails is followed by others before anybody's patience is at an end.
            drop(show(&base, &Held(first..first), None).await);
        }
    }
}

/// Shows that the holder lives, and how many postings it stored. Fails where it was taken for gone.
pub(super) async fn show(base: &Base, held: &Held, postings: Option<u64>) -> Result<()> {
    let mut values = vec![(":now", item::number(base.now()))];
    let mut update = "SET t = :now";
    if let Some(postings) = postings {
        values.push((":postings", item::number(postings)));
        update = "SET t = :now, c = :postings";
    }
    let change =
        Change { table: Table::Catalogue, key: held.key(), update, condition: IS_HELD, values };
    base.update(change).await?.map(drop).ok_or_else(lost)
}

/// The numbers that are held now, by anybody.
pub(super) async fn all_held(base: &Base) -> Result<Vec<Range<u64>>> {
    let items = base.whole(Table::Catalogue, b"open").await?;
    items.iter().map(numbers_of).collect()
}

fn numbers_of(item: &Item) -> Result<Range<u64>> {
    Ok(eight(bytes_of(item, "s")?)?..number_of(item, "z")?)
}

/// Collects what those left who are gone: their numbers are dead, and a purge removes the postings.
pub(super) async fn collect_lost(base: &Base) -> Result<()> {
    let now = base.now();
    for item in base.whole(Table::Catalogue, b"open").await? {
        let is_gone = number_of(&item, "t")?.saturating_add(PATIENCE_SECONDS) < now;
        if is_gone || is_set(&item, "taken") {
            take(base, &item).await?;
        }
    }
    Ok(())
}

/// Gives up what is held: it is dead.
pub(super) async fn give_up(base: &Base, held: &Held) -> Result<()> {
    match base.get(Table::Catalogue, held.key()).await? {
        Some(item) => take(base, &item).await,
        None => Ok(()),
    }
}

async fn take(base: &Base, item: &Item) -> Result<()> {
    let numbers = numbers_of(item)?;
    let seen = item.get("t").cloned().unwrap_or_else(|| item::number(0));
    let change = Change {
        table: Table::Catalogue,
        key: key(numbers.start),
        update: "SET taken = :yes",
        condition: "attribute_exists(p) AND t = :seen",
        values: vec![(":yes", AttributeValue::Bool(true)), (":seen", seen)],
    };
    // Whoever was seen meanwhile lives; where another one took it, he goes on.
    if base.update(change).await?.is_none() {
        return Ok(());
    }
    let postings = number_of(item, "c")?.max(1);
    for (number, standing) in standings(base, numbers.clone()).await? {
        if matches!(standing, Standing::Nobodys(_)) {
            removal::bury(base, number, postings).await?;
        }
    }
    base.write_all(&[Write::Delete(Table::Catalogue, key(numbers.start))]).await
}
