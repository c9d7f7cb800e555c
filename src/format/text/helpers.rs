//! How many threads scans may keep busy, over all scans of the process: one a processor.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many threads scan at the moment, helpers included.
static BUSY: AtomicUsize = AtomicUsize::new(0);

/// More helpers than this do not speed up one object: its bytes come from one place.
const MOST: usize = 8;

/// Threads that a scan counts as busy. Given back when dropped.
#[derive(Debug)]
pub(in crate::format) struct Busy(usize);

impl Busy {
    /// The thread of the scan itself.
    pub(in crate::format) fn own() -> Self {
        BUSY.fetch_add(1, Ordering::Relaxed);
        Self(1)
    }

    /// As many helpers as there are idle processors; maybe none.
    pub(in crate::format) fn helpers() -> Self {
        let processors = processors();
        let mut lent = 0;
        let _ = BUSY.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |busy| {
            lent = processors.saturating_sub(busy).min(MOST);
            Some(busy + lent)
        });
        Self(lent)
    }

    /// How many threads.
    pub(in crate::format) fn count(&self) -> usize {
        self.0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        BUSY.fetch_sub(self.0, Ordering::Relaxed);
    }
}

fn processors() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}
