//! The leader's answer to a request: what to propose, or why not. Pure: facts in, decision out.
//!
//! May import: `membership`, `error`, `event`'s requests, `wire`. Deliberately absent: raft; what a decision needs to know
//! of liveness comes as [`Liveness`].

use std::collections::BTreeMap;

use crate::error::MembershipRefusal;
use crate::event::{AdminRequest, MemberSelector};
use crate::log::ConfState;
use crate::membership::{Membership, RosterEntry, Route};
use crate::types::{ClusterId, Index, MemberId};
use crate::wire::{AdmitWire, FormWire, MembershipOp, MetadataWire};

/// Voters at the most, as the custom resource has it.
const MAX_VOTERS: usize = 9;

/// What the leader knows of the others' being alive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Liveness {
    /// Ticks since each was last heard; absent: never in this term.
    pub(crate) silent_ticks: BTreeMap<MemberId, u64>,
    /// Ticks for which this leader leads.
    pub(crate) leading_ticks: u64,
    /// One election timeout.
    pub(crate) election_ticks: u64,
}

impl Liveness {
    /// Heard within one election timeout.
    pub(crate) fn is_alive(&self, id: MemberId) -> bool {
        self.silent_ticks.get(&id).is_some_and(|ticks| *ticks < self.election_ticks)
    }

    /// A leader of at least one election timeout that has not heard from it for as long. A fresh leader has heard from
    /// nobody and must not conclude anything.
    pub(crate) fn is_gone(&self, id: MemberId) -> bool {
        self.leading_ticks >= self.election_ticks && !self.is_alive(id)
    }
}

/// What stands when the request comes.
#[derive(Debug)]
pub(crate) struct Standing<'a> {
    pub(crate) membership: &'a Membership,
    pub(crate) conf_state: &'a ConfState,
    pub(crate) liveness: &'a Liveness,
    pub(crate) own: MemberId,
    /// An entry that changes the membership is in the log and not yet applied.
    pub(crate) change_pending: bool,
    /// A majority of the voters has the newest configuration applied and its commit durable.
    pub(crate) settled: bool,
}

/// What to do about a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decision {
    /// Propose it as a membership entry.
    Propose(MembershipOp),
    /// Propose to let this learner in.
    AddLearner(Route),
    /// It is so already.
    AlreadyDone,
    /// The joiner is in already.
    AlreadyJoined,
    /// Move the leadership there.
    Transfer(Option<MemberId>),
}

/// Decides on a request.
///
/// # Errors
/// The refusal that the caller gets.
pub(crate) fn decide(standing: &Standing<'_>, request: &AdminRequest) -> Result<Decision, MembershipRefusal> {
    match request {
        AdminRequest::Admit { cluster, expected, roster } => {
            same_cluster(standing, *cluster)?;
            admit(standing, *expected, roster)
        }
        AdminRequest::Join { cluster, route, abandoned } => {
            if cluster.0 != 0 {
                same_cluster(standing, *cluster)?;
            }
            if abandoned.contains(&standing.membership.cluster) {
                let actual = standing.membership.cluster;
                return Err(MembershipRefusal::WrongCluster { actual, given: actual });
            }
            join(standing, route)
        }
        AdminRequest::Remove { cluster, target, expected } => {
            if cluster.0 != 0 {
                same_cluster(standing, *cluster)?;
            }
            let (id, name) = select(standing, target)?;
            // Names are what is admitted: without the name all go that hold it.
            let is_other = |other: &MemberId| *other != id && standing.conf_state.contains(*other);
            let other = standing.membership.holders(&name).find(is_other);
            if let (MemberSelector::Id(_), Some(other)) = (target, other) {
                return Err(MembershipRefusal::NameHeldTwice { name, id, other });
            }
            let mut roster = standing.membership.roster_entries();
            roster.retain(|entry| entry.name != name);
            admit(standing, *expected, &roster)
        }
        AdminRequest::Form { cluster } => {
            same_cluster(standing, *cluster)?;
            form(standing)
        }
        AdminRequest::Transfer { to } => {
            let to = to.as_ref().map(|target| select(standing, target)).transpose()?.map(|(id, _)| id);
            match to {
                Some(id) if id == standing.own => Ok(Decision::AlreadyDone),
                Some(id) if !standing.conf_state.voters.contains(&id) => Err(MembershipRefusal::NoTransferee),
                other => Ok(Decision::Transfer(other)),
            }
        }
        AdminRequest::SetMetadata { key, value } => metadata(standing, key, value.as_ref()),
    }
}

fn same_cluster(standing: &Standing<'_>, given: ClusterId) -> Result<(), MembershipRefusal> {
    let actual = standing.membership.cluster;
    if given == actual { Ok(()) } else { Err(MembershipRefusal::WrongCluster { actual, given }) }
}

