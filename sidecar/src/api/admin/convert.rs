//! Between `outrigger.v1` and core's types.
//!
//! May import: the wire, core's types, tonic's status. Deliberately absent: anything that asks or decides.

use outrigger_core::event::{AdminRequest, MemberSelector};
use outrigger_core::membership::{RosterEntry, Route};
use outrigger_core::types::{ClusterId, Index, MemberId};
use outrigger_proto::v1;
use tonic::{Code, Status};

use crate::lifecycle_commands::{FoundingRefusal, LifecycleRefusal};

/// # Errors
/// `InvalidArgument` for 0.
pub(super) fn cluster(id: u64) -> Result<ClusterId, Status> {
    if id == 0 {
        return Err(Status::invalid_argument("cluster_id is 0: send the id that Status tells"));
    }
    Ok(ClusterId(id))
}

/// 0 means "whatever stands".
pub(super) fn expected(index: u64) -> Option<Index> {
    (index != 0).then_some(Index(index))
}

/// # Errors
/// `InvalidArgument` for a name that is empty or named twice.
pub(super) fn roster(entries: Vec<v1::RosterEntry>) -> Result<Vec<RosterEntry>, Status> {
    let roster: Vec<RosterEntry> =
        entries.into_iter().map(|entry| RosterEntry { name: entry.name, learner: entry.learner }).collect();
    let mut names: Vec<&str> = roster.iter().map(|entry| entry.name.as_str()).collect();
    names.sort_unstable();
    if names.first().is_some_and(|name| name.is_empty()) {
        return Err(Status::invalid_argument("the roster has an entry without a name"));
    }
    let twice = names.iter().zip(names.iter().skip(1)).find(|(one, next)| one == next);
    match twice {
        Some((name, _)) => Err(Status::invalid_argument(format!("the roster names {name} twice"))),
        None => Ok(roster),
    }
}

pub(super) fn route(member: v1::Member) -> Route {
    Route {
        id: MemberId(member.id),
        name: member.name,
        address: member.address,
        address_version: 0,
        version: member.version,
        client_url: member.client_url,
    }
}

pub(super) fn member(route: Route) -> v1::Member {
    v1::Member {
        id: route.id.0,
        name: route.name,
        address: route.address,
        version: route.version,
        client_url: route.client_url,
        last_contact_ms: -1,
        ..v1::Member::default()
    }
}

/// One of id and name, neither, never two that may contradict each other.
///
/// # Errors
/// `InvalidArgument` when both are given.
pub(super) fn selector(id: u64, name: String) -> Result<Option<MemberSelector>, Status> {
    match (id, name.is_empty()) {
        (0, true) => Ok(None),
        (0, false) => Ok(Some(MemberSelector::Name(name))),
        (id, true) => Ok(Some(MemberSelector::Id(MemberId(id)))),
        (id, false) => Err(Status::invalid_argument(format!(
            "member {id:016x} and name {name} are both given: send one of them"
        ))),
    }
}

/// # Errors
/// `InvalidArgument` for a joiner without an id, a name or an address.
pub(super) fn join(request: v1::JoinRequest) -> Result<AdminRequest, Status> {
    let v1::JoinRequest { cluster_id, member_id, name, address, version, abandoned, client_url } = request;
    for (field, empty) in
        [("member_id", member_id == 0), ("name", name.is_empty()), ("address", address.is_empty())]
    {
        if empty {
            return Err(Status::invalid_argument(format!(
                "{field} is empty: a joiner tells id, name and address"
            )));
        }
    }
    Ok(AdminRequest::Join {
        cluster: ClusterId(cluster_id),
        // A joiner counts its address changes from its first announcement on.
        route: Route { id: MemberId(member_id), name, address, address_version: 0, version, client_url },
        abandoned: abandoned.into_iter().map(ClusterId).collect(),
    })
}

/// A lifecycle's refusal with the code that says what to do.
pub(super) fn lifecycle_status(refusal: &LifecycleRefusal) -> Status {
    let code = match refusal {
        LifecycleRefusal::Founding(
            FoundingRefusal::WrongMember { .. } | FoundingRefusal::Abandoned { .. },
        )
        | LifecycleRefusal::AlreadyFounded { .. }
        | LifecycleRefusal::Formed { .. } => Code::FailedPrecondition,
        LifecycleRefusal::Founding(FoundingRefusal::Invalid { .. }) => Code::InvalidArgument,
        LifecycleRefusal::NoNode { .. } | LifecycleRefusal::Busy => Code::Unavailable,
        LifecycleRefusal::Disk(cause) => {
            return Status::internal(format!("{refusal}: {cause}"));
        }
    };
    Status::new(code, refusal.to_string())
}
