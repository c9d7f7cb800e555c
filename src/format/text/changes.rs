//! Matching ordered rows again, and taking note of what is to become of them and of where they were met.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::{Broken, EraseRecord, Found, Patch, ReadRecord, Record};
use crate::domain::identifier::IdentifierDigest;
use crate::domain::landmark::{Landmark, Landmarks};
use crate::domain::row::RowNumber;
use crate::format::FormatError;
use crate::format::compression::{Hint, MemberStart};

/// What is to change, and what helps to change it.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) patches: Vec<Patch>,
    /// From where an edit can go on, and reading near it.
    pub(super) hints: Vec<Hint>,
    /// Where some of the rows begin that were read, ascending.
    pub(super) passed: Vec<Landmark>,
    /// From where reading can go on at the last of them.
    recent: VecDeque<Hint>,
}

impl Changes {
    /// More hints than this take more memory than they save time.
    const MOST_HINTS: usize = 256;

    /// So many landmarks before a row, its block begins behind one of them.
    const RECENT: usize = 4;

    /// Where a record begins that is to be passed, if it is one to take note of.
    pub(super) fn passed(
        &self,
        record: &Record<'_>,
        is_first: bool,
    ) -> Option<(Landmark, MemberStart)> {
        let next = self.passed.last().map_or(0, |last| last.byte + Landmarks::DISTANCE_BYTES);
        let row = record.row.filter(|_| is_first || record.start >= next)?;
        Some((Landmark { row, byte: record.start }, record.member))
    }

    pub(super) fn pass(&mut self, landmark: Landmark, hint: Option<Hint>) {
        self.passed.push(landmark);
        if self.recent.len() == Self::RECENT {
            self.recent.pop_front();
        }
        self.recent.extend(hint);
    }

    pub(super) fn add(&mut self, patch: Patch, hint: Option<Hint>) {
        self.patches.push(patch);
        for hint in self.recent.drain(..).chain(hint) {
            let is_known = self.hints.last().is_some_and(|last| Arc::ptr_eq(&last.1, &hint.1));
            if !is_known && self.hints.len() < Self::MOST_HINTS {
                self.hints.push(hint);
            }
        }
    }
}

pub(super) fn patch(record: &Record<'_>, bytes: Bytes) -> Patch {
    let range = record.start..record.start + record.text.len() as u64;
    Patch { range, bytes, member: record.member }
}

/// Matches a row again and erases it.
pub(super) struct Eraser<'o, R, E> {
    pub(super) reader: R,
    pub(super) eraser: E,
    pub(super) subjects: &'o HashSet<IdentifierDigest>,
    pub(super) found: Found,
}

impl<R: ReadRecord, E: EraseRecord> Eraser<'_, R, E> {
    pub(super) fn header(&mut self, text: &[u8]) -> Result<(), FormatError> {
        self.eraser.header(text);
        self.reader.header(text)
    }

    /// What the row becomes; `None` where it holds no identifier of the subjects, or cannot be
    /// read.
    pub(super) fn erase(
        &mut self,
        record: &Record<'_>,
        row: RowNumber,
    ) -> Result<Option<Bytes>, FormatError> {
        if !self.is_theirs(record) {
            return Ok(None);
        }
        let fail = |reason: &str| FormatError::unreadable_at(reason, Some(row), record.start);
        let mut bytes = Vec::with_capacity(record.text.len());
        let erased = self.eraser.erase(record.text, &mut bytes);
        erased.map_err(|broken| fail(broken.reason))?;
        match self.matches(&bytes) {
            Ok(false) => Ok(Some(Bytes::from(bytes))),
            Ok(true) => Err(fail(
                "an identifier of the subject would stay in the row: \
                 it stands in a field that the dataset keeps, or does not redact",
            )),
            Err(_) => Err(fail("the row could not be read any more after its erasure")),
        }
    }

    /// Whether the record can be read, and one of the subjects stands in it.
    pub(super) fn is_theirs(&mut self, record: &Record<'_>) -> bool {
        self.matches(record.text).unwrap_or(false)
    }

    fn matches(&mut self, text: &[u8]) -> Result<bool, Broken> {
        self.found.clear();
        self.reader.read(text, &mut self.found)?;
        Ok(self.found.any_of(self.subjects))
    }
}
