//! The store's clock: every answer bears a date.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};

use crate::clock::Clock;
use crate::domain::finding::{self, Finding};

/// The date of the last answer. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Dates(Arc<Mutex<Option<String>>>);

impl Dates {
    /// How the store's clock and this machine's compare; `None` where no answer bore a date. It is
    /// to be asked for right after an answer came.
    pub(super) fn finding(&self, clock: &Clock) -> Option<Finding> {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let theirs = DateTime::from_str(&text, DateTimeFormat::HttpDate).ok()?;
        Some(finding::clock(clock.now().as_second(), theirs.secs()))
    }
}

impl Intercept for Dates {
    fn name(&self) -> &'static str {
        "Dates"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date").map(str::to_owned);
        if date.is_some() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date;
        }
        Ok(())
    }
}
