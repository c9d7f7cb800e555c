//! The objects of a plan as a table that can be sorted, filtered and leafed through, on the server.

use std::cmp::Reverse;

use serde::Deserialize;

use crate::domain::dataset::DatasetName;
use crate::erase::report::wording::plain;
use crate::erase::report::{PurgeReport, ReportedChange};

/// Lines of one page.
pub(super) const LINES: usize = 100;

/// What of the objects is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    /// Part of the key, in any case; empty: every object.
    pub q: String,
    /// The dataset; empty: all.
    pub dataset: String,
    /// By what the lines are in order.
    pub sort: Sort,
    /// The page, from 1.
    pub page: usize,
}

/// By what lines are in order. Numbers begin with the largest; what is equal keeps the plan's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Sort {
    /// The plan's: dataset, then key.
    #[default]
    Key,
    /// Rows that go.
    Rows,
    /// The object's size.
    Size,
    /// What is written anew.
    Written,
    /// Superseded versions that are deleted.
    Versions,
}

impl Sort {
    /// As addresses write it, and as a table's head says it.
    pub const ALL: [(Self, &'static str, &'static str); 5] = [
        (Self::Key, "key", "Object"),
        (Self::Rows, "rows", "Rows"),
        (Self::Size, "size", "Size"),
        (Self::Written, "written", "To write"),
        (Self::Versions, "versions", "Versions deleted"),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(sort, ..)| *sort == self).map_or("key", |(_, text, _)| text)
    }
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub dataset: &'a DatasetName,
    pub change: &'a ReportedChange,
}

/// A page of the table.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub lines: Vec<Line<'a>>,
    /// How many lines there are on all pages.
    pub found: usize,
    /// Which page this is, from 1.
    pub page: usize,
    pub pages: usize,
}

/// The page that is asked for; the last one where there are fewer.
pub(super) fn page<'a>(report: &'a PurgeReport, query: &Query) -> Page<'a> {
    // Keys are shown, and so looked for, with what cannot be printed written out.
    let wanted = plain(&query.q).to_lowercase();
    let datasets = report.datasets.iter();
    let datasets =
        datasets.filter(|it| query.dataset.is_empty() || it.dataset.as_str() == query.dataset);
    let lines = datasets
        .flat_map(|it| it.changes.iter().map(move |change| Line { dataset: &it.dataset, change }));
    let mut lines: Vec<Line<'_>> = lines
        .filter(|line| {
            wanted.is_empty()
                || plain(&line.change.key.to_string()).to_lowercase().contains(&wanted)
        })
        .collect();
    if query.sort != Sort::Key {
        lines.sort_by_key(|line| Reverse(line.measure(query.sort)));
    }
    let found = lines.len();
    let pages = found.div_ceil(LINES).max(1);
    let page = query.page.clamp(1, pages);
    let lines = lines.into_iter().skip((page - 1) * LINES).take(LINES).collect();
    Page { lines, found, page, pages }
}

impl Line<'_> {
    fn measure(&self, sort: Sort) -> u64 {
        let rewrite = self.change.rewrite.as_ref();
        let measure = match sort {
            Sort::Key => None,
            Sort::Rows => rewrite.map(|it| it.rows.0),
            Sort::Size => rewrite.map(|it| it.size_bytes),
            Sort::Written => rewrite.and_then(|it| it.estimate.as_ref()).map(|it| it.written_bytes),
            Sort::Versions => Some(self.change.expunge.len() as u64),
        };
        measure.unwrap_or(0)
    }

    /// What names the object among all of the plan: `DATASET:KEY`.
    pub fn name(&self) -> String {
        format!("{}:{}", self.dataset, self.change.key)
    }
}
