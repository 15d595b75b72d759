//! Faults of real processes: torn and corrupt logs, pauses, floods, doubles, returns of the removed.
//!
//! `kill9`, `wipe`, `dns`, `misdirected`, `peer_messages` and `bad_input` have the other rows. Not here: a panic, which no
//! input may cause (the sidecar's own tests plant one in a whole member); full data disks and partitions, which
//! `make chaos` has.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use outrigger_proto::v1::{AdmitRequest, Phase, RemoveRequest, RosterEntry};
use outrigger_tests::cluster::{Cluster, STEP};
use outrigger_tests::etcd_wire::{Client, KeyValue, PutRequest};
use outrigger_tests::nemesis::progress;
use outrigger_tests::proc_stat::unread_connections;
use outrigger_tests::process::Process;
use outrigger_tests::workload::{Plan, Workload};
use outrigger_tests::{binaries, verdict, wait, wal_damage};
use tokio::task::JoinSet;
use tonic::{Code, Status};

const WITHIN: Duration = Duration::from_secs(10);

/// A cluster under load, and that load.
async fn under_load(folder: &std::path::Path, seed: u64) -> Result<(Cluster, Workload)> {
    let cluster = Cluster::start(&binaries::outrigger()?, folder, 3).await?;
    let load = Workload::start(&Plan::contended(cluster.endpoints(), seed))?;
    progress(&load, "at the start").await?;
    Ok((cluster, load))
}

async fn judged(cluster: &Cluster, load: Workload) -> Result<()> {
    progress(&load, "at the end").await?;
    let history = load.finish().await?;
    verdict::demand(&history, &mut cluster.member(0)?.etcd()?).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_is_cut_and_the_member_goes_on_under_its_id() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut cluster, load) = under_load(folder.path(), 11).await?;
    let victim = (cluster.leader().await? + 1) % 3;
    let id = cluster.member(victim)?.status().await?.member_id;
    cluster.kill(victim)?;
    // Not the last whole frame: that one may have been acknowledged.
    wal_damage::begin_a_frame(&cluster.member(victim)?.data)?;
    cluster.spawn(victim)?;
    cluster.serving().await?;
    let status = cluster.member(victim)?.status().await?;
    assert_eq!((status.phase(), status.member_id), (Phase::Member, id));
    judged(&cluster, load).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_lost_what_was_acknowledged_stops_the_member_which_names_file_and_offset() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut cluster, load) = under_load(folder.path(), 12).await?;
    type Damage = fn(&std::path::Path) -> Result<wal_damage::Frame>;
    let damages: [(&str, Damage); 3] = [
        ("a flipped bit in the middle", wal_damage::flip_a_bit_in_the_middle),
        ("a flipped bit in the last frame", wal_damage::flip_a_bit_in_the_last),
        ("cut at the last frame's edge", wal_damage::cut_off_the_last),
    ];
    for (what, damage) in damages {
        let victim = (cluster.leader().await? + 1) % 3;
        stopped_by(&mut cluster, victim, damage).await.context(what)?;
        progress(&load, what).await?;
    }
    judged(&cluster, load).await
}

/// What `outrigger wal dump` says on standard error about a directory, and how it ends.
async fn dumped(data: &std::path::Path) -> Result<(String, std::process::ExitStatus)> {
    let output =
        tokio::process::Command::new(binaries::outrigger()?).args(["wal", "dump"]).arg(data).output().await?;
    Ok((String::from_utf8(output.stderr)?, output.status))
}

async fn stopped_by(
    cluster: &mut Cluster,
    victim: usize,
    damage: fn(&std::path::Path) -> Result<wal_damage::Frame>,
) -> Result<()> {
    let id = cluster.member(victim)?.status().await?.member_id;
    cluster.kill(victim)?;
    let data = cluster.member(victim)?.data.clone();
    let (said, ended) = dumped(&data).await?;
    ensure!(ended.success(), "what a crash leaves is no damage: {said}");
    let frame = damage(&data)?;
    let (said, ended) = dumped(&data).await?;
    ensure!(ended.code() == Some(1) && said.contains("is damaged"), "wal dump ended with {ended}: {said}");
    cluster.spawn(victim)?;
    let member = cluster.member(victim)?;
    let faulted = wait::until_ok("the fault", STEP, async || {
        let status = member.status().await?;
        ensure!(status.phase() == Phase::Faulted, "it is {:?}", status.phase());
        Ok(status)
    })
    .await?;
    let file = frame.file.file_name().and_then(|name| name.to_str()).context("the segment's name")?;
    assert!(faulted.fault.contains(file), "{file} in {}", faulted.fault);
    assert!(faulted.fault.contains(&frame.offset.to_string()), "{} in {}", frame.offset, faulted.fault);
    assert!(member.etcd()?.get(&"k".into(), true, WITHIN).await.is_err(), "it serves nobody");

    // The fix that the message names: replaced on an empty disk.
    cluster.kill(victim)?;
    cluster.wipe(victim)?;
    cluster.spawn(victim)?;
    let settled = async || {
        let status = cluster.configured(3).await?;
        ensure!(status.tombstones.contains(&id), "{id:x} still counts");
        Ok(())
    };
    wait::until_ok("the replacement", STEP, settled).await?;
    cluster.serving().await
}

