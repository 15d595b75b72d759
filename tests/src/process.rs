//! Real processes: spawn, signal, wait with a deadline, read their CPU and memory; nothing outlives its owner.
//!
//! May import: `proc_stat`, `wait`. Deliberately absent: finding processes by name. Only what this file spawned is
//! ever signalled, and always by the pid that it was given.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::proc_stat::Usage;
use crate::wait;

/// What to run.
#[derive(Clone, Debug)]
pub struct Spec {
    /// What error messages call it.
    pub name: String,
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Added to this process's environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The file that takes stdout and stderr; appended to, so that a restart keeps what came before.
    pub log: PathBuf,
}

impl Spec {
    /// A process `name` that runs `program` and logs to `log`.
    pub fn new(name: &str, program: &Path, log: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            program: program.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            log,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Gives a flag that is there another value.
    ///
    /// # Errors
    /// When the flag is not there: a test of a wrong value would then test nothing.
    pub fn replaced(mut self, flag: &str, value: impl Into<OsString>) -> Result<Self> {
        let at = self.arguments.iter().position(|argument| argument == flag);
        let standing = at.and_then(|at| self.arguments.get_mut(at + 1));
        *standing.with_context(|| format!("{} is started without {flag}", self.name))? = value.into();
        Ok(self)
    }

    /// Adds a flag and its value.
    #[must_use]
    pub fn flag(self, flag: &str, value: impl Into<OsString>) -> Self {
        self.argument(flag).argument(value)
    }
}

/// A running (or ended) process; killed and reaped on drop.
#[derive(Debug)]
pub struct Process {
    spec: Spec,
    child: Child,
    /// A shell that kills the child when *this* process dies without running its destructors: its stdin is a pipe
    /// that only we hold open. It is ended before the child is reaped, so it never signals a reused pid.
    guard: Child,
    exited: Option<ExitStatus>,
}

impl Process {
    /// Starts the process. Its stdin is a pipe that stays open as long as this value lives.
    ///
    /// # Errors
    /// When the program cannot be started or its log cannot be opened.
    pub fn spawn(spec: Spec) -> Result<Self> {
        if let Some(folder) = spec.log.parent() {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(&spec.log)
            .with_context(|| format!("opening the log {}", spec.log.display()))?;
        let mut child = Command::new(&spec.program)
            .args(&spec.arguments)
            .envs(spec.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(log.try_clone().context("sharing the log")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {} ({})", spec.name, spec.program.display()))?;
        let guard = Command::new("/bin/sh")
            .args(["-c", "read _; kill -9 \"$1\"", "guard"])
            .arg(child.id().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match guard {
            Ok(guard) => Ok(Self { spec, child, guard, exited: None }),
            Err(error) => {
                child.kill().context("ending an unguarded process")?;
                child.wait().context("reaping an unguarded process")?;
                Err(error).context("starting the guard of a process")
            }
        }
    }

    /// Its pid; stays the number it had after it ended.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs (a stopped process does).
    pub fn is_running(&mut self) -> bool {
        self.poll().is_none()
    }

    /// Whether it has ended, told without reaping it: for those who only look on.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        // An unreaped dead process is a zombie.
        self.exited.is_some() || self.state().is_none_or(|state| state == 'Z')
    }

    /// Whether SIGSTOP has reached it.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.exited.is_none() && self.state() == Some('T')
    }

    /// Its state as `/proc` has it.
    fn state(&self) -> Option<char> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).ok()?;
        // It stands behind the command's closing parenthesis.
        stat.rsplit_once(") ")?.1.chars().next()
    }

    /// CPU time and memory now.
    ///
    /// # Errors
    /// When it has ended.
    pub fn usage(&self) -> Result<Usage> {
        if let Some(status) = self.exited {
            bail!("{} has ended ({status}); {}", self.spec.name, self.log_tail(20));
        }
        Usage::of(self.pid())
    }

    /// `kill -9`, and waits until the kernel has reaped it.
    ///
    /// # Errors
    /// When the kernel refuses, which it does only for a process that is not ours.
    pub fn kill(&mut self) -> Result<()> {
        if self.poll().is_some() {
            return Ok(());
        }
        self.end_guard()?;
        self.child.kill().with_context(|| format!("killing {}", self.spec.name))?;
        self.exited = Some(self.child.wait().with_context(|| format!("reaping {}", self.spec.name))?);
        Ok(())
    }

