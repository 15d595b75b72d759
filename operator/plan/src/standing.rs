//! Whether a member is in step with its leader: the one judgement that the plan and the status share.
//!
//! A member's own word is not enough. One whose log the leader cannot match with its own answers, has applied all that it
//! knows of, and would not help a quorum: only the leader's progress tells. Pure; times come in with the facts.

use std::time::Duration;

use crate::facts::{Answer, Facts, MemberPhase, Report};
use crate::ids::Ordinal;

/// Entries that a member may be behind and still count as caught up: as many as the leader itself is content with before it promotes a
/// learner. Under a load of 10,000 puts/s the slowest of three is always some hundred behind in any one moment; who is that far behind and
/// does not come forward is stuck.
pub const CAUGHT_UP_ENTRIES: u64 = 1_024;
/// A log that lacks entries and stood still for this long is not catching up. Far longer than a slow `fdatasync`.
pub const STUCK_AFTER: Duration = Duration::from_secs(2);

/// How a pod's member stands to its leader. Texts hold no counters: they go into a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Standing {
    /// It has what the leader has, but for a few entries, and the leader knows it.
    #[error("in step with the leader")]
    InStep,
    /// It did not answer.
    #[error("silent")]
    Silent,
    /// It halted on a fault.
    #[error("halted on a fault")]
    Faulted,
    /// It runs no raft node of this cluster (yet, or any more), or the leader's configuration does not have it.
    #[error("no member of the leader's configuration")]
    Outside,
    /// Nobody leads.
    #[error("without a leader")]
    Leaderless,
    /// The leader never found where its log and this one agree: a member that just (re)connected, or one that diverged.
    #[error("the leader has not matched this log with its own in this term")]
    Unmatched,
    /// The leader does not hear from it, though it answers here.
    #[error("the leader has not heard from it within an election timeout")]
    Unheard,
    /// The leader hears from it, and its log does not advance.
    #[error("its log lacks entries of the leader and does not advance")]
    Stuck,
    /// It does not know yet that clients are served, or lags behind by more than a few entries.
    #[error("catching up")]
    Behind,
}

impl Standing {
    /// How a pod's member stands to `leader`.
    #[must_use]
    pub fn of(facts: &Facts, pod: Ordinal, leader: Option<&Report>) -> Self {
        let Some(pod) = facts.pods.get(&pod) else { return Self::Silent };
        let report = match &pod.answer {
            Answer::Report(report) => report,
            Answer::Silent(_) => return Self::Silent,
        };
        match report.phase {
            MemberPhase::Faulted => return Self::Faulted,
            MemberPhase::Empty | MemberPhase::Joining | MemberPhase::Removed => return Self::Outside,
            MemberPhase::Member => {}
        }
        let Some(leader) = leader else { return Self::Leaderless };
        if report.cluster != leader.cluster || !leader.configuration.names(report.member) {
            return Self::Outside;
        }
        if report.member != leader.member
            && let Some(wrong) = followed(leader, report, pod.stuck_for)
        {
            return wrong;
        }
        let applied_behind = leader.commit.0.saturating_sub(report.applied.0);
        if report.formed && applied_behind <= CAUGHT_UP_ENTRIES { Self::InStep } else { Self::Behind }
    }
}

/// What the leader's progress has against a follower, if anything.
fn followed(leader: &Report, follower: &Report, stuck_for: Duration) -> Option<Standing> {
    let progress = leader.peers.iter().find(|peer| peer.id == follower.member).and_then(|peer| peer.progress);
    let Some(progress) = progress else { return Some(Standing::Unmatched) };
    if !progress.active {
        Some(Standing::Unheard)
    } else if progress.matched.0 == 0 {
        Some(Standing::Unmatched)
    } else if progress.lag > 0 && stuck_for >= STUCK_AFTER {
        Some(Standing::Stuck)
    } else if progress.lag > CAUGHT_UP_ENTRIES {
        Some(Standing::Behind)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::fixture::*;
    use crate::ids::Index;

    type Change = fn(&mut Facts);

    #[test]
    fn a_member_is_in_step_only_by_the_leaders_word() {
        let rows: [(&str, Change, Standing); 9] = [
            ("nothing wrong", |_| {}, Standing::InStep),
            (
                "a few entries",
                |facts| seen_by_the_leader(facts, 2, |seen| seen.lag = 1_024),
                Standing::InStep,
            ),
            ("more", |facts| seen_by_the_leader(facts, 2, |seen| seen.lag = 1_025), Standing::Behind),
            (
                "diverged: it has applied everything, and its log was never matched",
                |facts| {
                    seen_by_the_leader(facts, 2, |seen| {
                        seen.matched = Index(0);
                        seen.lag = 9;
                    });
                },
                Standing::Unmatched,
            ),
            (
                "not heard from",
                |facts| seen_by_the_leader(facts, 2, |seen| seen.active = false),
                Standing::Unheard,
            ),
            (
                "one entry, for long",
                |facts| {
                    seen_by_the_leader(facts, 2, |seen| seen.lag = 1);
                    facts.pods.get_mut(&Ordinal(2)).unwrap().stuck_for = STUCK_AFTER;
                },
                Standing::Stuck,
            ),
            (
                "the leader does not know it",
                |facts| edit(facts, 1, |leader| leader.peers.clear()),
                Standing::Unmatched,
            ),
            ("silent", |facts| silence(facts, 2), Standing::Silent),
            (
                "an applier behind",
                |facts| edit(facts, 2, |report| report.applied = Index(8_000)),
                Standing::Behind,
            ),
        ];
        for (what, change, wanted) in rows {
            let mut facts = healthy(3);
            change(&mut facts);
            let leader = facts.leader_of(cluster(A)).map(|(_, leader)| leader);
            assert_eq!(Standing::of(&facts, Ordinal(2), leader), wanted, "{what}");
            assert_eq!(
                Standing::of(&facts, Ordinal(1), leader),
                Standing::InStep,
                "the leader, with: {what}"
            );
        }
    }

    #[test]
    fn nobody_is_in_step_without_a_leader() {
        assert_eq!(Standing::of(&healthy(3), Ordinal(2), None), Standing::Leaderless);
    }
}
