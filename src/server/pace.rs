//! How often one caller may ask: enough for anybody who reads, too little to guess or to wear out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::wire::Clock;

/// Requests of one caller in one minute.
pub(super) const REQUESTS: u32 = 600;

/// How many callers are remembered; beyond that those of earlier minutes are forgotten, then all.
const MOST_REMEMBERED: usize = 100_000;

/// Counts by caller and minute.
#[derive(Debug)]
pub(super) struct Pace {
    counts: Mutex<HashMap<String, (i64, u32)>>,
    clock: Clock,
}

impl Pace {
    pub fn new(clock: Clock) -> Self {
        Self { counts: Mutex::default(), clock }
    }

    /// Takes note of a request; the seconds to wait where it is one too many.
    pub fn check(&self, caller: &str) -> Result<(), i64> {
        let now = self.clock.now().as_second();
        let minute = now / 60;
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MOST_REMEMBERED && !counts.contains_key(caller) {
            counts.retain(|_, (of, _)| *of == minute);
            if counts.len() >= MOST_REMEMBERED {
                counts.clear();
            }
        }
        let count = counts.entry(caller.to_owned()).or_insert((minute, 0));
        if count.0 != minute {
            *count = (minute, 0);
        }
        count.1 = count.1.saturating_add(1);
        if count.1 <= REQUESTS { Ok(()) } else { Err((minute + 1) * 60 - now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    #[test]
    fn the_next_minute_begins_anew_and_others_are_not_held_up() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let clock = Clock::manual(at(120));
        let pace = Pace::new(clock.clone());
        for _ in 0..REQUESTS {
            assert_eq!(pace.check("ann"), Ok(()));
        }
        clock.set(at(150));
        assert_eq!(pace.check("ann"), Err(30));
        assert_eq!(pace.check("bob"), Ok(()));
        clock.set(at(180));
        assert_eq!(pace.check("ann"), Ok(()));
    }
}
