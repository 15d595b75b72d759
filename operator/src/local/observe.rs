//! Gathers the facts of a local run: what the processes do, what their members say, what is written on the volumes.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use super::loopback::{Loopback, PEER_PORT};
use super::member::{State, Supervised};
use crate::admin_client::AdminClients;
use crate::cluster::facts::{Answer, MemberPhase, Pod};
use crate::cluster::ids::{ClusterName, Ordinal};
use crate::cluster::report;

/// How long each pod has been unwell, by a monotonic clock.
#[derive(Debug, Default)]
pub struct Unwell(BTreeMap<Ordinal, Instant>);

impl Unwell {
    /// Notes how a pod is now, and says for how long it has not been well.
    fn note(&mut self, pod: Ordinal, well: bool) -> Duration {
        if well {
            self.0.remove(&pod);
            return Duration::ZERO;
        }
        self.0.entry(pod).or_insert_with(Instant::now).elapsed()
    }
}

/// Asks every member at once; a silent one costs its deadline, not everybody's.
pub async fn pods(
    name: &ClusterName,
    members: &BTreeMap<Ordinal, Supervised>,
    loopback: Loopback,
    clients: &AdminClients,
    unwell: &mut Unwell,
) -> BTreeMap<Ordinal, Pod> {
    let asked = members.iter().map(|(ordinal, member)| async move {
        let answer = match member.state() {
            State::Running { .. } => ask(name, *ordinal, loopback, clients).await,
            State::BackOff { until, why } => {
                let seconds = until.saturating_duration_since(Instant::now()).as_secs_f32();
                Answer::Silent(format!("{why}; starts again in {seconds:.1} s"))
            }
            State::Stopped => Answer::Silent("not started".to_owned()),
        };
        (*ordinal, answer, member.is_outdated())
    });
    let answers = join_all(asked).await;
    answers
        .into_iter()
        .map(|(ordinal, answer, outdated)| {
            let well = match &answer {
                Answer::Report(report) => report.phase != MemberPhase::Faulted,
                Answer::Silent(_) => false,
            };
            let unhealthy_for = unwell.note(ordinal, well);
            (ordinal, Pod { answer, outdated, unhealthy_for })
        })
        .collect()
}

async fn ask(name: &ClusterName, ordinal: Ordinal, loopback: Loopback, clients: &AdminClients) -> Answer {
    let address = loopback.socket(ordinal, PEER_PORT).to_string();
    match clients.status(&address).await {
        Ok(status) => match report::read(&name.pod(ordinal), status) {
            Ok(report) => Answer::Report(Box::new(report)),
            Err(unbelievable) => Answer::Silent(unbelievable.to_string()),
        },
        Err(error) => Answer::Silent(error.to_string()),
    }
}
