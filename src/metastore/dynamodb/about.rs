//! What is true of the index as a whole: one item of counters and flags.

use super::client::{Base, Change};
use super::failure::damaged;
use super::item::{self, Item, Table, is_set, number_of, text_of};
use crate::metastore::{MetastoreError, MetastoreErrorKind};

type Result<T> = std::result::Result<T, MetastoreError>;

/// The version of the tables' layout that this program writes and reads.
pub(super) const LAYOUT: u64 = 1;

/// The counters and flags.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    /// The first number that no object version has yet.
    pub(super) numbers: u64,
    /// Grows before anything is published, and after all of it but the record is stored.
    pub(super) published: u64,
    /// Grows before any posting is removed.
    pub(super) removals: u64,
    /// About how many KiB of segments each table of postings holds.
    pub(super) sizes_kib: [u64; 3],
    /// The middle partition whose turn it is to be relieved.
    pub(super) turn: u64,
    /// Which tables hold postings, and whether any subject has a partition of its own.
    pub(super) in_use: InUse,
}

/// Which parts of the index hold postings. What is in use stays so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct InUse {
    pub(super) middle: bool,
    pub(super) bottom: bool,
    pub(super) heavy: bool,
}

impl InUse {
    pub(super) fn holds(self, table: Table) -> bool {
        match table {
            Table::Top => true,
            Table::Middle => self.middle,
            Table::Bottom => self.bottom,
            Table::Catalogue => false,
        }
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self {
            middle: self.middle || other.middle,
            bottom: self.bottom || other.bottom,
            heavy: self.heavy || other.heavy,
        }
    }
}

fn key() -> Item {
    item::key("about", "about")
}

fn size_name(at: usize) -> &'static str {
    ["kib_top", "kib_middle", "kib_bottom"][at]
}

impl About {
    fn of(item: &Item) -> Result<Self> {
        let mut sizes_kib = [0; 3];
        for (at, size) in sizes_kib.iter_mut().enumerate() {
            // It counts what lost answers repeat as well, up and down.
            *size = match item.get(size_name(at)) {
                Some(aws_sdk_dynamodb::types::AttributeValue::N(text)) if text.starts_with('-') => {
                    0
                }
                _ => number_of(item, size_name(at))?,
            };
        }
        Ok(Self {
            numbers: number_of(item, "numbers")?,
            published: number_of(item, "published")?,
            removals: number_of(item, "removals")?,
            sizes_kib,
            turn: number_of(item, "turn")?,
            in_use: InUse {
                middle: is_set(item, "middle"),
                bottom: is_set(item, "bottom"),
                heavy: is_set(item, "heavy"),
            },
        })
    }

    /// How many KiB of segments there are, about.
    pub(super) fn size_kib(&self) -> u64 {
        self.sizes_kib.iter().sum()
    }
}

/// What is true now.
pub(super) async fn read(base: &Base) -> Result<About> {
    let item = base.get(Table::Catalogue, key()).await?;
    item.as_ref().map_or_else(|| Ok(About::default()), About::of)
}

async fn change(base: &Base, update: &str, values: Vec<(&str, u64)>) -> Result<About> {
    let values = values.into_iter().map(|(name, value)| (name, item::number(value)));
    let change = Change {
        table: Table::Catalogue,
        key: key(),
        update,
        condition: "",
        values: values.collect(),
    };
    let item = base.update(change).await?.ok_or_else(|| damaged("no counters"))?;
    About::of(&item)
}

/// Takes so many numbers that nobody ever had; answers the first.
pub(super) async fn take_numbers(base: &Base, count: u64) -> Result<u64> {
    let about = change(base, "ADD numbers :count", vec![(":count", count)]).await?;
    about.numbers.checked_sub(count).ok_or_else(|| damaged("a number"))
}

/// Counts a publication that stored so many KiB in each table.
pub(super) async fn publish(base: &Base, [top, middle, bottom]: [u64; 3]) -> Result<About> {
    let update = "ADD published :one, kib_top :top, kib_middle :middle, kib_bottom :bottom";
    let values = vec![(":one", 1), (":top", top), (":middle", middle), (":bottom", bottom)];
    change(base, update, values).await
}

/// Counts KiB that came into each table, or went.
pub(super) async fn resize(base: &Base, [top, middle, bottom]: [i64; 3]) -> Result<About> {
    let change = Change {
        table: Table::Catalogue,
        key: key(),
        update: "ADD kib_top :top, kib_middle :middle, kib_bottom :bottom",
        condition: "",
        values: vec![
            (":top", item::number(top)),
            (":middle", item::number(middle)),
            (":bottom", item::number(bottom)),
        ],
    };
    About::of(&base.update(change).await?.ok_or_else(|| damaged("no counters"))?)
}

/// Says that postings are going to be removed.
pub(super) async fn begin_removal(base: &Base) -> Result<About> {
    change(base, "ADD removals :one", vec![(":one", 1)]).await
}

/// Takes the turn to relieve a middle partition.
pub(super) async fn take_turn(base: &Base) -> Result<About> {
    change(base, "ADD turn :one", vec![(":one", 1)]).await
}

/// Says that parts of the index hold postings from now on.
pub(super) async fn begin_use(base: &Base, used: InUse) -> Result<()> {
    let parts = [("middle", used.middle), ("bottom", used.bottom), ("heavy", used.heavy)];
    let names: Vec<&str> = parts.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
    let Some((first, rest)) = names.split_first() else { return Ok(()) };
    let rest: String = rest.iter().map(|name| format!(", {name} = :yes")).collect();
    let change = Change {
        table: Table::Catalogue,
        key: key(),
        update: &format!("SET {first} = :yes{rest}"),
        condition: "",
        values: vec![(":yes", aws_sdk_dynamodb::types::AttributeValue::Bool(true))],
    };
    base.update(change).await.map(drop)
}

/// Notes the layout's version, unless one is noted.
pub(super) async fn note_layout(base: &Base) -> Result<()> {
    let change = Change {
        table: Table::Catalogue,
        key: key(),
        update: "SET layout = if_not_exists(layout, :layout)",
        condition: "",
        values: vec![(":layout", item::number(LAYOUT))],
    };
    base.update(change).await.map(drop)
}

/// Binds the key with this check value unless one is bound; answers which is.
pub(super) async fn bind(base: &Base, check: &str) -> Result<String> {
    let change = Change {
        table: Table::Catalogue,
        key: key(),
        update: "SET digest_key = if_not_exists(digest_key, :check), \
                     layout = if_not_exists(layout, :layout)",
        condition: "",
        values: vec![(":check", item::text(check)), (":layout", item::number(LAYOUT))],
    };
    let item = base.update(change).await?.ok_or_else(|| damaged("no counters"))?;
    if number_of(&item, "layout")? > LAYOUT {
        let message =
            format!("the index at {} was made by a newer Lacuna: use that version", base.shown());
        return Err(MetastoreError::new(MetastoreErrorKind::WrongVersion, message));
    }
    Ok(text_of(&item, "digest_key")?.to_owned())
}
