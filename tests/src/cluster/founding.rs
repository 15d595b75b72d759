//! Founding by hand, step by step, as the operator does it: found, wait for the configuration, form.
//!
//! Deliberately absent: repair of a founding that went wrong; tests of that act on the Admin service themselves.

use anyhow::{Context, Result, ensure};
use outrigger_proto::v1::{
    AdmitRequest, FormRequest, FoundRequest, Member, Phase, RosterEntry, StatusResponse,
};

use super::{Cluster, PEER_PORT};

impl Cluster {
    /// Plays the operator: waits until all answer empty, founds on the first, waits for the others to join and for the
    /// configuration to have left joint on a majority, forms, and waits until every member serves.
    ///
    /// # Errors
    /// When a step is not seen in time.
    pub async fn found_and_form(&mut self) -> Result<u64> {
        let cluster_id = self.found().await?;
        self.configured(self.members.len()).await?;
        self.form(cluster_id).await?;
        self.serving().await?;
        Ok(cluster_id)
    }

    /// Waits until all members answer with an empty disk, then founds on the first. Gives the new cluster's id.
    ///
    /// # Errors
    /// When one does not answer, or the founder refuses.
    pub async fn found(&mut self) -> Result<u64> {
        let mut seeds = Vec::new();
        for member in &self.members {
            let what = format!("an empty {}", member.name);
            let probe = async || {
                let status = member.status().await?;
                ensure!(status.phase() == Phase::Empty, "its phase is {:?}", status.phase());
                Ok(status)
            };
            let status = self.seen(&what, probe).await?;
            seeds.push(Member {
                id: status.member_id,
                name: member.name.clone(),
                address: format!("{}:{PEER_PORT}", self.host(member)),
                ..Member::default()
            });
        }
        let roster =
            seeds.iter().map(|seed| RosterEntry { name: seed.name.clone(), learner: false }).collect();
        let cluster_id = rand::random::<u64>() >> 1 | 1;
        let founder = self.members.first().context("a cluster without members")?;
        let member_id = seeds.first().map_or(0, |seed| seed.id);
        let request = FoundRequest { cluster_id, member_id, roster, seeds };
        founder.admin()?.found(request).await.context("founding")?;
        Ok(cluster_id)
    }

    /// Waits until some leader shows `voters` voters, no joint configuration, and a majority that has applied it.
    ///
    /// # Errors
    /// When that is not seen in time.
    pub async fn configured(&self, voters: usize) -> Result<StatusResponse> {
        let what = format!("{voters} voters outside a joint configuration");
        let probe = async || {
            let status = self.leader_status().await?;
            let conf = status.conf_state.clone().unwrap_or_default();
            ensure!(conf.voters.len() == voters && conf.voters_outgoing.is_empty(), "it is {conf:?}");
            let applied = status.configurations.iter();
            let applied = applied.filter(|one| one.configuration_index >= status.configuration_index).count();
            ensure!(applied > voters / 2, "applied by {applied}: {:?}", status.configurations);
            Ok(status)
        };
        self.seen(&what, probe).await
    }

    /// Admits the first `size` members as the whole roster, asking again when the index that it compared with was stale, and
    /// waits until they are the voters.
    ///
    /// # Errors
    /// When that is not seen in time.
    pub async fn admit(&self, size: usize) -> Result<()> {
        let names = self.members.iter().take(size).map(|member| member.name.clone());
        let roster: Vec<RosterEntry> = names.map(|name| RosterEntry { name, learner: false }).collect();
        let admit = async || {
            let now = self.leader_status().await?;
            let leader = self.members.iter().find(|member| member.name == now.name).context("the leader")?;
            let request = AdmitRequest {
                cluster_id: now.cluster_id,
                expected_configuration_index: now.configuration_index,
                roster: roster.clone(),
            };
            leader.admin()?.admit(request).await.context("admitting")
        };
        self.seen(&format!("a roster of {size}"), admit).await?;
        self.configured(size).await?;
        Ok(())
    }

    /// Asks the leader to form the cluster.
    ///
    /// # Errors
    /// When it refuses, or there is none.
    pub async fn form(&self, cluster_id: u64) -> Result<()> {
        let leader = self.leader().await?;
        let member = self.members.get(leader).context("the leader's place")?;
        member.admin()?.form(FormRequest { cluster_id }).await.context("forming")?;
        Ok(())
    }
}
