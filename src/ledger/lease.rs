//! The lease: at most one run at a time carries out an erasure from one ledger.
//!
//! It is one document, changed by compare-and-swap. Each taking increments its generation, which is
//! the fence: a run that was stopped for longer than the lease lives finds another generation when it
//! goes on, and stops. The lease spares two runs from doing the same work; what keeps an overlap
//! harmless is that every write to a lake is a compare-and-swap too.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::domain::Timestamp;
use crate::domain::object::ObjectVersion;
use crate::domain::plan::PlanId;
use crate::lake::{Base, LakeError, LakeErrorKind};

use super::{Ledger, LedgerError, LedgerErrorKind, random_name, to_bytes};

const LEASE_SCHEMA: &str = "lacuna.lease.v1";
const LEASE_NAME: &str = "lease.json";

/// How often taking or renewing begins again when another process wrote at the same moment.
const ATTEMPTS: usize = 4;

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// The name of the machine.
    pub host: String,
    /// The process on it.
    pub process: u32,
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "process {} on {}", self.process, self.host.escape_debug())
    }
}

/// How a lease is taken.
#[derive(Clone, Copy, Debug)]
pub struct LeaseTerms {
    /// How long it lives without being renewed; whole seconds.
    pub lives: Duration,
    /// How often [`Lease::keep`] renews it.
    pub renewed_every: Duration,
    /// Whether a holder still lives, where that can be known from here; a dead one's lease is taken
    /// over at once. `None`: not known, and it is waited for.
    pub is_alive: fn(&Holder) -> Option<bool>,
}

impl Default for LeaseTerms {
    fn default() -> Self {
        Self {
            lives: Duration::from_secs(60),
            renewed_every: Duration::from_secs(20),
            is_alive: |_| None,
        }
    }
}

/// What the lease's document says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LeaseDocument {
    schema: String,
    holder: Holder,
    /// Unlike any other taking's, so that a taker knows its own document when it reads it back.
    token: String,
    /// The plan that is carried out.
    run: PlanId,
    /// Grows with each taking.
    generation: u64,
    /// The last renewal.
    heartbeat_at: Timestamp,
    expires_at: Timestamp,
    /// Whether the holder gave it back.
    released: bool,
}

impl LeaseDocument {
    fn is_same_taking(&self, other: &Self) -> bool {
        self.generation == other.generation && self.token == other.token
    }
}

/// A taken lease. Clones are the same lease. Dropping all of them without [`Lease::release`] leaves it
/// to expire.
#[derive(Clone, Debug)]
pub struct Lease(Arc<Taken>);

#[derive(Debug)]
struct Taken {
    ledger: Ledger,
    terms: LeaseTerms,
    generation: u64,
    is_lost: AtomicBool,
    held: Mutex<Held>,
}

/// The document as it was last written, and the version that it is.
#[derive(Debug)]
struct Held {
    object: ObjectVersion,
    document: LeaseDocument,
}

impl Ledger {
    /// Takes the lease for a run.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Held`] where another run holds it.
    pub async fn acquire(
        &self,
        holder: Holder,
        run: PlanId,
        terms: LeaseTerms,
    ) -> Result<Lease, LedgerError> {
        let token = random_name()?;
        for _ in 0..ATTEMPTS {
            let (base, generation) = match self.lease_document().await? {
                None => (Base::Absent, 0),
                Some((object, document)) => {
                    self.check_free(&document, &terms)?;
                    (Base::Version(object), document.generation)
                }
            };
            let now = self.clock.now();
            let document = LeaseDocument {
                schema: LEASE_SCHEMA.to_owned(),
                holder: holder.clone(),
                token: token.clone(),
                run,
                generation: generation.saturating_add(1),
                heartbeat_at: now,
                expires_at: later(now, terms.lives),
                released: false,
            };
            if let Some(held) = self.swap_lease(base, document).await? {
                return Ok(Lease(Arc::new(Taken {
                    ledger: self.clone(),
                    terms,
                    generation: held.document.generation,
                    is_lost: AtomicBool::new(false),
                    held: Mutex::new(held),
                })));
            }
        }
        Err(busy())
    }

    fn check_free(&self, document: &LeaseDocument, terms: &LeaseTerms) -> Result<(), LedgerError> {
        let is_over = document.released || document.expires_at <= self.clock.now();
        if is_over || (terms.is_alive)(&document.holder) == Some(false) {
            return Ok(());
        }
        let LeaseDocument { holder, expires_at, run, .. } = document;
        Err(LedgerError::new(
            LedgerErrorKind::Held { holder: holder.clone(), until: *expires_at },
            format!(
                "{holder} is carrying out plan {} and holds the lease until {expires_at} or longer; \
                 wait for it or stop it",
                run.prefix()
            ),
        ))
    }

    /// Who holds the lease at the moment, for which plan, and until when at least.
    pub(super) async fn holder(&self) -> Result<Option<(Holder, PlanId, Timestamp)>, LedgerError> {
        let document = self.lease_document().await?.map(|(_, document)| document);
        let in_force = document.filter(|it| !it.released && it.expires_at > self.clock.now());
        Ok(in_force.map(|it| (it.holder, it.run, it.expires_at)))
    }

