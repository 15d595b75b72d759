//! How a second command reaches a running runner: one JSON line each way over `<data-dir>/control.sock`.
//!
//! It may import tokio's sockets. Requests are handed to the runner through a bounded queue and answered through a
//! oneshot; nothing is decided here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

/// A request or an answer longer than this is cut off: a status is a few kilobytes.
const LINE_LIMIT_BYTES: u64 = 1 << 20;
/// Requests that wait for the runner; further callers wait in `connect`'s stead.
const QUEUE: usize = 16;
/// Stopping waits for the members' grace, so the client's patience is longer than that.
const PATIENCE: Duration = Duration::from_secs(20);

/// What can be asked of a runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "camelCase")]
pub enum Request {
    /// Set the number of voters.
    Scale {
        /// The cluster.
        name: String,
        /// The wished number.
        replicas: u32,
    },
    /// The current view.
    Status {
        /// The cluster.
        name: String,
    },
    /// End the run; data stays.
    Stop {
        /// The cluster.
        name: String,
    },
    /// SIGKILL a member.
    Kill {
        /// The cluster.
        name: String,
        /// The member's ordinal.
        ordinal: u32,
    },
    /// SIGKILL a member and give it an empty directory.
    Wipe {
        /// The cluster.
        name: String,
        /// The member's ordinal.
        ordinal: u32,
    },
}

impl Request {
    /// The cluster that is meant.
    #[must_use]
    pub fn cluster(&self) -> &str {
        match self {
            Self::Scale { name, .. }
            | Self::Status { name }
            | Self::Stop { name }
            | Self::Kill { name, .. }
            | Self::Wipe { name, .. } => name,
        }
    }
}

/// The runner's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "camelCase")]
pub enum Response {
    /// Done; `text` is for people.
    Done {
        /// What was done.
        text: String,
    },
    /// The view, as JSON and as the table.
    Status {
        /// For programs.
        view: serde_json::Value,
        /// For people.
        table: String,
    },
    /// Not done, and why.
    Refused {
        /// What is wrong and what to do.
        text: String,
    },
}

/// A request with the way to answer it.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes; the caller may be gone.
    pub reply: oneshot::Sender<Response>,
}

/// The control socket could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error("no runner of \"{name}\" is up ({} does not answer); start one with: outrigger-operator local -f MANIFEST, or name its directory with --data-dir", path.display())]
    NoRunner {
        /// The cluster.
        name: String,
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Somebody else listens already.
    #[error("another runner already uses the directory {}; stop it, or use another --data-dir", .0.display())]
    InUse(PathBuf),
    /// The path does not fit into a socket's address, or the like.
    #[error("cannot listen on {}; a shorter --data-dir may help (a socket's path has at most 107 bytes)", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The runner ended or stalled before it answered.
    #[error("the runner did not answer on {}; see its terminal", path.display())]
    NoAnswer {
        /// The socket.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}

/// The socket of the run in `data_dir`.
#[must_use]
pub fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}

/// A listening control socket; its file is removed on drop.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl Control {
    /// Listens in `data_dir`; calls arrive at the receiver. A socket that a killed runner left behind is replaced.
    ///
    /// # Errors
    /// `InUse` when a runner answers there; `Listen` when the socket cannot be bound.
    pub fn listen(data_dir: &Path) -> Result<(Self, mpsc::Receiver<Call>), ControlError> {
        let path = socket_path(data_dir);
        if std::os::unix::net::UnixStream::connect(&path).is_ok() {
            return Err(ControlError::InUse(data_dir.to_owned()));
        }
        let failed = |source| ControlError::Listen { path: path.clone(), source };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        let (calls, inbox) = mpsc::channel(QUEUE);
        let task = tokio::spawn(accept(listener, calls));
        Ok((Self { path, task }, inbox))
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "the control socket was gone");
        }
    }
}

