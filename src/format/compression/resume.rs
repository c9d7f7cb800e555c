//! Places from which reading goes on without what is before them.

use super::splice::Hint;

/// Places in a compressed object from which reading can go on, ascending. They hold content, so that they
/// stay in memory, and are hints: whoever has none reads from the start.
#[derive(Debug, Default)]
pub(in crate::format) struct Resume(pub(in crate::format) Vec<Hint>);

impl Resume {
    /// The last place that is at or before one place of the content and behind another.
    pub(super) fn between(&self, behind: u64, place: u64) -> Option<&Hint> {
        let end = self.0.partition_point(|hint| content(hint) <= place);
        self.0[..end].last().filter(|hint| content(hint) > behind)
    }
}

/// Where it is in all of the content.
pub(super) fn content((member, checkpoint): &Hint) -> u64 {
    member.content.saturating_add(checkpoint.place.content)
}
