//! The memory that objects in flight share. It counts bytes and knows nothing of what they are for.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What [`Memory::default`] has: 256 MiB.
const DEFAULT_BYTES: u64 = 256 << 20;

/// What is counted at once: 64 KiB.
const UNIT_BYTES: u64 = 64 << 10;

/// What any scan takes, however small its object: buffers of its format and its record.
const LEAST_BYTES: u64 = 128 << 10;

/// How much of an object is held at once at most: 16 MiB of windows and read-ahead
/// ([`LakeSource`](crate::scan::LakeSource)), 6 MiB of postings, and 2 MiB on the way between them.
const MOST_BYTES: u64 = 24 << 20;

/// A budget of bytes. Clones share it.
///
/// A few large objects fill it, and so do very many small ones: so what is held at once does not
/// depend on what the lake looks like, and neither kind waits for want of the other's limit.
#[derive(Clone, Debug)]
pub struct Memory {
    units: Arc<Semaphore>,
    total: u32,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(DEFAULT_BYTES)
    }
}

impl Memory {
    /// A budget of this many bytes; of at least one unit, 64 KiB.
    pub fn new(size_bytes: u64) -> Self {
        let total = u32::try_from(size_bytes / UNIT_BYTES).unwrap_or(u32::MAX >> 4).max(1);
        Self { units: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// Takes what the scan of an object of `size_bytes` holds at most, when it is there; dropping the
    /// answer gives it back. A scan that would take more than all gets all. `None` never comes: nobody
    /// closes the budget.
    pub(super) async fn take(&self, size_bytes: u64) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(need(size_bytes).div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        Arc::clone(&self.units).acquire_many_owned(units.min(self.total)).await.ok()
    }
}

/// What the scan of an object of this size holds at most: its bytes as stored, and as many again for
/// what they become.
fn need(size_bytes: u64) -> u64 {
    size_bytes.saturating_mul(2).saturating_add(LEAST_BYTES).min(MOST_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_takes_what_it_may_hold() {
        assert_eq!(need(0), LEAST_BYTES);
        assert_eq!(need(1 << 20), (2 << 20) + LEAST_BYTES);
        assert_eq!(need(u64::MAX), MOST_BYTES);
    }

    #[tokio::test]
    async fn the_budget_is_shared_and_given_back() {
        let memory = Memory::new(1 << 20);
        let whole = memory.take(u64::MAX).await.expect("all of it");
        assert!(futures::FutureExt::now_or_never(memory.clone().take(0)).is_none());
        drop(whole);
        let small: Vec<_> = futures::future::join_all((0..8).map(|_| memory.take(0))).await;
        assert_eq!((small.len(), memory.units.available_permits()), (8, 0));
    }
}
