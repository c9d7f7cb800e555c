//! The same work on several columns at once, by as many threads as there are idle processors.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::format::FormatError;
use crate::format::text::helpers::Busy;

/// What the threads that help are called.
const HELPER: &str = "parquet";

/// Does the work for each number below `count`, and answers in their order. Of several errors it is the
/// one of the lowest number that is met.
///
/// # Errors
///
/// Whatever `work` returns; numbers that were not yet begun are then left out.
pub(super) fn abreast<T: Send>(
    count: usize,
    work: impl Fn(usize) -> Result<T, FormatError> + Sync,
) -> Result<Vec<T>, FormatError> {
    let own = Busy::own();
    let helpers = Busy::helpers();
    let next = AtomicUsize::new(0);
    let answers: Mutex<Vec<(usize, Result<T, FormatError>)>> = Mutex::default();
    let run = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                return;
            }
            let answer = work(at);
            if answer.is_err() {
                next.store(count, Ordering::Relaxed);
            }
            answers.lock().unwrap_or_else(PoisonError::into_inner).push((at, answer));
        }
    };
    let panic = std::thread::scope(|scope| {
        let spawn = |_| {
            let helper = std::thread::Builder::new().name(HELPER.to_owned());
            helper.spawn_scoped(scope, run).ok()
        };
        let helpers = 0..helpers.count().min(count.saturating_sub(1));
        let helpers: Vec<_> = helpers.map_while(spawn).collect();
        run();
        helpers.into_iter().filter_map(|helper| helper.join().err()).last()
    });
    drop((own, helpers));
    // A decoder that panics here has to look as it does on the caller's thread: whoever guards against it
    // tells why.
    if let Some(panic) = panic {
        std::panic::resume_unwind(panic);
    }
    let mut answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.sort_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_order() {
        let answers = abreast(100, |at| Ok(at * 2)).expect("no error");
        assert_eq!(answers, (0..100).map(|at| at * 2).collect::<Vec<_>>());
    }

    /// D13: a panic on a thread that helps is the same panic for the caller.
    #[test]
    fn a_panic_of_a_helper_is_the_callers() {
        let panicking = |_| {
            let is_helper = std::thread::current().name() == Some(HELPER);
            assert!(!is_helper, "the decoder's own words");
            std::thread::sleep(std::time::Duration::from_millis(20));
            Ok(())
        };
        let outcome = std::panic::catch_unwind(|| abreast(100, panicking));
        if let Err(panic) = outcome {
            let words = panic.downcast_ref::<&str>().copied().unwrap_or_default();
            assert_eq!(words, "the decoder's own words");
        }
    }

    #[test]
    fn an_error_is_the_answer() {
        let failing = |at| match at {
            7.. => Err(FormatError::unreadable(format!("{at}"))),
            _ => Ok(at),
        };
        let error = abreast(100, failing).expect_err("it fails");
        assert!(error.to_string().parse::<usize>().expect("a number") >= 7);
        assert!(abreast(7, failing).is_ok());
    }
}
