//! The end of the process when going on could lose data: one log line with the chain of causes, then the exit.
//!
//! May import: nothing of ours. Deliberately absent: cleaning up. After a failed sync nobody knows what is on the disk,
//! so nothing more is written; recovery is the start that follows.

use std::error::Error;

/// The exit status of a process that ended itself; a supervisor restarts it.
pub const EXIT_STATUS: i32 = 70;

/// Says why, and ends the process.
pub fn exit(what: &str, error: &(dyn Error + 'static)) -> ! {
    tracing::error!(error = crate::transport::dial::chain(error), "{what}; the process ends");
    std::process::exit(EXIT_STATUS)
}

/// Makes a panic in any thread end the process: half a member is worse than none. Release builds abort anyway.
pub fn end_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        tracing::error!(%panic, "a thread panicked; the process ends");
        std::process::exit(EXIT_STATUS);
    }));
}
