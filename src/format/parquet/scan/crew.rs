//! Threads that decode pages ahead of whoever reads the object. It knows no order: each page is
//! answered to who handed it in.
//!
//! A crew of nobody decodes a page when its answer is asked for, on the thread that asks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, Scope};

use super::column::Findings;
use super::decode::{Job, PageDecoder, Scratch};
use crate::format::FormatError;

/// How many entries a helper decodes before it hands over, at most: 1.5 MiB of postings.
const AHEAD_ENTRIES: usize = 64 << 10;

/// What a page began with, and what is left of it to decode.
pub(super) struct Opened<'c> {
    /// `None` where decoding is yet to begin.
    pub(super) findings: Option<Findings>,
    /// The row that the next entry begins, if it begins one.
    pub(super) row: u64,
    pub(super) rest: Option<PageDecoder<'c>>,
}

type Answer<'c> = Result<Opened<'c>, FormatError>;

/// A page that was handed in.
pub(super) enum Pending<'c> {
    /// Nobody decodes it before it is asked for.
    Here(Box<Job<'c>>),
    Away(Receiver<Answer<'c>>),
}

/// Helpers on threads of their own, possibly none. They end when it is dropped.
pub(super) struct Crew<'c> {
    jobs: Option<Sender<(Job<'c>, SyncSender<Answer<'c>>)>>,
    shared: Arc<Shared>,
    helpers: usize,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    /// Room for findings, emptied.
    spare: Mutex<Vec<Findings>>,
}

impl Shared {
    fn take(&self) -> Findings {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put(&self, mut findings: Findings) {
        findings.clear();
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(findings);
    }
}

impl<'c> Crew<'c> {
    /// A crew of nobody.
    pub(super) fn alone() -> Self {
        Self { jobs: None, shared: Arc::default(), helpers: 0 }
    }

    /// A crew of so many helpers, or of as many as the system allows.
    pub(super) fn start<'s>(scope: &'s Scope<'s, 'c>, helpers: usize) -> Self {
        let (jobs, waiting) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let shared = Arc::new(Shared::default());
        let mut started = 0;
        for _ in 0..helpers {
            let (waiting, shared) = (Arc::clone(&waiting), Arc::clone(&shared));
            let helper = Builder::new().name("parquet".to_owned());
            if helper.spawn_scoped(scope, move || help(&waiting, &shared)).is_err() {
                break;
            }
            started += 1;
        }
        Self { jobs: (started > 0).then_some(jobs), shared, helpers: started }
    }

    /// How many pages of one column may be handed in and not yet taken back.
    pub(super) fn depth(&self) -> usize {
        1 + 2 * self.helpers
    }

    /// Hands a page in.
    pub(super) fn hand_in(&self, job: Job<'c>) -> Pending<'c> {
        let Some(jobs) = &self.jobs else { return Pending::Here(Box::new(job)) };
        let (answer, pending) = sync_channel(1);
        match jobs.send((job, answer)) {
            Ok(()) => Pending::Away(pending),
            Err(refused) => Pending::Here(Box::new(refused.0.0)),
        }
    }

    /// Waits for a page.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where it cannot be decoded, also where the decoder panics.
    pub(super) fn take_back(&self, pending: Pending<'c>, scratch: &mut Scratch) -> Answer<'c> {
        match pending {
            Pending::Here(job) => {
                let decoder = job.open(scratch)?;
                let row = decoder.row();
                Ok(Opened { findings: None, row, rest: Some(decoder) })
            }
            Pending::Away(answer) => answer.recv().unwrap_or_else(|_| Err(gave_up())),
        }
    }

    /// Room for findings.
    pub(super) fn room(&self) -> Findings {
        self.shared.take()
    }

    /// Takes back the room of findings that are done with.
    pub(super) fn reclaim(&self, findings: Findings) {
        self.shared.put(findings);
    }
}

impl Drop for Crew<'_> {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

/// Decodes pages until there are no more, or nobody wants them.
fn help<'c>(waiting: &Mutex<Receiver<(Job<'c>, SyncSender<Answer<'c>>)>>, shared: &Shared) {
    let mut scratch = Scratch::default();
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((job, answer)) = next else { return };
        if shared.is_over.load(Ordering::Relaxed) {
            return;
        }
        let work = AssertUnwindSafe(|| begin(job, &mut scratch, shared.take()));
        let result = catch_unwind(work).unwrap_or_else(|_| {
            scratch = Scratch::default();
            Err(gave_up())
        });
        // Who does not wait for it has given up the scan.
        drop(answer.send(result));
    }
}

/// Decodes a page, or the beginning of a long one.
fn begin<'c>(job: Job<'c>, scratch: &mut Scratch, mut findings: Findings) -> Answer<'c> {
    let mut decoder = job.open(scratch)?;
    let has_more = decoder.next(AHEAD_ENTRIES, scratch, &mut findings)?;
    let row = decoder.row();
    let rest = if has_more {
        Some(decoder)
    } else {
        scratch.unpacker.reclaim(decoder.into_plain());
        None
    };
    Ok(Opened { findings: Some(findings), row, rest })
}

fn gave_up() -> FormatError {
    FormatError::unreadable("the Parquet decoder gave up on malformed bytes")
}
