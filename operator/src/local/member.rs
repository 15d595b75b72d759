//! One supervised process: started, restarted when it dies, stopped, never left behind.
//!
//! What a kubelet does for a container. A child gets a pipe as its standard input and is told to exit when that closes: the
//! system closes it however this process ends, so that no child outlives it. Children are in process groups of their own, so
//! that Ctrl-C in a terminal reaches this process alone and it can stop them in order.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::dns::Zone;

/// Before the first restart.
const FIRST_BACK_OFF: Duration = Duration::from_millis(200);
/// Between later ones, doubled up to [`MAX_BACK_OFF`].
const NEXT_BACK_OFF: Duration = Duration::from_secs(1);
/// At most this long between two starts.
const MAX_BACK_OFF: Duration = Duration::from_secs(10);
/// A process that ran this long has its failures forgiven.
const FORGIVEN_AFTER: Duration = Duration::from_secs(10);
/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// How a process is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The pod's name.
    pub pod: String,
    /// Its address in the zone.
    pub address: Ipv4Addr,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Where its output goes.
    pub log: PathBuf,
    /// Its data.
    pub volume: PathBuf,
}

/// What a process is doing.
#[derive(Clone, Debug)]
pub enum State {
    /// It runs.
    Running {
        /// Its process id.
        process: u32,
        /// What it was started with.
        launch: Arc<Launch>,
    },
    /// It died, or could not be started, and is started again.
    BackOff {
        /// When.
        until: Instant,
        /// How it ended.
        why: String,
    },
    /// It was stopped.
    Stopped,
}

/// What a supervisor is told.
#[derive(Debug)]
enum Order {
    /// SIGTERM, and start again with the present launch.
    Restart(oneshot::Sender<()>),
    /// SIGKILL, move the volume away, start again on an empty one.
    Wipe(PathBuf, oneshot::Sender<std::io::Result<()>>),
    /// SIGTERM, and no more.
    Stop,
}

/// One supervised process. Dropping it kills the process.
#[derive(Debug)]
pub struct Supervised {
    state: watch::Receiver<State>,
    restarts: watch::Receiver<u32>,
    launch: watch::Sender<Arc<Launch>>,
    orders: mpsc::Sender<Order>,
    task: Option<JoinHandle<()>>,
}

impl Supervised {
    /// Starts a process. `zone` has its address while it runs; `changed` is told of every change of state.
    #[must_use]
    pub fn start(launch: Launch, zone: Arc<Zone>, changed: Arc<Notify>) -> Self {
        let (state_sender, state) = watch::channel(State::Stopped);
        let (restarts_sender, restarts) = watch::channel(0);
        let (launch_sender, launch) = watch::channel(Arc::new(launch));
        // One order at a time; a second one waits here while the first is carried out.
        let (orders, orders_receiver) = mpsc::channel(4);
        let supervisor = Supervisor {
            state: state_sender,
            restarts: restarts_sender,
            launch,
            orders: orders_receiver,
            zone,
            changed,
            failures: 0,
        };
        let task = Some(tokio::spawn(supervisor.run()));
        Self { state, restarts, launch: launch_sender, orders, task }
    }

    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// How often it was started again.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        *self.restarts.borrow()
    }

    /// What it is to be started with from its next start on.
    pub fn set_launch(&self, launch: Launch) {
        self.launch.send_if_modified(|present| {
            let differs = **present != launch;
            if differs {
                *present = Arc::new(launch);
            }
            differs
        });
    }

    /// Whether it runs with something else than what it would be started with now.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        match &*self.state.borrow() {
            State::Running { launch, .. } => **launch != **self.launch.borrow(),
            // It takes the present launch when it comes back.
            State::BackOff { .. } | State::Stopped => false,
        }
    }

    /// Stops it and starts it again; returns when the old process has ended.
    pub async fn restart(&self) {
        let (done, waiting) = oneshot::channel();
        if self.orders.send(Order::Restart(done)).await.is_ok() {
            // A supervisor that went away has stopped its process.
            waiting.await.ok();
        }
    }

    /// Kills it, moves its volume to `aside`, and starts it again on an empty one.
    ///
    /// # Errors
    /// The volume cannot be moved; the process then starts again on the old one.
    pub async fn wipe(&self, aside: PathBuf) -> std::io::Result<()> {
        let (done, waiting) = oneshot::channel();
        let gone = || std::io::Error::other("the member was stopped meanwhile");
        self.orders.send(Order::Wipe(aside, done)).await.map_err(|_| gone())?;
        waiting.await.map_err(|_| gone())?
    }

    /// Stops it for good: SIGTERM, then SIGKILL after the grace.
    pub async fn stop(mut self) {
        // A closed queue means that it has stopped.
        self.orders.send(Order::Stop).await.ok();
        if let Some(task) = self.task.take() {
            task.await.ok();
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            // The child is killed with the task that owns it.
            task.abort();
        }
    }
}

