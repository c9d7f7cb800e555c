//! How anything of AWS is reached: credentials, region and client as the AWS tools find them. It
//! knows no service; lake and metastore make their clients of what it hands out.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

mod skew;

use skew::{Heeding, ServiceTime};

/// Who calls, and where. What is `None` is found as the AWS tools find it: in the environment, the
/// shared configuration files, or the machine's role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The region.
    pub region: Option<String>,
    /// The profile of the shared configuration files.
    pub profile: Option<String>,
    /// A role to assume.
    pub role_arn: Option<String>,
}

/// How long a connection may take to open.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// The configuration that the AWS tools would use, with this access on top. An answer has to begin
/// within `answer_limit`.
pub async fn configuration(access: &Access, answer_limit: Duration) -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let time = ServiceTime::default();
    let timeouts =
        TimeoutConfig::builder().connect_timeout(CONNECT_LIMIT).read_timeout(answer_limit).build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(Heeding { inner: http, time: time.clone() })
        .time_source(time)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard());
    if let Some(profile) = &access.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = &access.region {
        loader = loader.region(Region::new(region.clone()));
    }
    let configuration = loader.load().await;
    match &access.role_arn {
        Some(role) => assume(configuration, role).await,
        None => configuration,
    }
}

async fn assume(configuration: SdkConfig, role: &str) -> SdkConfig {
    let provider = AssumeRoleProvider::builder(role)
        .session_name("lacuna")
        .configure(&configuration)
        .build()
        .await;
    let provider = aws_sdk_s3::config::SharedCredentialsProvider::new(provider);
    configuration.into_builder().credentials_provider(provider).build()
}
