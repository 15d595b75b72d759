//! Founding by hand: what a person's `--found` on one member does in place of the operator.
//!
//! May import: `seeds`' answers, core's requests. Deliberately absent: asking (`empty`), and writing the first frame.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use outrigger_core::event::AdminRequest;
use outrigger_core::membership::{RosterEntry, Route};
use outrigger_core::status::NodeStatus;
use outrigger_core::types::ClusterId;
use outrigger_proto::v1::Phase;

use super::seeds::Seed;
use crate::inbox::NodeHandle;

/// A leader that does not form yet is asked again after this.
const FORM_AGAIN: Duration = Duration::from_millis(100);

/// Roster and seeds of a cluster of `wanted` members, this one included, once so many disks are empty: the first by name
/// where there are more. All that DNS names must answer, and be empty: a silent one may belong to a cluster, and a second
/// one beside it is what must never be.
///
/// # Errors
/// For people: what is waited for.
pub(super) fn found(
    wanted: u32,
    own: &Route,
    seeds: &[Seed],
    silent: &[&str],
) -> Result<(Vec<RosterEntry>, Vec<Route>), String> {
    let others = || seeds.iter().filter(|seed| seed.member != own.id);
    if let Some(seed) = others().find(|seed| seed.phase != Phase::Empty || seed.cluster != ClusterId(0)) {
        let phase = seed.phase.as_str_name().trim_start_matches("PHASE_").to_ascii_lowercase();
        return Err(format!(
            "{} at {} is not empty ({phase}, cluster {:016x}): let it bring this member in, or wipe its disk",
            seed.name, seed.address, seed.cluster.0
        ));
    }
    if let Some(first) = silent.first() {
        let (count, all) = (silent.len(), seeds.len() + silent.len());
        return Err(format!(
            "{count} of the {all} seeds that DNS names do not answer ({first} ...), and may belong to a cluster"
        ));
    }
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let by_name: BTreeMap<&str, &Seed> =
        others().filter(|seed| seed.name != own.name).map(|seed| (seed.name.as_str(), seed)).collect();
    if by_name.len() + 1 < wanted {
        return Err(format!("{} of {wanted} empty members answer", by_name.len() + 1));
    }
    let seeds: Vec<Route> = by_name
        .values()
        .take(wanted.saturating_sub(1))
        .map(|seed| Route {
            id: seed.member,
            name: seed.name.clone(),
            address: seed.address.clone(),
            ..Route::default()
        })
        .collect();
    let names = seeds.iter().map(|seed| &seed.name).chain([&own.name]);
    let roster = names.map(|name| RosterEntry { name: name.clone(), learner: false }).collect();
    Ok((roster, seeds))
}

/// Which of the addresses that were asked did not answer and might be another member's: not this one's own, and none of a
/// family that members do not listen on, as of a name that has both.
pub(super) fn silent<'a>(
    asked: &'a [String],
    seeds: &[Seed],
    own: &Route,
    listen: SocketAddr,
) -> Vec<&'a str> {
    let is_served = |address: &str| {
        // A name, or an address of either family where both come in at one door.
        listen.is_ipv6() || address.parse::<SocketAddr>().map_or(true, |address| address.is_ipv4())
    };
    let is_silent = |address: &&str| {
        *address != own.address && is_served(address) && seeds.iter().all(|seed| seed.address != *address)
    };
    asked.iter().map(String::as_str).filter(is_silent).collect()
}

