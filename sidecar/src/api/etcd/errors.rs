//! Every error of the etcd v3 protocol that this server gives: the exact code and text, because clients compare both.
//!
//! Source: etcd's public error table (`api/v3/rpctypes`), texts and codes. May import: core's refusals, tonic.
//! Deliberately absent: who counts them.

use outrigger_core::error::{MembershipRefusal, Refusal};
use outrigger_core::mvcc::KvRefusal;
use tonic::{Code, Status};

use crate::api::FAULTED;

/// Why a client's call is not answered with a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientError {
    /// The key space says no.
    Kv(KvRefusal),
    /// The node says no.
    Refused(Refusal),
    /// Clients are not served here yet; the text says what the member waits for.
    NotServing(String),
    /// This member's disk cannot be used; the text is the fault.
    Faulted(String),
    /// The request is larger than the limit.
    TooLarge,
    /// An enumeration holds a number that the protocol does not know.
    UnknownEnum {
        /// The field.
        field: &'static str,
        /// What it held.
        value: i32,
    },
    /// Only the leader does this.
    NotLeader,
    /// The named member cannot take the leadership.
    BadTransferee,
    /// The node's answer is of another kind than the request: a bug, not the client's.
    Mismatched,
}

impl From<KvRefusal> for ClientError {
    fn from(refusal: KvRefusal) -> Self {
        Self::Kv(refusal)
    }
}

impl From<Refusal> for ClientError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The text behind the prefix and the code of a key space's refusal.
fn kv(refusal: KvRefusal) -> (Code, &'static str) {
    match refusal {
        KvRefusal::EmptyKey => (Code::InvalidArgument, "key is not provided"),
        KvRefusal::KeyNotFound => (Code::InvalidArgument, "key not found"),
        KvRefusal::ValueProvided => (Code::InvalidArgument, "value is provided"),
        KvRefusal::LeaseProvided => (Code::InvalidArgument, "lease is provided"),
        KvRefusal::TooManyOps => (Code::InvalidArgument, "too many operations in txn request"),
        KvRefusal::DuplicateKey => (Code::InvalidArgument, "duplicate key given in txn request"),
        KvRefusal::Compacted => (Code::OutOfRange, "mvcc: required revision has been compacted"),
        KvRefusal::FutureRevision => (Code::OutOfRange, "mvcc: required revision is a future revision"),
        KvRefusal::LeaseNotFound => (Code::NotFound, "requested lease not found"),
        KvRefusal::LeaseExists => (Code::FailedPrecondition, "lease already exists"),
        KvRefusal::LeaseTtlTooLarge => (Code::OutOfRange, "too large lease TTL"),
        KvRefusal::InvalidSortOption => (Code::InvalidArgument, "invalid sort option"),
        KvRefusal::NoSpace => (Code::ResourceExhausted, "mvcc: database space exceeded"),
        KvRefusal::UnknownCommand => (
            Code::Unimplemented,
            "the command was written by a newer version: upgrade every member before using what is new",
        ),
    }
}

/// The same for a node's refusal.
fn refused(refusal: &Refusal) -> (Code, &'static str) {
    match refusal {
        Refusal::NoLeader => (Code::Unavailable, "no leader"),
        Refusal::LeaderChanged => (Code::Unavailable, "leader changed"),
        Refusal::TooManyRequests => (Code::ResourceExhausted, "too many requests"),
        Refusal::NoSpace => kv(KvRefusal::NoSpace),
        Refusal::TooLarge { .. } => (Code::InvalidArgument, "request is too large"),
        Refusal::Timeout => (Code::Unavailable, "request timed out"),
        // The one text of the protocol that says "it may have been applied".
        Refusal::OutcomeUnknown => {
            (Code::Unavailable, "request timed out, possibly due to previous leader failure")
        }
        Refusal::NotFormed => (Code::Unavailable, "no leader: the cluster is not formed yet"),
        Refusal::Stopped => (Code::Unavailable, "server stopped"),
        Refusal::Membership(refusal) => membership(refusal),
    }
}

fn membership(refusal: &MembershipRefusal) -> (Code, &'static str) {
    match refusal {
        MembershipRefusal::MemberNotFound => (Code::NotFound, "member not found"),
        MembershipRefusal::WrongCluster { .. } => (Code::FailedPrecondition, "cluster ID mismatch"),
        MembershipRefusal::NoTransferee | MembershipRefusal::TransfereeDrains { .. } => {
            (Code::FailedPrecondition, "bad leader transferee")
        }
        MembershipRefusal::ConfChangeInProgress
        | MembershipRefusal::StaleConfiguration { .. }
        | MembershipRefusal::NotAdmitted { .. }
        | MembershipRefusal::AlreadyExists { .. }
        | MembershipRefusal::HolderUndecided { .. }
        | MembershipRefusal::Tombstoned(_)
        | MembershipRefusal::QuorumAtRisk { .. }
        | MembershipRefusal::NameHeldTwice { .. }
        | MembershipRefusal::InvalidRoster { .. }
        | MembershipRefusal::NotReadyToForm { .. }
        | MembershipRefusal::AlreadyFormed
        | MembershipRefusal::InvalidMetadata { .. } => {
            (Code::FailedPrecondition, "the membership refuses: see the member's own status for the reason")
        }
    }
}

