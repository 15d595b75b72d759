//! How `local scale` and the like reach a run: one line of JSON each way over a Unix socket in the data directory.
//!
//! The socket is the owner's alone (the directory's rights), so there is no other authentication.

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
/// How long a run that ends waits for its last answers to be written.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

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
    },
}

/// Why a run cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody runs it.
    #[error("no run of {name} in {}: start it with `outrigger-operator local -f MANIFEST`, or name its directory with --data-dir", path.display())]
    NotRunning {
        /// The cluster.
        name: String,
        /// The data directory.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// The socket cannot be made.
    #[error("cannot listen on {} ({} bytes; a Unix socket's path holds 107): choose a shorter --data-dir", path.display(), path.as_os_str().len())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// The conversation broke.
    #[error("the run of {name} did not answer")]
    Broken {
        /// The cluster.
        name: String,
        /// The system's words.
        #[source]
        source: std::io::Error,
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
    /// Ends when the listener and every conversation have: each holds a sender.
    talks: mpsc::Receiver<()>,
}

impl ControlServer {
    /// Listens, and hands requests to `requests`, which is bounded: callers wait while it is full.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn listen(path: PathBuf, requests: mpsc::Sender<Asked>) -> Result<Self, ControlError> {
        // The directory is locked: a socket that is there is a dead run's.
        if let Err(source) = std::fs::remove_file(&path)
            && source.kind() != std::io::ErrorKind::NotFound
        {
            return Err(ControlError::Listen { path, source });
        }
        let listener = UnixListener::bind(&path)
            .map_err(|source| ControlError::Listen { path: path.clone(), source })?;
        let (talking, talks) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (requests, talking) = (requests.clone(), talking.clone());
                tokio::spawn(async move {
                    serve(stream, requests).await;
                    drop(talking);
                });
            }
        });
        Ok(Self { path, task, talks })
    }

    /// Listens no more, and waits a moment until what was answered is written: the process ends behind it.
    pub async fn finish(mut self) {
        self.task.abort();
        // Nobody sends anything. In vain only if a caller does not read, which is its own loss.
        timeout(LAST_ANSWERS, self.talks.recv()).await.ok();
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
        Err(error) => Some(Response::Refused { text: format!("not a request: {error}") }),
    };
    let response = response.unwrap_or_else(|| Response::Refused { text: "the run is ending".to_owned() });
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
pub async fn ask(
    name: &str,
    root: &Path,
    socket: &Path,
    request: &Request,
) -> Result<Response, ControlError> {
    let not_running =
        |source| ControlError::NotRunning { name: name.to_owned(), path: root.to_owned(), source };
    let broken = |source| ControlError::Broken { name: name.to_owned(), source };
    let foreign = |source| ControlError::Foreign { name: name.to_owned(), source };
    let mut stream = UnixStream::connect(socket).await.map_err(not_running)?;
    let mut bytes = serde_json::to_vec(request).map_err(foreign)?;
    bytes.push(b'\n');
    stream.write_all(&bytes).await.map_err(broken)?;
    let mut line = String::new();
    let mut reader = BufReader::new(stream);
    let read = timeout(ANSWER, reader.read_line(&mut line)).await;
    read.map_err(|_| broken(std::io::ErrorKind::TimedOut.into()))?.map_err(broken)?;
    if line.is_empty() {
        return Err(broken(std::io::ErrorKind::UnexpectedEof.into()));
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
        let response =
            ask("orders", directory.path(), &socket, &Request::Scale { replicas: 5 }).await.unwrap();
        assert_eq!(response, Response::Done { text: "Scale { replicas: 5 }".to_owned() });
    }

    #[test]
    fn the_last_answer_is_written_before_the_run_ends() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let run = runtime();
        let (sender, mut requests) = mpsc::channel::<Asked>(1);
        let server = run.block_on(async { ControlServer::listen(socket.clone(), sender).unwrap() });
        let (folder, path) = (directory.path().to_owned(), socket);
        let caller =
            std::thread::spawn(move || runtime().block_on(ask("orders", &folder, &path, &Request::Stop)));
        run.block_on(async {
            let (_, answer) = requests.recv().await.unwrap();
            answer.send(Response::Done { text: "stopped".to_owned() }).unwrap();
            server.finish().await;
        });
        // As the process does: what was not written is lost.
        drop(run);
        assert_eq!(caller.join().unwrap().unwrap(), Response::Done { text: "stopped".to_owned() });
    }

    #[tokio::test]
    async fn a_cluster_that_nobody_runs_is_said_with_its_directory() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let error = ask("orders", directory.path(), &socket, &Request::Status).await.unwrap_err().to_string();
        assert!(error.contains("no run of orders in"), "{error}");
        assert!(error.contains("--data-dir"), "{error}");
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
