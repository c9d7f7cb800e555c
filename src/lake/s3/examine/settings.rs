//! How a bucket is set: versions, locks, copies, and who is told or pays.

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::types::{
    BucketVersioningStatus, DefaultRetention, MfaDeleteStatus, Payer, ReplicationRule,
    ReplicationRuleStatus,
};

use super::super::Bucket;
use super::super::error::{is_denied, is_missing};
use super::{Retains, unseen};
use crate::domain::finding::{Check, Finding};
use crate::lake::{LakeError, Versioning};

/// What is not answered where a store does not know the question.
const UNKNOWN_QUESTION: &str = "NotImplemented";

impl Bucket {
    /// B16: which kind of bucket it is. Directory buckets are refused when they are opened.
    pub(super) fn kind(&self) -> Finding {
        let check = Check::BucketKind;
        if self.name.ends_with("-s3alias") || self.name.ends_with(".mrap") {
            let message = "the name is that of an access point, which cannot be asked for \
                           versioning, Object Lock and the like: nothing is proved through it";
            return Finding::problem(check, message).fix("name the bucket behind it");
        }
        if self.name.ends_with("--ol-s3") {
            let message = "the name is that of an Object Lambda access point, which answers with \
                           other bytes than are stored";
            return Finding::problem(check, message).fix("name the bucket behind it");
        }
        if self.name.ends_with("--table-s3") {
            let message = "the name is that of a table bucket, whose files belong to tables that \
                           Lacuna does not rewrite";
            return Finding::problem(check, message).fix("leave it out of the configuration");
        }
        Finding::ok(check, "a general purpose bucket, or a server that speaks its language")
    }

    /// Whether the bucket keeps versions, and whether they can be deleted. An error where it cannot
    /// be reached; a permission that is missing is a finding.
    pub(super) async fn examine_versioning(
        &self,
    ) -> (Option<Versioning>, Result<Vec<Finding>, LakeError>) {
        let call = self.call("asking for versioning", "s3:GetBucketVersioning");
        let answer = match self.client.get_bucket_versioning().bucket(&self.name).send().await {
            Ok(answer) => answer,
            Err(error) => {
                let error = call.failed(error);
                if error.permission().is_none() {
                    return (None, Err(error));
                }
                let found = [Check::Versioning, Check::MfaDelete]
                    .map(|check| unseen(check, &error, &self.arn()));
                return (None, Ok([found.to_vec(), vec![self.reached()]].concat()));
            }
        };
        let (versioning, found) = self.versioning_as(answer.status());
        let mfa = match answer.mfa_delete() {
            Some(MfaDeleteStatus::Enabled) => Finding::problem(
                Check::MfaDelete,
                "deleting a version takes a second factor, which Lacuna has not: superseded \
                 versions cannot be expunged",
            )
            .fix("switch MFA delete off for the time of an erasure, as the account's root user"),
            _ => Finding::ok(Check::MfaDelete, "deleting a version takes no second factor"),
        };
        (versioning, Ok(vec![self.reached(), found, mfa]))
    }

    fn versioning_as(
        &self,
        status: Option<&BucketVersioningStatus>,
    ) -> (Option<Versioning>, Finding) {
        let check = Check::Versioning;
        match status {
            None => {
                let message = "no versions are kept: what a rewrite replaces is gone at once, and \
                               cannot be brought back";
                (Some(Versioning::Never), Finding::note(check, message))
            }
            Some(BucketVersioningStatus::Enabled) => {
                let message = "every version is kept, until it is expunged";
                (Some(Versioning::Enabled), Finding::ok(check, message))
            }
            Some(BucketVersioningStatus::Suspended) => {
                let message = "versioning is suspended: a rewrite replaces the `null` version for \
                               good, while older versions stay until they are expunged";
                let fix = format!(
                    "aws s3api put-bucket-versioning --bucket {} --versioning-configuration \
                     Status=Enabled",
                    self.name
                );
                (Some(Versioning::Suspended), Finding::warning(check, message).fix(fix))
            }
            Some(_) => {
                let message = "versioning is in a state that is not known";
                (None, Finding::problem(check, message))
            }
        }
    }

    fn reached(&self) -> Finding {
        Finding::ok(Check::Open, "the bucket answers")
    }

    /// Whether versions can be locked, what becomes of new ones, and whether locks can be bypassed.
    pub(super) async fn examine_object_lock(&self) -> (Retains, Vec<Finding>) {
        let (check, permission) = (Check::ObjectLock, "s3:GetBucketObjectLockConfiguration");
        let asked = self.client.get_object_lock_configuration().bucket(&self.name).send().await;
        let answer = match asked {
            Ok(answer) => answer,
            Err(error) if error.code() == Some(UNKNOWN_QUESTION) || is_missing(&error) => {
                let locks = Finding::ok(check, "the bucket has no Object Lock");
                let excess =
                    Finding::ok(Check::Excess, "there is no retention that could be bypassed");
                return (Retains::Nothing, vec![locks, excess]);
            }
            Err(error) => {
                let denied = is_denied(&error);
                let found = self.unanswered(check, ("asking for object lock", permission), error);
                let found = match denied {
                    true => Finding {
                        message: format!("{}: locks are taken for possible", found.message),
                        ..found
                    },
                    false => found,
                };
                return (Retains::Unknown, vec![found, self.excess()]);
            }
        };
        let rule = answer.object_lock_configuration().and_then(|it| it.rule());
        let retention = rule.and_then(|rule| rule.default_retention());
        let (retains, found) = match retention {
            Some(retention) => (
                Retains::New,
                Finding::warning(
                    check,
                    format!(
                        "every new version is retained for {}, also what a rewrite makes; nothing \
                         is tried by writing here",
                        span(retention)
                    ),
                )
                .fix("plan with the dates that the purge report names"),
            ),
            None => (
                Retains::Nothing,
                Finding::note(
                    check,
                    "versions may be locked one by one: a locked one stays until its date, and the \
                     purge report names it",
                ),
            ),
        };
        (retains, vec![found, self.excess()])
    }

