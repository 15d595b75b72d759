//! Writes that a disk did to the wrong place, to another file, or not at all: whole, valid frames that do not belong where
//! they lie. What a frame's checksum covers besides its bytes (cluster, member, segment, offset) must refuse each.
//!
//! All of it is corruption: no vote, no service, be replaced. What a disk never wrote at the log's very end cannot be seen
//! there; when a majority forgets so, the member that remembers must not serve it as if nothing had happened. `faults` has the
//! flipped bits and the torn write.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use outrigger_proto::v1::{Hello, Phase, StatusResponse};
use outrigger_tests::cluster::{Cluster, STEP};
use outrigger_tests::etcd_wire::PutRequest;
use outrigger_tests::fake_peer::{hello, speak};
use outrigger_tests::nemesis::progress;
use outrigger_tests::wal_damage::{self, Frame};
use outrigger_tests::workload::{Plan, Workload};
use outrigger_tests::{binaries, verdict, wait};
use tonic::Code;

const WITHIN: Duration = Duration::from_secs(10);
const BLOCK_BYTES: usize = 4096;

async fn under_load(folder: &Path, seed: u64) -> Result<(Cluster, Workload)> {
    let cluster = Cluster::start(&binaries::outrigger()?, folder, 3).await?;
    let load = Workload::start(&Plan::contended(cluster.endpoints(), seed))?;
    progress(&load, "at the start").await?;
    Ok((cluster, load))
}

async fn judged(cluster: &Cluster, load: Workload, member: usize) -> Result<()> {
    progress(&load, "at the end").await?;
    let history = load.finish().await?;
    verdict::demand(&history, &mut cluster.member(member)?.etcd()?).await?;
    Ok(())
}

/// Waits until the member says that its disk is beyond use, and proves that it neither votes nor serves.
async fn out_of_service(cluster: &Cluster, victim: usize) -> Result<StatusResponse> {
    let member = cluster.member(victim)?;
    let faulted = wait::until_ok("the fault", STEP, async || {
        let status = member.status().await?;
        ensure!(status.phase() == Phase::Faulted, "it is {:?}", status.phase());
        Ok(status)
    })
    .await?;
    let answer = member.etcd()?.get(&"k".into(), true, WITHIN).await;
    assert!(answer.is_err(), "it serves clients: {answer:?}");
    // Whoever wants its vote has to come in by this door.
    let leader = cluster.leader_status().await?;
    let (cluster_id, from, to) = (leader.cluster_id, leader.member_id, faulted.member_id);
    let candidate = Hello { cluster_id, from, to, ..Hello::default() };
    let shut = speak(member.peer(), vec![hello(candidate)]).await.err().context("it listens to peers")?;
    assert_eq!(shut.code(), Code::Unavailable, "{shut}");
    Ok(faulted)
}

/// Gives the member an empty disk, and waits until it has replaced itself.
async fn replaced(cluster: &mut Cluster, victim: usize, id: u64) -> Result<()> {
    cluster.kill(victim)?;
    cluster.wipe(victim)?;
    cluster.spawn(victim)?;
    wait::until_ok("the replacement", STEP, async || {
        let status = cluster.configured(3).await?;
        ensure!(status.tombstones.contains(&id), "{id:x} still counts");
        Ok(())
    })
    .await?;
    cluster.serving().await
}

/// What lies where the frame in the middle should.
#[derive(Clone, Copy, Debug)]
enum Instead {
    /// Another frame of the same segment.
    AnotherOffset,
    /// The frame of the same number of another member.
    AnotherMember,
    /// What was there before: a write that was acknowledged and never done.
    NeverWritten,
}

