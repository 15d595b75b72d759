//! The verbs of `outrigger-operator local`, as a person meets them: their exit codes, what stands over a restart, and what
//! they say of a run that is not up.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use outrigger_tests::local_runner::LocalRunner;
use outrigger_tests::wait;
use rustix::process::{Pid, Signal, kill_process};

const WITHIN: Duration = Duration::from_secs(30);

/// The example's manifest, for one member and with volumes that go when the cluster is deleted.
fn manifest(folder: &Path) -> Result<PathBuf> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/orders.yaml");
    let mut text = fs::read_to_string(&example).context("reading the example")?;
    for (from, to) in [("replicas: 3", "replicas: 1"), ("deletionPolicy: Retain", "deletionPolicy: Delete")] {
        ensure!(text.matches(from).count() == 1, "the example says `{from}` once");
        text = text.replace(from, to);
    }
    let path = folder.join("orders.yaml");
    fs::write(&path, text)?;
    Ok(path)
}

/// The exit code, and what was said on standard error.
async fn ended(runner: &LocalRunner, verb: &str, more: &[&str]) -> Result<(i32, String)> {
    let output = runner.outcome(verb, more).await?;
    let said = String::from_utf8(output.stderr)?;
    Ok((output.status.code().with_context(|| format!("local {verb} was killed"))?, said))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scale_stands_over_a_restart_and_a_stop_without_a_quorum_is_no_failure() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut runner = LocalRunner::start(&manifest(folder.path())?, folder.path())?;
    runner.settled(1).await?;
    for (verb, more, named) in [
        ("scale", ["--replicas", "4"].as_slice(), "found 4"),
        ("scale", &["--replicas", "0"], "found 0"),
        ("scale", &["--replicas", "-1"], "found -1"),
        ("wipe", &["7"], "no orders-7"),
    ] {
        let (code, said) = ended(&runner, verb, more).await?;
        ensure!(code == 2 && said.contains(named), "{verb} {more:?} ended with {code}: {said}");
    }

    let (code, said) = ended(&runner, "wipe", &["0"]).await?;
    ensure!(code == 1 && said.contains("--force"), "wiping the only member ended with {code}: {said}");

    runner.scale(3).await?;
    runner.settled(3).await?;
    runner.kill_and_start_again()?;
    let view = runner.settled(3).await?;

    let frozen: Vec<u32> = view.members.iter().skip(1).filter_map(|member| member.process).collect();
    ensure!(frozen.len() == 2, "{:?}", view.members);
    for process in frozen {
        let process = Pid::from_raw(i32::try_from(process)?).context("a process of 0")?;
        kill_process(process, Signal::STOP)?;
    }
    wait::until_ok("the loss of the quorum", WITHIN, async || {
        let view = runner.view().await?;
        ensure!(view.status.phase == "QuorumLost", "it is {}", view.status.phase);
        Ok(())
    })
    .await?;
    runner.stop_and_keep().await?;

    for verb in ["status", "stop"] {
        let (code, said) = ended(&runner, verb, &[]).await?;
        ensure!(code == 1 && said.contains("no run of orders is up"), "{verb} ended with {code}: {said}");
        ensure!(said.contains("local -f") && !said.contains("os error"), "{verb} said {said}");
    }
    let said = runner.verb("delete", &[]).await?;
    ensure!(said.contains("deletionPolicy is Delete") && !runner.data().exists(), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_is_deleted_is_missed_until_it_is_back() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = manifest(folder.path())?;
    let runner = LocalRunner::start(&path, folder.path())?;
    runner.settled(1).await?;
    let text = fs::read(&path)?;
    let gone = async || -> Result<Option<String>> {
        let conditions = runner.view().await?.status.conditions;
        Ok(conditions.into_iter().find(|found| found.kind == "ManifestGone").map(|found| found.message))
    };
    fs::remove_file(&path)?;
    wait::until_ok("the notice that it is gone", WITHIN, async || {
        let said = gone().await?.context("nothing is said")?;
        ensure!(said.contains("orders.yaml is gone"), "{said}");
        Ok(())
    })
    .await?;
    fs::write(&path, text)?;
    wait::until_ok("the notice to go", WITHIN, async || {
        ensure!(gone().await?.is_none(), "it is still said to be gone");
        Ok(())
    })
    .await?;
    runner.stop().await
}
