//! `kubectl` and `helm`, as people run them.
//!
//! Deliberately absent: a client library: what is proven here is what a person with a shell gets.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// A command that takes longer than this hangs.
const LONGEST: Duration = Duration::from_secs(180);

/// What a command said, and whether it succeeded.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
    /// Whether its exit code was 0.
    pub(crate) ok: bool,
}

/// Runs a program to its end.
///
/// # Errors
/// It cannot be started, or does not end.
pub(crate) async fn tell(program: &str, args: &[&str], input: Option<&str>) -> Result<Said> {
    let mut command = Command::new(program);
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn().with_context(|| format!("starting {program}"))?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(input.as_bytes()).await.context("writing to it")?;
    }
    let output = timeout(LONGEST, child.wait_with_output())
        .await
        .with_context(|| format!("{program} {} hangs", args.join(" ")))?
        .with_context(|| format!("waiting for {program}"))?;
    Ok(Said {
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        ok: output.status.success(),
    })
}

/// `kubectl` in one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Kubectl {
    namespace: String,
}

impl Kubectl {
    /// In `namespace`.
    #[must_use]
    pub(crate) fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned() }
    }

    /// The namespace.
    #[must_use]
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Runs a command that has to succeed; gives what it printed.
    ///
    /// # Errors
    /// It failed; with what it said.
    pub(crate) async fn run(&self, args: &[&str]) -> Result<String> {
        let said = self.try_run(args, None).await?;
        ensure!(said.ok, "kubectl {}: {}", args.join(" "), said.err.trim());
        Ok(said.out)
    }

    /// Runs a command that may fail.
    ///
    /// # Errors
    /// It cannot be run at all.
    pub(crate) async fn try_run(&self, args: &[&str], input: Option<&str>) -> Result<Said> {
        let all = [&["--namespace", &self.namespace], args].concat();
        tell("kubectl", &all, input).await
    }

    /// Applies a manifest that has to be taken.
    ///
    /// # Errors
    /// It was refused; with the API server's words.
    pub(crate) async fn apply(&self, manifest: &str) -> Result<()> {
        let said = self.try_run(&["apply", "-f", "-"], Some(manifest)).await?;
        ensure!(said.ok, "kubectl apply: {}", said.err.trim());
        Ok(())
    }

    /// Applies a manifest that has to be refused; gives the API server's words.
    ///
    /// # Errors
    /// It was taken.
    pub(crate) async fn refused(&self, manifest: &str) -> Result<String> {
        let said = self.try_run(&["apply", "-f", "-"], Some(manifest)).await?;
        ensure!(!said.ok, "this was taken and should not be: {manifest}");
        Ok(said.err)
    }

    /// One object, or a list.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) async fn get(&self, what: &[&str]) -> Result<Value> {
        let out = self.run(&[&["get", "-o", "json"], what].concat()).await?;
        serde_json::from_str(&out).context("reading what kubectl printed")
    }

    /// A merge patch.
    ///
    /// # Errors
    /// It was refused.
    pub(crate) async fn patch(&self, what: &str, patch: &Value) -> Result<()> {
        self.run(&["patch", what, "--type", "merge", "-p", &patch.to_string()]).await.map(drop)
    }
}
