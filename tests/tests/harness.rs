//! The harness judged on the real etcd: what it calls a proof must hold there, and its faults must be faults.

use std::time::Duration;

use anyhow::Result;
use outrigger_tests::etcd_cluster::EtcdCluster;
use outrigger_tests::etcd_wire::Client;
use outrigger_tests::history::{Outcome, Stored, ValueId};
use outrigger_tests::linearizability::{self, DEFAULT_BUDGET_STEPS, acknowledged};
use outrigger_tests::nemesis::progress;
use outrigger_tests::workload::{self, Plan, Workload};
use outrigger_tests::{binaries, wait};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_etcd_passes_the_judge_over_the_loss_of_its_leader() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut etcd = EtcdCluster::start(&binaries::etcd()?, folder.path(), 3).await?;
    let load = Workload::start(&Plan::contended(etcd.endpoints(), 1))?;
    progress(&load, "at the start").await?;
    let leader = leader(&etcd).await?;
    etcd.processes_mut()[leader].kill()?;
    progress(&load, "without the old leader").await?;
    etcd.restart(leader)?;
    etcd.serving().await?;
    progress(&load, "after its return").await?;
    let mut history = load.finish().await?;

    let proof = linearizability::check(&history, DEFAULT_BUDGET_STEPS)?;
    let mut client = Client::lazy(etcd.endpoints()[0])?;
    let mut state = workload::final_state(&mut client).await?;
    let checked = acknowledged::check(&history, &state)?;
    assert!(checked >= 60, "{checked} acknowledged writes, proof {proof:?}");

    // The same evidence, tampered with, must be refused.
    let lost = state.keys().max().copied().expect("keys that are written once");
    state.remove(&lost);
    assert!(acknowledged::check(&history, &state).is_err());
    let read = history.iter_mut().find_map(|one| {
        if let Outcome::Read { stored: Some(stored), .. } = &mut one.outcome { Some(stored) } else { None }
    });
    *read.expect("a read that saw something") = Stored { value: ValueId(u64::MAX), mod_revision: 1.into() };
    assert!(linearizability::check(&history, DEFAULT_BUDGET_STEPS).is_err());
    Ok(())
}

async fn leader(etcd: &EtcdCluster) -> Result<usize> {
    wait::until("a leader of etcd", Duration::from_secs(30), async || {
        for (ordinal, endpoint) in etcd.endpoints().into_iter().enumerate() {
            let status = Client::lazy(endpoint).ok()?.status(Duration::from_secs(1)).await;
            if status.is_ok_and(|status| status.is_leader()) {
                return Some(ordinal);
            }
        }
        None
    })
    .await
}
