//! The one source of time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::domain::Timestamp;

/// Tells the time. Cloning it gives the same clock.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    /// Seconds since 1970, set by hand.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until it is set, for tests and simulations.
    pub fn manual(now: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(now.as_second()))))
    }

    /// The present moment, to the second.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    pub fn now(&self) -> Timestamp {
        let seconds = match &self.0 {
            Source::System => Timestamp::now().as_second(),
            Source::Manual(seconds) => seconds.load(Ordering::Relaxed),
        };
        Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
    }

    /// Sets a manual clock; the machine's clock is left alone.
    pub fn set(&self, now: Timestamp) {
        if let Source::Manual(seconds) = &self.0 {
            seconds.store(now.as_second(), Ordering::Relaxed);
        }
    }
}
