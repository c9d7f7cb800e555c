//! A lake that is asked by a limited number of callers at a time: by fewer while the store wants it,
//! by more again when it has room. It knows requests and their answers, nothing of objects.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::count::Meter;
use super::{
    Attributes, ByteStream, Capabilities, Lake, LakeError, LakeErrorKind, Staging, Target,
    VersionStream, Write, WriteError,
};
use crate::domain::object::{ListedVersion, ObjectKey, ObjectVersion};

/// What is left of the number of requests when the store wants fewer.
const SHRINK: f64 = 0.8;

/// What becomes of the pause between requests when even one at a time is too many, and when it was
/// not.
const PAUSE_GROWS: f64 = 1.5;
const PAUSE_SHRINKS: f64 = 0.97;

/// The first pause, below which there is none, and the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(2);
const PAUSE_LONGEST: Duration = Duration::from_secs(2);

/// At most so many requests of another lake at a time.
///
/// How many there are follows what the store bears: an answer that it is
/// [`LakeErrorKind::Unavailable`] takes a fifth away, once for all requests that were under way
/// together; every other answer gives one part of a request back, so that as many answers as there are
/// requests make room for one more (additive increase, multiplicative decrease: Chiu and Jain, 1989).
/// Where one request at a time is too many, pauses of random length stand between them. A request
/// that was refused fails; whoever asks again, as [`Retry`](super::retry::Retry) does, waits here
/// with all others.
///
/// Writes have a limit of their own, equally high but at least two (the probe of conditional writes
/// overtakes one with another), since the edit of one may read the same lake: with
/// one limit for both, writes alone could fill it and wait for their own reads for ever. For the same
/// reason a read counts until its stream is handed over, not until it is consumed, and a listing, which
/// asks for one page at a time, does not count; but what a store answers to either is heard.
#[derive(Debug)]
pub struct Limit {
    inner: Arc<dyn Lake>,
    gate: Arc<Gate>,
    writes: Arc<Semaphore>,
}

impl Limit {
    /// At most `requests` at a time, and as many writes.
    pub fn new(inner: Arc<dyn Lake>, requests: NonZeroUsize) -> Self {
        let permits = requests.get().min(Semaphore::MAX_PERMITS);
        let writes = Arc::new(Semaphore::new(permits.max(2)));
        Self { inner, gate: Arc::new(Gate::new(permits)), writes }
    }

    /// Makes a request when its turn comes.
    async fn ask<T>(
        &self,
        request: impl Future<Output = Result<T, LakeError>>,
    ) -> Result<T, LakeError> {
        let ticket = Gate::enter(&self.gate).await?;
        let answer = request.await;
        ticket.answered(answer.as_ref().err().is_some_and(is_too_much));
        answer
    }

    /// Hears an error of a stream.
    fn hear(gate: &Gate, error: &LakeError) {
        if is_too_much(error) {
            gate.shrink(None);
        }
    }
}

fn is_too_much(error: &LakeError) -> bool {
    error.kind() == LakeErrorKind::Unavailable
}

/// Nobody closes the semaphores.
fn closed(error: tokio::sync::AcquireError) -> LakeError {
    LakeError::new(LakeErrorKind::Other, "the limit of requests is closed").caused_by(error)
}

/// Lets as many requests through at a time as the store bears.
#[derive(Debug)]
struct Gate {
    permits: Arc<Semaphore>,
    most: usize,
    flow: Mutex<Flow>,
}

/// How many requests there may be, and how many there are permits for.
#[derive(Debug)]
struct Flow {
    /// How many requests there may be, with the part of one that was earned.
    window: f64,
    /// How many permits there are, those that are to go included.
    permits: usize,
    /// How many permits go when they come back.
    surplus: usize,
    /// How often the window has shrunk.
    shrunk: u64,
    /// How long the only permit rests after a request.
    pause: Duration,
}

impl Gate {
    fn new(most: usize) -> Self {
        let flow = Flow {
            window: most as f64,
            permits: most,
            surplus: 0,
            shrunk: 0,
            pause: Duration::ZERO,
        };
        Self { permits: Arc::new(Semaphore::new(most)), most, flow: Mutex::new(flow) }
    }

    async fn enter(gate: &Arc<Self>) -> Result<Ticket, LakeError> {
        let permit = Arc::clone(&gate.permits).acquire_owned().await.map_err(closed)?;
        let shrunk = gate.flow().shrunk;
        Ok(Ticket { gate: Arc::clone(gate), permit: Some(permit), shrunk })
    }

