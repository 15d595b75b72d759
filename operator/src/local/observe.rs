//! Gathers the facts of a local run: what the processes do, what their members say, what is written on the volumes.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use super::loopback::{Loopback, PEER_PORT};
use super::member::{State, Supervised};
use crate::admin_client::AdminClients;
use crate::cluster::facts::{Answer, Facts, MemberPhase, Pod};
use crate::cluster::ids::{ClusterName, Index, MemberId, Ordinal};
use crate::cluster::report;

/// How long each pod has been unwell, by a monotonic clock.
#[derive(Debug, Default)]
pub struct Unwell(BTreeMap<Ordinal, Instant>);

impl Unwell {
    /// Notes how a pod is now, and says for how long it has not been well.
    fn note(&mut self, pod: Ordinal, well: bool) -> Duration {
        if well {
            self.0.remove(&pod);
            return Duration::ZERO;
        }
        self.0.entry(pod).or_insert_with(Instant::now).elapsed()
    }
}

/// Since when each member's log stands still at the leader.
#[derive(Debug, Default)]
pub struct Stuck(BTreeMap<MemberId, (Index, Instant)>);

impl Stuck {
    /// Notes how far the leader has matched each member, and writes into the facts for how long that did not change although
    /// entries are missing.
    pub fn note(&mut self, facts: &mut Facts, now: Instant) {
        let leader = facts.founding.cluster().and_then(|cluster| facts.leader_of(cluster));
        let lagging: BTreeMap<MemberId, Index> = leader
            .into_iter()
            .flat_map(|(_, leader)| &leader.peers)
            .filter_map(|peer| Some((peer.id, peer.progress.filter(|progress| progress.lag > 0)?.matched)))
            .collect();
        // One that lacks nothing, or that nobody leads, begins anew.
        self.0.retain(|member, (matched, _)| lagging.get(member) == Some(matched));
        for (member, matched) in lagging {
            self.0.entry(member).or_insert_with(|| (matched, now));
        }
        for pod in facts.pods.values_mut() {
            if let Answer::Report(report) = &pod.answer {
                let since = self.0.get(&report.member);
                pod.stuck_for = since.map_or(Duration::ZERO, |(_, since)| now.duration_since(*since));
            }
        }
    }
}

/// Asks every member at once; a silent one costs its deadline, not everybody's.
pub async fn pods(
    name: &ClusterName,
    members: &BTreeMap<Ordinal, Supervised>,
    loopback: Loopback,
    clients: &AdminClients,
    unwell: &mut Unwell,
) -> BTreeMap<Ordinal, Pod> {
    let asked = members.iter().map(|(ordinal, member)| async move {
        let answer = match member.state() {
            State::Running { .. } => ask(name, *ordinal, loopback, clients).await,
            State::BackOff { until, why } => {
                let seconds = until.saturating_duration_since(Instant::now()).as_secs_f32();
                Answer::Silent(format!("{why}; starts again in {seconds:.1} s"))
            }
            State::Stopped => Answer::Silent("not started".to_owned()),
        };
        (*ordinal, answer, member.is_outdated())
    });
    let answers = join_all(asked).await;
    answers
        .into_iter()
        .map(|(ordinal, answer, outdated)| {
            let well = match &answer {
                Answer::Report(report) => report.phase != MemberPhase::Faulted,
                Answer::Silent(_) => false,
            };
            let unhealthy_for = unwell.note(ordinal, well);
            (ordinal, Pod { answer, outdated, unhealthy_for, stuck_for: Duration::ZERO })
        })
        .collect()
}

async fn ask(name: &ClusterName, ordinal: Ordinal, loopback: Loopback, clients: &AdminClients) -> Answer {
    let address = loopback.socket(ordinal, PEER_PORT).to_string();
    match clients.status(&address).await {
        Ok(status) => match report::read(&name.pod(ordinal), status) {
            Ok(report) => Answer::Report(Box::new(report)),
            Err(unbelievable) => Answer::Silent(unbelievable.to_string()),
        },
        Err(error) => Answer::Silent(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::plan::fixture::*;

    #[test]
    fn a_log_is_stuck_while_it_lacks_entries_and_nothing_new_is_matched() {
        let mut stuck = Stuck::default();
        let mut now = Instant::now();
        let mut seen = |matched: u64, lag: u64| {
            let mut facts = healthy(3);
            seen_by_the_leader(&mut facts, 2, |seen| (seen.matched, seen.lag) = (Index(matched), lag));
            now += Duration::from_secs(1);
            stuck.note(&mut facts, now);
            assert_eq!(facts.pods[&Ordinal(0)].stuck_for, Duration::ZERO);
            facts.pods[&Ordinal(2)].stuck_for.as_secs()
        };
        assert_eq!(seen(7, 1), 0);
        assert_eq!(seen(7, 2), 1);
        assert_eq!(seen(7, 3), 2);
        assert_eq!(seen(8, 3), 0, "it advances");
        assert_eq!(seen(8, 3), 1);
        assert_eq!(seen(11, 0), 0, "it has everything");
        assert_eq!(seen(11, 5), 0, "what was before it does not count");
    }
}
