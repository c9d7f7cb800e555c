//! What a bucket does to objects by itself as they age, and what of broken uploads lies in it.

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::types::{ExpirationStatus, LifecycleRule, TransitionStorageClass};

use super::super::Bucket;
use super::super::error::is_missing;
use super::unseen;
use crate::domain::finding::{Check, Finding};

/// How many unfinished uploads are counted.
const UPLOADS_COUNTED: i32 = 1000;

impl Bucket {
    /// B4, B21: whether broken uploads go by themselves, and what else happens by age.
    pub(super) async fn examine_lifecycle(&self, prefix: &str) -> Vec<Finding> {
        let permission = ("asking for the lifecycle", "s3:GetLifecycleConfiguration");
        let asked = self.client.get_bucket_lifecycle_configuration().bucket(&self.name).send();
        let rules = match asked.await {
            Ok(answer) => answer.rules.unwrap_or_default(),
            Err(error) if error.code() == Some("NotImplemented") || is_missing(&error) => {
                Vec::new()
            }
            Err(error) => {
                let error = self.call(permission.0, permission.1).failed(error);
                let checks = [Check::LifecycleAbort, Check::LifecycleRules];
                return checks.map(|check| unseen(check, &error, &self.arn())).into();
            }
        };
        let is_on = |rule: &&LifecycleRule| *rule.status() == ExpirationStatus::Enabled;
        let rules: Vec<&LifecycleRule> = rules.iter().filter(is_on).collect();
        vec![self.aborting(&rules, prefix), ageing(&rules, prefix)]
    }

    fn aborting(&self, rules: &[&LifecycleRule], prefix: &str) -> Finding {
        let days = |rule: &&LifecycleRule| {
            let abort = rule.abort_incomplete_multipart_upload()?;
            covers(rule, prefix).then(|| abort.days_after_initiation().unwrap_or(0))
        };
        if let Some(days) = rules.iter().filter_map(days).min() {
            let message = format!("what is left of a broken upload goes after {days} days");
            return Finding::ok(Check::LifecycleAbort, message);
        }
        let message = "no rule aborts incomplete uploads here: parts of a broken one stay, hold \
                       personal data, and stand in no listing";
        let rule = serde_json::json!({"Rules": [{
            "ID": "abort-incomplete-uploads",
            "Status": "Enabled",
            "Filter": {"Prefix": prefix},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
        }]});
        Finding::warning(Check::LifecycleAbort, message).fix(format!(
            "add this rule to those that the bucket has: aws s3api \
             put-bucket-lifecycle-configuration --bucket {} --lifecycle-configuration '{rule}'",
            self.name
        ))
    }

    /// B4: unfinished uploads, whoever began them.
    pub(super) async fn examine_unfinished(&self, prefix: &str) -> Finding {
        let (check, permission) = (Check::IncompleteUploads, "s3:ListBucketMultipartUploads");
        let asked = self.client.list_multipart_uploads().bucket(&self.name).prefix(prefix);
        let answer = match asked.max_uploads(UPLOADS_COUNTED).send().await {
            Ok(answer) => answer,
            Err(error) => {
                return self.unanswered(check, ("listing uploads", permission), error);
            }
        };
        // Some stores list what merely shares a folder with the prefix.
        let is_below = |key: Option<&str>| key.is_some_and(|key| key.starts_with(prefix));
        let uploads: Vec<_> =
            answer.uploads().iter().filter(|upload| is_below(upload.key())).collect();
        if uploads.is_empty() {
            return Finding::ok(check, "no upload is unfinished");
        }
        let count = match answer.is_truncated() {
            Some(true) => format!("{} or more", uploads.len()),
            _ => uploads.len().to_string(),
        };
        let oldest =
            uploads.iter().filter_map(|upload| super::super::timestamp(upload.initiated()));
        let since = oldest.min().map_or_else(String::new, |at| format!(", the oldest since {at}"));
        let message = format!(
            "unfinished uploads: {count}{since}; what their parts hold is neither indexed nor erased, \
             and those of an erasure that is under way are among them"
        );
        Finding::warning(check, message).fix(format!(
            "see whose they are with aws s3api list-multipart-uploads --bucket {0} --prefix \
             '{prefix}', and abort what nobody continues with aws s3api abort-multipart-upload",
            self.name
        ))
    }
}

