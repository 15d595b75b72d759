use tempfile::TempDir;

use super::*;

/// A process that writes its own id, waits for its standard input to close, and leaves a mark when told to stop.
const WAITS: &str = "trap 'echo stopped; exit 0' TERM\necho \"started $1\"\ntouch \"$2/data\"\nread line\n";
const DIES: &str = "exit 3\n";

struct Fixture {
    directory: TempDir,
    zone: Arc<Zone>,
    changed: Arc<Notify>,
}

impl Fixture {
    async fn new() -> Self {
        let zone = Zone::new("orders-peers.default.svc.cluster.local", 2380).await.unwrap();
        Self { directory: tempfile::tempdir().unwrap(), zone: Arc::new(zone), changed: Arc::default() }
    }

    fn launch(&self, script: &str, argument: &str) -> Launch {
        let volume = self.directory.path().join("volume");
        Launch {
            pod: "orders-0".to_owned(),
            address: Ipv4Addr::new(127, 0, 9, 1),
            // Not a file of the test's own: one that is still open for writing in another test's fork cannot be run.
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into(), "sh".into(), argument.into(), volume.clone().into()],
            log: self.directory.path().join("log"),
            volume,
        }
    }

    fn start(&self, launch: Launch) -> Supervised {
        Supervised::start(launch, Arc::clone(&self.zone), Arc::clone(&self.changed))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Waits until a file or a state is as claimed; polls, because files do not notify.
    async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds() {
            assert!(Instant::now() < deadline, "never: {what}; log: {}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn process(member: &Supervised) -> Option<u32> {
    match member.state() {
        State::Running { process, .. } => Some(process),
        State::BackOff { .. } | State::Stopped => None,
    }
}

fn is_alive(process: u32) -> bool {
    // A zombie that nobody reaped would still have a directory, and that is what must not be.
    Path::new(&format!("/proc/{process}")).exists()
}

#[tokio::test]
async fn a_process_that_is_killed_is_started_again() {
    let fixture = Fixture::new().await;
    let member = fixture.start(fixture.launch(WAITS, "one"));
    fixture.until("first start", || process(&member).is_some()).await;
    let first = process(&member).unwrap();
    let raw = Pid::from_raw(i32::try_from(first).unwrap()).unwrap();
    kill_process(raw, Signal::KILL).unwrap();
    fixture.until("second start", || process(&member).is_some_and(|second| second != first)).await;
    assert_eq!(member.restarts(), 1);
    assert!(!is_alive(first));
    member.stop().await;
}

#[tokio::test]
async fn stopping_sends_a_term_signal_and_reaps() {
    let fixture = Fixture::new().await;
    let member = fixture.start(fixture.launch(WAITS, "one"));
    fixture.until("start", || fixture.log().contains("started one")).await;
    let running = process(&member).unwrap();
    member.stop().await;
    assert!(!is_alive(running));
    assert!(fixture.log().contains("stopped"));
}

#[tokio::test]
async fn a_dropped_supervisor_leaves_no_process_behind() {
    let fixture = Fixture::new().await;
    let member = fixture.start(fixture.launch(WAITS, "one"));
    fixture.until("start", || process(&member).is_some()).await;
    let running = process(&member).unwrap();
    drop(member);
    fixture.until("gone", || !is_alive(running)).await;
}

#[tokio::test]
async fn wiping_moves_the_volume_aside_and_starts_on_an_empty_one() {
    let fixture = Fixture::new().await;
    let launch = fixture.launch(WAITS, "one");
    let (volume, aside) = (launch.volume.clone(), fixture.directory.path().join("aside"));
    let member = fixture.start(launch);
    fixture.until("data", || volume.join("data").exists()).await;
    std::fs::write(volume.join("old"), "").unwrap();
    member.wipe(aside.clone()).await.unwrap();
    assert!(aside.join("old").exists());
    fixture.until("new data", || volume.join("data").exists()).await;
    assert!(!volume.join("old").exists());
    member.stop().await;
}

#[tokio::test]
async fn a_changed_launch_is_outdated_until_the_restart() {
    let fixture = Fixture::new().await;
    let member = fixture.start(fixture.launch(WAITS, "one"));
    fixture.until("start", || process(&member).is_some()).await;
    assert!(!member.is_outdated());
    member.set_launch(fixture.launch(WAITS, "two"));
    assert!(member.is_outdated());
    member.restart().await;
    fixture.until("second start", || fixture.log().contains("started two")).await;
    assert!(!member.is_outdated());
    member.stop().await;
}

#[tokio::test]
async fn a_process_that_dies_at_once_backs_off_and_says_how_it_ended() {
    let fixture = Fixture::new().await;
    let member = fixture.start(fixture.launch(DIES, ""));
    let mut why = String::new();
    fixture
        .until("back-off", || match member.state() {
            State::BackOff { why: said, .. } => {
                why = said;
                true
            }
            State::Running { .. } | State::Stopped => false,
        })
        .await;
    assert!(why.contains('3'), "{why}");
    member.stop().await;
}

#[test]
fn back_off_begins_short_and_is_capped() {
    let seconds: Vec<f32> = (0..7).map(|failures| back_off(failures).as_secs_f32()).collect();
    assert_eq!(seconds, [0.2, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]);
    assert_eq!(back_off(u32::MAX), MAX_BACK_OFF);
}