    /// K16. Whoever may bypass a retention finds out by doing it, which Lacuna never does.
    fn excess(&self) -> Finding {
        let message = "whether these credentials could bypass a retention cannot be seen from \
                       here; Lacuna never asks for it";
        Finding::unknown(Check::Excess, message).fix(format!(
            "deny s3:BypassGovernanceRetention on {}/* to every role of Lacuna",
            self.arn()
        ))
    }

    /// C11: deletions of versions are not replicated.
    pub(super) async fn examine_replication(&self) -> Finding {
        let (check, permission) = (Check::Replication, "s3:GetReplicationConfiguration");
        let none = Finding::ok(check, "no rule copies its objects elsewhere");
        let asked = self.client.get_bucket_replication().bucket(&self.name).send().await;
        let answer = match asked {
            Ok(answer) => answer,
            Err(error) if error.code() == Some(UNKNOWN_QUESTION) || is_missing(&error) => {
                return none;
            }
            Err(error) => {
                return self.unanswered(check, ("asking for replication", permission), error);
            }
        };
        let rules = answer.replication_configuration().map_or(&[][..], |it| it.rules());
        let is_on = |rule: &&ReplicationRule| *rule.status() == ReplicationRuleStatus::Enabled;
        let destination = |rule: &ReplicationRule| {
            let arn = rule.destination().map_or("", |destination| destination.bucket());
            format!("s3://{}", arn.trim_start_matches("arn:aws:s3:::"))
        };
        let mut copies: Vec<String> = rules.iter().filter(is_on).map(destination).collect();
        copies.sort();
        copies.dedup();
        if copies.is_empty() {
            return none;
        }
        let copies = copies.join(", ");
        let message = format!(
            "objects are copied to {copies}: a rewrite follows there, the deletion of a superseded \
             version does not, so that the erased rows stay in its versions"
        );
        Finding::warning(check, message)
            .fix(format!("configure {copies} as datasets of their own, and erase there too"))
    }

    /// B19: who is told of a rewrite.
    pub(super) async fn examine_notifications(&self) -> Finding {
        let (check, permission) = (Check::Notifications, "s3:GetBucketNotification");
        let asked = self.client.get_bucket_notification_configuration().bucket(&self.name);
        let answer = match asked.send().await {
            Ok(answer) => answer,
            Err(error) if error.code() == Some(UNKNOWN_QUESTION) => {
                return Finding::ok(check, "the store notifies nobody");
            }
            Err(error) => {
                return self.unanswered(check, ("asking for notifications", permission), error);
            }
        };
        let told = answer.topic_configurations().len()
            + answer.queue_configurations().len()
            + answer.lambda_function_configurations().len()
            + usize::from(answer.event_bridge_configuration().is_some());
        if told == 0 {
            return Finding::ok(check, "nobody is told when an object is written");
        }
        let message = format!(
            "a rewrite is told as a new object to those who asked for it ({told}); what takes new \
             objects in would take the rewritten ones in again"
        );
        Finding::note(check, message)
            .fix("let receivers pass over objects whose metadata has lacuna-operation")
    }

    /// B16.
    pub(super) async fn examine_payment(&self) -> Finding {
        let (check, permission) = (Check::RequesterPays, "s3:GetBucketRequestPayment");
        let owner = Finding::ok(check, "the bucket's owner pays for requests");
        let asked = self.client.get_bucket_request_payment().bucket(&self.name).send().await;
        match asked {
            Ok(answer) if answer.payer() == Some(&Payer::Requester) => {
                let message = "whoever asks has to offer to pay, which Lacuna does not: as another \
                               account than the owner's it is refused";
                Finding::warning(check, message)
                    .fix("use credentials of the account that owns the bucket")
            }
            Ok(_) => owner,
            Err(error) if error.code() == Some(UNKNOWN_QUESTION) => owner,
            Err(error) => self.unanswered(check, ("asking who pays", permission), error),
        }
    }
}

fn span(retention: &DefaultRetention) -> String {
    let mode = retention.mode().map_or_else(String::new, |mode| format!(" ({mode})"));
    match (retention.days(), retention.years()) {
        (Some(days), _) => format!("{days} days{mode}"),
        (None, Some(years)) => format!("{years} years{mode}"),
        (None, None) => format!("a time that the store does not tell{mode}"),
    }
}