    /// SIGSTOP: the process is there, its sockets stay open, nothing in it runs.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// When it has not ended `within` that time.
    pub async fn terminate(&mut self, within: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.poll() {
            return Ok(status);
        }
        self.signal(Signal::TERM)?;
        self.ended(within).await
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it has not ended `within` that time; the text carries the end of its log.
    pub async fn ended(&mut self, within: Duration) -> Result<ExitStatus> {
        let name = self.spec.name.clone();
        let seen = wait::until(&format!("the end of {name}"), within, async || self.poll()).await;
        seen.with_context(|| self.log_tail(20))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if let Some(status) = self.poll() {
            bail!("{} has ended ({status}); {}", self.spec.name, self.log_tail(20));
        }
        let raw = i32::try_from(self.pid()).context("a pid above i32")?;
        let pid = Pid::from_raw(raw).context("a pid of 0")?;
        kill_process(pid, signal).with_context(|| format!("signalling {}", self.spec.name))
    }

    /// The last `lines` lines that it wrote.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let text = self.log();
        let all: Vec<&str> = text.lines().collect();
        let tail = all.iter().skip(all.len().saturating_sub(lines));
        let tail: Vec<&str> = tail.copied().collect();
        format!("the end of {}:\n{}", self.spec.log.display(), tail.join("\n"))
    }

    /// Everything that it wrote, over all its restarts with the same log.
    #[must_use]
    pub fn log(&self) -> String {
        let mut bytes = Vec::new();
        // A log that cannot be read is shown as empty, for this text only explains another failure; so is a device, for
        // some have no end.
        let is_file = fs::metadata(&self.spec.log).is_ok_and(|log| log.is_file());
        if is_file && let Ok(mut file) = File::open(&self.spec.log) {
            file.read_to_end(&mut bytes).ok();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What it was started with.
    #[must_use]
    pub const fn spec(&self) -> &Spec {
        &self.spec
    }

    fn poll(&mut self) -> Option<ExitStatus> {
        if self.exited.is_none() {
            // `try_wait` reaps, after which the pid may be given away: the guard goes first. It fails only for a
            // process that is not our child, which cannot be.
            if let Ok(Some(status)) = self.child.try_wait() {
                self.exited = Some(status);
                drop(self.end_guard());
            }
        }
        self.exited
    }

    fn end_guard(&mut self) -> Result<()> {
        self.guard.kill().context("ending a guard")?;
        self.guard.wait().context("reaping a guard")?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing can be done about a failure here; the guard ends the child when our end of its pipe closes.
        drop(self.kill());
        drop(self.end_guard());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> Process {
        let spec = Spec::new("shell", Path::new("/bin/sh"), folder.join("log")).flag("-c", script);
        Process::spawn(spec).unwrap()
    }

    #[tokio::test]
    async fn a_process_that_ends_gives_its_status_and_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("echo said; exit 7", folder.path());
        let within = Duration::from_secs(10);
        wait::until("seen as ended", within, async || process.has_ended().then_some(())).await.unwrap();
        let status = process.ended(within).await.unwrap();
        assert_eq!(status.code(), Some(7));
        assert!(process.log().contains("said"));
        assert!(process.usage().is_err(), "a process that ended has no usage");
    }

    #[tokio::test]
    async fn a_paused_process_is_stopped_until_it_is_resumed() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("read _", folder.path());
        let state = |pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
        };
        let pid = process.pid();
        process.pause().unwrap();
        assert!(!process.has_ended(), "paused is not ended");
        let within = Duration::from_secs(10);
        wait::until("stopped", within, async || (state(pid) == 'T').then_some(())).await.unwrap();
        process.resume().unwrap();
        wait::until("running again", within, async || (state(pid) != 'T').then_some(())).await.unwrap();
        assert!(process.is_running());
    }

    #[test]
    fn a_dropped_process_is_gone_and_so_is_its_guard() {
        let folder = tempfile::tempdir().unwrap();
        let process = shell("read _", folder.path());
        let (pid, guard) = (process.pid(), process.guard.id());
        drop(process);
        assert!(Usage::of(pid).is_err() && Usage::of(guard).is_err());
    }
}