/// What rules do to objects below the prefix, aborted uploads apart.
fn ageing(rules: &[&LifecycleRule], prefix: &str) -> Finding {
    let touching = || rules.iter().filter(|rule| touches(rule, prefix));
    let is_archive = |class: Option<&TransitionStorageClass>| {
        use TransitionStorageClass::{DeepArchive, Glacier};
        matches!(class, Some(Glacier | DeepArchive))
    };
    let mut effects = Vec::new();
    if touching().any(|rule| {
        let expiration = rule.expiration();
        expiration.is_some_and(|it| it.days().is_some_and(|days| days > 0) || it.date().is_some())
    }) {
        effects.push(
            "objects expire by age, and a rewrite makes an object young: everybody else's rows in \
             it live longer than planned",
        );
    }
    if touching().any(|rule| {
        let current = rule.transitions().iter().map(|it| it.storage_class());
        let old = rule.noncurrent_version_transitions().iter().map(|it| it.storage_class());
        current.chain(old).any(is_archive)
    }) {
        effects
            .push("objects move into an archive, from which they have to be restored to be erased");
    }
    if !effects.is_empty() {
        return Finding::warning(Check::LifecycleRules, effects.join("; ")).fix(
            "erase before objects are archived, and let expiry follow a date in the key where it \
             has to be kept to",
        );
    }
    match touching().any(|rule| rule.noncurrent_version_expiration().is_some()) {
        true => Finding::note(
            Check::LifecycleRules,
            "superseded versions expire by themselves, also where a policy keeps them",
        ),
        false => Finding::ok(Check::LifecycleRules, "no rule expires or archives objects here"),
    }
}

/// What keys begin with that a rule is about, and whether it is about all of those.
fn filter(rule: &LifecycleRule) -> (&str, bool) {
    #[expect(deprecated, reason = "old configurations have no other")]
    let old = rule.prefix();
    let Some(filter) = rule.filter() else { return (old.unwrap_or_default(), true) };
    let narrow = |larger: Option<i64>, smaller: Option<i64>| larger.is_some() || smaller.is_some();
    if let Some(and) = filter.and() {
        let is_narrow = !and.tags().is_empty()
            || narrow(and.object_size_greater_than(), and.object_size_less_than());
        return (and.prefix().unwrap_or_default(), !is_narrow);
    }
    let is_narrow = filter.tag().is_some()
        || narrow(filter.object_size_greater_than(), filter.object_size_less_than());
    (filter.prefix().or(old).unwrap_or_default(), !is_narrow)
}

/// Whether a rule is about every object below the prefix.
fn covers(rule: &LifecycleRule, prefix: &str) -> bool {
    let (begins, is_about_all) = filter(rule);
    is_about_all && prefix.starts_with(begins)
}

/// Whether a rule may be about an object below the prefix.
fn touches(rule: &LifecycleRule, prefix: &str) -> bool {
    let (begins, _) = filter(rule);
    prefix.starts_with(begins) || begins.starts_with(prefix)
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{
        AbortIncompleteMultipartUpload, LifecycleExpiration, LifecycleRuleAndOperator,
        LifecycleRuleFilter, Tag, Transition,
    };

    use super::*;
    use crate::domain::finding::Severity;

    fn rule(filter: LifecycleRuleFilter) -> aws_sdk_s3::types::builders::LifecycleRuleBuilder {
        LifecycleRule::builder().status(ExpirationStatus::Enabled).filter(filter)
    }

    fn below(prefix: &str) -> LifecycleRuleFilter {
        LifecycleRuleFilter::builder().prefix(prefix).build()
    }

    #[test]
    fn a_rule_covers_what_lies_below_its_prefix() {
        let covered = |filter, prefix: &str| covers(&rule(filter).build().expect("a rule"), prefix);
        assert!(covered(below(""), "reviews/"));
        assert!(covered(below("rev"), "reviews/"));
        assert!(covered(below("reviews/"), "reviews/"));
        assert!(!covered(below("reviews/2026/"), "reviews/"));
        assert!(!covered(below("clicks/"), "reviews/"));
        let tag = Tag::builder().key("a").value("b").build().expect("a tag");
        let and = LifecycleRuleAndOperator::builder().prefix("").tags(tag).build();
        assert!(!covered(LifecycleRuleFilter::builder().and(and).build(), "reviews/"));
        let large = LifecycleRuleFilter::builder().object_size_greater_than(5).build();
        assert!(!covered(large, "reviews/"));
    }

    #[test]
    fn what_happens_by_age_is_told() {
        let expiring = LifecycleExpiration::builder().days(30).build();
        let expiring = rule(below("reviews/2026/")).expiration(expiring).build().expect("a rule");
        let archive =
            Transition::builder().days(9).storage_class(TransitionStorageClass::Glacier).build();
        let archiving = rule(below("")).transitions(archive).build().expect("a rule");
        let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(7).build();
        let aborting =
            rule(below("")).abort_incomplete_multipart_upload(abort).build().expect("a rule");
        let told = |rules: &[&LifecycleRule], prefix: &str| ageing(rules, prefix);
        assert_eq!(told(&[&aborting], "reviews/").severity, Severity::Ok);
        let both = told(&[&aborting, &expiring, &archiving], "reviews/");
        assert_eq!(both.severity, Severity::Warning);
        assert!(both.message.contains("expire") && both.message.contains("archive"));
        assert!(!told(&[&expiring, &archiving], "clicks/").message.contains("expire"));
    }
}
