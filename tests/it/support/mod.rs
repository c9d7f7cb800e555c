//! What the integration tests share: lakes whose every row is known, places to put them, and the
//! program itself.

pub(crate) mod dynamodb;
pub mod place;
pub(crate) mod postgres;
pub mod program;
pub mod python;
pub mod random_lake;
pub(crate) mod services;
pub(crate) mod tls;
pub(crate) mod wire;

/// Runs something on a thread and a runtime of its own: a test may already be within one.
fn apart(work: impl Future<Output = ()> + Send) {
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(work);
        });
        running.join().expect("no panic");
    });
}
