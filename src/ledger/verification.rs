//! Whether what the ledger holds is what was put there: walks the trail, and reads every document that it
//! names.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use crate::domain::plan::PlanId;
use crate::domain::register::RequestReference;
use crate::domain::signature::{PublicKey, Signature};
use crate::domain::trail::{
    ROLL_SCHEMA, Roll, SealedDocument, TRAIL_SCHEMA, TrailHead, TrailRecord, TrailTopic,
};

use super::evidence::signature_name;
use super::previews::PREVIEWS;
use super::trail::{FOLDER, ROLLS, checked, digest, name};
use super::{Ledger, LedgerError, READS_AT_ONCE};

/// The kinds of documents that belong into the trail, by the folders that they are in. What the register
/// has of a request is named by the folder that its events are in, and all else by the plan.
const SEALED: [&str; 9] = [
    "plans/",
    "reports/",
    "decisions/",
    AUDIT,
    "certificates/",
    "finished/",
    PREVIEWS,
    ROLLS,
    "requests/",
];

/// Where the audit records are.
const AUDIT: &str = "audit/";

/// What a verification is held against besides the trail itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrailCheck {
    /// An end of the trail that somebody kept elsewhere: the trail has to go through it. Without one, records
    /// that were taken off the end are not missed, unless a document that they named is.
    pub anchor: Option<TrailHead>,
    /// The only key that certificates may be signed by. Without it any key is taken, and told.
    pub signer: Option<PublicKey>,
    /// The plan and the reference of its request, where only what is about these is there.
    pub only: Option<(PlanId, String)>,
}

/// What came of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TrailReport {
    /// Records that were read.
    pub records: u64,
    /// The end of the trail, to be kept where the ledger is not; none where there is no record.
    pub head: Option<TrailHead>,
    /// Documents that records and rolls name; each was read.
    pub documents: u64,
    /// Certificates with a signature that holds.
    pub signed: u64,
    /// Certificates without a signature.
    pub unsigned: u64,
    /// The keys that signed.
    pub signers: BTreeSet<PublicKey>,
    /// Documents of plans and requests that no record is about: made before there was a trail, or put
    /// there since.
    pub unsealed: Vec<String>,
    /// What is not as it was put there.
    pub findings: Vec<TrailFinding>,
}

impl TrailReport {
    /// Whether all is as it was put there, as far as the trail tells.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Something that is not as it was put there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrailFinding {
    /// The document, below the ledger's prefix.
    pub document: String,
    /// What is wrong with it, and what to do, without personal data.
    pub message: String,
}

/// What the records say of the documents.
#[derive(Default)]
struct Named {
    digests: BTreeMap<String, String>,
    /// Plans by their ids, requests by the folders that they are in.
    topics: BTreeSet<String>,
    /// Those whose documents are there, where not all are.
    only: Option<BTreeSet<String>>,
}

impl Ledger {
    /// Walks the whole trail, and reads every document that it names.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lake`](super::LedgerErrorKind::Lake) where the store fails. What is wrong with the documents is no error but a
    /// finding.
    pub async fn verify_trail(&self, against: &TrailCheck) -> Result<TrailReport, LedgerError> {
        let mut report = TrailReport::default();
        let mut named = Named { only: topics(against.only.as_ref()), ..Named::default() };
        self.walk(against.anchor.as_ref(), &mut report, &mut named).await?;
        self.check_strays(&mut report).await?;
        self.call_rolls(&mut report, &mut named).await?;
        self.check_documents(&mut report, &named).await?;
        self.check_unnamed(&mut report, &named).await?;
        self.check_signatures(&mut report, against.signer.as_ref()).await?;
        Ok(report)
    }

    async fn walk(
        &self,
        anchor: Option<&TrailHead>,
        report: &mut TrailReport,
        named: &mut Named,
    ) -> Result<(), LedgerError> {
        loop {
            let sequence = report.records;
            let name = name(sequence);
            let Some((_, bytes)) = self.read(&name).await? else { break };
            let digest = digest(&bytes);
            match self.parse::<TrailRecord>(&name, &bytes) {
                Ok(record) => {
                    let previous = report.head.as_ref().map(|head| &head.digest);
                    for message in wrong_with(&record, (sequence, previous), &bytes) {
                        report.find(&name, message);
                    }
                    named.add_record(&name, record, report);
                }
                Err(_) => report.find(&name, "is no record; restore it from a copy"),
            }
            if anchor.is_some_and(|it| it.sequence == sequence && it.digest != digest) {
                report.find(
                    &name,
                    "is not the record that the anchor names: the trail was made anew",
                );
            }
            report.head = Some(TrailHead { sequence, digest });
            report.records += 1;
        }
        if let Some(anchor) = anchor.filter(|anchor| anchor.sequence >= report.records) {
            let missing = self::name(anchor.sequence);
            report.find(&missing, "is missing, and the anchor names it: the trail was cut off");
        }
        Ok(())
    }

    /// Records behind a gap, and what else lies among them.
    async fn check_strays(&self, report: &mut TrailReport) -> Result<(), LedgerError> {
        let expected: BTreeSet<String> = (0..report.records).map(name).collect();
        for stray in self.names(FOLDER).await?.into_iter().filter(|it| !expected.contains(it)) {
            report.find(&stray, "does not follow the record before it: one is missing in between");
        }
        Ok(())
    }

    /// What the rolls name that records name. What is wrong with a roll itself is found with the other
    /// documents.
    async fn call_rolls(
        &self,
        report: &mut TrailReport,
        named: &mut Named,
    ) -> Result<(), LedgerError> {
        let rolls: Vec<String> =
            named.digests.keys().filter(|name| name.starts_with(ROLLS)).cloned().collect();
        for name in rolls {
            let Some((_, bytes)) = self.read(&name).await? else { continue };
            if named.digests.get(&name).is_none_or(|expected| *expected != digest(&bytes)) {
                continue;
            }
            match self.parse::<Roll>(&name, &bytes) {
                Ok(roll) if roll.schema == ROLL_SCHEMA => named.add(&name, roll.documents, report),
                _ => report.find(&name, "is no roll; use the version of lacuna that wrote it"),
            }
        }
        Ok(())
    }

