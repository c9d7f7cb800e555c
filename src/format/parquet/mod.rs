//! Apache Parquet. It knows the file's structure and reads and writes values through the low-level,
//! typed column readers and writers of the `parquet` crate, with definition and repetition levels,
//! so that no value is ever cast. It knows no Arrow.
//!
//! | module | what it knows |
//! | --- | --- |
//! | `thrift` | the compact protocol, lossless |
//! | `window` | bytes of a source, as the crate reads them |
//! | `footer`, `page`, `pages`, `extras` | what lies where: row groups, chunks, pages and their rows; what lies beside them |
//! | `leaf` | the schema's columns and which a field path means |
//! | `value`, `decoder`, `stream`, `hashed` | typed values and levels; the entries of a chunk, with values or their hashes |
//! | `stored`, `unpack`, `hybrid`, `levels` | a page's bytes, packed numbers and levels |
//! | `scan` | where identifiers stand in a whole file, quickly |
//! | `find` | where they stand in some rows, and which rows are blank |
//! | `plan` | which rows match, and which a compaction drops |
//! | `survey`, `lost` | how each chunk is changed, and which values go with it |
//! | `abreast` | several columns at once |
//! | `splice` | one chunk, of which only the pages with a changed row are new |
//! | `style`, `rebuild`, `rebuilt`, `check` | one chunk anew, and the proof that it is right |
//! | `rewrite` | the new file as copied and new segments |
//! | `fingerprint` | what the rows hold, as a digest |
//! | `show` | some rows, masked |
//!
//! # What is erased with a row
//!
//! Of every chunk that holds a changed row: pages, dictionary, statistics, page index, bloom
//! filter, size statistics and geospatial statistics; fields of the column's metadata that this
//! program has never heard of are left out. Key-value metadata of file and columns stays: what a
//! writer puts there cannot be known.

mod abreast;
mod check;
mod decoder;
mod extras;
mod find;
mod fingerprint;
mod footer;
mod hashed;
mod hybrid;
mod leaf;
mod levels;
mod lost;
mod page;
mod pages;
mod plan;
mod rebuild;
mod rebuilt;
mod rewrite;
mod runs;
mod scan;
mod show;
mod splice;
mod stored;
mod stream;
mod style;
mod survey;
mod thrift;
mod unpack;
mod value;
mod window;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::domain::edit::Edit;
use crate::domain::field::BoundFields;
use crate::domain::masked::MaskedRow;
use crate::domain::row::{RowCount, RowSet};
use crate::domain::stretch::Extent;
use crate::format::{
    BlankOrder, Blanking, Compaction, Except, Fingerprint, Format, FormatError, ScanSink,
    SharedSource, Source,
};
use footer::Footer;
use rewrite::Rewrite;

/// Apache Parquet, format version 1 and 2, without encryption.
///
/// # What a path means
///
/// A name steps into the field of exactly that name, `[*]` into the elements of a list, a repeated
/// field or the entries of a map (`attributes[*].value`). A path that crosses a list without `[*]`
/// meets nothing.
///
/// # What names a person
///
/// Integers, text (also text that nothing annotates), binary content, decimals by their exact text,
/// dates by their ISO 8601 text, and floating-point numbers where they are whole and below 2^53.
/// Anything else at an identifier field counts as foreign.
#[derive(Clone, Copy, Debug, Default)]
pub struct ParquetFormat;

impl ParquetFormat {
    /// The format; it has no settings.
    pub fn new() -> Self {
        Self
    }
}

/// Runs work that calls into the decoders, of which a panic on corrupt bytes has been seen before,
/// and answers with an error instead. Nothing that the work held is used after it.
fn guarded<T>(work: impl FnOnce() -> Result<T, FormatError>) -> Result<T, FormatError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(FormatError::unreadable("the Parquet decoder gave up on malformed bytes"))
    })
}

impl Format for ParquetFormat {
    fn scan(
        &self,
        source: &dyn Source,
        fields: &BoundFields,
        sink: &mut dyn ScanSink,
    ) -> Result<RowCount, FormatError> {
        guarded(|| {
            let footer = Footer::read(source)?;
            scan::scan(source, &footer, fields, sink)?;
            Ok(footer.row_count())
        })
    }

    fn blank(&self, source: SharedSource, order: &BlankOrder) -> Result<Blanking, FormatError> {
        guarded(|| {
            let footer = Footer::read(&*source)?;
            let (matched, unmatched) = plan::matches(&*source, &footer, order)?;
            let Some(blanked) = RowSet::new(matched) else {
                return Ok(Blanking::nothing(unmatched));
            };
            let erasure = survey::erasure(&*source, &footer, order, &blanked)?;
            let edit = Edit::streamed(Rewrite::new(source.clone(), footer, erasure.plans)?);
            Ok(Blanking {
                edit: Some(edit),
                blanked: Some(blanked),
                way: erasure.way,
                before: erasure.extent.clone(),
                after: erasure.extent,
                fingerprint: Some(erasure.fingerprint),
                ..Blanking::nothing(unmatched)
            })
        })
    }

    fn show(&self, source: &dyn Source, order: &BlankOrder) -> Result<Vec<MaskedRow>, FormatError> {
        guarded(|| show::show(source, &Footer::read(source)?, order))
    }

    fn compact(&self, source: SharedSource) -> Result<Compaction, FormatError> {
        guarded(|| {
            let footer = Footer::read(&*source)?;
            let (plans, dropped) = plan::compaction(&*source, &footer)?;
            if dropped == 0 {
                return Ok(Compaction { edit: None, dropped: RowCount(0) });
            }
            let edit = Edit::streamed(Rewrite::new(source.clone(), footer, plans)?);
            Ok(Compaction { edit: Some(edit), dropped: RowCount(dropped) })
        })
    }

    fn fingerprint_within(
        &self,
        source: &dyn Source,
        except: Except<'_>,
        extent: &Extent,
    ) -> Result<Fingerprint, FormatError> {
        guarded(|| fingerprint::fingerprint(source, except, extent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D13: a panic of a decoder is an unreadable object, not the end of the program.
    #[test]
    fn a_panic_is_an_unreadable_object() {
        let error = guarded::<()>(|| panic!("with content of the object")).expect_err("caught");
        assert_eq!(error.to_string(), "the Parquet decoder gave up on malformed bytes");
    }
}