/// Reads that a paused leader finds when it goes on.
const QUESTIONS: usize = 8;

/// What a read of the key that each round writes answered.
type Read = Result<(Option<KeyValue>, i64), Status>;

/// Connections to the leader, opened while all is well: what is sent on them later is read as soon as it goes on.
async fn connected(cluster: &Cluster, leader: usize) -> Result<Vec<Client>> {
    let mut connections = Vec::new();
    for _ in 0..QUESTIONS {
        let mut connection = cluster.member(leader)?.etcd()?;
        connection.get(&"round".into(), false, WITHIN).await?;
        connections.push(connection);
    }
    Ok(connections)
}

/// Writes through the others, and only then asks the paused member: the questions wait in its sockets, and are the first
/// that it sees when it goes on, still taking itself for the leader.
async fn ask_the_paused(
    cluster: &Cluster,
    paused: usize,
    round: u8,
    connections: Vec<Client>,
) -> Result<JoinSet<Read>> {
    let put = PutRequest { key: "round".into(), value: vec![round].into(), ..PutRequest::default() };
    let mut other = cluster.member((paused + 1) % 3)?.etcd()?;
    wait::until_ok("a write through another", STEP, async || other.put(put.clone(), WITHIN).await).await?;
    let mut reads = JoinSet::new();
    for mut connection in connections {
        reads.spawn(async move { connection.get(&"round".into(), false, STEP).await });
    }
    let SocketAddr::V4(address) = cluster.member(paused)?.client() else { bail!("a loopback range of IPv4") };
    wait::until_ok("the questions in the paused member's sockets", WITHIN, async || {
        let unread = unread_connections(address)?;
        ensure!(unread >= QUESTIONS, "{unread} connections hold something");
        Ok(())
    })
    .await?;
    Ok(reads)
}

