//! What a refusal is called in a metric and which code it has outside the etcd protocol.
//!
//! May import: core's refusals, tonic, axum's status codes. Deliberately absent: etcd's texts (`etcd::errors`).

use axum::http::StatusCode;
use outrigger_core::error::{MembershipRefusal, Refusal};
use outrigger_core::types::MemberId;
use tonic::{Code, Status};

/// One word a kind: the `reason` label of `outrigger_requests_refused_total`.
pub(crate) fn reason(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NoLeader => "no_leader",
        Refusal::LeaderChanged => "leader_changed",
        Refusal::TooManyRequests => "too_many_requests",
        Refusal::NoSpace => "no_space",
        Refusal::TooLarge { .. } => "too_large",
        Refusal::Timeout => "timeout",
        Refusal::OutcomeUnknown => "outcome_unknown",
        Refusal::NotFormed => "not_formed",
        Refusal::Stopped => "stopped",
        Refusal::Membership(_) => "membership",
    }
}

/// The code of `outrigger.v1.Admin`: `Aborted` asks the caller to read the status again and decide anew,
/// `Unavailable` to try again, everything else to change the request or the cluster first.
pub(crate) fn admin_code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::NoLeader
        | Refusal::LeaderChanged
        | Refusal::Timeout
        | Refusal::OutcomeUnknown
        | Refusal::NotFormed
        | Refusal::Stopped => Code::Unavailable,
        Refusal::TooManyRequests | Refusal::NoSpace => Code::ResourceExhausted,
        Refusal::TooLarge { .. } => Code::InvalidArgument,
        Refusal::Membership(refusal) => match refusal {
            MembershipRefusal::StaleConfiguration { .. } => Code::Aborted,
            MembershipRefusal::AlreadyExists { .. } => Code::AlreadyExists,
            MembershipRefusal::MemberNotFound => Code::NotFound,
            MembershipRefusal::InvalidRoster { .. } | MembershipRefusal::InvalidMetadata { .. } => {
                Code::InvalidArgument
            }
            MembershipRefusal::ConfChangeInProgress
            | MembershipRefusal::WrongCluster { .. }
            | MembershipRefusal::NotAdmitted { .. }
            | MembershipRefusal::HolderUndecided { .. }
            | MembershipRefusal::Tombstoned(_)
            | MembershipRefusal::QuorumAtRisk { .. }
            | MembershipRefusal::NameHeldTwice { .. }
            | MembershipRefusal::NotReadyToForm { .. }
            | MembershipRefusal::AlreadyFormed
            | MembershipRefusal::NoTransferee
            | MembershipRefusal::TransfereeDrains { .. } => Code::FailedPrecondition,
        },
    }
}

/// In the metadata of a refusal: the id that was removed, and never comes back.
const TOMBSTONED: &str = "outrigger-tombstoned";

/// The refusal as `outrigger.v1.Admin` answers it.
pub(crate) fn admin_status(refusal: &Refusal) -> Status {
    let mut status = Status::new(admin_code(refusal), refusal.to_string());
    if let Refusal::Membership(MembershipRefusal::Tombstoned(id)) = refusal
        && let Ok(id) = format!("{:016x}", id.0).parse()
    {
        status.metadata_mut().insert(TOMBSTONED, id);
    }
    status
}

/// Whether a refusal says that `id` was removed for ever.
pub(crate) fn is_tombstoned(status: &Status, id: MemberId) -> bool {
    let told = status.metadata().get(TOMBSTONED).and_then(|told| told.to_str().ok());
    told.is_some_and(|told| told == format!("{:016x}", id.0))
}

