//! What happens round the requests: idling, holding many keys, losing the leader, starting again.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::task::JoinSet;

use super::table::Better;
use super::throughput::plan;
use super::{NOISE_LIMIT, Run, Side, System, order};
use crate::etcd_wire::{Client, PutRequest};
use crate::load::{self, Action, Meters};
use crate::proc_stat::Usage;

/// After this long without an accepted write a fail-over has failed.
const FAILOVER_LIMIT: Duration = Duration::from_secs(60);

/// A try that is not answered by then is given up: the member that it went to may not know a leader yet.
const TRY: Duration = Duration::from_millis(300);

/// Pause between two tries on one member.
const BETWEEN_TRIES: Duration = Duration::from_millis(2);

const MIB: f64 = 1024.0 * 1024.0;

/// Idle CPU and memory, then memory with the whole key set; the mean of the members, CPU of all together.
pub(super) async fn memory(run: &mut Run, system: &System, place: usize) -> Result<()> {
    let pids = system.pids();
    let idle = Duration::from_secs_f64(run.options.idle_seconds.clamp(0.1, 3600.0));
    let before = Meters::read(&pids)?;
    tokio::time::sleep(idle).await;
    let (elapsed, [servers, _, others]) = Meters::read(&pids)?.since(&before);
    let percent = servers.as_secs_f64() / elapsed.as_secs_f64() * 100.0;
    let label = "idle CPU, all members";
    run.table.add(place, label, ("% of a core", Better::Lower), percent);
    if others.as_secs_f64() / elapsed.as_secs_f64() > NOISE_LIMIT {
        run.table.mark_disturbed(label);
    }
    resident(run, &pids, place, "memory a member, idle")?;

    let keys = run.options.keys;
    load::fill(&plan(run, system, Action::Put, 64).await?, u64::from(keys)).await?;
    // Followers apply and runtimes give back what they only needed for the load.
    tokio::time::sleep(idle.min(Duration::from_secs(5))).await;
    resident(run, &pids, place, &format!("memory a member, {keys} keys"))
}

fn resident(run: &mut Run, pids: &[u32], place: usize, label: &str) -> Result<()> {
    let (mut all, mut anonymous) = (0.0, 0.0);
    for pid in pids {
        let usage = Usage::of(*pid)?;
        all += mebibytes(usage.rss_bytes);
        anonymous += mebibytes(usage.rss_anon_bytes);
    }
    let members = f64::from(u32::try_from(pids.len()).unwrap_or(1)).max(1.0);
    run.table.add(place, label, ("RSS MiB", Better::Lower), all / members);
    run.table.add(place, label, ("anonymous MiB", Better::Lower), anonymous / members);
    Ok(())
}

/// In whole KiB, which is what the kernel counts in.
fn mebibytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) * 1024.0 / MIB
}

/// `kill -9` of the leader until the first write is accepted, several times on one cluster.
pub(super) async fn failover(run: &mut Run, system: &mut System, place: usize) -> Result<()> {
    for _ in 0..run.options.kills {
        let leader = system.leader().await?;
        let mut survivors = Vec::new();
        for (ordinal, endpoint) in system.endpoints().into_iter().enumerate() {
            if ordinal != leader {
                survivors.push(connected(endpoint).await?);
            }
        }
        let killed = Instant::now();
        system.kill(leader)?;
        let gap = first_accepted(survivors, killed).await?;
        let unit = ("ms", Better::Lower);
        run.table.add(place, "kill -9 of the leader → first write accepted", unit, gap.as_secs_f64() * 1e3);
        system.revive(leader).await?;
    }
    Ok(())
}

async fn connected(endpoint: SocketAddr) -> Result<Client> {
    let mut client = Client::lazy(endpoint).context("making a client")?;
    client.status(Duration::from_secs(10)).await.context("connecting before the kill")?;
    Ok(client)
}

/// Tries all survivors side by side, as a client with all endpoints and short deadlines does.
async fn first_accepted(survivors: Vec<Client>, killed: Instant) -> Result<Duration> {
    let mut tries = JoinSet::new();
    for mut client in survivors {
        tries.spawn(async move {
            while killed.elapsed() < FAILOVER_LIMIT {
                let put = PutRequest { key: "failover".into(), value: "x".into(), ..PutRequest::default() };
                if client.put(put, TRY).await.is_ok() {
                    return Some(killed.elapsed());
                }
                tokio::time::sleep(BETWEEN_TRIES).await;
            }
            None
        });
    }
    match tries.join_next().await {
        Some(Ok(Some(gap))) => Ok(gap),
        Some(Ok(None) | Err(_)) | None => {
            bail!("no write was accepted within {FAILOVER_LIMIT:?} of the kill")
        }
    }
}

/// Starts all members at once on copies of a store that took many puts, until every one answers a linearizable read.
pub(super) async fn restart(run: &mut Run, sides: &[Side]) -> Result<()> {
    let mut stopped = Vec::new();
    for side in sides {
        let folder = run.fresh_folder();
        let system = System::start(side, &folder).await?;
        load::fill(&plan(run, &system, Action::Put, 256).await?, run.options.restart_puts).await?;
        stopped.push((folder, Some(system.stop().await?)));
    }
    let label = format!("restart of all after {} puts → all serve", run.options.restart_puts);
    for repetition in 0..run.options.repetitions {
        for place in order(repetition) {
            let (Some(side), Some((loaded, range))) = (sides.get(place), stopped.get_mut(place)) else {
                continue;
            };
            let copy = loaded.with_extension(format!("copy-{repetition}"));
            copied(loaded, &copy)?;
            let addresses = range.take().context("the addresses of a stopped cluster")?;
            let start = Instant::now();
            let system = System::start_again(side, addresses, &copy).await?;
            let unit = ("s", Better::Lower);
            run.table.add(place, &label, unit, start.elapsed().as_secs_f64());
            *range = Some(system.stop().await?);
            std::fs::remove_dir_all(&copy).with_context(|| format!("removing {}", copy.display()))?;
        }
    }
    Ok(())
}

/// Copies with `cp`, which keeps holes and preallocation cheap, and syncs, so that the start does not pay for it.
fn copied(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().context("running cp")?;
    ensure!(status.success(), "copying {} failed", from.display());
    let status = Command::new("sync").arg("-f").arg(to).status().context("running sync")?;
    ensure!(status.success(), "syncing {} failed", to.display());
    Ok(())
}
