//! Some rows as they may be shown: every value masked, in the order of the columns.

use super::footer::{Footer, RowGroup};
use super::leaf::Leaf;
use super::plan::{by_group, matches};
use super::stream::Entries;
use super::value::{Value, Values};
use crate::domain::identifier::RawValue;
use crate::domain::masked::{MaskedRow, Shape};
use crate::domain::row::{RowNumber, RowSet};
use crate::format::{BlankOrder, FormatError, Source};

/// The ordered rows that the file has.
///
/// # Errors
///
/// [`FormatError`] where a column cannot be read.
pub(super) fn show(
    source: &dyn Source,
    footer: &Footer,
    order: &BlankOrder,
) -> Result<Vec<MaskedRow>, FormatError> {
    let theirs = RowSet::new(matches(source, footer, order)?.0);
    let masked = |row| {
        let is_theirs = theirs.as_ref().is_some_and(|theirs| theirs.contains(row));
        MaskedRow::new(row, is_theirs)
    };
    let mut shown = Vec::new();
    for (group, wanted) in by_group(footer, &order.rows) {
        let group = &footer.groups[group];
        let rows = wanted.iter().cloned().flatten();
        let mut here: Vec<MaskedRow> =
            rows.map(|row| masked(RowNumber(group.rows.start + row))).collect();
        for (number, leaf) in footer.leaves.iter().enumerate() {
            let column = footer.column_chunk(source, group, number);
            let entries = Entries::within(column, &wanted)?;
            add(entries, leaf, group, &mut here)?;
        }
        shown.append(&mut here);
    }
    Ok(shown)
}

/// Adds what a column holds to the rows, which are of this group and ascend.
fn add(
    mut entries: Entries<'_>,
    leaf: &Leaf,
    group: &RowGroup,
    rows: &mut [MaskedRow],
) -> Result<(), FormatError> {
    let path = leaf.descriptor.path().parts();
    while let Some(entry) = entries.peek()? {
        let number = RowNumber(group.rows.start + entry.row);
        if let Ok(at) = rows.binary_search_by_key(&number, |row| row.row) {
            rows[at].push(path.iter().map(String::as_str), || match entry.value {
                Some(value) => mask(leaf, entries.values(), value),
                None => Shape::told("null"),
            });
        }
        entries.advance(entry);
    }
    entries.finish(group.row_count())
}

fn mask(leaf: &Leaf, values: &Values, at: usize) -> Shape {
    let value = values.get(at);
    let mut text = String::new();
    match (leaf.meaning.raw(value, &mut text), value) {
        (Some(RawValue::Text(text)), _) => Shape::of_bytes(text),
        (Some(RawValue::Number(text)), _) => Shape::of(text),
        (Some(RawValue::Integer(number)), _) => Shape::of(&number.to_string()),
        (None, Value::Int32(number)) => Shape::of(&number.to_string()),
        (None, Value::Int64(number)) => Shape::of(&number.to_string()),
        (None, Value::Float(number)) => Shape::of(&number.to_string()),
        (None, Value::Double(number)) => Shape::of(&number.to_string()),
        (Some(RawValue::Binary(_)) | None, _) => match values {
            Values::Bool(_) => Shape::told("true or false"),
            _ => Shape::told(&format!("{} bytes", values.bytes(at).len())),
        },
    }
}