impl Instead {
    fn bytes(self, target: &Frame, victim: &Path, other: &Path) -> Result<Vec<u8>> {
        match self {
            Self::AnotherOffset => wal_damage::numbered(victim, target.number - 1)?.bytes(),
            Self::AnotherMember => wal_damage::numbered(other, target.number)?.bytes(),
            Self::NeverWritten => Ok(vec![0; target.end() - target.offset]),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_of_another_place_in_the_middle_is_corruption_and_the_member_is_replaced() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut cluster, load) = under_load(folder.path(), 51).await?;
    let mut last = 0;
    for instead in [Instead::AnotherOffset, Instead::AnotherMember, Instead::NeverWritten] {
        let leader = cluster.leader().await?;
        let victim = (leader + 1) % 3;
        let id = cluster.member(victim)?.status().await?.member_id;
        cluster.kill(victim)?;
        let (data, other) = (&cluster.member(victim)?.data, &cluster.member(leader)?.data);
        let target = wal_damage::middle(data)?;
        let bytes = instead.bytes(&target, data, other)?;
        wal_damage::misdirect(&bytes, &target.file, target.offset)?;
        cluster.spawn(victim)?;
        let fault = out_of_service(&cluster, victim).await?.fault;
        let file = target.file.file_name().and_then(|name| name.to_str()).context("the segment's name")?;
        assert!(fault.contains(file), "{instead:?}: {file} in {fault}");
        assert!(fault.contains(&target.offset.to_string()), "{instead:?}: {} in {fault}", target.offset);
        progress(&load, &format!("without the member with {instead:?}")).await?;
        replaced(&mut cluster, victim, id).await?;
        progress(&load, &format!("after {instead:?}")).await?;
        last = victim;
    }
    judged(&cluster, load, last).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_valid_frame_of_another_place_behind_the_end_is_corruption_and_not_the_next_one() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut cluster, load) = under_load(folder.path(), 52).await?;
    for stale in [false, true] {
        let leader = cluster.leader().await?;
        let victim = (leader + 1) % 3;
        let id = cluster.member(victim)?.status().await?.member_id;
        cluster.kill(victim)?;
        let (data, other) = (cluster.member(victim)?.data.clone(), cluster.member(leader)?.data.clone());
        let last = wal_damage::last(&data)?;
        let planted = if stale {
            wal_damage::middle(&data)?
        } else {
            // The very number that is due here, out of another member's log: only the place is wrong.
            let number = last.number + 1;
            let what = format!("frame {number} of another member");
            wait::until_ok(&what, STEP, async || wal_damage::numbered(&other, number)).await?
        };
        wal_damage::misdirect(&planted.bytes()?, &last.file, last.end())?;
        cluster.spawn(victim)?;
        let fault = out_of_service(&cluster, victim).await?.fault;
        assert!(fault.contains(&last.end().to_string()), "stale: {stale}: {} in {fault}", last.end());
        progress(&load, &format!("without it, stale: {stale}")).await?;
        replaced(&mut cluster, victim, id).await?;
    }
    let victim = (cluster.leader().await? + 1) % 3;
    judged(&cluster, load, victim).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_majority_of_disks_forgot_is_not_served_by_the_member_that_remembers_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 3).await?;
    let forgotten = |round: u64| format!("forgotten {round}");
    for round in 0..20 {
        let put = PutRequest { key: "k".into(), value: forgotten(round).into(), ..PutRequest::default() };
        cluster.member(0)?.etcd()?.put(put, WITHIN).await?;
    }
    let newest = cluster.leader_status().await?.commit_index;
    wait::until_ok("member 2 to have it all", STEP, async || {
        let applied = cluster.member(2)?.status().await?.applied_index;
        ensure!(applied >= newest, "{applied} of {newest}");
        anyhow::Ok(())
    })
    .await?;
    cluster.kill_all()?;
    for place in [0, 1] {
        let data = &cluster.member(place)?.data;
        wal_damage::forget_from(data, wal_damage::last(data)?.number - 10)?;
        cluster.spawn(place)?;
    }
    wait::until_ok("the two to serve", STEP, async || {
        let put = PutRequest { key: "k".into(), value: "anew".into(), ..PutRequest::default() };
        cluster.member(0)?.etcd()?.put(put, WITHIN).await?;
        anyhow::Ok(())
    })
    .await?;
    cluster.spawn(2)?;
    let faulted = out_of_service(&cluster, 2).await?;
    assert!(faulted.fault.contains("lost acknowledged data"), "{}", faulted.fault);
    let (value, _) = cluster.member(1)?.etcd()?.get(&"k".into(), false, WITHIN).await?;
    assert_eq!(value.map(|held| held.value), Some("anew".into()), "the others go on");
    replaced(&mut cluster, 2, faulted.member_id).await
}

/// The newest segment of a cluster that has nothing to do with the one under test.
async fn foreign_segment(folder: &Path) -> Result<(u64, Vec<u8>)> {
    let mut cluster = Cluster::start(&binaries::outrigger()?, folder, 1).await?;
    let load = Workload::start(&Plan::contended(cluster.endpoints(), 54))?;
    progress(&load, "in the other cluster").await?;
    load.finish().await?;
    let cluster_id = cluster.member(0)?.status().await?.cluster_id;
    cluster.kill(0)?;
    let last = wal_damage::last(&cluster.member(0)?.data)?;
    Ok((cluster_id, fs::read(&last.file)?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_of_another_cluster_is_refused_by_its_header_and_without_one_by_its_frames() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (foreign_id, foreign) = foreign_segment(&folder.path().join("other")).await?;
    let (mut cluster, load) = under_load(folder.path(), 53).await?;
    let victim = (cluster.leader().await? + 1) % 3;
    let id = cluster.member(victim)?.status().await?.member_id;
    let mut headless = foreign.clone();
    headless.get_mut(..BLOCK_BYTES).context("a header")?.fill(0);
    for (segment, with_header) in [(foreign, true), (headless, false)] {
        cluster.kill(victim)?;
        let last = wal_damage::last(&cluster.member(victim)?.data)?;
        fs::write(&last.file, segment)?;
        cluster.spawn(victim)?;
        let faulted = out_of_service(&cluster, victim).await?;
        assert_eq!(faulted.member_id, id);
        let named = faulted.fault.contains(&format!("{foreign_id:016x}"));
        assert_eq!(named, with_header, "{foreign_id:016x} in {}", faulted.fault);
        progress(&load, &format!("without the member, header: {with_header}")).await?;
    }
    replaced(&mut cluster, victim, id).await?;
    judged(&cluster, load, victim).await
}
