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

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use clap::Parser as _;

    use super::*;

    /// Names the thread that panics; set in the child only.
    const WHERE: &str = "OUTRIGGER_TEST_PANIC_IN";
    const DATA: &str = "OUTRIGGER_TEST_DATA";
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A whole member, as the binary runs it; once its data directory is there, one of its process's threads panics.
    fn member_that_panics_in(place: &str) {
        let data = std::env::var(DATA).unwrap();
        // A loopback address of this process's own, so that the ports are free.
        let [_, _, third, last] = std::process::id().to_be_bytes();
        let at = |port: u16| format!("127.32.{third}.{last}:{port}");
        let (client, peer, http) = (at(2379), at(2380), at(2381));
        let mut arguments = vec!["outrigger", "run", "--name", "orders-0", "--data-dir", &data];
        arguments.extend(["--listen-client", &client, "--listen-peer", &peer, "--listen-http", &http]);
        let cli = crate::cli::Cli::parse_from(arguments);
        let member = std::thread::spawn(|| crate::cli::main(cli));
        let identity = std::path::Path::new(&data).join("identity");
        let begin = Instant::now();
        while !identity.exists() {
            assert!(!member.is_finished() && begin.elapsed() < PATIENCE, "the member did not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        match place {
            "a plain thread" => drop(std::thread::spawn(|| panic!("planted"))),
            "a task" => drop(runtime.spawn(async { panic!("planted") })),
            "a blocking task" => drop(runtime.spawn_blocking(|| panic!("planted"))),
            other => panic!("{other:?} is no place of the table"),
        }
        // The member alone would run for ever: only the panic ends this process.
        drop(member.join());
    }

    #[test]
    fn a_panic_in_any_thread_ends_a_running_member_with_a_failure() {
        if let Ok(place) = std::env::var(WHERE) {
            return member_that_panics_in(&place);
        }
        for place in ["a plain thread", "a task", "a blocking task"] {
            let folder = tempfile::tempdir().unwrap();
            let own = "fatal::tests::a_panic_in_any_thread_ends_a_running_member_with_a_failure";
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", own, "--nocapture"])
                .env(WHERE, place)
                .env(DATA, folder.path().join("data"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let begin = Instant::now();
            let status = loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break status;
                }
                if begin.elapsed() > PATIENCE {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    panic!("half alive: {place} panicked, and the process goes on");
                }
                std::thread::sleep(Duration::from_millis(5));
            };
            assert_eq!(status.code(), Some(EXIT_STATUS), "{place}: {status}");
        }
    }
}
