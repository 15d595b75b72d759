//! What only time can tell: since when a pod is unwell, since when a log stands still.
//!
//! May import: the facts. Deliberately absent: what follows from it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::facts::{Answer, Facts, MemberPhase, Pod};
use crate::ids::{Index, MemberId, Ordinal};

/// How long each pod has been unwell. Times are the caller's: durations since any one moment, on a monotonic clock.
#[derive(Debug, Default)]
pub struct Unwell(BTreeMap<Ordinal, Duration>);

impl Unwell {
    /// Notes how a pod is now, and says for how long it has not been well.
    pub fn note(&mut self, pod: Ordinal, answer: &Answer, now: Duration) -> Duration {
        let well = match answer {
            Answer::Report(report) => report.phase != MemberPhase::Faulted,
            Answer::Silent(_) => false,
        };
        if well {
            self.0.remove(&pod);
            return Duration::ZERO;
        }
        now.saturating_sub(*self.0.entry(pod).or_insert(now))
    }
}

/// How long the node of each pod has been lost.
#[derive(Debug, Default)]
pub struct LostNodes(BTreeMap<Ordinal, Duration>);

impl LostNodes {
    /// Holds a pod on a lost node to be unwell for no longer than its node is: what was wrong with it before is no reason to give its node less
    /// time to come back.
    pub fn note(&mut self, pods: &mut BTreeMap<Ordinal, Pod>, now: Duration) {
        self.0.retain(|ordinal, _| pods.get(ordinal).is_some_and(|pod| pod.lost_node.is_some()));
        for (ordinal, pod) in pods.iter_mut().filter(|(_, pod)| pod.lost_node.is_some()) {
            let since = *self.0.entry(*ordinal).or_insert(now);
            pod.unhealthy_for = pod.unhealthy_for.min(now.saturating_sub(since));
        }
    }
}

/// Since when each member's log stands still at the leader.
#[derive(Debug, Default)]
pub struct Stuck(BTreeMap<MemberId, (Index, Duration)>);

impl Stuck {
    /// Notes how far the leader has matched each member, and writes into the facts for how long that did not change although
    /// entries are missing.
    pub fn note(&mut self, facts: &mut Facts, now: Duration) {
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
                pod.stuck_for = since.map_or(Duration::ZERO, |(_, since)| now.saturating_sub(*since));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::fixture::*;

    #[test]
    fn a_lost_node_has_its_own_time_to_come_back() {
        let mut lost = LostNodes::default();
        let mut facts = healthy(3);
        silence(&mut facts, 2);
        let mut seen = |node: Option<&str>, unhealthy: u64, now: u64| {
            let pod = facts.pods.get_mut(&Ordinal(2)).unwrap();
            (pod.lost_node, pod.unhealthy_for) = (node.map(str::to_owned), Duration::from_secs(unhealthy));
            lost.note(&mut facts.pods, Duration::from_secs(now));
            facts.pods[&Ordinal(2)].unhealthy_for.as_secs()
        };
        assert_eq!(seen(None, 600, 600), 600, "it crashes again and again on a node that is well");
        assert_eq!(seen(Some("node-1"), 601, 601), 0, "and now its node reboots");
        assert_eq!(seen(Some("node-1"), 631, 631), 30);
        assert_eq!(seen(None, 640, 640), 640, "the node is back");
        assert_eq!(seen(Some("node-1"), 650, 650), 0);
    }

    #[test]
    fn a_log_is_stuck_while_it_lacks_entries_and_nothing_new_is_matched() {
        let mut stuck = Stuck::default();
        let mut now = Duration::ZERO;
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
