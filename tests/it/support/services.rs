//! Finds the real servers that `scripts/services` started. One that is not there fails the test.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Credentials;

/// A store that speaks S3.
pub(crate) struct S3Service {
    /// Its address: `http://127.0.0.1:8333`.
    pub endpoint: String,
    access_key: String,
    secret_key: String,
}

/// The S3 server.
pub(crate) fn s3() -> S3Service {
    S3Service {
        endpoint: variable("LACUNA_TEST_S3_ENDPOINT"),
        access_key: variable("LACUNA_TEST_S3_ACCESS_KEY"),
        secret_key: variable("LACUNA_TEST_S3_SECRET_KEY"),
    }
}

/// The PostgreSQL server, as the URL of a database in which others can be made.
pub(crate) fn postgres() -> String {
    variable("LACUNA_TEST_POSTGRES_URL")
}

/// The DynamoDB server: `http://127.0.0.1:4566`.
pub(crate) fn dynamodb() -> String {
    variable("LACUNA_TEST_DYNAMODB_ENDPOINT")
}

/// The tester of the API.
pub(crate) fn schemathesis() -> String {
    variable("LACUNA_SCHEMATHESIS")
}

/// The identity provider: `http://127.0.0.1:9400`.
pub(crate) fn oidc() -> String {
    variable("LACUNA_TEST_OIDC")
}

/// The mail server: `smtp://127.0.0.1:2525`.
pub(crate) fn smtp() -> String {
    variable("LACUNA_TEST_SMTP")
}

/// The Maildir with what the mail server took.
pub(crate) fn mailbox() -> std::path::PathBuf {
    variable("LACUNA_TEST_MAILBOX").into()
}

#[expect(clippy::disallowed_methods, reason = "the tests' own configuration")]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run scripts/services start and eval \"$(scripts/services env)\"")
    })
}

impl S3Service {
    /// What the program needs in its environment to reach the server, and nothing of this machine's own.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        [
            ("LACUNA_S3_ENDPOINT", self.endpoint.as_str()),
            ("LACUNA_S3_REGION", "us-east-1"),
            ("LACUNA_S3_PATH_STYLE", "true"),
            ("AWS_ACCESS_KEY_ID", &self.access_key),
            ("AWS_SECRET_ACCESS_KEY", &self.secret_key),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// A configuration that finds the server at another address: that of a proxy before it.
    pub(crate) async fn configuration_at(&self, endpoint: &str) -> SdkConfig {
        configuration(endpoint, &self.access_key, &self.secret_key).await
    }

    /// A configuration that finds the server.
    pub(crate) async fn configuration(&self) -> SdkConfig {
        self.configuration_at(&self.endpoint).await
    }
}

/// A configuration for an endpoint and nothing of this machine's own.
pub(crate) async fn configuration(endpoint: &str, access: &str, secret: &str) -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new().build_http();
    aws_config::defaults(BehaviorVersion::latest())
        .empty_test_environment()
        .http_client(http)
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new(access, secret, None, None, "test"))
        .endpoint_url(endpoint)
        .load()
        .await
}

/// A client beside Lacuna's own.
pub(crate) fn client(configuration: &SdkConfig) -> Client {
    let builder = aws_sdk_s3::config::Builder::from(configuration).force_path_style(true);
    Client::from_conf(builder.build())
}

/// A name that no other test uses, in this run or another.
pub(crate) fn unique(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let since = std::fs::metadata("/proc/self").and_then(|about| about.modified());
    let began = since.ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let began = began.map_or(0, |began| began.as_nanos());
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{began:x}-{:x}-{next}", std::process::id())
}
