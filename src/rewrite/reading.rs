//! Reading one object version: which rows are the subjects', what the others hold.

use std::collections::HashSet;
use std::sync::Arc;

use crate::domain::dataset::EraseAction;
use crate::domain::identifier::IdentifierDigest;
use crate::domain::landmark::Landmarks;
use crate::domain::object::ObjectVersion;
use crate::domain::row::{RowCount, RowSet};
use crate::domain::stretch::Extent;
use crate::format::{BlankOrder, Blanking, Except, Fingerprint};
use crate::lake::Lake;
use crate::scan::{DatasetReader, ScanError, find_rows, on_object};

use super::{Halt, Site, chain};

/// Reads one object version, pinned, and looks for some subjects.
pub(super) struct Reader {
    lake: Arc<dyn Lake>,
    reader: DatasetReader,
    object: ObjectVersion,
    subjects: Arc<HashSet<IdentifierDigest>>,
    landmarks: Landmarks,
}

/// What a scan for the subjects found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Rows in which one of them stands.
    pub(super) rows: Option<RowSet>,
    /// How many rows the version has.
    pub(super) total: RowCount,
}

impl Site {
    /// A reader of this version.
    pub(super) fn reader(&self, object: &ObjectVersion) -> Reader {
        Reader {
            lake: self.lake.clone(),
            reader: self.reader.clone(),
            object: object.clone(),
            subjects: self.subjects.clone(),
            landmarks: self.landmarks.clone(),
        }
    }
}

impl Reader {
    /// The rows in which one of the subjects stands.
    pub(super) async fn find(&self) -> Result<Found, ScanError> {
        let subjects = self.subjects.clone();
        let found = find_rows(self.lake.clone(), &self.reader, &self.object, subjects).await?;
        let rows = found.rows.into_values().reduce(|all, rows| all.union(&rows));
        Ok(Found { rows, total: found.summary.rows })
    }

    /// What the rows of a part of the object hold, but for those in `except`.
    pub(super) async fn fingerprint(
        &self,
        except: Option<RowSet>,
        extent: Extent,
    ) -> Result<Fingerprint, ScanError> {
        on_object(self.lake.clone(), &self.reader, &self.object, move |opened, source| {
            let except = Except::from(except.as_ref());
            opened.format.fingerprint_within(&**source, except, &extent)
        })
        .await
    }

    /// The same, and how many of those rows hold what the action takes.
    pub(super) async fn erased_fingerprint(
        &self,
        except: Option<RowSet>,
        action: EraseAction,
        extent: Extent,
    ) -> Result<Fingerprint, ScanError> {
        on_object(self.lake.clone(), &self.reader, &self.object, move |opened, source| {
            let except = match &except {
                Some(rows) => Except::Erased(rows, &action),
                None => Except::Nothing,
            };
            opened.format.fingerprint_within(&**source, except, &extent)
        })
        .await
    }

    /// The version without the subjects in these rows.
    pub(super) async fn blank(
        &self,
        rows: RowSet,
        action: &EraseAction,
    ) -> Result<Blanking, ScanError> {
        let order = BlankOrder {
            rows,
            fields: self.reader.fields().clone(),
            subjects: self.subjects.clone(),
            action: action.clone(),
            landmarks: self.landmarks.clone(),
        };
        on_object(self.lake.clone(), &self.reader, &self.object, move |opened, source| {
            opened.format.blank(source.clone(), &order)
        })
        .await
    }
}

/// Whether the bytes themselves are at fault, so that reading them again will not help.
pub(super) fn is_about_content(error: &ScanError) -> bool {
    matches!(error, ScanError::Unreadable(_))
}

impl From<ScanError> for Halt {
    fn from(error: ScanError) -> Self {
        Self::failed(chain(&error))
    }
}
