//! What must hold of every run, each in a file of its own, checked as the run goes.
//!
//! An invariant hears everything and keeps what it needs. The first complaint ends the run. Linearizability is judged at
//! the end, by [`crate::linearizability`].

mod abandoned_for_ever;
mod bounds;
mod committed_immutable;
mod durable_comes_back;
mod durable_quorum;
mod election_safety;
mod equal_states;
mod hard_state;
mod incarnations;
mod leader_completeness;
mod log_matching;
mod monotonic;
mod one_change;
mod one_cluster;
mod removed_ids;
mod served_after_forming;
mod shadow;

use crate::observation::Observation;

/// A rule that a run has to keep.
pub trait Invariant: Send {
    /// Its name, as reports have it.
    fn name(&self) -> &'static str;

    /// Takes an observation in.
    ///
    /// # Errors
    /// How it breaks the rule.
    fn observe(&mut self, seen: &Observation) -> Result<(), String>;
}

/// All of them, of a new run.
#[must_use]
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::<election_safety::ElectionSafety>::default(),
        Box::<leader_completeness::LeaderCompleteness>::default(),
        Box::<durable_quorum::DurableQuorum>::default(),
        Box::<committed_immutable::CommittedImmutable>::default(),
        Box::<log_matching::LogMatching>::default(),
        Box::<hard_state::TermAndVote>::default(),
        Box::<monotonic::Monotonic>::default(),
        Box::<bounds::Bounds>::default(),
        Box::<equal_states::EqualStates>::default(),
        Box::<one_cluster::OneCluster>::default(),
        Box::<one_change::OneChange>::default(),
        Box::<removed_ids::RemovedIds>::default(),
        Box::<incarnations::Incarnations>::default(),
        Box::<durable_comes_back::DurableComesBack>::default(),
        Box::<served_after_forming::ServedAfterForming>::default(),
        Box::<abandoned_for_ever::AbandonedForEver>::default(),
    ]
}

#[cfg(test)]
pub(crate) mod traces {
    //! Hand-written traces: each is to break one rule and no other.

    use outrigger_core::log::HardState;
    use outrigger_core::types::{Index, MemberId, Term};

    use super::*;
    use crate::observation::{Line, LogChange};

    pub(crate) fn line(index: u64, term: u64) -> Line {
        Line { index: Index(index), term: Term(term), digest: index * 100 + term, is_change: false }
    }

    pub(crate) fn entries(lines: &[Line]) -> LogChange {
        LogChange { entries: lines.to_vec(), ..LogChange::default() }
    }

    pub(crate) fn state(term: u64, vote: u64, commit: u64) -> LogChange {
        let hard_state = HardState { term: Term(term), vote: MemberId(vote), commit: Index(commit) };
        LogChange { hard_state: Some(hard_state), ..LogChange::default() }
    }

    pub(crate) fn persisted(member: u64, change: LogChange) -> Observation {
        Observation::Persisted { member: MemberId(member), change }
    }

    pub(crate) fn handed(member: u64, index: u64, term: u64, digest: u64) -> Observation {
        Observation::Handed { member: MemberId(member), index: Index(index), term: Term(term), digest }
    }

    /// The trace breaks this rule, with its last observation, and no other.
    #[track_caller]
    pub(crate) fn breaks_only(name: &str, trace: &[Observation]) {
        for mut invariant in all() {
            let first = trace.iter().position(|seen| invariant.observe(seen).is_err());
            let expected = (invariant.name() == name).then_some(trace.len() - 1);
            assert_eq!(first, expected, "{}", invariant.name());
        }
    }

    /// The trace breaks nothing.
    #[track_caller]
    pub(crate) fn breaks_nothing(trace: &[Observation]) {
        for mut invariant in all() {
            for seen in trace {
                assert_eq!(invariant.observe(seen), Ok(()), "{}", invariant.name());
            }
        }
    }
}
