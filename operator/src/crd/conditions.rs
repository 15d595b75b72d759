//! Condition types, and the one way to write a condition.
//!
//! `Ready`, `Reconciling` and `Stalled` follow kstatus, which Helm, Flux and Argo wait on. Nothing here reads a clock: the
//! caller says what time it is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The cluster is as the spec says, and serves.
pub const READY: &str = "Ready";
/// A quorum answers and there is a leader: writes are accepted.
pub const AVAILABLE: &str = "Available";
/// The operator is changing something.
pub const RECONCILING: &str = "Reconciling";
/// The operator cannot go on by itself.
pub const STALLED: &str = "Stalled";
/// Fewer failures are tolerated than the size promises.
pub const DEGRADED: &str = "Degraded";
/// Fewer voters answer than a quorum needs.
pub const QUORUM_LOST: &str = "QuorumLost";
/// An object of a name that this cluster needs is somebody else's.
pub const NAME_CONFLICT: &str = "NameConflict";
/// The API server refuses an object of this cluster's: a typo in the template, a quota, a policy.
pub const OBJECT_REFUSED: &str = "ObjectRefused";
/// The claims grow, or the StatefulSet is made again for larger ones.
pub const STORAGE_RESIZING: &str = "StorageResizing";
/// Members serve, and the user's own containers beside them are not ready.
pub const APP_NOT_READY: &str = "AppNotReady";
/// The spec names something that this way of running does not enforce.
pub const NOT_ENFORCED: &str = "NotEnforced";
/// The manifest on disk does not stand; the last good one is followed.
pub const MANIFEST_INVALID: &str = "ManifestInvalid";
/// The manifest is no longer on disk; the last one that was read is followed.
pub const MANIFEST_GONE: &str = "ManifestGone";

/// What a condition says, without its type and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it holds.
    pub holds: bool,
    /// One CamelCase word for machines.
    pub reason: &'static str,
    /// One sentence for people.
    pub message: String,
}

impl Verdict {
    /// It holds.
    #[must_use]
    pub fn yes(reason: &'static str, message: impl Into<String>) -> Self {
        Self { holds: true, reason, message: message.into() }
    }

    /// It does not hold.
    #[must_use]
    pub fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self { holds: false, reason, message: message.into() }
    }
}

/// Writes one condition. The time changes only when the condition turns, so that a status that says the same as before is
/// byte for byte the same and is not written again.
pub fn upsert(
    conditions: &mut Vec<Condition>,
    kind: &str,
    verdict: Verdict,
    generation: Option<i64>,
    now: &Time,
) {
    let Verdict { holds, reason, message } = verdict;
    let status = if holds { "True" } else { "False" };
    let found = conditions.iter_mut().find(|condition| condition.type_ == kind);
    match found {
        Some(condition) => {
            if condition.status != status {
                condition.last_transition_time = now.clone();
                status.clone_into(&mut condition.status);
            }
            reason.clone_into(&mut condition.reason);
            condition.message = message;
            condition.observed_generation = generation;
        }
        None => conditions.push(Condition {
            last_transition_time: now.clone(),
            message,
            observed_generation: generation,
            reason: reason.to_owned(),
            status: status.to_owned(),
            type_: kind.to_owned(),
        }),
    }
}

/// Gives conditions that hold as they did before the time that they had then: while a status is made, one may turn and turn back.
pub fn keep_times(conditions: &mut [Condition], before: &[Condition]) {
    for condition in conditions {
        let was = before.iter().find(|was| was.type_ == condition.type_ && was.status == condition.status);
        if let Some(was) = was {
            condition.last_transition_time = was.last_transition_time.clone();
        }
    }
}

/// Removes a condition that no longer says anything.
pub fn remove(conditions: &mut Vec<Condition>, kind: &str) {
    conditions.retain(|condition| condition.type_ != kind);
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn the_time_changes_only_when_the_condition_turns() {
        let mut conditions = Vec::new();
        upsert(&mut conditions, READY, Verdict::no("Founding", "a"), Some(1), &at(1));
        upsert(&mut conditions, READY, Verdict::no("Waiting", "b"), Some(2), &at(2));
        assert_eq!(conditions.len(), 1);
        assert_eq!(conditions[0].last_transition_time, at(1));
        assert_eq!(conditions[0].reason, "Waiting");
        assert_eq!(conditions[0].observed_generation, Some(2));
        upsert(&mut conditions, READY, Verdict::yes("Healthy", "c"), Some(2), &at(3));
        assert_eq!(conditions[0].last_transition_time, at(3));
    }

    #[test]
    fn a_condition_that_turns_and_turns_back_has_not_turned() {
        let mut before = Vec::new();
        upsert(&mut before, STALLED, Verdict::yes("Refused", "a"), Some(1), &at(1));
        let mut conditions = before.clone();
        upsert(&mut conditions, STALLED, Verdict::no("Changing", "b"), Some(1), &at(5));
        upsert(&mut conditions, STALLED, Verdict::yes("Refused", "a"), Some(1), &at(5));
        upsert(&mut conditions, READY, Verdict::no("Refused", "a"), Some(1), &at(5));
        keep_times(&mut conditions, &before);
        assert_eq!(conditions[0], before[0], "nothing is written while nothing changes");
        assert_eq!(conditions[1].last_transition_time, at(5));
    }

    #[test]
    fn conditions_of_other_types_are_left_alone() {
        let mut conditions = Vec::new();
        upsert(&mut conditions, READY, Verdict::yes("Healthy", ""), None, &at(1));
        upsert(&mut conditions, STALLED, Verdict::no("Healthy", ""), None, &at(1));
        remove(&mut conditions, STALLED);
        assert_eq!(conditions.len(), 1);
        assert_eq!(conditions[0].type_, READY);
    }
}
