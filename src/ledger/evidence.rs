//! Audit records and certificates: what was done, for people who ask a year later.

use bytes::Bytes;

use crate::domain::audit::{AUDIT_SCHEMA, AuditRecord};
use crate::domain::plan::PlanId;
use crate::domain::signature::SigningKey;

use super::plans::Rendering;
use super::{Ledger, LedgerError, sequence_of, to_bytes};

impl Ledger {
    /// Stores what became of a change, after all earlier records of it. Where the last record says the
    /// same but for the time, nothing is written: a run that was killed between record and note does
    /// not leave two.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lake`](super::LedgerErrorKind::Lake) where the store fails.
    pub async fn append_audit(
        &self,
        id: &PlanId,
        change: u32,
        record: &AuditRecord,
    ) -> Result<(), LedgerError> {
        let start = format!("audit/{id}/{change:08}-");
        let names = self.names(&start).await?;
        if let Some(last) = names.last()
            && let Some(stored) = self.document::<AuditRecord>(last).await?
            && (AuditRecord { ended_at: record.ended_at, ..stored }) == *record
        {
            return Ok(());
        }
        let last = names.last().and_then(|name| sequence_of(name, &start));
        let first = last.map_or(0, |last| last.saturating_add(1));
        self.append(|sequence| format!("{start}{sequence:06}.json"), first, to_bytes(record))
            .await
            .map(|_| ())
    }

    /// All audit records of a plan, by change and then in the order in which they were made. The last
    /// one of a change counts.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Tampered`](super::LedgerErrorKind::Tampered) where one is damaged or is
    /// about another plan.
    pub async fn audit(&self, id: &PlanId) -> Result<Vec<(u32, AuditRecord)>, LedgerError> {
        let folder = format!("audit/{id}/");
        let names = self.names(&folder).await?;
        let changes: Option<Vec<u32>> = names.iter().map(|name| change_of(name, &folder)).collect();
        let records: Vec<AuditRecord> = self.documents(names).await?;
        let is_sound = records.iter().all(|it| it.plan == *id && it.schema == AUDIT_SCHEMA);
        match changes {
            Some(changes) if is_sound => Ok(changes.into_iter().zip(records).collect()),
            _ => Err(LedgerError::tampered(
                &self.key(&folder),
                "holds something else than this plan's audit records",
            )),
        }
    }

    /// Stores a certificate after all earlier ones of the plan; the same bytes as the last one's are
    /// not stored again. Answers with its place, from 0.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lake`](super::LedgerErrorKind::Lake) where the store fails.
    pub async fn put_certificate(
        &self,
        id: &PlanId,
        bytes: impl Into<Bytes>,
    ) -> Result<u32, LedgerError> {
        let bytes = bytes.into();
        let folder = format!("certificates/{id}/");
        let last = self.last_certificate(id).await?;
        self.append(|sequence| format!("{folder}{sequence:06}.json"), last.unwrap_or(0), bytes)
            .await
    }

    /// The bytes of a plan's last certificate; `None` where there is none.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lake`](super::LedgerErrorKind::Lake) where the store fails.
    pub async fn certificate(&self, id: &PlanId) -> Result<Option<Bytes>, LedgerError> {
        match self.last_certificate(id).await? {
            Some(last) => self.certificate_bytes(id, last, Rendering::Json).await,
            None => Ok(None),
        }
    }

    /// Stores another rendering of the certificate at this place.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Conflict`](super::LedgerErrorKind::Conflict) where another one is stored.
    pub async fn put_certificate_rendering(
        &self,
        id: &PlanId,
        sequence: u32,
        rendering: Rendering,
        bytes: impl Into<Bytes>,
    ) -> Result<(), LedgerError> {
        self.create(&certificate_name(id, sequence, rendering), bytes.into()).await.map(|_| ())
    }

    /// The bytes of a plan's last certificate in this rendering; `None` where there is none.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lake`](super::LedgerErrorKind::Lake) where the store fails.
    pub async fn certificate_rendering(
        &self,
        id: &PlanId,
        rendering: Rendering,
    ) -> Result<Option<Bytes>, LedgerError> {
        match self.last_certificate(id).await? {
            Some(last) => self.certificate_bytes(id, last, rendering).await,
            None => Ok(None),
        }
    }

    /// Signs the certificate at this place, and stores the signature beside it.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Conflict`](super::LedgerErrorKind::Conflict) where it is signed by another key.
    pub async fn sign_certificate(
        &self,
        id: &PlanId,
        sequence: u32,
        bytes: &[u8],
        key: &SigningKey,
    ) -> Result<(), LedgerError> {
        let document = certificate_name(id, sequence, Rendering::Json);
        let signature = key.sign(&document, bytes);
        self.create(&signature_name(&document), to_bytes(&signature)).await.map(|_| ())
    }

    async fn certificate_bytes(
        &self,
        id: &PlanId,
        sequence: u32,
        rendering: Rendering,
    ) -> Result<Option<Bytes>, LedgerError> {
        let name = certificate_name(id, sequence, rendering);
        Ok(self.read(&name).await?.map(|(_, bytes)| bytes))
    }

    async fn last_certificate(&self, id: &PlanId) -> Result<Option<u32>, LedgerError> {
        let folder = format!("certificates/{id}/");
        let names = self.names(&folder).await?;
        Ok(names.iter().filter_map(|name| sequence_of(name, &folder)).max())
    }
}

/// Where the signature under a certificate is.
pub(super) fn signature_name(certificate: &str) -> String {
    format!("{}.signature.json", certificate.strip_suffix(".json").unwrap_or(certificate))
}

fn certificate_name(id: &PlanId, sequence: u32, rendering: Rendering) -> String {
    format!("certificates/{id}/{sequence:06}.{}", rendering.extension())
}

fn change_of(name: &str, folder: &str) -> Option<u32> {
    name.strip_prefix(folder)?.split_once('-')?.0.parse().ok()
}