    async fn lease_document(&self) -> Result<Option<(ObjectVersion, LeaseDocument)>, LedgerError> {
        match self.read(LEASE_NAME).await? {
            Some((object, bytes)) => Ok(Some((object, self.parse(LEASE_NAME, &bytes)?))),
            None => Ok(None),
        }
    }

    /// Writes the lease's document in place of `base`; `None` where another process was faster.
    async fn swap_lease(
        &self,
        base: Base,
        document: LeaseDocument,
    ) -> Result<Option<Held>, LedgerError> {
        let superseded = match &base {
            Base::Version(object) if !object.version.is_null() => Some(object.clone()),
            _ => None,
        };
        let bytes: Bytes = to_bytes(&document);
        let object = match self.swap(&self.key(LEASE_NAME), base, bytes).await {
            Ok(object) => object,
            Err(error)
                if matches!(error.kind(), LakeErrorKind::Drifted | LakeErrorKind::NotFound) =>
            {
                // It may be our own write, if the store keeps no operation ids.
                match self.lease_document().await? {
                    Some((object, stored)) if stored == document => object,
                    _ => return Ok(None),
                }
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(superseded) = superseded {
            // A store with versions would keep every heartbeat. One that stays harms nobody.
            let _ = self.lake.delete_version(&superseded).await;
        }
        Ok(Some(Held { object, document }))
    }
}

impl Lease {
    /// The generation, which notes carry.
    pub fn generation(&self) -> u64 {
        self.0.generation
    }

    /// Makes sure that the lease is still this run's; called before each step that changes a lake. A
    /// lease that has run out and that nobody took is renewed.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lost`] where another run took it: stop at once.
    pub async fn check(&self) -> Result<(), LedgerError> {
        let mut held = self.lock().await?;
        let ledger = &self.0.ledger;
        let key = ledger.key(LEASE_NAME);
        let current = ledger.current(&key).await?;
        let is_untouched =
            current.is_some_and(|current| current.object.is_same_version(&held.object));
        if is_untouched && ledger.clock.now() < held.document.expires_at {
            return Ok(());
        }
        self.renew_held(&mut held).await
    }

    /// Lets the lease live on from now.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lost`] where another run took it, [`LedgerErrorKind::Lake`] where the store
    /// fails; the lease then lives as long as it did.
    pub async fn renew(&self) -> Result<(), LedgerError> {
        let mut held = self.lock().await?;
        self.renew_held(&mut held).await
    }

    /// Gives the lease back, so that the next run need not wait.
    ///
    /// # Errors
    ///
    /// As [`Lease::renew`].
    pub async fn release(&self) -> Result<(), LedgerError> {
        let mut held = self.lock().await?;
        let document = LeaseDocument { released: true, ..held.document.clone() };
        self.replace(&mut held, document).await?;
        self.0.is_lost.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Renews the lease in the background until the answer is dropped or the lease is lost. A renewal
    /// that fails is tried again at the next beat.
    pub fn keep(&self) -> Heartbeat {
        let lease = self.clone();
        Heartbeat(tokio::spawn(async move {
            loop {
                tokio::time::sleep(lease.0.terms.renewed_every).await;
                match lease.renew().await {
                    Err(error) if *error.kind() == LedgerErrorKind::Lost => return,
                    _ => {}
                }
            }
        }))
    }

    async fn lock(&self) -> Result<tokio::sync::MutexGuard<'_, Held>, LedgerError> {
        let held = self.0.held.lock().await;
        if self.0.is_lost.load(Ordering::Relaxed) { Err(lost()) } else { Ok(held) }
    }

    async fn renew_held(&self, held: &mut Held) -> Result<(), LedgerError> {
        let now = self.0.ledger.clock.now();
        let document = LeaseDocument {
            heartbeat_at: now,
            expires_at: later(now, self.0.terms.lives),
            ..held.document.clone()
        };
        self.replace(held, document).await
    }

    /// Writes the document in place of our own last one, wherever that is by now.
    async fn replace(&self, held: &mut Held, document: LeaseDocument) -> Result<(), LedgerError> {
        let ledger = &self.0.ledger;
        for _ in 0..ATTEMPTS {
            let base = Base::Version(held.object.clone());
            if let Some(written) = ledger.swap_lease(base, document.clone()).await? {
                *held = written;
                return Ok(());
            }
            match ledger.lease_document().await? {
                // An earlier write of ours, whose outcome was not known, took place after all.
                Some((object, stored)) if stored.is_same_taking(&held.document) => {
                    *held = Held { object, document: stored };
                }
                _ => {
                    self.0.is_lost.store(true, Ordering::Relaxed);
                    return Err(lost());
                }
            }
        }
        Err(busy())
    }
}

/// Renews a lease while it lives.
#[derive(Debug)]
pub struct Heartbeat(tokio::task::JoinHandle<()>);

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    let seconds = i64::try_from(by.as_secs()).unwrap_or(i64::MAX);
    let second = now.as_second().saturating_add(seconds);
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

fn lost() -> LedgerError {
    LedgerError::new(
        LedgerErrorKind::Lost,
        "another run took the lease over, or it was given back; nothing more is done here",
    )
}

fn busy() -> LedgerError {
    LakeError::new(
        LakeErrorKind::Unavailable,
        "the lease changed too often while it was being taken; try again",
    )
    .into()
}
