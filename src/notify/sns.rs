//! Events published to a topic of Amazon SNS, for whoever subscribed to it.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sns::Client;
use aws_sdk_sns::config::Builder;
use aws_sdk_sns::error::ProvideErrorMetadata as _;
use aws_sdk_sns::types::MessageAttributeValue;

use crate::aws::{Access, configuration};
use crate::config::TopicSettings;

use super::NotSent;
use super::event::{Event, Herald};

/// How long an answer may take to begin.
const PATIENCE: Duration = Duration::from_secs(20);

/// A topic.
pub struct Topic {
    client: Client,
    arn: String,
}

impl Topic {
    /// The topic of the settings; it is not asked yet.
    pub async fn new(settings: &TopicSettings) -> Self {
        let access = Access { region: Some(settings.region.clone()), ..Access::default() };
        let mut builder = Builder::from(&configuration(&access, PATIENCE).await);
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        Self { client: Client::from_conf(builder.build()), arn: settings.arn.clone() }
    }
}

#[async_trait]
impl Herald for Topic {
    fn name(&self) -> &'static str {
        "topic"
    }

    async fn tell(&self, event: &Event) -> Result<(), NotSent> {
        let text = |value: &str| {
            let attribute = MessageAttributeValue::builder().data_type("String");
            attribute.string_value(value).build().map_err(|_| refused(None))
        };
        let message = String::from_utf8(event.to_bytes()).map_err(|_| refused(None))?;
        let mut publication = self.client.publish().topic_arn(&self.arn).message(message);
        // So that a subscription may take some and leave others.
        publication = publication
            .message_attributes("occasion", text(event.occasion)?)
            .message_attributes("schema", text(event.schema)?);
        if self.arn.ends_with(".fifo") {
            publication = publication
                .message_group_id(event.plan_id.to_string())
                .message_deduplication_id(&event.event_id);
        }
        match publication.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(refused(error.code())),
        }
    }
}

/// The service's code, without its text, which may hold anything.
fn refused(code: Option<&str>) -> NotSent {
    let is_tame =
        |code: &&str| code.len() <= 64 && code.bytes().all(|it| it.is_ascii_alphanumeric());
    NotSent(match code.filter(is_tame) {
        Some(code) => format!("the topic was not published to: {code}"),
        None => "the topic cannot be reached, or there are no credentials for it".to_owned(),
    })
}
