//! One `fdatasync` a frame: counted by the kernel, not by us.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use outrigger_tests::cluster::{Cluster, STEP};
use outrigger_tests::nemesis::progress;
use outrigger_tests::process::{Process, Spec};
use outrigger_tests::workload::{Plan, Workload};
use outrigger_tests::{binaries, verdict, wait, wal_damage};

/// Calls of `fdatasync` on a log segment; `-y` of strace writes each descriptor's path.
fn log_syncs(trace: &Path) -> Result<u64> {
    let text = fs::read_to_string(trace).context("reading the trace")?;
    let calls = text.lines().filter(|line| line.contains("fdatasync(") && line.contains(".wal>"));
    Ok(calls.count().try_into()?)
}

fn last_frame(data: &Path) -> Result<u64> {
    Ok(wal_damage::frames(data)?.last().context("a log without frames")?.number)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_synced_once_a_frame() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 3).await?;
    let leader = cluster.member(cluster.leader().await?)?;
    let pid = leader.process.as_ref().context("a running leader")?.pid();
    let trace = folder.path().join("trace");
    let spec = Spec::new("strace", Path::new("strace"), folder.path().join("strace.log"))
        .argument("-f")
        .argument("-y")
        .flag("-e", "trace=fdatasync")
        .flag("-o", trace.as_os_str())
        .flag("-p", pid.to_string());
    let mut strace = Process::spawn(spec).context("strace is needed: `make deps` installs it")?;
    wait::until_ok("strace attached", STEP, async || {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let traced = status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"));
        ensure!(traced, "nobody traces {pid}; strace says: {}", strace.log());
        anyhow::Ok(())
    })
    .await?;
    // Whatever is written by itself at the start is over before the counting begins.
    let frames_before = settled(&leader.data).await?;
    let syncs_before = log_syncs(&trace)?;

    let load = Workload::start(&Plan::contended(cluster.endpoints(), 31))?;
    for round in 0..20 {
        progress(&load, &format!("in round {round}")).await?;
    }
    let history = load.finish().await?;
    verdict::demand(&history, &mut leader.etcd()?).await?;

    let compare = async || {
        let frames = last_frame(&leader.data)? - frames_before;
        let syncs = log_syncs(&trace)? - syncs_before;
        if frames == 0 || syncs != frames {
            bail!("{syncs} syncs for {frames} frames");
        }
        Ok(())
    };
    wait::until_ok("as many syncs as frames", Duration::from_secs(10), compare).await?;
    strace.terminate(STEP).await?;
    Ok(())
}

/// The last frame's number, once it stays the same over several looks.
async fn settled(data: &Path) -> Result<u64> {
    let mut same = 0;
    let mut last = 0;
    wait::until("a log at rest", STEP, async || {
        let now = last_frame(data).ok()?;
        same = if now == last { same + 1 } else { 0 };
        last = now;
        (same >= 20).then_some(now)
    })
    .await
}