/// Has the cluster formed once it has its voters, whoever leads it by then. Ends when it is formed, or with the node.
pub(super) async fn form(node: Arc<NodeHandle>, cluster: ClusterId, voters: u32) {
    let voters = usize::try_from(voters).unwrap_or(usize::MAX);
    let is_complete = |status: &NodeStatus| {
        let conf_state = &status.conf_state;
        status.leader.is_some() && conf_state.voters.len() >= voters && !conf_state.is_joint()
    };
    let mut statuses = node.status_changes();
    loop {
        let waited = statuses.wait_for(|status| status.formed || is_complete(status)).await;
        if waited.map_or(true, |status| status.formed) {
            return;
        }
        match node.admin(AdminRequest::Form { cluster }).await {
            Ok(_) => return,
            // Not settled yet, or the leader went: what is wrong for longer shows in the status.
            Err(refusal) => tracing::debug!(%refusal, "not formed yet"),
        }
        tokio::time::sleep(FORM_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use outrigger_core::error::Refusal;
    use outrigger_core::event::AdminReply;
    use outrigger_core::types::MemberId;
    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::inbox::Input;

    fn seed(n: u64, name: &str) -> Seed {
        let address = format!("10.0.0.{n}:2380");
        Seed { address, name: name.into(), member: MemberId(n), phase: Phase::Empty, cluster: ClusterId(0) }
    }

    fn own() -> Route {
        Route { id: MemberId(1), name: "a".into(), ..Route::default() }
    }

    fn names(wanted: u32, seeds: &[Seed], silent: &[&str]) -> Result<Vec<String>, String> {
        let (roster, seeds) = found(wanted, &own(), seeds, silent)?;
        assert_eq!(seeds.len() + 1, roster.len(), "everyone but the founder is told how to be reached");
        let mut names: Vec<String> = roster.into_iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        Ok(names)
    }

    #[test]
    fn as_many_as_are_wanted_found_when_all_that_dns_names_are_empty() {
        let abc = [seed(1, "a"), seed(2, "b"), seed(3, "c")];
        assert_eq!(names(3, &abc, &[]).unwrap(), ["a", "b", "c"]);
        assert_eq!(names(1, &[], &[]).unwrap(), ["a"], "alone, without a name to ask");
        assert_eq!(names(2, &abc, &[]).unwrap(), ["a", "b"], "who is one too many is not counted on");
        // One member under two addresses is one.
        let twice = [seed(1, "a"), seed(2, "b"), Seed { address: "[fd00::2]:2380".into(), ..seed(2, "b") }];
        assert!(names(3, &twice, &[]).unwrap_err().contains("2 of 3 empty members"));
    }

    #[test]
    fn a_silent_seed_or_one_of_a_cluster_keeps_everyone_from_founding() {
        let silent = names(1, &[seed(1, "a")], &["b:2380", "c:2380"]).unwrap_err();
        assert!(silent.contains("2 of the 3 seeds") && silent.contains("b:2380"), "{silent}");
        assert!(names(3, &[seed(1, "a"), seed(2, "b"), seed(3, "c")], &["d:2380"]).is_err());
        for phase in [Phase::Member, Phase::Joining, Phase::Removed, Phase::Faulted, Phase::Unspecified] {
            let other = Seed { phase, cluster: ClusterId(7), ..seed(4, "d") };
            let refusal = names(3, &[seed(1, "a"), seed(2, "b"), seed(3, "c"), other], &[]).unwrap_err();
            assert!(refusal.contains("d at 10.0.0.4:2380 is not empty"), "{refusal}");
        }
    }

    #[test]
    fn only_an_address_that_may_be_another_members_counts_as_silent() {
        let asked = ["10.0.0.1:2380", "10.0.0.2:2380", "10.0.0.3:2380", "[fd00::2]:2380", "d.peers:2380"];
        let asked = asked.map(String::from);
        let own = Route { address: "10.0.0.1:2380".into(), ..own() };
        let on = |listen: &str| silent(&asked, &[seed(2, "b")], &own, listen.parse().unwrap());
        assert_eq!(on("0.0.0.0:2380"), ["10.0.0.3:2380", "d.peers:2380"]);
        assert_eq!(on("[::]:2380"), ["10.0.0.3:2380", "[fd00::2]:2380", "d.peers:2380"]);
    }

    /// The founder need not be the leader by the time that the configuration is complete, nor the leader be settled.
    #[tokio::test]
    async fn whoever_leads_is_asked_to_form_until_it_does() {
        let status = |voters: u64, leader: Option<u64>| {
            let mut status = NodeStatus { leader: leader.map(MemberId), ..NodeStatus::default() };
            status.conf_state.voters = (1..=voters).map(MemberId).collect();
            Arc::new(status)
        };
        let (inputs, mut asked) = mpsc::channel(4);
        let (statuses, seen) = watch::channel(status(1, Some(2)));
        let node = NodeHandle::new(inputs, Arc::default(), seen);
        let forming = tokio::spawn(form(Arc::new(node), ClusterId(7), 3));
        for incomplete in [status(1, Some(2)), status(3, None)] {
            statuses.send_replace(incomplete);
            tokio::task::yield_now().await;
            assert!(asked.try_recv().is_err(), "there is nothing to form, or nobody to ask");
        }
        statuses.send_replace(status(3, Some(2)));
        for outcome in [Err(Refusal::LeaderChanged), Ok(AdminReply::Done)] {
            let Some(Input::Admin { request, reply }) = asked.recv().await else { panic!("not asked") };
            assert_eq!(request, AdminRequest::Form { cluster: ClusterId(7) });
            assert!(!forming.is_finished());
            reply.send(outcome).unwrap();
        }
        forming.await.unwrap();
    }
}