    fn flow(&self) -> std::sync::MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes from the window, unless it has shrunk since the request began: those under way together
    /// are refused together, and say one thing.
    fn shrink(&self, since: Option<u64>) {
        let mut flow = self.flow();
        if since.is_some_and(|since| since != flow.shrunk) {
            return;
        }
        flow.shrunk += 1;
        if flow.window <= 1.0 {
            flow.pause = flow.pause.mul_f64(PAUSE_GROWS).clamp(PAUSE_FIRST, PAUSE_LONGEST);
        }
        flow.window = (flow.window * SHRINK).max(1.0);
        self.fit(&mut flow);
    }

    /// Gives to the window.
    fn grow(&self) {
        let mut flow = self.flow();
        if flow.pause > Duration::ZERO {
            flow.pause = flow.pause.mul_f64(PAUSE_SHRINKS);
            if flow.pause < PAUSE_FIRST {
                flow.pause = Duration::ZERO;
            }
            return;
        }
        flow.window = (flow.window + 1.0 / flow.window).min(self.most as f64);
        self.fit(&mut flow);
    }

    /// Makes the number of permits follow the window.
    fn fit(&self, flow: &mut Flow) {
        // From 1 to `most`, so that nothing is lost.
        let wanted = flow.window as usize;
        let there = flow.permits - flow.surplus;
        if wanted < there {
            flow.surplus += there - wanted;
            return;
        }
        let spared = flow.surplus.min(wanted - there);
        flow.surplus -= spared;
        let new = wanted - there - spared;
        flow.permits += new;
        self.permits.add_permits(new);
    }
}

/// A request under way. Dropping it makes room for another.
struct Ticket {
    gate: Arc<Gate>,
    permit: Option<OwnedSemaphorePermit>,
    /// How often the window had shrunk when the request began.
    shrunk: u64,
}

impl Ticket {
    /// Hears what became of the request. While there are pauses, the ticket rests for one.
    fn answered(self, is_too_much: bool) {
        match is_too_much {
            true => self.gate.shrink(Some(self.shrunk)),
            false => self.gate.grow(),
        }
        let pause = self.gate.flow().pause;
        if pause > Duration::ZERO {
            let part = getrandom::u32().unwrap_or(u32::MAX / 2);
            let pause = pause.mul_f64(0.5 + f64::from(part) / f64::from(u32::MAX));
            tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                drop(self);
            });
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut flow = self.gate.flow();
        if flow.surplus > 0
            && let Some(permit) = self.permit.take()
        {
            flow.surplus -= 1;
            flow.permits -= 1;
            permit.forget();
        }
    }
}

#[async_trait]
impl Lake for Limit {
    fn metered(&self, meter: &Meter) -> Option<Arc<dyn Lake>> {
        let inner = self.inner.metered(meter)?;
        Some(Arc::new(Self { inner, gate: self.gate.clone(), writes: self.writes.clone() }))
    }

    fn location(&self) -> &str {
        self.inner.location()
    }

    async fn capabilities(&self) -> Result<Capabilities, LakeError> {
        self.ask(self.inner.capabilities()).await
    }

    fn list(&self, prefix: &[u8]) -> VersionStream {
        let gate = Arc::clone(&self.gate);
        self.inner.list(prefix).inspect_err(move |error| Self::hear(&gate, error)).boxed()
    }

    async fn versions(&self, key: &ObjectKey) -> Result<Vec<ListedVersion>, LakeError> {
        self.ask(self.inner.versions(key)).await
    }

    async fn attributes(&self, target: Target<'_>) -> Result<Attributes, LakeError> {
        self.ask(self.inner.attributes(target)).await
    }

    async fn read(
        &self,
        object: &ObjectVersion,
        range: Range<u64>,
    ) -> Result<ByteStream, LakeError> {
        let pieces = self.ask(self.inner.read(object, range)).await?;
        let gate = Arc::clone(&self.gate);
        Ok(pieces.inspect_err(move |error| Self::hear(&gate, error)).boxed())
    }

    async fn write(&self, write: Write) -> Result<ObjectVersion, WriteError> {
        let permit = self.writes.acquire().await;
        let _permit = permit.map_err(|error| WriteError::unchanged(closed(error)))?;
        let answer = self.inner.write(write).await;
        answer.inspect_err(|error| Self::hear(&self.gate, &error.error))
    }

    async fn abandon(&self, key: &ObjectKey, staging: &Staging) -> Result<(), LakeError> {
        self.ask(self.inner.abandon(key, staging)).await
    }

    async fn delete_version(&self, object: &ObjectVersion) -> Result<(), LakeError> {
        self.ask(self.inner.delete_version(object)).await
    }
}

#[cfg(test)]
mod tests;
