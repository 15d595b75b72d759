//! Gathers the facts of a local run: what the processes do, what their members say, what is written on the volumes.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use super::loopback::{Loopback, PEER_PORT};
use super::member::{State, Supervised};
use crate::admin_client::{AdminClients, Callee};
use crate::cluster::facts::{Answer, Pod};
use crate::cluster::ids::{ClusterName, Ordinal};
use crate::members::{Unwell, ask, now};

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
            State::Running { .. } => {
                let address = loopback.socket(*ordinal, PEER_PORT).to_string();
                ask(Callee { pod: name.pod(*ordinal), address }, clients).await
            }
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
            let unhealthy_for = unwell.note(ordinal, &answer, now());
            // Whether a process serves is known by its own answer alone.
            let (stuck_for, serves, lost_node) = (Duration::ZERO, false, None);
            (ordinal, Pod { answer, outdated, unhealthy_for, stuck_for, serves, lost_node })
        })
        .collect()
}