/// The refusal's HTTP code.
pub(crate) fn http_code(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::NoLeader
        | Refusal::LeaderChanged
        | Refusal::OutcomeUnknown
        | Refusal::NotFormed
        | Refusal::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Refusal::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        Refusal::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
        Refusal::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::Membership(refusal) => match refusal {
            MembershipRefusal::MemberNotFound => StatusCode::NOT_FOUND,
            MembershipRefusal::InvalidRoster { .. } | MembershipRefusal::InvalidMetadata { .. } => {
                StatusCode::BAD_REQUEST
            }
            MembershipRefusal::StaleConfiguration { .. }
            | MembershipRefusal::AlreadyExists { .. }
            | MembershipRefusal::ConfChangeInProgress
            | MembershipRefusal::WrongCluster { .. }
            | MembershipRefusal::NotAdmitted { .. }
            | MembershipRefusal::HolderUndecided { .. }
            | MembershipRefusal::Tombstoned(_)
            | MembershipRefusal::QuorumAtRisk { .. }
            | MembershipRefusal::NameHeldTwice { .. }
            | MembershipRefusal::NotReadyToForm { .. }
            | MembershipRefusal::AlreadyFormed
            | MembershipRefusal::NoTransferee
            | MembershipRefusal::TransfereeDrains { .. } => StatusCode::CONFLICT,
        },
    }
}

#[cfg(test)]
mod tests {
    use outrigger_core::types::{ClusterId, Index};

    use super::*;

    #[test]
    fn a_refusal_says_whose_id_was_removed() {
        let status = admin_status(&MembershipRefusal::Tombstoned(MemberId(7)).into());
        assert!(is_tombstoned(&status, MemberId(7)) && !is_tombstoned(&status, MemberId(8)));
        assert!(!is_tombstoned(&admin_status(&Refusal::NoLeader), MemberId(7)));
    }

    #[test]
    fn every_refusal_has_the_code_that_says_what_to_do() {
        use MembershipRefusal as M;
        let table: Vec<(Refusal, Code, u16)> = vec![
            (Refusal::NoLeader, Code::Unavailable, 503),
            (Refusal::LeaderChanged, Code::Unavailable, 503),
            (Refusal::Timeout, Code::Unavailable, 504),
            (Refusal::OutcomeUnknown, Code::Unavailable, 503),
            (Refusal::NotFormed, Code::Unavailable, 503),
            (Refusal::Stopped, Code::Unavailable, 503),
            (Refusal::TooManyRequests, Code::ResourceExhausted, 429),
            (Refusal::NoSpace, Code::ResourceExhausted, 507),
            (Refusal::TooLarge { size_bytes: 2, limit_bytes: 1 }, Code::InvalidArgument, 413),
            (M::ConfChangeInProgress.into(), Code::FailedPrecondition, 409),
            (M::StaleConfiguration { expected: Index(1), actual: Index(2) }.into(), Code::Aborted, 409),
            (
                M::WrongCluster { actual: ClusterId(1), given: ClusterId(2) }.into(),
                Code::FailedPrecondition,
                409,
            ),
            (M::NotAdmitted { name: "a".into() }.into(), Code::FailedPrecondition, 409),
            (M::AlreadyExists { name: "a".into(), id: MemberId(1) }.into(), Code::AlreadyExists, 409),
            (M::HolderUndecided { name: "a".into(), id: MemberId(1) }.into(), Code::FailedPrecondition, 409),
            (M::Tombstoned(MemberId(1)).into(), Code::FailedPrecondition, 409),
            (M::MemberNotFound.into(), Code::NotFound, 404),
            (
                M::QuorumAtRisk { live: 1, voters: 3, quorum: 2, silent: "b".into() }.into(),
                Code::FailedPrecondition,
                409,
            ),
            (
                M::NameHeldTwice { name: "a".into(), id: MemberId(1), other: MemberId(2) }.into(),
                Code::FailedPrecondition,
                409,
            ),
            (M::InvalidRoster { reason: "empty".into() }.into(), Code::InvalidArgument, 400),
            (M::NotReadyToForm { joined: 1, expected: 3 }.into(), Code::FailedPrecondition, 409),
            (M::AlreadyFormed.into(), Code::FailedPrecondition, 409),
            (M::NoTransferee.into(), Code::FailedPrecondition, 409),
            (M::TransfereeDrains { name: "a".into() }.into(), Code::FailedPrecondition, 409),
            (M::InvalidMetadata { reason: "too long".into() }.into(), Code::InvalidArgument, 400),
        ];
        for (refusal, code, http) in table {
            let status = admin_status(&refusal);
            assert_eq!(status.code(), code, "{refusal}");
            assert_eq!(status.message(), refusal.to_string());
            assert_eq!(http_code(&refusal).as_u16(), http, "{refusal}");
        }
    }
}
