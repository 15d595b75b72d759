//! DNS that is empty, partial, stale, wrong, slow or mute: it never founds, never makes membership, and is got over.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use outrigger_proto::v1::Phase;
use outrigger_tests::addresses::AddressRange;
use outrigger_tests::cluster::{Cluster, STEP};
use outrigger_tests::dns::Manner;
use outrigger_tests::etcd_wire::PutRequest;
use outrigger_tests::{binaries, wait};

const WITHIN: Duration = Duration::from_secs(5);

/// Questions after which a member that would found on this answer would have done so.
const ENOUGH_QUESTIONS: u64 = 30;

async fn put(cluster: &Cluster, value: &'static str) -> Result<()> {
    put_through(cluster, 0, value).await
}

async fn put_through(cluster: &Cluster, place: usize, value: &'static str) -> Result<()> {
    let mut client = cluster.member(place)?.etcd()?;
    let put = PutRequest { key: "k".into(), value: value.into(), ..PutRequest::default() };
    wait::until_ok("an accepted put", STEP, async || client.put(put.clone(), WITHIN).await).await?;
    Ok(())
}

async fn every_member_holds(cluster: &Cluster, value: &'static str) -> Result<()> {
    cluster.serving().await?;
    for member in &cluster.members {
        let mut client = member.etcd()?;
        let what = format!("{value} on {}", member.name);
        let read = async || client.get(&"k".into(), false, WITHIN).await;
        let (pair, _) = wait::until_ok(&what, STEP, read).await?;
        assert_eq!(pair.map(|pair| pair.value), Some(value.into()), "{}", member.name);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_dns_tells_nothing_stay_empty_and_are_founded_once_it_answers() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::prepare(&binaries::outrigger()?, folder.path(), 3).await?;
    cluster.dns.set_manner(Manner::Silent);
    cluster.spawn_all()?;
    for manner in [Manner::Silent, Manner::Empty, Manner::NoSuchName, Manner::Failure] {
        cluster.dns.set_manner(manner);
        still_empty_after_questions(&cluster, &format!("{manner:?}")).await?;
    }
    cluster.dns.set_manner(Manner::Records);
    cluster.found_and_form().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partial_answer_founds_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::prepare(&binaries::outrigger()?, folder.path(), 3).await?;
    // Each of them sees only itself, or nobody but the first: in either case it might believe to be alone.
    let first = cluster.member(0)?.address;
    let host = cluster.host(cluster.member(0)?);
    cluster.dns.set_addresses(&cluster.zone, &[first])?;
    cluster.dns.set_services(&format!("_peer._tcp.{}", cluster.zone), &[(host, 2380)])?;
    cluster.spawn_all()?;
    still_empty_after_questions(&cluster, "a partial answer").await?;
    cluster.publish()?;
    cluster.found_and_form().await?;
    Ok(())
}

async fn still_empty_after_questions(cluster: &Cluster, answer: &str) -> Result<()> {
    let wanted = cluster.dns.questions() + ENOUGH_QUESTIONS;
    let asked = async || (cluster.dns.questions() >= wanted).then_some(());
    wait::until(&format!("{ENOUGH_QUESTIONS} questions under {answer}"), STEP, asked).await?;
    for member in &cluster.members {
        let status = wait::until_ok("its status", STEP, async || member.status().await).await?;
        assert_eq!(status.phase(), Phase::Empty, "{} under {answer}", member.name);
        assert_eq!(status.cluster_id, 0, "{} under {answer}", member.name);
        assert!(!status.waiting_for.is_empty(), "{} says what it waits for", member.name);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_members_restart_while_dns_is_down() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 3).await?;
    put(&cluster, "before").await?;
    cluster.kill_all()?;
    cluster.dns.stop().await?;
    cluster.spawn_all()?;
    every_member_holds(&cluster, "before").await?;

    cluster.kill_all()?;
    cluster.dns.resume().await?;
    for manner in [Manner::Silent, Manner::NoSuchName, Manner::Slow(Duration::from_millis(800))] {
        cluster.dns.set_manner(manner);
        cluster.spawn_all()?;
        every_member_holds(&cluster, "before").await.with_context(|| format!("{manner:?}"))?;
        cluster.kill_all()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_addresses_change_at_once_under_the_same_names() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 3).await?;
    put(&cluster, "before").await?;
    cluster.kill_all()?;
    let _dns_range = cluster.move_to(AddressRange::claim()?)?;
    cluster.publish()?;
    cluster.spawn_all()?;
    every_member_holds(&cluster, "before").await?;
    put(&cluster, "after").await?;
    every_member_holds(&cluster, "after").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_addresses_change_at_once_to_other_names() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 3).await?;
    put(&cluster, "before").await?;
    cluster.kill_all()?;
    for place in 0..3 {
        let host = cluster.host(cluster.member(place)?);
        cluster.dns.set_addresses(&host, &[])?;
    }
    cluster.dns.set_addresses(&cluster.zone, &[])?;
    cluster.dns.set_services(&format!("_peer._tcp.{}", cluster.zone), &[])?;
    cluster.zone = "renamed-peers.test".to_owned();
    let _dns_range = cluster.move_to(AddressRange::claim()?)?;
    cluster.publish()?;
    cluster.spawn_all()?;
    every_member_holds(&cluster, "before").await?;
    put(&cluster, "after").await?;
    every_member_holds(&cluster, "after").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_points_at_another_member_reaches_nobody_by_mistake() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 3).await?;
    put(&cluster, "before").await?;
    let wrong = cluster.member(2)?.address;
    let host = cluster.host(cluster.member(1)?);
    cluster.dns.set_addresses(&host, &[wrong])?;
    cluster.kill(0)?;
    cluster.spawn(0)?;
    // Through orders-2, which both others reach: should orders-1 lead, orders-0 cannot dial it now.
    put_through(&cluster, 2, "meanwhile").await?;
    let settled = cluster.configured(3).await?;
    assert_eq!(settled.members.len(), 3, "membership is not DNS's to change: {:?}", settled.members);

    cluster.publish()?;
    let healed = async || {
        let status = cluster.leader_status().await?;
        let behind = status.members.iter().find(|member| member.match_index < status.commit_index);
        ensure!(behind.is_none(), "{behind:?} is behind {}", status.commit_index);
        Ok(())
    };
    wait::until_ok("all members level again", STEP, healed).await?;
    every_member_holds(&cluster, "meanwhile").await
}