struct Supervisor {
    state: watch::Sender<State>,
    restarts: watch::Sender<u32>,
    launch: watch::Receiver<Arc<Launch>>,
    orders: mpsc::Receiver<Order>,
    zone: Arc<Zone>,
    changed: Arc<Notify>,
    failures: u32,
}

/// How a started process came to its end.
enum End {
    Died(std::io::Result<ExitStatus>),
    Ordered(Option<Order>),
}

impl Supervisor {
    async fn run(mut self) {
        loop {
            let launch = self.launch.borrow_and_update().clone();
            let started = Instant::now();
            let order = match spawn(&launch) {
                Ok(mut child) => {
                    // Held here, because `Child::wait` closes the pipe that it finds in the child, and a member whose
                    // standard input closes takes this process for dead.
                    let lifeline = child.stdin.take();
                    self.publish(&launch, child.id().unwrap_or_default()).await;
                    let end = tokio::select! {
                        exit = child.wait() => End::Died(exit),
                        order = self.orders.recv() => End::Ordered(order),
                    };
                    self.withdraw(&launch.pod).await;
                    let order = match end {
                        End::Died(exit) => {
                            let why =
                                exit.map_or_else(|error| error.to_string(), |status| status.to_string());
                            self.back_off(started, why).await
                        }
                        End::Ordered(order) => {
                            let hard = matches!(order, Some(Order::Wipe(..)));
                            end_process(&mut child, hard).await;
                            self.failures = 0;
                            order
                        }
                    };
                    drop(lifeline);
                    order
                }
                Err(error) => {
                    let why = format!("cannot start {}: {error}", launch.program.display());
                    self.back_off(started, why).await
                }
            };
            match order {
                None if self.orders.is_closed() => break,
                None => {}
                Some(Order::Stop) => break,
                // Nobody may be waiting any more.
                Some(Order::Restart(done)) => done.send(()).unwrap_or(()),
                Some(Order::Wipe(aside, done)) => {
                    done.send(move_aside(&launch.volume, &aside)).unwrap_or(());
                }
            }
            self.restarts.send_modify(|count| *count = count.saturating_add(1));
        }
        self.set(State::Stopped);
    }

    async fn publish(&self, launch: &Arc<Launch>, process: u32) {
        if let Err(error) = self.zone.publish(&launch.pod, launch.address).await {
            tracing::warn!(pod = launch.pod, %error, "the zone does not have this pod");
        }
        tracing::info!(pod = launch.pod, process, "started");
        self.set(State::Running { process, launch: Arc::clone(launch) });
    }

    async fn withdraw(&self, pod: &str) {
        if let Err(error) = self.zone.withdraw(pod).await {
            tracing::warn!(pod, %error, "the zone keeps this pod");
        }
    }

    /// Waits before the next start, unless an order comes first.
    async fn back_off(&mut self, started: Instant, why: String) -> Option<Order> {
        if started.elapsed() >= FORGIVEN_AFTER {
            self.failures = 0;
        }
        let until = Instant::now() + back_off(self.failures);
        self.failures = self.failures.saturating_add(1);
        tracing::warn!(pod = self.launch.borrow().pod, why, "died");
        self.set(State::BackOff { until, why });
        tokio::select! {
            () = sleep_until(until) => None,
            order = self.orders.recv() => order,
        }
    }

    fn set(&self, state: State) {
        self.state.send_replace(state);
        self.changed.notify_one();
    }
}

/// How long to wait before a restart, by the failures before it.
fn back_off(failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => FIRST_BACK_OFF,
        Some(doublings) => NEXT_BACK_OFF.saturating_mul(1_u32 << doublings.min(8)).min(MAX_BACK_OFF),
    }
}

fn spawn(launch: &Launch) -> std::io::Result<Child> {
    std::fs::create_dir_all(&launch.volume)?;
    let log = OpenOptions::new().create(true).append(true).open(&launch.log)?;
    Command::new(&launch.program)
        .args(&launch.arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::from(log.try_clone()?))
        .stderr(Stdio::from(log))
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

async fn end_process(child: &mut Child, hard: bool) {
    let process = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(process) = process.filter(|_| !hard) {
        // A process that has just died cannot be signalled; it is reaped below.
        kill_process(process, Signal::TERM).ok();
        if timeout(GRACE, child.wait()).await.is_ok() {
            return;
        }
        tracing::warn!(?process, "did not stop within {GRACE:?}; killed");
    }
    if let Err(error) = child.kill().await {
        tracing::warn!(%error, "could not be killed");
    }
}

fn move_aside(volume: &Path, aside: &Path) -> std::io::Result<()> {
    match std::fs::rename(volume, aside) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
