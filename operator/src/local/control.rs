//! How `local scale` and the like reach a run: one line of JSON each way over a Unix socket in the data directory.
//!
//! The socket is the owner's alone (the directory's rights), so there is no other authentication.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::view::View;

/// Longest line that is read, in bytes.
const LINE_BYTES: u64 = 64 * 1024;
/// How long a caller is given to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a run is given to answer: stopping nine members may take their grace.
const ANSWER: Duration = Duration::from_secs(60);
/// How long answers are given to be written before the run ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a run is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "verb")]
pub enum Request {
    /// Change `spec.replicas`.
    Scale {
        /// To what.
        replicas: i32,
    },
    /// Say what stands.
    Status,
    /// Stop all members and the run.
    Stop,
    /// Stop, then do with the volumes what `spec.deletionPolicy` says.
    Delete,
    /// Give a member an empty volume.
    Wipe {
        /// Which.
        ordinal: u8,
        /// Even if what is left is no quorum.
        #[serde(default)]
        force: bool,
    },
}

/// What a run answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub enum Response {
    /// Done, or begun.
    Done {
        /// What.
        text: String,
    },
    /// What stands.
    Status {
        /// All of it.
        view: Box<View>,
    },
    /// Refused.
    Refused {
        /// Why, and what to do instead.
        text: String,
        /// What was asked for cannot be had from any run of this kind: the caller's mistake.
        #[serde(default)]
        misasked: bool,
    },
    /// The run was ending already when it was asked.
    Ending,
}

impl Response {
    /// Refused for a reason that lies with the run.
    #[must_use]
    pub fn refused(text: impl Into<String>) -> Self {
        Self::Refused { text: text.into(), misasked: false }
    }

    /// Refused for a reason that lies with the caller.
    #[must_use]
    pub fn misasked(text: impl Into<String>) -> Self {
        Self::Refused { text: text.into(), misasked: true }
    }
}

/// Why a run cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens: there is no run.
    #[error("no run of {name} listens on {}", path.display())]
    NotRunning {
        /// The cluster.
        name: String,
        /// The socket.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("cannot listen on {} ({} bytes; a Unix socket's path holds 107): choose a shorter --data-dir", path.display(), path.as_os_str().len())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// The conversation broke.
    #[error("the run of {name} did not answer")]
    Broken {
        /// The cluster.
        name: String,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// The run answers in words that this version does not know.
    #[error(
        "the run of {name} answers in words that this version does not know: use the same version for both"
    )]
    Foreign {
        /// The cluster.
        name: String,
        /// What was not understood.
        #[source]
        source: serde_json::Error,
    },
}

/// A request, and where its answer goes.
pub type Asked = (Request, oneshot::Sender<Response>);

/// The listening end; it stops listening when dropped.
#[derive(Debug)]
pub struct ControlServer {
    path: PathBuf,
    task: JoinHandle<()>,
    /// Ends when nobody serves a caller any more.
    served: mpsc::Receiver<()>,
}

impl ControlServer {
    /// Listens, and hands requests to `requests`, which is bounded: callers wait while it is full.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn listen(path: PathBuf, requests: mpsc::Sender<Asked>) -> Result<Self, ControlError> {
        // The directory is locked: a socket that is there is a dead run's.
        if let Err(source) = std::fs::remove_file(&path)
            && source.kind() != io::ErrorKind::NotFound
        {
            return Err(ControlError::Listen { path, source });
        }
        let listener = UnixListener::bind(&path)
            .map_err(|source| ControlError::Listen { path: path.clone(), source })?;
        // Nothing is ever sent: that all senders are gone is the message.
        let (serving, served) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (requests, serving) = (requests.clone(), serving.clone());
                tokio::spawn(async move {
                    serve(stream, requests).await;
                    drop(serving);
                });
            }
        });
        Ok(Self { path, task, served })
    }

    /// Takes no more callers, and returns once those that are there have their answers. Whoever asked for the end of the run
    /// would otherwise race with it, and find the connection closed in place of an answer.
    pub async fn close(mut self) {
        self.task.abort();
        if timeout(FAREWELL, self.served.recv()).await.is_err() {
            tracing::warn!("a caller of the control socket did not take its answer");
        }
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.task.abort();
        // Left behind, it would only say "connection refused".
        std::fs::remove_file(&self.path).ok();
    }
}

async fn serve(stream: UnixStream, requests: mpsc::Sender<Asked>) {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(LINE_BYTES));
    if !matches!(timeout(PATIENCE, reader.read_line(&mut line)).await, Ok(Ok(_))) {
        return;
    }
    let response = match serde_json::from_str::<Request>(&line) {
        Ok(request) => {
            let (answer, waiting) = oneshot::channel();
            match requests.send((request, answer)).await {
                Ok(()) => waiting.await.ok(),
                Err(_) => None,
            }
        }
        Err(error) => Some(Response::misasked(format!("not a request: {error}"))),
    };
    let response = response.unwrap_or(Response::Ending);
    if let Ok(mut bytes) = serde_json::to_vec(&response) {
        bytes.push(b'\n');
        // A caller that went away does not want it any more.
        writer.write_all(&bytes).await.ok();
    }
}

