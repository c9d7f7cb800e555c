//! Ctrl-C and its kin: the first asks for a stop at a safe boundary, the second ends at once.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::domain::observe::Stop;

use super::exit::Exit;
use super::view::to_stderr;

/// Listens for SIGINT, SIGTERM and SIGHUP from now on.
///
/// # Errors
///
/// When the system does not let the process listen.
pub(super) fn listen(stop: Stop) -> std::io::Result<()> {
    let mut signals = [
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    ];
    tokio::spawn(async move {
        next(&mut signals).await;
        stop.request();
        to_stderr(
            "stopping at the next safe boundary; what is done stays done, and the same command \
             goes on from there; once more stops at once",
        );
        next(&mut signals).await;
        to_stderr("stopped at once; the same command goes on from here");
        std::process::exit(i32::from(Exit::Interrupted.code()));
    });
    Ok(())
}

async fn next([interrupt, terminate, hangup]: &mut [Signal; 3]) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}
