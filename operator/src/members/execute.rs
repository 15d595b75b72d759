//! Carries one step out by calling a member. Steps that change pods, volumes or the register are the caller's.
//!
//! May import: the client, the plan's steps. Deliberately absent: where members are found.

use crate::admin_client::{AdminClients, AdminError, Callee};
use crate::cluster::founding::Permit;
use crate::cluster::ids::{ClusterName, Ordinal};
use crate::cluster::plan::Step;
use crate::cluster::{facts, report};
use outrigger_proto::v1;

/// A step, by who carries it out.
#[derive(Debug)]
pub enum Work {
    /// One call to a member; it is done.
    Called,
    /// Not a call: the caller's own.
    Ours(Step),
}

/// Makes the call that a step is, if it is one.
///
/// # Errors
/// The member refused, failed or did not answer; the next pass decides anew.
pub async fn call(
    step: Step,
    name: &ClusterName,
    at: impl Fn(Ordinal) -> String,
    clients: &AdminClients,
) -> Result<Work, AdminError> {
    let at = |pod: Ordinal| Callee { pod: name.pod(pod), address: at(pod) };
    match step {
        Step::Found { pod, permit, roster, seeds } => {
            clients.found(&at(pod), found_request(&permit, &roster, seeds)).await?;
        }
        Step::Form { pod, cluster } => {
            clients.form(&at(pod), v1::FormRequest { cluster_id: cluster.get() }).await?;
        }
        Step::Abandon { pod, cluster } => {
            clients.abandon(&at(pod), v1::AbandonRequest { cluster_id: cluster.get() }).await?;
        }
        Step::Admit { pod, cluster, expected, roster } => {
            let request = v1::AdmitRequest {
                cluster_id: cluster.get(),
                expected_configuration_index: expected.0,
                roster: report::roster_to_wire(&roster),
            };
            clients.admit(&at(pod), request).await?;
        }
        Step::Transfer { pod, cluster, to } => {
            let request = v1::TransferRequest { cluster_id: cluster.get(), to: 0, to_name: name.pod(to) };
            clients.transfer(&at(pod), request).await?;
        }
        step @ (Step::SetPods { .. }
        | Step::WriteFounding { .. }
        | Step::ReplaceVolume { .. }
        | Step::RestartPod { .. }) => return Ok(Work::Ours(step)),
    }
    Ok(Work::Called)
}

fn found_request(permit: &Permit, roster: &facts::Roster, seeds: Vec<facts::Peer>) -> v1::FoundRequest {
    let member = |peer: facts::Peer| v1::Member {
        id: peer.id.get(),
        name: peer.name,
        address: peer.address,
        voter: true,
        ..v1::Member::default()
    };
    v1::FoundRequest {
        cluster_id: permit.cluster.get(),
        member_id: permit.founder_member.get(),
        roster: report::roster_to_wire(roster),
        seeds: seeds.into_iter().map(member).collect(),
    }
}
