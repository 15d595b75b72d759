//! The supervisor with real shell processes in the sidecar's place.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use crate::local::launch::Launch;
use crate::local::supervisor::{Observed, ProcessState, Supervisor};

const DEADLINE: Duration = Duration::from_secs(20);

fn shell(directory: &Path, script: &str) -> Launch {
    Launch {
        name: "orders-0".to_owned(),
        ip: Ipv4Addr::LOCALHOST,
        data_dir: directory.join("orders-0"),
        log_file: directory.join("logs/orders-0.log"),
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
    }
}

async fn wait_for(supervisor: &Supervisor, what: impl FnMut(&Observed) -> bool) -> Observed {
    let mut watch = supervisor.watch();
    tokio::time::timeout(DEADLINE, watch.wait_for(what)).await.unwrap().unwrap().clone()
}

fn pid(observed: &Observed) -> u32 {
    match observed.state {
        ProcessState::Running { pid } => pid,
        ref other => panic!("not running: {other:?}"),
    }
}

#[tokio::test]
async fn a_killed_member_comes_back_as_another_process_and_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::start(shell(directory.path(), "exec sleep 1000"));
    let first = wait_for(&supervisor, Observed::running).await;
    supervisor.kill().await.unwrap();
    let second = wait_for(&supervisor, |now| now.running() && now.restarts == 1).await;
    assert_ne!(pid(&first), pid(&second));
    supervisor.stop().await;
    assert!(!Path::new(&format!("/proc/{}", pid(&second))).exists());
}

#[tokio::test]
async fn a_member_that_ends_by_itself_says_how_and_its_output_is_in_its_log() {
    let directory = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::start(shell(directory.path(), "echo to-out; echo to-err >&2; exit 7"));
    let dead = wait_for(&supervisor, |now| matches!(now.state, ProcessState::Waiting { .. })).await;
    assert!(format!("{:?}", dead.state).contains('7'), "{dead:?}");
    wait_for(&supervisor, |now| now.restarts >= 1).await;
    supervisor.stop().await;
    let log = fs::read_to_string(directory.path().join("logs/orders-0.log")).unwrap();
    assert!(log.contains("to-out") && log.contains("to-err"), "{log}");
}

#[tokio::test]
async fn a_wiped_member_starts_on_an_empty_directory_and_its_data_is_kept_aside() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("orders-0");
    let supervisor = Supervisor::start(shell(directory.path(), "exec sleep 1000"));
    wait_for(&supervisor, Observed::running).await;
    fs::write(data.join("wal"), "entries").unwrap();
    let aside = supervisor.wipe().await.unwrap().unwrap();
    wait_for(&supervisor, |now| now.running() && now.restarts == 1).await;
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(aside.join("wal")).unwrap(), "entries");
    supervisor.stop().await;
}

#[tokio::test]
async fn stop_is_a_sigterm_and_stdin_stays_open_until_the_process_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    // `read` ends at once if stdin is closed early; a clean SIGTERM is written down by the trap.
    let script = "trap 'echo got-term; exit 0' TERM; echo up; read line; echo stdin-closed";
    let supervisor = Supervisor::start(shell(directory.path(), script));
    wait_for(&supervisor, Observed::running).await;
    let log = directory.path().join("logs/orders-0.log");
    tokio::time::timeout(DEADLINE, async {
        while !fs::read_to_string(&log).unwrap_or_default().contains("up") {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    supervisor.stop().await;
    let log = fs::read_to_string(&log).unwrap();
    assert!(log.contains("got-term") && !log.contains("stdin-closed"), "{log}");
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_reported_and_stopping_still_works() {
    let directory = tempfile::tempdir().unwrap();
    let mut launch = shell(directory.path(), "");
    launch.program = "/nowhere/outrigger".into();
    let supervisor = Supervisor::start(launch);
    let state = wait_for(&supervisor, |now| matches!(now.state, ProcessState::Waiting { .. })).await.state;
    assert!(format!("{state:?}").contains("/nowhere/outrigger"));
    supervisor.stop().await;
}
