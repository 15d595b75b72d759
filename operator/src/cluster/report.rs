//! From the wire's `StatusResponse` to a [`Report`].
//!
//! A member's answer is input from outside: ids of 0, unknown enum numbers and another pod's name are met here, once, so
//! that nothing behind it has to.

use std::time::Duration;

use outrigger_proto::v1;

use super::facts::{Configuration, MemberPhase, Peer, Progress, RaftRole, Report, Roster, RosterRole};
use super::ids::{ClusterId, ConfigurationIndex, Index, MemberId, Term};

/// Why an answer is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unbelievable {
    /// Another member answers at this address.
    #[error("{found:?} answers in place of {expected:?}: the address was handed to another pod")]
    OtherName {
        /// Who should have answered.
        expected: String,
        /// Who did.
        found: String,
    },
    /// The answer has no member id.
    #[error("{name} answered without a member id: it has not opened its data directory yet")]
    NoMemberId {
        /// Who answered.
        name: String,
    },
    /// The answer has a phase that this version does not know.
    #[error(
        "{name} (version {version}) answered with phase {phase}, which this version does not know: upgrade the operator first"
    )]
    UnknownPhase {
        /// Who answered.
        name: String,
        /// Its version.
        version: String,
        /// The number that stands there.
        phase: i32,
    },
}

/// Reads an answer that was asked of the pod `expected`.
///
/// # Errors
/// The answer is another pod's, or cannot be understood: the pod then counts as silent.
pub fn read(expected: &str, status: v1::StatusResponse) -> Result<Report, Unbelievable> {
    if status.name != expected {
        return Err(Unbelievable::OtherName { expected: expected.to_owned(), found: status.name });
    }
    let Some(member) = MemberId::from_wire(status.member_id) else {
        return Err(Unbelievable::NoMemberId { name: status.name });
    };
    let phase = match v1::Phase::try_from(status.phase) {
        Ok(v1::Phase::Empty) => MemberPhase::Empty,
        Ok(v1::Phase::Joining) => MemberPhase::Joining,
        Ok(v1::Phase::Member) => MemberPhase::Member,
        Ok(v1::Phase::Removed) => MemberPhase::Removed,
        Ok(v1::Phase::Faulted) => MemberPhase::Faulted,
        Ok(v1::Phase::Unspecified) | Err(_) => {
            return Err(Unbelievable::UnknownPhase {
                name: status.name,
                version: status.version,
                phase: status.phase,
            });
        }
    };
    let role = match v1::Role::try_from(status.role) {
        Ok(v1::Role::Follower) => RaftRole::Follower,
        Ok(v1::Role::Candidate) => RaftRole::Candidate,
        Ok(v1::Role::Leader) => RaftRole::Leader,
        Ok(v1::Role::Learner) => RaftRole::Learner,
        Ok(v1::Role::Unspecified) | Err(_) => RaftRole::None,
    };
    let leads = role == RaftRole::Leader;
    Ok(Report {
        phase,
        cluster: ClusterId::from_wire(status.cluster_id),
        member,
        address: status.address,
        version: status.version,
        role,
        term: Term(status.term),
        leader: MemberId::from_wire(status.leader_id),
        commit: Index(status.commit_index),
        applied: Index(status.applied_index),
        formed: status.formed,
        configuration_index: ConfigurationIndex(status.configuration_index),
        durable_configuration_index: ConfigurationIndex(status.durable_configuration_index),
        configuration: status.conf_state.map(configuration).unwrap_or_default(),
        peers: status.members.into_iter().filter_map(|member| peer(member, leads)).collect(),
        roster: status.roster.into_iter().map(roster_entry).collect(),
        abandoned: status.abandoned.into_iter().filter_map(ClusterId::from_wire).collect(),
        draining: status.draining,
        waiting_for: status.waiting_for,
        fault: status.fault,
    })
}

/// A roster as the wire carries it.
#[must_use]
pub fn roster_to_wire(roster: &Roster) -> Vec<v1::RosterEntry> {
    roster
        .iter()
        .map(|(name, role)| v1::RosterEntry { name: name.clone(), learner: *role == RosterRole::Learner })
        .collect()
}

fn roster_entry(entry: v1::RosterEntry) -> (String, RosterRole) {
    let v1::RosterEntry { name, learner } = entry;
    (name, if learner { RosterRole::Learner } else { RosterRole::Voter })
}

fn configuration(state: v1::ConfState) -> Configuration {
    let v1::ConfState { voters, learners, voters_outgoing, learners_next } = state;
    let set = |ids: Vec<u64>| ids.into_iter().filter_map(MemberId::from_wire).collect();
    Configuration {
        voters: set(voters),
        learners: set(learners),
        voters_outgoing: set(voters_outgoing),
        learners_next: set(learners_next),
    }
}

fn peer(member: v1::Member, leads: bool) -> Option<Peer> {
    Some(Peer {
        id: MemberId::from_wire(member.id)?,
        name: member.name,
        address: member.address,
        progress: leads.then(|| Progress {
            matched: Index(member.match_index),
            lag: member.lag,
            last_contact: u64::try_from(member.last_contact_ms).ok().map(Duration::from_millis),
            active: member.active,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> v1::StatusResponse {
        v1::StatusResponse {
            phase: v1::Phase::Member.into(),
            name: "orders-0".to_owned(),
            member_id: 7,
            ..v1::StatusResponse::default()
        }
    }

    #[test]
    fn an_answer_under_another_name_is_not_believed() {
        let error = read("orders-1", status()).unwrap_err();
        assert!(error.to_string().contains("\"orders-0\" answers in place of \"orders-1\""), "{error}");
    }

    #[test]
    fn an_answer_without_an_id_or_with_an_unknown_phase_is_not_believed() {
        let mut without = status();
        without.member_id = 0;
        assert!(matches!(read("orders-0", without), Err(Unbelievable::NoMemberId { .. })));
        for phase in [0, 99] {
            let mut unknown = status();
            unknown.phase = phase;
            assert!(matches!(read("orders-0", unknown), Err(Unbelievable::UnknownPhase { .. })));
        }
    }

    #[test]
    fn progress_is_taken_from_a_leader_only() {
        let member = v1::Member {
            id: 8,
            name: "orders-1".into(),
            match_index: 95,
            lag: 5,
            last_contact_ms: 20,
            active: true,
            ..v1::Member::default()
        };
        let mut follower = status();
        follower.role = v1::Role::Follower.into();
        follower.members = vec![member.clone()];
        let mut leader = follower.clone();
        leader.role = v1::Role::Leader.into();
        let never = v1::Member { id: 9, match_index: 0, last_contact_ms: -1, active: false, ..member };
        leader.members.push(never);
        assert_eq!(read("orders-0", follower).unwrap().peers[0].progress, None);
        let seen = read("orders-0", leader).unwrap().peers;
        let heard = Some(Duration::from_millis(20));
        let followed = Progress { matched: Index(95), lag: 5, last_contact: heard, active: true };
        assert_eq!(seen[0].progress, Some(followed));
        let unheard = Progress { matched: Index(0), last_contact: None, active: false, ..followed };
        assert_eq!(seen[1].progress, Some(unheard));
    }
}