fn select(standing: &Standing<'_>, target: &MemberSelector) -> Result<(MemberId, String), MembershipRefusal> {
    let found = standing.membership.routes.values().find(|route| match target {
        MemberSelector::Id(id) => route.id == *id,
        MemberSelector::Name(name) => route.name == *name,
    });
    match (found, target) {
        (Some(route), _) => Ok((route.id, route.name.clone())),
        // A name that was admitted but never joined can be dropped too.
        (None, MemberSelector::Name(name)) if standing.membership.roster.contains_key(name) => {
            Ok((MemberId(0), name.clone()))
        }
        (None, MemberSelector::Name(_) | MemberSelector::Id(_)) => Err(MembershipRefusal::MemberNotFound),
    }
}

fn admit(
    standing: &Standing<'_>,
    expected: Option<Index>,
    roster: &[RosterEntry],
) -> Result<Decision, MembershipRefusal> {
    let Standing { membership, conf_state, liveness, own, change_pending, .. } = standing;
    if let Some(expected) = expected
        && expected != membership.configuration_index
    {
        return Err(MembershipRefusal::StaleConfiguration {
            expected,
            actual: membership.configuration_index,
        });
    }
    check_roster(roster)?;
    let target: BTreeMap<String, bool> = roster.iter().map(|e| (e.name.clone(), e.learner)).collect();
    if target == membership.roster {
        return Ok(Decision::AlreadyDone);
    }
    if *change_pending || conf_state.is_joint() {
        return Err(MembershipRefusal::ConfChangeInProgress);
    }
    let stays = |id: &&MemberId| {
        membership.name_of(**id).and_then(|name| target.get(name)).is_some_and(|learner| !learner)
    };
    let remaining: Vec<MemberId> = conf_state.voters.iter().filter(stays).copied().collect();
    if remaining.len() < conf_state.voters.len() {
        let is_silent = |id: &&MemberId| **id != *own && !liveness.is_alive(**id);
        let silent: Vec<&str> =
            remaining.iter().filter(is_silent).filter_map(|id| membership.name_of(*id)).collect();
        let (voters, quorum) = (remaining.len(), remaining.len() / 2 + 1);
        let live = voters - silent.len();
        if live < quorum {
            return Err(MembershipRefusal::QuorumAtRisk { live, voters, quorum, silent: silent.join(", ") });
        }
    }
    let roster = roster.iter().map(Into::into).collect();
    Ok(Decision::Propose(MembershipOp::Admit(AdmitWire {
        roster,
        // Applied by compare-and-set too: what stands may change between this decision and the entry's place.
        expected: Some(membership.configuration_index.0),
    })))
}

fn check_roster(roster: &[RosterEntry]) -> Result<(), MembershipRefusal> {
    let invalid = |reason: &'static str| Err(MembershipRefusal::InvalidRoster { reason: reason.into() });
    let mut names: Vec<&str> = roster.iter().map(|entry| entry.name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair.first() == pair.last()) {
        return invalid("a name stands in it twice");
    }
    if names.iter().any(|name| name.is_empty() || name.len() > 253) {
        return invalid("a name is empty or longer than 253 bytes");
    }
    let voters = roster.iter().filter(|entry| !entry.learner).count();
    if voters == 0 {
        return invalid("it has no voter");
    }
    if voters > MAX_VOTERS {
        return invalid("it has more than 9 voters");
    }
    Ok(())
}

fn join(standing: &Standing<'_>, route: &Route) -> Result<Decision, MembershipRefusal> {
    let Standing { membership, conf_state, liveness, own, change_pending, .. } = standing;
    if membership.tombstones.contains(&route.id) {
        return Err(MembershipRefusal::Tombstoned(route.id));
    }
    if conf_state.contains(route.id) {
        return Ok(Decision::AlreadyJoined);
    }
    membership.check_learner(route)?;
    for holder in membership.holders(&route.name) {
        if !conf_state.contains(holder) {
            continue;
        }
        if holder == *own || liveness.is_alive(holder) {
            return Err(MembershipRefusal::AlreadyExists { name: route.name.clone(), id: holder });
        }
        if !liveness.is_gone(holder) {
            return Err(MembershipRefusal::HolderUndecided { name: route.name.clone(), id: holder });
        }
    }
    if *change_pending || conf_state.is_joint() {
        return Err(MembershipRefusal::ConfChangeInProgress);
    }
    Ok(Decision::AddLearner(route.clone()))
}

fn form(standing: &Standing<'_>) -> Result<Decision, MembershipRefusal> {
    let Standing { membership, conf_state, settled, .. } = standing;
    if membership.formed {
        return Ok(Decision::AlreadyDone);
    }
    let expected = membership.roster.values().filter(|learner| !**learner).count();
    let joined = conf_state.voters.len();
    if conf_state.is_joint() || joined < expected || !settled {
        return Err(MembershipRefusal::NotReadyToForm { joined, expected });
    }
    Ok(Decision::Propose(MembershipOp::Form(FormWire {})))
}

fn metadata(
    standing: &Standing<'_>,
    key: &str,
    value: Option<&bytes::Bytes>,
) -> Result<Decision, MembershipRefusal> {
    standing.membership.check_metadata(key, value.map(|value| &value[..]))?;
    Ok(Decision::Propose(MembershipOp::Metadata(MetadataWire { key: key.into(), value: value.cloned() })))
}
