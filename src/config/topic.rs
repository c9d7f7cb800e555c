//! `[sns]`: the topic of Amazon SNS that events are published to.

use crate::domain::address::SafeAddress;

use super::error::Problem;
use super::table::{Table, Text};

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// Its name.
    pub arn: String,
    /// Where it is.
    pub region: String,
    /// The URL of another service that speaks SNS.
    pub endpoint: Option<String>,
}

/// What `[sns]` says.
pub(super) struct Written {
    pub topic_arn: Text,
    pub endpoint: Option<Text>,
}

pub(super) fn read(root: &mut Table<'_>) -> Option<Written> {
    let mut table = root.table("sns")?;
    let (topic_arn, endpoint) = (table.required("topic_arn"), table.text("endpoint"));
    table.finish();
    Some(Written { topic_arn: topic_arn?, endpoint })
}

/// A topic by its ARN: `arn:aws:sns:eu-central-1:111122223333:erasures`.
pub(super) fn topic(text: &str) -> Result<TopicSettings, Problem> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        ["arn", partition, "sns", region, account, name]
            if [partition, region, account, name].iter().all(|part| !part.is_empty()) =>
        {
            Ok(TopicSettings { arn: text.to_owned(), region: region.to_owned(), endpoint: None })
        }
        _ => Err(Problem::new("`topic_arn` of [sns] is no topic")
            .remedy("write it as arn:aws:sns:eu-central-1:111122223333:erasures")),
    }
}

/// Where another service than AWS's own answers.
pub(super) fn endpoint(text: &str) -> Result<String, Problem> {
    match SafeAddress::parse(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(Problem::new("`endpoint` of [sns] is no address")
            .remedy("write it as https://HOST; http:// is for this machine alone")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_says_where_it_is() {
        let found = topic("arn:aws-cn:sns:cn-north-1:111122223333:erasures.fifo").ok();
        assert_eq!(found.map(|it| it.region).as_deref(), Some("cn-north-1"));
        for text in ["", "erasures", "arn:aws:sqs:a:1:b", "arn:aws:sns::1:b", "arn:aws:sns:a:1:b:c"]
        {
            assert!(topic(text).is_err(), "{text}");
        }
    }
}
