//! How many pods an eviction has to leave.
//!
//! Pure. Deliberately absent: the object that says so (`build`).

use super::facts::{Facts, RosterRole};

/// What the disruption budget is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// So many pods.
    AtLeast(u8),
    /// One voter is all there is, and no budget can protect it.
    None,
    /// Nobody leads, or nobody who leads can be asked: what was right before still is. An election is when a second eviction would hurt most.
    AsBefore,
}

/// A quorum of the voters that there are or may be soon: the leader promotes whom the roster names by itself, so the budget is raised before a
/// name is written, and lowered after the last one is gone.
#[must_use]
pub fn needed(facts: &Facts) -> Needed {
    let leader = facts.founding.cluster().and_then(|cluster| facts.leader_of(cluster));
    let Some((_, leader)) = leader else { return Needed::AsBefore };
    let configuration = &leader.configuration;
    let rostered = leader.roster.values().filter(|role| **role == RosterRole::Voter).count();
    let counts = [
        configuration.voters.len(),
        configuration.voters_outgoing.len(),
        rostered,
        usize::from(facts.replicas),
    ];
    let voters = counts.into_iter().max().unwrap_or_default();
    match u8::try_from(voters / 2 + 1) {
        Ok(quorum) if voters > 1 => Needed::AtLeast(quorum),
        Ok(_) | Err(_) => Needed::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::facts::RaftRole;
    use outrigger_plan::decide::fixture::*;

    #[test]
    fn the_budget_is_a_quorum_of_the_voters_that_there_are_or_may_be() {
        assert_eq!(needed(&healthy(1)), Needed::None);
        assert_eq!(needed(&healthy(3)), Needed::AtLeast(2));
        assert_eq!(needed(&healthy(5)), Needed::AtLeast(3));
        let mut growing = healthy(3);
        growing.replicas = 5;
        assert_eq!(needed(&growing), Needed::AtLeast(3), "raised before a name is written");
        let mut reverted = healthy(3);
        edit_all(&mut reverted, |report| report.roster = roster(5));
        assert_eq!(needed(&reverted), Needed::AtLeast(3), "the leader may still promote them");
        let mut shrinking = healthy(3);
        shrinking.replicas = 1;
        assert_eq!(needed(&shrinking), Needed::AtLeast(2), "lowered only when they are gone");
    }

    #[test]
    fn without_a_leader_the_budget_stays() {
        let mut electing = healthy(3);
        edit_all(&mut electing, |report| report.role = RaftRole::Follower);
        assert_eq!(needed(&electing), Needed::AsBefore);
        let mut cut_off = healthy(3);
        (0..3).for_each(|pod| silence(&mut cut_off, pod));
        assert_eq!(needed(&cut_off), Needed::AsBefore);
    }
}
