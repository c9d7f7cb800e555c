//! Who looked at rows of a plan, masked. It is noted before the rows are read.

use crate::domain::masked::{PREVIEW_SCHEMA, PreviewNote};
use crate::domain::trail::{TrailAction, TrailTopic};

use super::{Ledger, LedgerError, sequence_of, to_bytes};

/// Where the notes are: of each plan in a folder of its own, in the order in which they were made.
pub(super) const PREVIEWS: &str = "previews/";

impl Ledger {
    /// Notes that somebody is about to look at rows, in the trail as well.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lake`](super::LedgerErrorKind::Lake) where the store fails.
    pub async fn note_preview(&self, note: &PreviewNote) -> Result<(), LedgerError> {
        debug_assert_eq!(note.schema, PREVIEW_SCHEMA);
        let folder = format!("{PREVIEWS}{}/", note.plan);
        let names = self.names(&folder).await?;
        let last = names.iter().filter_map(|name| sequence_of(name, &folder)).max();
        let first = last.map_or(0, |last| last.saturating_add(1));
        let name = |sequence| format!("{folder}{sequence:06}.json");
        self.append(name, first, to_bytes(note)).await?;
        self.seal(&TrailTopic::Plan(note.plan), TrailAction::Previewed).await?;
        Ok(())
    }
}