    async fn check_documents(
        &self,
        report: &mut TrailReport,
        named: &Named,
    ) -> Result<(), LedgerError> {
        report.documents = named.digests.len() as u64;
        let mut found = futures::stream::iter(&named.digests)
            .map(|(name, expected)| async move {
                let found = self.read(name).await?;
                Ok::<_, LedgerError>((name, expected, found.map(|(_, bytes)| digest(&bytes))))
            })
            .buffered(READS_AT_ONCE);
        while let Some((name, expected, digest)) = found.try_next().await? {
            match digest {
                Some(digest) if digest == *expected => {}
                Some(_) => report.find(name, "is not what was stored; restore it from a copy"),
                None => report.find(name, "is gone; restore it from a copy"),
            }
        }
        Ok(())
    }

    /// Documents that belong into the trail and are not in it.
    async fn check_unnamed(
        &self,
        report: &mut TrailReport,
        named: &Named,
    ) -> Result<(), LedgerError> {
        for folder in SEALED {
            for name in self.names(folder).await? {
                let topic = topic_of(&name, folder);
                // While a run goes on its audit records become more.
                let is_expected = folder == AUDIT && !named.is_finished(topic);
                if named.digests.contains_key(&name) || is_expected {
                    continue;
                }
                if named.topics.contains(topic) {
                    report.find(
                        &name,
                        "is in no record although others of its kind are: the command that stored it \
                         was killed before the record (the next command on the same plan or request \
                         writes one), or somebody else put it there",
                    );
                } else {
                    report.unsealed.push(name);
                }
            }
        }
        Ok(())
    }

    /// Every signature holds, and is by the key that it should be by.
    async fn check_signatures(
        &self,
        report: &mut TrailReport,
        signer: Option<&PublicKey>,
    ) -> Result<(), LedgerError> {
        let names = self.names("certificates/").await?;
        let (signatures, others): (BTreeSet<String>, BTreeSet<String>) =
            names.into_iter().partition(|name| name.ends_with(".signature.json"));
        let certificates = others.iter().filter(|name| name.ends_with(".json"));
        let is_unsigned = |name: &&String| !signatures.contains(&signature_name(name));
        report.unsigned = certificates.filter(is_unsigned).count() as u64;
        for name in signatures {
            let Some((_, bytes)) = self.read(&name).await? else { continue };
            let Ok(signature) = self.parse::<Signature>(&name, &bytes) else {
                report.find(&name, "is no signature; restore it from a copy");
                continue;
            };
            let document = self.read(&signature.document).await?.map(|(_, bytes)| bytes);
            let is_beside = signature_name(&signature.document) == name;
            let holds = document.is_some_and(|bytes| signature.is_under(&bytes));
            match (is_beside && holds, signer) {
                (false, _) => report.find(&name, "is not under the certificate beside it"),
                (true, Some(signer)) if *signer != signature.public_key => {
                    report.find(&name, "is by another key than the one that was expected");
                }
                (true, _) => {
                    report.signed += 1;
                    report.signers.insert(signature.public_key);
                }
            }
        }
        Ok(())
    }
}

/// The topics of a plan and of its request; `None`: all.
fn topics(only: Option<&(PlanId, String)>) -> Option<BTreeSet<String>> {
    let (plan, reference) = only?;
    let request = reference.parse().ok().map(|it: RequestReference| it.id());
    Some([plan.to_string()].into_iter().chain(request).collect())
}

impl TrailReport {
    fn find(&mut self, document: &str, message: impl Into<String>) {
        self.findings.push(TrailFinding { document: document.to_owned(), message: message.into() });
    }
}

impl Named {
    fn is_finished(&self, plan: &str) -> bool {
        self.digests.contains_key(&format!("finished/{plan}.json"))
    }

    fn add_record(&mut self, place: &str, record: TrailRecord, report: &mut TrailReport) {
        let topic = match &record.topic {
            TrailTopic::Plan(id) => id.to_string(),
            TrailTopic::Request(reference) => reference.id(),
        };
        if self.only.as_ref().is_none_or(|only| only.contains(&topic)) {
            self.topics.insert(topic);
            self.add(place, record.documents, report);
        }
    }

    fn add(&mut self, place: &str, documents: Vec<SealedDocument>, report: &mut TrailReport) {
        for document in documents {
            let known =
                self.digests.entry(document.name).or_insert_with(|| document.digest.clone());
            if *known != document.digest {
                report.find(
                    place,
                    "tells of another digest of a document than what was written before it",
                );
            }
        }
    }
}

/// What is wrong with a record in its place.
fn wrong_with(
    record: &TrailRecord,
    (sequence, previous): (u64, Option<&String>),
    bytes: &[u8],
) -> Vec<&'static str> {
    let mut wrong = Vec::new();
    if record.schema != TRAIL_SCHEMA || checked(record.clone()) != bytes {
        wrong.push("is not written as it was; restore it from a copy");
    }
    if record.sequence != sequence {
        wrong.push("stands in another record's place");
    }
    if record.previous.as_ref() != previous {
        wrong.push("does not follow from the record before it: one of the two was changed");
    }
    wrong
}

/// The topic that a document is about, by its name.
fn topic_of<'a>(name: &'a str, folder: &str) -> &'a str {
    let rest = name.strip_prefix(folder).unwrap_or_default();
    rest.split(['/', '.']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