async fn accept(listener: UnixListener, calls: mpsc::Sender<Call>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let calls = calls.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, calls).await {
                        tracing::debug!(%error, "a control connection ended early");
                    }
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: wait instead of spinning.
                tracing::warn!(%error, "cannot accept a control connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, calls: mpsc::Sender<Call>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read.take(LINE_LIMIT_BYTES)).lines();
    while let Some(line) = lines.next_line().await? {
        let response = match serde_json::from_str(&line) {
            Ok(request) => ask(&calls, request).await,
            Err(error) => Response::Refused { text: format!("not a request: {error}") },
        };
        let mut text = serde_json::to_string(&response)?;
        text.push('\n');
        write.write_all(text.as_bytes()).await?;
    }
    Ok(())
}

async fn ask(calls: &mpsc::Sender<Call>, request: Request) -> Response {
    let (reply, answer) = oneshot::channel();
    let ending = || Response::Refused { text: "the runner is ending".to_owned() };
    if calls.send(Call { request, reply }).await.is_err() {
        return ending();
    }
    answer.await.unwrap_or_else(|_| ending())
}

/// Sends one request to the runner in `data_dir` and waits for its answer.
///
/// # Errors
/// `NoRunner` when nobody listens; `NoAnswer` when the runner goes away or takes longer than 20 s.
pub async fn call(data_dir: &Path, request: &Request) -> Result<Response, ControlError> {
    let path = socket_path(data_dir);
    let stream = UnixStream::connect(&path).await.map_err(|source| ControlError::NoRunner {
        name: request.cluster().to_owned(),
        path: path.clone(),
        source,
    })?;
    let exchanged = tokio::time::timeout(PATIENCE, exchange(stream, request)).await;
    exchanged
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|source| ControlError::NoAnswer { path, source })
}

async fn exchange(stream: UnixStream, request: &Request) -> io::Result<Response> {
    let (read, mut write) = stream.into_split();
    let mut text = serde_json::to_string(request)?;
    text.push('\n');
    write.write_all(text.as_bytes()).await?;
    let mut lines = BufReader::new(read.take(LINE_LIMIT_BYTES)).lines();
    let line = lines.next_line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(serde_json::from_str(&line)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_reaches_the_runner_and_its_answer_the_caller() {
        let directory = tempfile::tempdir().unwrap();
        let (control, mut calls) = Control::listen(directory.path()).unwrap();
        let runner = tokio::spawn(async move {
            let call = calls.recv().await.unwrap();
            call.reply.send(Response::Done { text: "scaled".to_owned() }).unwrap();
            call.request
        });
        let request = Request::Scale { name: "orders".to_owned(), replicas: 5 };
        let response = super::call(directory.path(), &request).await.unwrap();
        assert_eq!(response, Response::Done { text: "scaled".to_owned() });
        assert_eq!(runner.await.unwrap(), request);
        drop(control);
        assert!(!socket_path(directory.path()).exists());
    }

    #[tokio::test]
    async fn without_a_runner_the_error_names_the_cluster_and_how_to_start_one() {
        let directory = tempfile::tempdir().unwrap();
        let error =
            super::call(directory.path(), &Request::Stop { name: "orders".to_owned() }).await.unwrap_err();
        assert!(matches!(error, ControlError::NoRunner { .. }));
        assert!(error.to_string().contains("orders") && error.to_string().contains("local -f"));
    }

    #[tokio::test]
    async fn a_socket_left_by_a_killed_runner_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        drop(std::os::unix::net::UnixListener::bind(socket_path(directory.path())).unwrap());
        assert!(socket_path(directory.path()).exists());
        let (_control, _calls) = Control::listen(directory.path()).unwrap();
        assert!(matches!(Control::listen(directory.path()), Err(ControlError::InUse(_))));
    }

    #[tokio::test]
    async fn a_line_that_is_no_request_is_refused_and_the_connection_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let (_control, _calls) = Control::listen(directory.path()).unwrap();
        let stream = UnixStream::connect(socket_path(directory.path())).await.unwrap();
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        for _ in 0..2 {
            write.write_all(b"{\"verb\":\"fly\"}\n").await.unwrap();
            let answer = lines.next_line().await.unwrap().unwrap();
            assert!(answer.contains("refused") && answer.contains("fly"), "{answer}");
        }
    }
}