async fn assert_no_stale_answer(mut reads: JoinSet<Read>, round: u8) -> Result<()> {
    while let Some(read) = reads.join_next().await {
        // A refusal is honest: who led cannot answer for the one who leads.
        if let Ok((pair, _)) = read? {
            let value = pair.map(|pair| pair.value.to_vec());
            assert_eq!(value, Some(vec![round]), "a read that began after the write is older than it");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_leader_is_replaced_and_never_answers_a_stale_read_on_its_return() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut cluster, load) = under_load(folder.path(), 13).await?;
    for round in 0..3_u8 {
        let paused = cluster.leader().await?;
        let term = cluster.member(paused)?.status().await?.term;
        let connections = connected(&cluster, paused).await?;
        cluster.member_mut(paused)?.process()?.pause()?;
        let others: Vec<usize> = (0..3).filter(|place| *place != paused).collect();
        wait::until_ok("another leader", STEP, async || {
            for place in &others {
                let status = cluster.member(*place)?.status().await?;
                if status.leader_id == status.member_id && status.term > term {
                    return Ok(());
                }
            }
            anyhow::bail!("none of the others leads yet")
        })
        .await?;
        progress(&load, &format!("in round {round}, with the old leader paused")).await?;
        let reads = ask_the_paused(&cluster, paused, round, connections).await?;
        cluster.member_mut(paused)?.process()?.resume()?;
        assert_no_stale_answer(reads, round).await?;
        cluster.serving().await?;
    }
    judged(&cluster, load).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_refused_or_served_and_memory_stays_bounded() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 3).await?;
    let leader = cluster.leader().await?;
    let mut tasks = JoinSet::new();
    // 16 connections, 125 requests in flight on each, 64 KiB a value: 125 MiB asked for at once.
    for number in 0..16_u32 {
        let mut client = cluster.member(leader)?.etcd()?;
        tasks.spawn(async move {
            let mut requests = JoinSet::new();
            for request in 0..125_u32 {
                let put = PutRequest {
                    key: format!("flood/{number}/{request}").into(),
                    value: vec![7; 64 << 10].into(),
                    ..PutRequest::default()
                };
                let mut one = client.clone();
                requests.spawn(async move { one.put(put, Duration::from_secs(30)).await });
            }
            while let Some(answer) = requests.join_next().await {
                if let Err(status) = answer? {
                    // Too much at once, or not in time (with etcd's code and text for that): nothing that claims more.
                    let late = status.code() == Code::Unavailable
                        && status.message() == "etcdserver: request timed out";
                    let fits =
                        late || matches!(status.code(), Code::ResourceExhausted | Code::DeadlineExceeded);
                    ensure!(fits, "a flood is answered with {status}");
                }
            }
            client.get(&"k".into(), false, Duration::from_secs(30)).await?;
            Ok(())
        });
    }
    while let Some(one) = tasks.join_next().await {
        one??;
    }
    cluster.serving().await?;
    for member in &cluster.members {
        let process = member.process.as_ref().context("running")?;
        let mib = process.usage()?.rss_bytes >> 20;
        assert!(mib < 1024, "{} holds {mib} MiB after a flood of 125 MiB", member.name);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_process_with_a_name_is_refused_while_the_first_is_alive() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut cluster, load) = under_load(folder.path(), 14).await?;
    let before = cluster.configured(3).await?;
    let name = cluster.member(1)?.name.clone();
    let id = cluster.member(1)?.status().await?.member_id;

    // The same name with an empty disk of its own, on other addresses.
    let double = cluster.add_member(9);
    let spec = cluster.spec(double, 3)?.replaced("--name", name.clone())?;
    let host = cluster.host(cluster.member(double)?);
    cluster.dns.set_addresses(&host, &[cluster.member(double)?.address])?;
    cluster.member_mut(double)?.process = Some(Process::spawn(spec)?);
    let member = cluster.member(double)?;
    let waits = wait::until_ok("the double's refusal", STEP, async || {
        let status = member.status().await?;
        let says = status.waiting_for.contains(&name) || status.waiting_for.contains("alive");
        ensure!(says, "it waits for: {:?}", status.waiting_for);
        Ok(status)
    })
    .await?;
    assert_ne!(waits.phase(), Phase::Member);
    let after = cluster.configured(3).await?;
    assert_eq!(after.conf_state, before.conf_state, "the first one keeps its place");
    assert_eq!(cluster.member(1)?.status().await?.member_id, id);

    cluster.kill(double)?;
    cluster.members.pop();
    judged(&cluster, load).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_is_told_so_and_rejoins_under_a_new_id_when_admitted_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (cluster, load) = under_load(folder.path(), 15).await?;
    let leader = cluster.leader().await?;
    let victim = cluster.member((leader + 1) % 3)?;
    let old = victim.status().await?.member_id;
    let before = cluster.configured(3).await?;
    let mut admin = cluster.member(leader)?.admin()?;
    let request = RemoveRequest {
        cluster_id: before.cluster_id,
        member_id: old,
        name: String::new(),
        expected_configuration_index: before.configuration_index,
    };
    admin.remove(request.clone()).await.context("removing")?;
    let stale = admin.remove(request).await.err().context("a stale configuration index was taken")?;
    assert!(matches!(stale.code(), Code::Aborted | Code::FailedPrecondition | Code::NotFound), "{stale}");
    cluster.configured(2).await?;
    wait::until_ok("the removed member's own account", STEP, async || {
        let status = victim.status().await?;
        ensure!(status.phase() != Phase::Member, "it is {:?}", status.phase());
        Ok(())
    })
    .await?;
    progress(&load, "with two members").await?;

    let now = cluster.leader_status().await?;
    let roster =
        cluster.members.iter().map(|member| RosterEntry { name: member.name.clone(), learner: false });
    let admit = AdmitRequest {
        cluster_id: now.cluster_id,
        expected_configuration_index: now.configuration_index,
        roster: roster.collect(),
    };
    admin.admit(admit).await.context("admitting again")?;
    let settled = cluster.configured(3).await?;
    assert!(settled.tombstones.contains(&old));
    cluster.serving().await?;
    assert_ne!(victim.status().await?.member_id, old);
    judged(&cluster, load).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_hands_the_leadership_over_and_ends_with_success() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut cluster, load) = under_load(folder.path(), 16).await?;
    let leader = cluster.leader().await?;
    let status = cluster.member_mut(leader)?.process()?.terminate(STEP).await?;
    assert!(status.success(), "{status}");
    cluster.member_mut(leader)?.process = None;
    progress(&load, "without the member that was stopped").await?;
    cluster.spawn(leader)?;
    cluster.serving().await?;
    let voters = cluster.configured(3).await?;
    assert_eq!(voters.conf_state.map(|conf| conf.voters.len()), Some(3), "stopping is not leaving");
    judged(&cluster, load).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_below_standard_error_loses_lines_and_ends_nobody() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::prepare(&binaries::outrigger()?, folder.path(), 3).await?;
    for place in 0..3 {
        let mut spec = cluster.spec(place, 3)?.flag("--log-level", "debug");
        // Every write to it fails with ENOSPC.
        spec.log = "/dev/full".into();
        cluster.member_mut(place)?.process = Some(Process::spawn(spec)?);
    }
    cluster.found_and_form().await?;
    let load = Workload::start(&Plan::contended(cluster.endpoints(), 17))?;
    progress(&load, "without a line of log").await?;
    for place in 0..3 {
        assert!(cluster.member_mut(place)?.process()?.is_running(), "{place} ended");
    }
    judged(&cluster, load).await
}
