//! A machine whose clock is wrong: requests are signed with the time, and services refuse those that are
//! some minutes off (five at DynamoDB, fifteen at S3). Every answer tells the service's time, so that a refused
//! request can be signed anew with that.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use jiff::tz::TimeZone;

use crate::clock::Clock;

/// A clock that is off by less is right enough for every service.
const TOLERATED_SECONDS: u64 = 4 * 60;

/// The time as services have it: the machine's, until a service refuses it. Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub(super) struct ServiceTime {
    /// What has to be added to the machine's time, in seconds.
    offset: Arc<AtomicI64>,
}

impl TimeSource for ServiceTime {
    fn now(&self) -> SystemTime {
        let seconds = machine_seconds().saturating_add(self.offset.load(Ordering::Relaxed));
        let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// The machine's time in seconds since 1970.
fn machine_seconds() -> i64 {
    Clock::system().now().as_second()
}

impl ServiceTime {
    /// Takes over the time of an answer that refuses a request. Answers whether that is another time than
    /// the request was `signed` with: of several under way together each may have been.
    fn heed(&self, signed: Option<i64>, answer: &HttpResponse) -> bool {
        if !matches!(answer.status().as_u16(), 400..=403) {
            return false;
        }
        let Some((signed, date)) = signed.zip(answer.headers().get("date")) else { return false };
        let Ok(date) = DateTime::from_str(date, Format::HttpDate) else { return false };
        let is_off = date.secs().abs_diff(signed) > TOLERATED_SECONDS;
        if is_off {
            self.offset.store(date.secs().saturating_sub(machine_seconds()), Ordering::Relaxed);
        }
        is_off
    }
}

/// The time that a request was signed with, in seconds since 1970.
fn signed_at(request: &HttpRequest) -> Option<i64> {
    let date = request.headers().get("x-amz-date")?;
    let date = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date).ok()?;
    Some(TimeZone::UTC.to_timestamp(date).ok()?.as_second())
}

/// A client that heeds what time it is where requests are refused. Such a refusal is told as one that may
/// pass, since the same request with the right time may be granted.
#[derive(Debug)]
pub(super) struct Heeding {
    pub(super) inner: SharedHttpClient,
    pub(super) time: ServiceTime,
}

impl HttpClient for Heeding {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(HeedingConnector { inner, time: self.time.clone() })
    }
}

#[derive(Debug)]
struct HeedingConnector {
    inner: SharedHttpConnector,
    time: ServiceTime,
}

impl HttpConnector for HeedingConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let signed = signed_at(&request);
        let answer = self.inner.call(request);
        let time = self.time.clone();
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            if time.heed(signed, &answer) {
                let text = "refused, and the service has another time than this machine; set the \
                            machine's clock";
                return Err(ConnectorError::io(text.into()));
            }
            Ok(answer)
        })
    }
}
