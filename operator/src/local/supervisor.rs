//! One task a member, as a kubelet is to a pod: it starts the process, starts it again when it dies, and stops it.
//!
//! It may import tokio's processes and `launch`. Deliberately absent: any opinion on whether the member should exist;
//! the runner decides that and sends a `Command`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command as Process};
use tokio::sync::{mpsc, oneshot, watch};

use super::backoff::Backoff;
use super::launch::Launch;

/// After SIGTERM a member has this long before SIGKILL.
pub const GRACE: Duration = Duration::from_secs(10);
/// Commands that wait for the task; senders wait when it is full.
const QUEUE: usize = 8;

/// What a member's process does at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessState {
    /// Not yet started.
    Starting,
    /// Running under this process id.
    Running {
        /// The operating system's process id.
        pid: u32,
    },
    /// Dead; it will be started again.
    Waiting {
        /// How it ended, or why it could not be started.
        reason: String,
    },
    /// Stopped on purpose; it stays so.
    Stopped,
}

/// What is known about a member's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Its state.
    pub state: ProcessState,
    /// How often it was started again since the runner began.
    pub restarts: u32,
}

impl Observed {
    /// Whether the process runs, which is what puts a pod into the headless service.
    #[must_use]
    pub fn running(&self) -> bool {
        match self.state {
            ProcessState::Running { .. } => true,
            ProcessState::Starting | ProcessState::Waiting { .. } | ProcessState::Stopped => false,
        }
    }
}

/// A member could not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// The directory could not be moved away.
    #[error("{name}: cannot move {} away", path.display())]
    Wipe {
        /// The member.
        name: String,
        /// Its data directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The member is being stopped.
    #[error("{0} is being stopped")]
    Stopped(String),
}

enum Command {
    Kill(oneshot::Sender<()>),
    Wipe(oneshot::Sender<Result<Option<PathBuf>, SupervisorError>>),
    Update(Box<Launch>),
    Stop,
}

/// The handle of a member's task. Dropping it stops the member as `stop` does, without waiting.
#[derive(Debug)]
pub struct Supervisor {
    name: String,
    commands: mpsc::Sender<Command>,
    observed: watch::Receiver<Observed>,
    task: tokio::task::JoinHandle<()>,
}

impl Supervisor {
    /// Starts the member and keeps it running.
    #[must_use]
    pub fn start(launch: Launch) -> Self {
        let (commands, inbox) = mpsc::channel(QUEUE);
        let (publish, observed) = watch::channel(Observed { state: ProcessState::Starting, restarts: 0 });
        let name = launch.name.clone();
        let task = tokio::spawn(Task { launch, inbox, publish, backoff: Backoff::default() }.run());
        Self { name, commands, observed, task }
    }

    /// What the process does now.
    #[must_use]
    pub fn observed(&self) -> Observed {
        self.observed.borrow().clone()
    }

    /// A receiver that changes with the process.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Observed> {
        self.observed.clone()
    }

    /// SIGKILL; the process is started again after its backoff. Returns when the signal is sent.
    ///
    /// # Errors
    /// When the member is being stopped.
    pub async fn kill(&self) -> Result<(), SupervisorError> {
        let (done, wait) = oneshot::channel();
        self.send(Command::Kill(done)).await?;
        wait.await.map_err(|_| SupervisorError::Stopped(self.name.clone()))
    }

    /// SIGKILL, then moves the data directory away (it is kept) and starts the member on an empty one. Returns where
    /// the old data is, `None` if there was none.
    ///
    /// # Errors
    /// When the directory cannot be moved, or the member is being stopped.
    pub async fn wipe(&self) -> Result<Option<PathBuf>, SupervisorError> {
        let (done, wait) = oneshot::channel();
        self.send(Command::Wipe(done)).await?;
        wait.await.map_err(|_| SupervisorError::Stopped(self.name.clone()))?
    }

    /// The command line to use from the next start on; the running process goes on with the one it has.
    ///
    /// # Errors
    /// When the member is being stopped.
    pub async fn update(&self, launch: Launch) -> Result<(), SupervisorError> {
        self.send(Command::Update(Box::new(launch))).await
    }

    /// SIGTERM, then SIGKILL after `GRACE`; returns when the process is gone.
    pub async fn stop(self) {
        // A closed inbox means that the task has ended already.
        if self.commands.send(Command::Stop).await.is_err() {
            tracing::debug!(name = self.name, "already stopped");
        }
        if let Err(error) = self.task.await {
            tracing::error!(name = self.name, %error, "the member's supervisor failed");
        }
    }

    async fn send(&self, command: Command) -> Result<(), SupervisorError> {
        self.commands.send(command).await.map_err(|_| SupervisorError::Stopped(self.name.clone()))
    }
}

struct Task {
    launch: Launch,
    inbox: mpsc::Receiver<Command>,
    publish: watch::Sender<Observed>,
    backoff: Backoff,
}

