//! A request as it stands on a day, for lists and pages.

use jiff::civil::Date;
use serde::Serialize;

use super::{DueKind, RegisteredRequest};

/// A request as it stands on a day.
#[derive(Clone, Debug, Serialize)]
pub struct RequestEntry {
    /// The request.
    #[serde(flatten)]
    pub request: RegisteredRequest,
    /// What it waits for next; `None` where it is not open.
    pub due: Option<DueDay>,
    /// How many holds apply on the day.
    pub standing_holds: u64,
}

/// What a request waits for next.
#[derive(Clone, Debug, Serialize)]
pub struct DueDay {
    /// What it is.
    pub kind: DueKind,
    /// The day to work towards.
    pub due_on: Date,
    /// The last day that the law allows.
    pub ends_on: Date,
    /// Days to `due_on`; negative after it.
    pub days_left: i32,
    /// Whether `ends_on` is past.
    pub is_overdue: bool,
}

impl RequestEntry {
    /// A request as it stands on a day.
    pub fn new(request: RegisteredRequest, today: Date) -> Self {
        let due = request.due().map(|due| DueDay {
            kind: due.kind,
            due_on: due.deadline.due_on,
            ends_on: due.deadline.ends_on,
            days_left: due.deadline.days_left(today),
            is_overdue: due.deadline.is_overdue(today),
        });
        let standing_holds = request.standing_holds(today).count() as u64;
        Self { request, due, standing_holds }
    }

    /// These requests as they stand on a day, the most pressing first: overdue, then by due day; what is
    /// not open has no such day and comes last.
    pub fn list(requests: impl IntoIterator<Item = RegisteredRequest>, today: Date) -> Vec<Self> {
        let entries = requests.into_iter().map(|request| Self::new(request, today));
        let mut entries: Vec<Self> = entries.collect();
        entries.sort_by_key(|entry| {
            let due_on = entry.due.as_ref().map(|due| due.due_on);
            (!entry.is_overdue(), due_on.is_none(), due_on)
        });
        entries
    }

    /// Whether what is due is overdue.
    pub fn is_overdue(&self) -> bool {
        self.due.as_ref().is_some_and(|due| due.is_overdue)
    }

    /// Whether it is open, and due within so many days where these are given.
    pub fn is_within(&self, days: Option<u16>) -> bool {
        let is_near = |due: &DueDay| days.is_none_or(|days| due.days_left <= i32::from(days));
        self.due.as_ref().is_some_and(is_near)
    }
}
