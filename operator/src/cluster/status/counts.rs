//! The numbers that the rest of the status speaks of: voters, those in step, and how many of them can be lost.

use crate::cluster::facts::{Configuration, Facts, Report};
use crate::cluster::ids::{Ordinal, quorum};
use crate::cluster::standing::Standing;

/// What is counted in one snapshot.
pub(super) struct Counts<'a> {
    /// The leader's configuration, or the newest one that anybody reports.
    pub(super) configuration: Option<&'a Configuration>,
    /// The leader.
    pub(super) leader: Option<&'a Report>,
    pub(super) voters: usize,
    pub(super) learners: usize,
    pub(super) quorum: usize,
    /// Voters that are in step with the leader.
    pub(super) well: usize,
    /// Those of them that may lead: not drained.
    electable: usize,
    /// Voters in step that are drained.
    drained: Vec<String>,
    /// Pods of the target set that are not in step, and why.
    pub(super) unwell: Vec<(String, Standing)>,
    /// A pod of the target set answers and is no voter: it is being let in, or back in.
    pub(super) outside: Option<String>,
}

impl<'a> Counts<'a> {
    pub(super) fn of(facts: &'a Facts, leader: Option<&'a Report>) -> Self {
        let members = facts.founding.cluster().into_iter().flat_map(|cluster| facts.members_of(cluster));
        let newest = members.map(|(_, report)| report).max_by_key(|report| report.configuration_index);
        let configuration = leader.or(newest).map(|report| &report.configuration);
        let voters = configuration.map_or(0, |found| found.voters.len());
        let votes =
            |report: &Report| configuration.is_some_and(|found| found.voters.contains(&report.member));
        let well: Vec<(Ordinal, &Report)> = facts
            .reports()
            .filter(|(pod, report)| votes(report) && Standing::of(facts, *pod, leader) == Standing::InStep)
            .collect();
        let drained = well.iter().filter(|(_, report)| report.draining);
        let drained: Vec<String> = drained.map(|(pod, _)| facts.name.pod(*pod)).collect();
        // Pods that nobody has asked for yet are not silent.
        let wanted = (0..facts.replicas).map(Ordinal);
        let wanted = wanted.filter(|pod| pod.0 < facts.pods_wanted || facts.pods.contains_key(pod));
        let standings = wanted.map(|pod| (facts.name.pod(pod), Standing::of(facts, pod, leader)));
        let unwell = standings.filter(|(_, standing)| *standing != Standing::InStep);
        let outside = facts.reports().find(|(pod, report)| pod.0 < facts.replicas && !votes(report));
        Self {
            configuration,
            leader,
            voters,
            learners: configuration.map_or(0, |found| found.learners.len()),
            quorum: if voters == 0 { 0 } else { quorum(voters) },
            well: well.len(),
            electable: well.len() - drained.len(),
            drained,
            unwell: unwell.collect(),
            outside: outside.map(|(pod, _)| facts.name.pod(pod)),
        }
    }

    /// How many voters may be lost, whichever they are: a quorum has to be left, and among it one that may still lead.
    pub(super) fn can_lose(&self) -> usize {
        self.well.saturating_sub(self.quorum).min(self.electable.saturating_sub(1))
    }

    /// How many voters are in step, and who is not and why.
    pub(super) fn in_words(&self) -> String {
        let head = format!("{} of {} voters are in step", self.well, self.voters);
        let unwell = self.unwell.iter().map(|(pod, why)| format!("{pod}: {why}"));
        let drained = self.drained.iter().map(|pod| format!("{pod}: drained, may not lead"));
        unwell.chain(drained).fold(head, |text, said| format!("{text}; {said}"))
    }
}