impl From<ClientError> for Status {
    fn from(error: ClientError) -> Self {
        let (code, text) = match &error {
            ClientError::Kv(refusal) => kv(*refusal),
            ClientError::Refused(refusal) => refused(refusal),
            ClientError::NotServing(reason) => {
                return Status::unavailable(format!("etcdserver: no leader: {reason}"));
            }
            // Unavailable: a client with other endpoints goes on to the next.
            ClientError::Faulted(fault) => return Status::unavailable(format!("{FAULTED}{fault}")),
            ClientError::TooLarge => (Code::InvalidArgument, "request is too large"),
            ClientError::UnknownEnum { field, value } => {
                return Status::invalid_argument(format!("etcdserver: {field} {value} is not known"));
            }
            ClientError::NotLeader => (Code::FailedPrecondition, "not leader"),
            ClientError::BadTransferee => (Code::FailedPrecondition, "bad leader transferee"),
            ClientError::Mismatched => (Code::Internal, "the answer is not of the request's kind"),
        };
        Status::new(code, format!("etcdserver: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use outrigger_core::types::{ClusterId, MemberId};

    use super::*;

    #[test]
    fn code_and_text_are_the_protocols_own() {
        use KvRefusal as K;
        let table: Vec<(ClientError, Code, &str)> = vec![
            (K::EmptyKey.into(), Code::InvalidArgument, "etcdserver: key is not provided"),
            (K::KeyNotFound.into(), Code::InvalidArgument, "etcdserver: key not found"),
            (K::ValueProvided.into(), Code::InvalidArgument, "etcdserver: value is provided"),
            (K::LeaseProvided.into(), Code::InvalidArgument, "etcdserver: lease is provided"),
            (K::TooManyOps.into(), Code::InvalidArgument, "etcdserver: too many operations in txn request"),
            (K::DuplicateKey.into(), Code::InvalidArgument, "etcdserver: duplicate key given in txn request"),
            (K::Compacted.into(), Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted"),
            (
                K::FutureRevision.into(),
                Code::OutOfRange,
                "etcdserver: mvcc: required revision is a future revision",
            ),
            (K::LeaseNotFound.into(), Code::NotFound, "etcdserver: requested lease not found"),
            (K::NoSpace.into(), Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
            (ClientError::TooLarge, Code::InvalidArgument, "etcdserver: request is too large"),
            (
                Refusal::TooLarge { size_bytes: 2, limit_bytes: 1 }.into(),
                Code::InvalidArgument,
                "etcdserver: request is too large",
            ),
            (K::InvalidSortOption.into(), Code::InvalidArgument, "etcdserver: invalid sort option"),
            (K::LeaseExists.into(), Code::FailedPrecondition, "etcdserver: lease already exists"),
            (K::LeaseTtlTooLarge.into(), Code::OutOfRange, "etcdserver: too large lease TTL"),
            (ClientError::NotLeader, Code::FailedPrecondition, "etcdserver: not leader"),
            (ClientError::BadTransferee, Code::FailedPrecondition, "etcdserver: bad leader transferee"),
            (Refusal::NoLeader.into(), Code::Unavailable, "etcdserver: no leader"),
            (Refusal::LeaderChanged.into(), Code::Unavailable, "etcdserver: leader changed"),
            (Refusal::Timeout.into(), Code::Unavailable, "etcdserver: request timed out"),
            (
                Refusal::OutcomeUnknown.into(),
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to previous leader failure",
            ),
            (Refusal::Stopped.into(), Code::Unavailable, "etcdserver: server stopped"),
            (Refusal::TooManyRequests.into(), Code::ResourceExhausted, "etcdserver: too many requests"),
            (Refusal::NoSpace.into(), Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
            (
                Refusal::from(MembershipRefusal::MemberNotFound).into(),
                Code::NotFound,
                "etcdserver: member not found",
            ),
            (
                Refusal::from(MembershipRefusal::WrongCluster { actual: ClusterId(1), given: ClusterId(2) })
                    .into(),
                Code::FailedPrecondition,
                "etcdserver: cluster ID mismatch",
            ),
            (
                ClientError::NotServing("waiting to be founded".into()),
                Code::Unavailable,
                "etcdserver: no leader: waiting to be founded",
            ),
            (
                ClientError::Faulted("segment 3 is damaged".into()),
                Code::Unavailable,
                "etcdserver: this member is faulted and serves nobody: segment 3 is damaged",
            ),
        ];
        for (error, code, text) in table {
            let status = Status::from(error);
            assert_eq!((status.code(), status.message()), (code, text));
        }
    }

    #[test]
    fn a_text_of_the_key_space_is_its_own_refusals_display() {
        for refusal in
            [KvRefusal::EmptyKey, KvRefusal::Compacted, KvRefusal::NoSpace, KvRefusal::DuplicateKey]
        {
            assert_eq!(kv(refusal).1, refusal.to_string());
        }
        let tombstoned = Refusal::from(MembershipRefusal::Tombstoned(MemberId(1)));
        assert_eq!(refused(&tombstoned).0, Code::FailedPrecondition);
    }
}
