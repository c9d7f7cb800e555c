//! Compares a rebuilt column chunk with the old one, entry by entry, before anything of it is
//! written. It shares no code with what makes the change, so that a fault there, or an encoding
//! that is not written as it is read, ends in an error and never in a lost value.

use super::footer::Chunk;
use super::rebuild::{Change, Order};
use super::stream::{Entries, Entry};
use crate::format::{FormatError, Source};

/// Whether the new chunk holds what the old one does, but for the changed rows.
///
/// # Errors
///
/// [`FormatError::Unreadable`] where it does not.
pub(super) fn check(
    order: &Order<'_>,
    old: (&dyn Source, &Chunk),
    new: (&dyn Source, &Chunk),
) -> Result<(), FormatError> {
    let mut old = Entries::new(old.0, order.leaf, old.1)?;
    let mut new = Entries::new(new.0, order.leaf, new.1)?;
    let dropped = if matches!(order.change, Change::Drop) { order.changed.count() } else { 0 };
    while let Some(entry) = old.peek()? {
        if !order.changed.contains(entry.row) {
            same(entry, &old, &mut new)?;
            old.advance(entry);
            continue;
        }
        let row = entry.row;
        while let Some(entry) = old.peek()?.filter(|entry| entry.row == row) {
            old.advance(entry);
        }
        if let Change::Erase(_) = order.change {
            erased(row, order, &mut new)?;
        }
    }
    if new.peek()?.is_some() {
        return Err(differs());
    }
    old.finish(order.rows)?;
    new.finish(order.rows.checked_sub(dropped).ok_or_else(differs)?)
}

fn differs() -> FormatError {
    FormatError::unreadable("the rebuilt column differs from the old one; nothing was written")
}

/// Whether the next entry is the same in both.
fn same(entry: Entry, old: &Entries<'_>, new: &mut Entries<'_>) -> Result<(), FormatError> {
    let other = new.peek()?.ok_or_else(differs)?;
    let levels = |entry: &Entry| (entry.definition, entry.repetition);
    let equal = match (entry.value, other.value) {
        (Some(one), Some(two)) => old.values().bytes(one) == new.values().bytes(two),
        (None, None) => true,
        _ => false,
    };
    if levels(&entry) != levels(&other) || !equal {
        return Err(differs());
    }
    new.advance(other);
    Ok(())
}

/// Whether the row is there and holds nothing.
fn erased(row: u64, order: &Order<'_>, new: &mut Entries<'_>) -> Result<(), FormatError> {
    let mut found = false;
    while let Some(entry) = new.peek()?.filter(|entry| entry.row == row) {
        let column = &order.leaf.descriptor;
        if entry.value.is_some_and(|value| !new.values().is_empty_value(value, column)) {
            return Err(differs());
        }
        found = true;
        new.advance(entry);
    }
    if found { Ok(()) } else { Err(differs()) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use parquet::data_type::Int64Type;
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::super::footer::Footer;
    use super::super::leaf::Level;
    use super::super::page::check_size;
    use super::super::rebuild::rebuild;
    use super::super::runs::Runs;
    use super::*;

    fn file() -> Bytes {
        let schema = parse_message_type("message m { required int64 id; }").expect("a schema");
        let mut bytes = Vec::new();
        let properties = Arc::new(WriterProperties::default());
        let mut writer =
            SerializedFileWriter::new(&mut bytes, Arc::new(schema), properties).expect("a writer");
        let mut group = writer.next_row_group().expect("a group");
        let mut column = group.next_column().expect("a column").expect("a column");
        column.typed::<Int64Type>().write_batch(&[1, 2, 3], None, None).expect("written");
        column.close().expect("closed");
        group.close().expect("closed");
        writer.close().expect("closed");
        bytes.into()
    }

    /// A chunk that was changed in other rows than it should be, or not at all, is not let through.
    #[test]
    fn a_chunk_that_differs_is_refused() {
        let file = file();
        let footer = Footer::read(&file).expect("readable");
        let (leaf, chunk) = (&footer.leaves[0], &footer.groups[0].chunks[0]);
        let outcome = |made: &[u64], asked: &[u64], change: [Change; 2]| {
            let runs = [made, asked].map(|rows| rows.iter().copied().collect::<Runs>());
            let order = |at: usize| Order {
                leaf,
                chunk,
                rows: 3,
                changed: &runs[at],
                change: change[at],
                bloom_bytes: None,
                is_ordered: true,
            };
            let new = rebuild(&file, &order(0)).expect("rebuilt");
            let new_chunk = new.chunk(chunk).expect("a chunk");
            check(&order(1), (&file, chunk), (&new.pages, &new_chunk)).is_ok()
        };
        let erase = [Change::Erase(Level::default()); 2];
        assert!(outcome(&[1], &[1], erase));
        for (made, asked) in [(&[1][..], &[][..]), (&[], &[1]), (&[1], &[2]), (&[1, 2], &[1])] {
            assert!(!outcome(made, asked, erase), "{made:?} {asked:?}");
        }
        assert!(outcome(&[1], &[1], [Change::Drop; 2]));
        assert!(!outcome(&[1], &[1], [Change::Drop, erase[0]]));
        assert!(!outcome(&[1], &[1], [erase[0], Change::Drop]));
        assert!(!outcome(&[1, 2], &[1], [Change::Drop; 2]));
    }

    /// A chunk whose recorded size or count is not that of its pages is not copied.
    #[test]
    fn a_chunk_of_a_wrong_size_is_refused() {
        let file = file();
        let footer = Footer::read(&file).expect("readable");
        let chunk = &footer.groups[0].chunks[0];
        assert!(check_size(&file, chunk).is_ok());
        for missing in 1..chunk.pages.end - chunk.pages.start {
            let pages = chunk.pages.start..chunk.pages.end - missing;
            assert!(check_size(&file, &Chunk { pages, ..chunk.clone() }).is_err(), "{missing}");
        }
        assert!(check_size(&file, &Chunk { entries: 4, ..chunk.clone() }).is_err());
    }
}
