//! What the rows of a text hold, as a digest.

use sha2::{Digest as _, Sha256};

use super::{EraseRecord as _, Record, Records, Syntax};
use crate::domain::row::{RowCount, RowNumber, RowSet};
use crate::domain::stretch::{Extent, Stretch};
use crate::format::{Except, Fingerprint, FormatError, Source};

/// The digest of a text, in the making.
pub(super) struct Print<'e, S: Syntax> {
    syntax: &'e S,
    except: Except<'e>,
    named: std::iter::Peekable<std::iter::Copied<std::slice::Iter<'e, RowNumber>>>,
    eraser: Option<S::Eraser>,
    again: Vec<u8>,
    /// Rows are numbered by rank, since whoever reads all of an object may leave out its blanks.
    ranks: Option<u64>,
    hash: Sha256,
    rows: u64,
    unerased: u64,
}

impl<'e, S: Syntax> Print<'e, S> {
    /// Nothing is digested yet.
    pub(super) fn new(syntax: &'e S, except: Except<'e>) -> Self {
        let named = except.rows().map_or(&[][..], RowSet::as_slice);
        Self {
            syntax,
            except,
            named: named.iter().copied().peekable(),
            eraser: except.action().map(|action| syntax.eraser(action)),
            again: Vec::new(),
            ranks: None,
            hash: Sha256::new(),
            rows: 0,
            unerased: 0,
        }
    }

    /// Digests the header, if there is one, and the rows of a part of the content.
    pub(super) fn read<R: Source>(
        mut self,
        records: &mut Records<R, S::Cutter>,
        extent: &Extent,
    ) -> Result<Fingerprint, FormatError> {
        if let Some(header) = records.header()? {
            self.header(&header);
        }
        match extent {
            Extent::Whole => {
                self.ranks = Some(0);
                while let Some(record) = records.next()? {
                    self.take(&record);
                }
            }
            Extent::Stretches(stretches) => {
                for stretch in stretches {
                    self.stretch(records, stretch)?;
                }
            }
        }
        let digest = self.hash.finalize().into();
        Ok(Fingerprint { rows: RowCount(self.rows), digest, unerased: RowCount(self.unerased) })
    }

    fn stretch<R: Source>(
        &mut self,
        records: &mut Records<R, S::Cutter>,
        stretch: &Stretch,
    ) -> Result<(), FormatError> {
        records.go_to(stretch)?;
        while records.rows().0 < stretch.end.0 {
            let Some(record) = records.next()? else { break };
            self.take(&record);
        }
        Ok(())
    }

    /// A header counts as a row that no object has, so that its loss shows.
    fn header(&mut self, header: &Record<'_>) {
        if let Some(eraser) = &mut self.eraser {
            eraser.header(header.text);
        }
        self.add(u64::MAX, header);
    }

    fn take(&mut self, record: &Record<'_>) {
        let Some(row) = record.row else { return self.header(record) };
        self.rows += 1;
        while self.named.next_if(|&named| named < row).is_some() {}
        let is_named = self.named.next_if_eq(&row).is_some();
        if let Some(eraser) = self.eraser.as_mut().filter(|_| is_named) {
            self.again.clear();
            let is_erased = eraser.erase(record.text, &mut self.again).is_ok();
            self.unerased += u64::from(!is_erased || self.again != record.text);
        }
        let leaves_blanks = self.except == Except::Blanks;
        if is_named || (leaves_blanks && self.syntax.is_blank(record.text)) {
            return;
        }
        let number = self.ranks.unwrap_or(row.0);
        self.ranks = self.ranks.map(|rank| rank + 1);
        self.add(number, record);
    }

    fn add(&mut self, number: u64, record: &Record<'_>) {
        self.hash.update(number.to_le_bytes());
        self.hash.update(((record.text.len() + record.ending.len()) as u64).to_le_bytes());
        self.hash.update(record.text);
        self.hash.update(record.ending);
    }
}
