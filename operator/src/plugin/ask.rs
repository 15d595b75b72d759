//! Runs the sidecar's own commands in its container, over the API server, as `kubectl exec` does.
//!
//! May import: kube's exec. Deliberately absent: the admin port. Members let in only each other and the operator there; a person's
//! right to a pod is what Kubernetes already decides about (`create` on pods/exec), and it needs no operator that is up.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::AttachParams;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::errors::PluginError;
use super::said::Said;
use crate::cluster::build::SIDECAR;

/// The sidecar's program in its image.
const PROGRAM: &str = "/outrigger";
/// How long a look may take: a silent pod must not hold up the rest.
const LOOK: Duration = Duration::from_secs(4);
/// How long a hand-over may take: a few elections at the longest timeout that a spec may name.
const HAND_OVER: Duration = Duration::from_secs(90);

/// What a pod's member says.
pub(super) async fn status(pods: &Api<Pod>, pod: &str) -> Result<Said, PluginError> {
    let json = run(pods, pod, &["status", "-o", "json", "--timeout", "3s"], LOOK).await?;
    serde_json::from_str(&json).map_err(|source| PluginError::Unreadable { pod: pod.to_owned(), source })
}

/// Has a pod's member take the leadership; gives its words. It asks its leader itself, so that nobody has to know who that is.
pub(super) async fn transfer(pods: &Api<Pod>, pod: &str) -> Result<String, PluginError> {
    let said = run(pods, pod, &["member", "transfer", pod, "--timeout", "80s"], HAND_OVER).await?;
    Ok(said.trim_end().to_owned())
}

async fn run(pods: &Api<Pod>, pod: &str, command: &[&str], within: Duration) -> Result<String, PluginError> {
    let late = |_| PluginError::Late { pod: pod.to_owned(), seconds: within.as_secs() };
    timeout(within, exec(pods, pod, command)).await.map_err(late)?
}

async fn exec(pods: &Api<Pod>, pod: &str, command: &[&str]) -> Result<String, PluginError> {
    let broken = |source| PluginError::Broken { pod: pod.to_owned(), source };
    let how = AttachParams::default().container(SIDECAR).stdout(true).stderr(true);
    let command = std::iter::once(PROGRAM).chain(command.iter().copied()).collect::<Vec<_>>();
    let begun = pods.exec(pod, command, &how).await;
    let unable = |error: kube::Error| PluginError::of_exec(pod, &error);
    let mut process = begun.map_err(unable)?;
    let (mut out, mut err) = (String::new(), String::new());
    let status = process.take_status();
    let (stdout, stderr) = (process.stdout(), process.stderr());
    // Both at once: a full pipe of the one would hold up the other.
    let read_out = async {
        match stdout {
            Some(mut stdout) => stdout.read_to_string(&mut out).await.map(drop),
            None => Ok(()),
        }
    };
    let read_err = async {
        match stderr {
            Some(mut stderr) => stderr.read_to_string(&mut err).await.map(drop),
            None => Ok(()),
        }
    };
    tokio::try_join!(read_out, read_err).map_err(broken)?;
    let ended = match status {
        Some(status) => status.await,
        None => None,
    };
    match ended.as_ref().and_then(|ended| ended.status.as_deref()) {
        Some("Success") => Ok(out),
        _ => {
            // The command's own words; where there are none, why it could not even start.
            let words =
                ended.and_then(|ended| ended.message).unwrap_or_else(|| "the command ended early".to_owned());
            let own = err.trim();
            let own = own.strip_prefix("outrigger: ").unwrap_or(own);
            let said = if own.is_empty() { words } else { own.to_owned() };
            Err(PluginError::Refused { pod: pod.to_owned(), said })
        }
    }
}
