//! Torture against the real S3 server, for as long as one likes: `scripts/torture` runs it by name.
//!
//! `LACUNA_SECONDS` says for how long, `LACUNA_SEED` where it begins.

mod contention;
mod guillotine;
mod kills;

use std::time::{Duration, Instant};

/// What runs by name is told by its environment.
#[expect(clippy::disallowed_methods, reason = "who runs this by name says how much of it")]
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Until when a test goes on; at least one round of it is done in any case.
fn deadline(otherwise_seconds: u64) -> Instant {
    now() + Duration::from_secs(number("LACUNA_SECONDS", otherwise_seconds))
}

#[expect(clippy::disallowed_methods, reason = "real time passes in a test against a real server")]
fn now() -> Instant {
    Instant::now()
}