/// Why one life of the process is over.
enum Next {
    After(Duration),
    Now,
    Never,
}

impl Task {
    async fn run(mut self) {
        loop {
            let started = Instant::now();
            let next = match spawn(&self.launch) {
                Ok(child) => self.live(child, started).await,
                Err(error) => {
                    let reason = format!("cannot start {}: {error}", self.launch.program.display());
                    self.died(&reason, started)
                }
            };
            let next = match next {
                Next::After(wait) => self.pause(wait).await,
                Next::Now | Next::Never => next,
            };
            if let Next::Never = next {
                self.set(ProcessState::Stopped);
                return;
            }
            self.publish.send_modify(|observed| observed.restarts = observed.restarts.saturating_add(1));
        }
    }

    /// Follows a running process to its end.
    async fn live(&mut self, mut child: Child, started: Instant) -> Next {
        // Held to the end of this life: `Child::wait` closes a stdin that it finds, which orders a sidecar to stop.
        let stdin = child.stdin.take();
        self.set(ProcessState::Running { pid: child.id().unwrap_or_default() });
        let next = self.follow(&mut child, started).await;
        drop(stdin);
        next
    }

    async fn follow(&mut self, child: &mut Child, started: Instant) -> Next {
        loop {
            tokio::select! {
                status = child.wait() => return self.died(&describe(status), started),
                command = self.inbox.recv() => match command {
                    Some(Command::Kill(done)) => {
                        signal(child, Signal::KILL);
                        answer(done, ());
                    }
                    Some(Command::Wipe(done)) => {
                        signal(child, Signal::KILL);
                        self.set(ProcessState::Waiting { reason: describe(child.wait().await) });
                        answer(done, self.move_away());
                        return Next::Now;
                    }
                    Some(Command::Update(launch)) => self.launch = *launch,
                    Some(Command::Stop) | None => {
                        terminate(child).await;
                        return Next::Never;
                    }
                },
            }
        }
    }

    /// Waits before a restart; commands are heard meanwhile.
    async fn pause(&mut self, wait: Duration) -> Next {
        let until = tokio::time::Instant::now() + wait;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return Next::Now,
                command = self.inbox.recv() => match command {
                    Some(Command::Kill(done)) => answer(done, ()),
                    Some(Command::Wipe(done)) => {
                        answer(done, self.move_away());
                        return Next::Now;
                    }
                    Some(Command::Update(launch)) => self.launch = *launch,
                    Some(Command::Stop) | None => return Next::Never,
                },
            }
        }
    }

    fn died(&mut self, reason: &str, started: Instant) -> Next {
        let wait = self.backoff.next(started.elapsed());
        tracing::warn!(
            name = self.launch.name,
            reason,
            wait_ms = wait.as_millis(),
            "member died; restarting"
        );
        self.set(ProcessState::Waiting { reason: reason.to_owned() });
        Next::After(wait)
    }

    fn set(&self, state: ProcessState) {
        self.publish.send_modify(|observed| observed.state = state);
    }

    fn move_away(&self) -> Result<Option<PathBuf>, SupervisorError> {
        let path = &self.launch.data_dir;
        let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let aside = path.with_file_name(format!("{}.wiped-{stamp}", self.launch.name));
        match fs::rename(path, &aside) {
            Ok(()) => Ok(Some(aside)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => {
                Err(SupervisorError::Wipe { name: self.launch.name.clone(), path: path.clone(), source })
            }
        }
    }
}

fn spawn(launch: &Launch) -> io::Result<Child> {
    fs::create_dir_all(&launch.data_dir)?;
    let mut log = open_log(&launch.log_file)?;
    writeln!(log, "--- starting {} ---", launch.name)?;
    Process::new(&launch.program)
        .args(&launch.arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::from(log.try_clone()?))
        .stderr(Stdio::from(log))
        // Its own process group: Ctrl-C in the terminal reaches the runner alone, which then stops members in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

fn open_log(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

async fn terminate(child: &mut Child) {
    signal(child, Signal::TERM);
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        tracing::warn!(pid = child.id(), "the member did not stop in time; killing it");
        signal(child, Signal::KILL);
        let ended = describe(child.wait().await);
        tracing::debug!(ended, "killed");
    }
}

/// The child is not yet reaped, so its process id cannot belong to anyone else.
fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = kill_process(pid, signal)
    {
        tracing::debug!(%error, "the process was gone before the signal");
    }
}

fn describe(status: io::Result<ExitStatus>) -> String {
    // ExitStatus names the code or the signal.
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// Whoever asked may have gone; then nobody misses the answer.
fn answer<T>(to: oneshot::Sender<T>, value: T) {
    if to.send(value).is_err() {
        tracing::debug!("nobody waits for the answer any more");
    }
}
