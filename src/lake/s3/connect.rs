//! How a client of S3 is made: credentials, region and endpoint as the AWS tools find them.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::{
    BeforeTransmitInterceptorContextMut, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_s3::config::{Builder, ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;

use crate::aws::{self, Access};
use crate::lake::count::Meter;

/// Where a bucket is and how it is spoken to. What is `None` is found as the AWS tools find it: in
/// the environment, the shared configuration files, or the machine's role.
#[derive(Clone, Debug)]
pub struct S3Settings {
    /// The bucket.
    pub bucket: String,
    /// The region.
    pub region: Option<String>,
    /// The address of a store that is not AWS: `http://127.0.0.1:8333`.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path of a request and not in its host name; by default so
    /// where an endpoint is set.
    pub path_style: Option<bool>,
    /// The profile of the shared configuration files.
    pub profile: Option<String>,
    /// A role to assume.
    pub role_arn: Option<String>,
    /// The account that has to own the bucket; every request is refused where another does.
    pub bucket_owner: Option<String>,
    /// Whether the store lists keys in ascending byte order, as the protocol demands and AWS does;
    /// long listings are then read in several ranges at once. By default nobody is trusted with it
    /// but AWS: where it is not so, keys would be lost at the seams of the ranges.
    pub lists_in_byte_order: Option<bool>,
    /// New objects of fewer bytes are written in one request; [`SINGLE_WRITE_LIMIT_BYTES`], less in tests.
    pub single_write_limit_bytes: u64,
}

impl S3Settings {
    /// The settings of a bucket that is found as the AWS tools find it.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            region: None,
            endpoint: None,
            path_style: None,
            profile: None,
            role_arn: None,
            bucket_owner: None,
            lists_in_byte_order: None,
            single_write_limit_bytes: SINGLE_WRITE_LIMIT_BYTES,
        }
    }
}

/// New objects of fewer bytes are usually written in one request.
pub const SINGLE_WRITE_LIMIT_BYTES: u64 = 16 << 20;

/// How long an answer may take to begin: joining the parts of a large upload takes minutes.
const ANSWER_LIMIT: Duration = Duration::from_secs(300);

/// The configuration that the AWS tools would use, with these settings on top.
pub(super) async fn configuration(settings: &S3Settings) -> SdkConfig {
    let access = Access {
        region: settings.region.clone(),
        profile: settings.profile.clone(),
        role_arn: settings.role_arn.clone(),
    };
    aws::configuration(&access, ANSWER_LIMIT).await
}

/// The address of a store that is not AWS, where there is one.
pub(super) fn endpoint<'a>(
    configuration: &'a SdkConfig,
    settings: &'a S3Settings,
) -> Option<&'a str> {
    settings.endpoint.as_deref().or(configuration.endpoint_url())
}

/// A client for the bucket of these settings.
pub(super) fn client(configuration: &SdkConfig, settings: &S3Settings) -> Client {
    let endpoint = endpoint(configuration, settings);
    let path_style = settings.path_style.unwrap_or(endpoint.is_some());
    let mut builder = Builder::from(configuration).force_path_style(path_style);
    if let Some(endpoint) = endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    if let Some(region) = &settings.region {
        builder = builder.region(Region::new(region.clone()));
    } else if configuration.region().is_none() {
        builder = builder.region(Region::from_static("us-east-1"));
    }
    if let Some(owner) = &settings.bucket_owner {
        builder = builder.interceptor(ExpectedOwner(owner.clone()));
    }
    Client::from_conf(builder.build())
}

/// The same client, which counts on a meter what goes over the wire, repeated requests included.
pub(super) fn metered(client: &Client, meter: &Meter) -> Client {
    let counting = Counting(meter.clone());
    Client::from_conf(client.config().to_builder().interceptor(counting).build())
}

/// What a conditional write is sent with: it is not sent again by itself, since a second sending
/// would meet the result of the first and report a failure that was none.
pub(super) fn sent_once() -> Builder {
    Builder::new().retry_config(RetryConfig::disabled())
}

/// Counts requests, and bytes that are sent. What is read and what the store copies count where that
/// is told.
#[derive(Debug)]
struct Counting(Meter);

impl Intercept for Counting {
    fn name(&self) -> &'static str {
        "Counting"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request();
        let number = |name: &str| request.headers().get(name).and_then(|text| text.parse().ok());
        let mut counts = self.0.locked();
        counts.requests += 1;
        if request.method() == "PUT" {
            let length = number("x-amz-decoded-content-length").or(number("content-length"));
            counts.written_bytes = counts.written_bytes.saturating_add(length.unwrap_or(0));
        }
        Ok(())
    }
}

/// Names the account that has to own the bucket on every request, so that a bucket of the same name
/// in other hands gets nothing.
#[derive(Debug)]
struct ExpectedOwner(String);

impl Intercept for ExpectedOwner {
    fn name(&self) -> &'static str {
        "ExpectedOwner"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.request_mut().headers_mut();
        headers.try_insert("x-amz-expected-bucket-owner", self.0.clone())?;
        Ok(())
    }
}
