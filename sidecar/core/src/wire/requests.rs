//! Requests of people and the operator on their way to the leader, and its answers.
//!
//! May import: `event`, `error`, `membership`'s plain types. Deliberately absent: deciding them.

use super::{
    AdminResultWire, AdminWire, MetadataWire, RosterWire, RouteWire, refusal_from_wire, refusal_to_wire,
};
use crate::error::Refusal;
use crate::event::{AdminReply, AdminRequest, MemberSelector};
use crate::membership::{RosterEntry, Route};
use crate::types::{ClusterId, Index, MemberId};

pub(crate) fn admin_to_wire(request: u64, what: &AdminRequest, deadline_ticks: u32) -> AdminWire {
    let mut wire = AdminWire { request, deadline_ticks, ..AdminWire::default() };
    let select = |wire: &mut AdminWire, target: &MemberSelector| match target {
        MemberSelector::Id(id) => wire.id = Some(id.0),
        MemberSelector::Name(name) => wire.name = Some(name.clone()),
    };
    match what {
        AdminRequest::Admit { cluster, expected, roster } => {
            wire.kind = 1;
            wire.cluster = cluster.0;
            wire.expected = expected.map(|index| index.0);
            wire.roster = roster.iter().map(RosterWire::from).collect();
        }
        AdminRequest::Join { cluster, route, abandoned } => {
            wire.kind = 2;
            wire.cluster = cluster.0;
            wire.route = Some(route.into());
            wire.abandoned = abandoned.iter().map(|id| id.0).collect();
        }
        AdminRequest::Remove { cluster, target, expected } => {
            wire.kind = 3;
            wire.cluster = cluster.0;
            wire.expected = expected.map(|index| index.0);
            select(&mut wire, target);
        }
        AdminRequest::Form { cluster } => {
            wire.kind = 4;
            wire.cluster = cluster.0;
        }
        AdminRequest::Transfer { to } => {
            wire.kind = 5;
            if let Some(target) = to {
                select(&mut wire, target);
            }
        }
        AdminRequest::SetMetadata { key, value } => {
            wire.kind = 6;
            wire.metadata = Some(MetadataWire { key: key.clone(), value: value.clone() });
        }
    }
    wire
}

pub(crate) fn admin_from_wire(wire: AdminWire) -> Option<AdminRequest> {
    let cluster = ClusterId(wire.cluster);
    let expected = wire.expected.map(Index);
    let selector = match (wire.id, wire.name) {
        (Some(id), _) => Some(MemberSelector::Id(MemberId(id))),
        (None, Some(name)) => Some(MemberSelector::Name(name)),
        (None, None) => None,
    };
    match wire.kind {
        1 => {
            let roster = wire.roster.into_iter().map(RosterEntry::from).collect();
            Some(AdminRequest::Admit { cluster, expected, roster })
        }
        2 => {
            let abandoned = wire.abandoned.into_iter().map(ClusterId).collect();
            Some(AdminRequest::Join { cluster, route: wire.route?.into(), abandoned })
        }
        3 => Some(AdminRequest::Remove { cluster, target: selector?, expected }),
        4 => Some(AdminRequest::Form { cluster }),
        5 => Some(AdminRequest::Transfer { to: selector }),
        6 => wire.metadata.map(|MetadataWire { key, value }| AdminRequest::SetMetadata { key, value }),
        _ => None,
    }
}

pub(crate) fn admin_result_to_wire(request: u64, outcome: &Result<AdminReply, Refusal>) -> AdminResultWire {
    let mut wire = AdminResultWire { request, ..AdminResultWire::default() };
    match outcome {
        Err(refusal) => wire.refusal = Some(refusal_to_wire(refusal)),
        Ok(AdminReply::Done) => wire.kind = 1,
        Ok(AdminReply::Configuration { index }) => {
            wire.kind = 2;
            wire.number = index.0;
        }
        Ok(AdminReply::Joined { cluster, members }) => {
            wire.kind = 3;
            wire.number = cluster.0;
            wire.members = members.iter().map(RouteWire::from).collect();
        }
        Ok(AdminReply::Leader { id }) => {
            wire.kind = 4;
            wire.number = id.0;
        }
    }
    wire
}

pub(crate) fn admin_result_from_wire(wire: AdminResultWire) -> Result<AdminReply, Refusal> {
    if let Some(refusal) = &wire.refusal {
        return Err(refusal_from_wire(refusal));
    }
    match wire.kind {
        1 => Ok(AdminReply::Done),
        2 => Ok(AdminReply::Configuration { index: Index(wire.number) }),
        3 => {
            let members = wire.members.into_iter().map(Route::from).collect();
            Ok(AdminReply::Joined { cluster: ClusterId(wire.number), members })
        }
        4 => Ok(AdminReply::Leader { id: MemberId(wire.number) }),
        _ => Err(Refusal::OutcomeUnknown),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn every_request_arrives_as_it_was_sent() {
        let cluster = ClusterId(5);
        let route = Route { id: MemberId(7), name: "d".into(), address: "d:2380".into(), ..Route::default() };
        let roster = vec![RosterEntry { name: "a".into(), learner: true }];
        let requests = [
            AdminRequest::Admit { cluster, expected: Some(Index(0)), roster },
            AdminRequest::Join { cluster, route, abandoned: vec![ClusterId(1), ClusterId(2)] },
            AdminRequest::Remove { cluster, target: MemberSelector::Id(MemberId(1)), expected: None },
            AdminRequest::Remove { cluster, target: MemberSelector::Name("a".into()), expected: None },
            AdminRequest::Form { cluster },
            AdminRequest::Transfer { to: None },
            AdminRequest::SetMetadata { key: "k".into(), value: Some(Bytes::from_static(b"{}")) },
            AdminRequest::SetMetadata { key: "k".into(), value: None },
        ];
        for request in requests {
            assert_eq!(admin_from_wire(admin_to_wire(3, &request, 9)), Some(request));
        }
        assert_eq!(admin_from_wire(AdminWire { kind: 99, ..AdminWire::default() }), None);
    }

    #[test]
    fn every_answer_arrives_as_it_was_sent() {
        let members = vec![Route { id: MemberId(7), client_url: "http://d:2379".into(), ..Route::default() }];
        let answers = [
            Ok(AdminReply::Done),
            Ok(AdminReply::Configuration { index: Index(8) }),
            Ok(AdminReply::Joined { cluster: ClusterId(5), members }),
            Ok(AdminReply::Leader { id: MemberId(4) }),
            Err(Refusal::NoLeader),
        ];
        for answer in answers {
            assert_eq!(admin_result_from_wire(admin_result_to_wire(1, &answer)), answer);
        }
    }
}
