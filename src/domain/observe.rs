//! How workflows tell what they do: they hand events to an observer and print nothing.

use super::dataset::DatasetName;
use super::object::ObjectKey;

/// Hears of a workflow's progress. Called from many threads, often; it must return at once.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event<'_>);
}

/// What a workflow tells.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A phase begins; totals as far as they are known.
    Phase {
        /// What it is: `listing`, `scanning`, `planning`, `erasing`, `verifying`, `copying`.
        name: &'static str,
        /// The dataset, where it is about one.
        dataset: Option<&'a DatasetName>,
        /// How many objects it will deal with, where that is known.
        objects: Option<u64>,
        /// How many bytes it will deal with, where that is known.
        size_bytes: Option<u64>,
    },
    /// One of the phase's objects needed no work.
    Passed,
    /// One more object was found to deal with.
    Found {
        /// Its size.
        size_bytes: u64,
    },
    /// One object is dealt with.
    Finished {
        /// The object.
        key: &'a ObjectKey,
        /// Its size.
        size_bytes: u64,
    },
    /// Something that people should know, but that does not stop the work.
    Notice {
        /// The object, where it is about one.
        key: Option<&'a ObjectKey>,
        /// What, lower case, without personal data.
        message: &'a str,
    },
    /// The phase is over.
    PhaseEnded,
}

/// An observer that hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: Event<'_>) {}
}

/// A request to stop at the next safe boundary. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Stop(std::sync::Arc<std::sync::atomic::AtomicBool>);

impl Stop {
    /// Asks for a stop.
    pub fn request(&self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Whether a stop was asked for.
    pub fn is_requested(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}
