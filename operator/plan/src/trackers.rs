//! What only time can tell: since when a pod is unwell, since when a log stands still.
//!
//! May import: the facts. Deliberately absent: what follows from it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::facts::{Answer, Facts, MemberPhase};
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
