//! The evidence of one plan as one file: a zip archive with everything that the ledger holds of the plan and
//! of its request, and the whole trail, so that it can be verified where the ledger is not.

use std::io::{Cursor, Read as _, Write as _};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::verification::TrailCheck;
use super::{
    LONGEST_BYTES, Ledger, LedgerError, LedgerErrorKind, READS_AT_ONCE, requests, to_bytes,
};
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::object::ObjectKey;
use crate::domain::plan::PlanId;
use crate::domain::signature::Signature;
use crate::domain::trail::TrailHead;
use crate::lake::memory::MemoryLake;

/// What the first field of `pack.json` says.
const PACK_SCHEMA: &str = "lacuna.pack.v1";

/// Where a pack has what the ledger holds.
const LEDGER: &str = "ledger/";

/// The most bytes that a pack may hold unpacked.
const LONGEST_PACK_BYTES: u64 = 8 << 30;

/// What people find who open the archive by hand.
const README: &str = include_str!("pack.txt");

/// What a pack is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// `lacuna.pack.v1`.
    pub schema: String,
    /// The plan.
    pub plan: PlanId,
    /// The reference of the request.
    pub request: String,
    /// The end of the trail when it was packed.
    pub head: TrailHead,
    /// When that was.
    pub packed_at: Timestamp,
}

impl Pack {
    /// What is to be verified of it.
    pub fn check(&self) -> TrailCheck {
        let (anchor, only) = (Some(self.head.clone()), Some((self.plan, self.request.clone())));
        TrailCheck { anchor, only, signer: None }
    }
}

/// A file is no pack.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// It is no archive, or a damaged one.
    #[error("the evidence pack cannot be read as a zip archive; get it once more")]
    Archive(#[source] zip::result::ZipError),
    /// It is an archive of something else.
    #[error("the archive is no evidence pack of this version; `lacuna audit export` makes one")]
    Foreign,
    /// It would unpack to more than a pack may hold.
    #[error("the archive holds more than {} GiB; it is no evidence pack", LONGEST_PACK_BYTES >> 30)]
    Long,
}

impl Ledger {
    /// The evidence of a plan as the bytes of a zip archive.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Unknown`] where there is no such plan, or no record of the trail.
    pub async fn pack(&self, id: &PlanId) -> Result<(Pack, Vec<u8>), LedgerError> {
        let plan = self.plan(id).await?;
        let Some(head) = self.trail_head().await? else {
            let what = "the ledger has no trail yet; `lacuna certificate` writes its first record";
            return Err(LedgerError::new(LedgerErrorKind::Unknown, what));
        };
        let pack = Pack {
            schema: PACK_SCHEMA.to_owned(),
            plan: *id,
            request: plan.request.clone(),
            head,
            packed_at: self.clock.now(),
        };
        let names = self.names_of(id, &plan.request, &pack.head).await?;
        let mut archive = Archive::new();
        archive.add("pack.json", &to_bytes(&pack))?;
        archive.add("README.txt", README.as_bytes())?;
        let mut documents = futures::stream::iter(names)
            .map(|name| async move {
                let found = self.read(&name).await?;
                found.map(|(_, bytes)| (name.clone(), bytes)).ok_or_else(|| {
                    LedgerError::tampered(&self.key(&name), "was listed and is gone")
                })
            })
            .buffered(READS_AT_ONCE);
        let mut signature = None;
        while let Some((name, bytes)) = documents.try_next().await? {
            archive.add(&format!("{LEDGER}{name}"), &bytes)?;
            if name.ends_with(".signature.json") {
                signature = Some(self.parse::<Signature>(&name, &bytes)?);
            }
        }
        // The last one counts; in the forms that other tools take.
        if let Some(signature) = signature {
            archive.add("signer.pem", signature.public_key.to_pem().as_bytes())?;
            archive.add("certificate.sig", &signature.to_bytes())?;
        }
        Ok((pack, archive.finish()?))
    }

    /// Everything on a plan and its request, and the trail up to its end.
    async fn names_of(
        &self,
        id: &PlanId,
        request: &str,
        head: &TrailHead,
    ) -> Result<Vec<String>, LedgerError> {
        let mut beginnings = Vec::from(super::trail::beginnings(id));
        beginnings.push(format!("audit/{id}/"));
        beginnings.extend(request.parse().ok().map(|it| requests::folder(&it)));
        let mut names = Vec::new();
        for beginning in beginnings {
            names.extend(self.names(&beginning).await?);
        }
        names.extend((0..=head.sequence).map(super::trail::name));
        Ok(names)
    }
}

/// Opens a pack as a ledger of its own, in memory.
///
/// # Errors
///
/// [`PackError`].
pub fn open(bytes: &[u8], clock: Clock) -> Result<(Pack, Ledger), PackError> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(PackError::Archive)?;
    let lake = MemoryLake::unversioned();
    let mut pack = None;
    let mut left = LONGEST_PACK_BYTES;
    for index in 0..archive.len() {
        let file = archive.by_index(index).map_err(PackError::Archive)?;
        let name = file.name().map_err(PackError::Archive)?.into_owned();
        let mut content = Vec::new();
        // A byte more than may be: so it is known where there are more.
        let read = file.take(left.min(LONGEST_BYTES) + 1).read_to_end(&mut content);
        read.map_err(|error| PackError::Archive(error.into()))?;
        left = left.checked_sub(content.len() as u64).ok_or(PackError::Long)?;
        match name.strip_prefix(LEDGER) {
            Some(_) => {
                lake.put(&ObjectKey::new(name.into_bytes()), content);
            }
            None if name == "pack.json" => pack = serde_json::from_slice::<Pack>(&content).ok(),
            None => {}
        }
    }
    let pack = pack.filter(|pack| pack.schema == PACK_SCHEMA).ok_or(PackError::Foreign)?;
    Ok((pack, Ledger::new(Arc::new(lake), LEDGER.as_bytes(), clock)))
}

/// A zip archive as it grows, in memory.
struct Archive(ZipWriter<Cursor<Vec<u8>>>);

impl Archive {
    fn new() -> Self {
        Self(ZipWriter::new(Cursor::new(Vec::new())))
    }

    fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), LedgerError> {
        // The same evidence makes the same archive: no time of this machine is in it.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(DateTime::default())
            .large_file(bytes.len() as u64 > u64::from(u32::MAX));
        let started = self.0.start_file(name, options);
        started.and_then(|()| Ok(self.0.write_all(bytes)?)).map_err(|error| not_packed(&error))
    }

    fn finish(self) -> Result<Vec<u8>, LedgerError> {
        Ok(self.0.finish().map_err(|error| not_packed(&error))?.into_inner())
    }
}

fn not_packed(error: &zip::result::ZipError) -> LedgerError {
    LedgerError::new(LedgerErrorKind::Malformed, format!("the evidence cannot be packed: {error}"))
}

#[cfg(test)]
mod tests;
