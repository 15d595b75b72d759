//! Asking the seeds: who is there, and in which phase.
//!
//! May import: `discovery`, `dial`, the admin wire. Deliberately absent: what follows from the answers.

use std::time::Duration;

use outrigger_core::membership::Route;
use outrigger_core::types::{ClusterId, MemberId};
use outrigger_proto::v1::admin_client::AdminClient;
use outrigger_proto::v1::{JoinRequest, Phase, StatusRequest};
use outrigger_tls::Expected;
use tonic::Status;

use crate::discovery::{Discovery, DiscoveryError};
use crate::transport::dial::{Dialer, chain};

/// A seed answers its status within milliseconds, or it is not there.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);
/// A join waits until the joiner's entry is applied, maybe through a forwarding member.
const JOIN_TIMEOUT: Duration = Duration::from_secs(15);

/// What a seed says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seed {
    pub(super) address: String,
    pub(super) name: String,
    pub(super) member: MemberId,
    pub(super) phase: Phase,
    pub(super) cluster: ClusterId,
}

/// Everyone who answers, in the order of their addresses, and the addresses that were asked.
///
/// # Errors
/// DNS's, when it gives nobody to ask.
pub(super) async fn ask(
    discovery: &Discovery,
    dialer: &Dialer,
) -> Result<(Vec<Seed>, Vec<String>), DiscoveryError> {
    let asked = discovery.seeds().await?;
    let answers = asked.iter().cloned().map(|address| status(dialer, address));
    Ok((futures::future::join_all(answers).await.into_iter().flatten().collect(), asked))
}

async fn status(dialer: &Dialer, address: String) -> Option<Seed> {
    let question = async {
        let (channel, _) = dialer.dial(&address, Expected::AnyMember).await.map_err(|error| chain(&error))?;
        let answer = AdminClient::new(channel).status(StatusRequest {}).await;
        answer.map(tonic::Response::into_inner).map_err(|status| status.message().to_string())
    };
    let answer = match tokio::time::timeout(STATUS_TIMEOUT, question).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            tracing::debug!(address, error, "a seed does not answer");
            return None;
        }
        Err(_) => return None,
    };
    let phase = answer.phase();
    let (member, cluster) = (MemberId(answer.member_id), ClusterId(answer.cluster_id));
    Some(Seed { name: answer.name, address, member, phase, cluster })
}

/// Asks a member to be let in; gives everyone's routes.
///
/// # Errors
/// The member's own words.
pub(super) async fn join(
    dialer: &Dialer,
    seed: &Seed,
    own: &Route,
    abandoned: &[ClusterId],
) -> Result<Vec<Route>, Status> {
    let request = JoinRequest {
        cluster_id: seed.cluster.0,
        member_id: own.id.0,
        name: own.name.clone(),
        address: own.address.clone(),
        version: own.version.clone(),
        client_url: own.client_url.clone(),
        abandoned: abandoned.iter().map(|cluster| cluster.0).collect(),
    };
    let question = async {
        let dialled = dialer.dial(&seed.address, Expected::Member(&seed.name)).await;
        let (channel, _) = dialled.map_err(|error| Status::unavailable(chain(&error)))?;
        AdminClient::new(channel).join(request).await
    };
    let answer = tokio::time::timeout(JOIN_TIMEOUT, question)
        .await
        .map_err(|_| Status::deadline_exceeded("no answer to the join"))??
        .into_inner();
    if answer.cluster_id != seed.cluster.0 {
        return Err(Status::failed_precondition("the answer is another cluster's"));
    }
    Ok(answer
        .members
        .into_iter()
        .map(|member| Route {
            id: MemberId(member.id),
            name: member.name,
            address: member.address,
            // The log knows better: whatever it says replaces this.
            address_version: 0,
            version: member.version,
            client_url: member.client_url,
        })
        .collect())
}