/// Asks a run.
///
/// # Errors
/// It does not run, or does not answer.
pub async fn ask(name: &str, socket: &Path, request: &Request) -> Result<Response, ControlError> {
    let broken = |source| ControlError::Broken { name: name.to_owned(), source };
    let unreachable = |source: io::Error| {
        // No socket, or one that a run which was killed left behind.
        let nobody = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&source.kind());
        let not_running = || ControlError::NotRunning { name: name.to_owned(), path: socket.to_owned() };
        if nobody { not_running() } else { broken(source) }
    };
    let foreign = |source| ControlError::Foreign { name: name.to_owned(), source };
    let mut stream = UnixStream::connect(socket).await.map_err(unreachable)?;
    let mut bytes = serde_json::to_vec(request).map_err(foreign)?;
    bytes.push(b'\n');
    stream.write_all(&bytes).await.map_err(broken)?;
    let mut line = String::new();
    let mut reader = BufReader::new(stream);
    let read = timeout(ANSWER, reader.read_line(&mut line)).await;
    read.map_err(|_| broken(io::ErrorKind::TimedOut.into()))?.map_err(broken)?;
    if line.is_empty() {
        return Err(broken(io::ErrorKind::UnexpectedEof.into()));
    }
    serde_json::from_str(&line).map_err(foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_reaches_the_run_and_its_answer_the_caller() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let (sender, mut requests) = mpsc::channel::<Asked>(1);
        let _server = ControlServer::listen(socket.clone(), sender).unwrap();
        tokio::spawn(async move {
            let (request, answer) = requests.recv().await.unwrap();
            answer.send(Response::Done { text: format!("{request:?}") }).unwrap();
        });
        let response = ask("orders", &socket, &Request::Scale { replicas: 5 }).await.unwrap();
        assert_eq!(response, Response::Done { text: "Scale { replicas: 5 }".to_owned() });
    }

    #[tokio::test]
    async fn a_socket_that_a_killed_run_left_is_no_run() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        assert!(socket.exists());
        let error = ask("orders", &socket, &Request::Status).await.unwrap_err();
        assert!(matches!(error, ControlError::NotRunning { .. }), "{error:?}");
    }

    /// The runner ends as soon as `close` returns: an answer that is not written by then never will be.
    #[tokio::test]
    async fn answers_are_written_before_the_run_ends() {
        for _ in 0..50 {
            let directory = tempfile::tempdir().unwrap();
            let socket = directory.path().join("control.sock");
            let (sender, mut requests) = mpsc::channel::<Asked>(1);
            let server = ControlServer::listen(socket.clone(), sender).unwrap();
            let mut caller = UnixStream::connect(&socket).await.unwrap();
            caller.write_all(b"{\"verb\":\"stop\"}\n").await.unwrap();
            let (request, answer) = requests.recv().await.unwrap();
            assert_eq!(request, Request::Stop);
            answer.send(Response::Done { text: "stopped".to_owned() }).unwrap();
            drop(requests);
            server.close().await;
            let mut bytes = [0; 256];
            let read = caller.try_read(&mut bytes).unwrap();
            assert!(std::str::from_utf8(&bytes[..read]).unwrap().contains("stopped"));
        }
    }

    #[tokio::test]
    async fn a_second_asker_is_told_that_the_run_is_ending() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let (sender, requests) = mpsc::channel::<Asked>(1);
        let _server = ControlServer::listen(socket.clone(), sender).unwrap();
        drop(requests);
        assert_eq!(ask("orders", &socket, &Request::Stop).await.unwrap(), Response::Ending);
    }

    #[tokio::test]
    async fn garbage_is_refused_and_the_next_caller_is_served() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let (sender, _requests) = mpsc::channel::<Asked>(1);
        let _server = ControlServer::listen(socket.clone(), sender).unwrap();
        for _ in 0..2 {
            let mut stream = UnixStream::connect(&socket).await.unwrap();
            stream.write_all(b"{\"verb\":\"explode\"}\n").await.unwrap();
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).await.unwrap();
            assert!(line.contains("not a request"), "{line}");
        }
    }

    #[tokio::test]
    async fn a_socket_of_a_dead_run_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        std::fs::write(&socket, "").unwrap();
        let (sender, _requests) = mpsc::channel::<Asked>(1);
        assert!(ControlServer::listen(socket, sender).is_ok());
    }
}
