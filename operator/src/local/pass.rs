//! One pass: observe → plan → execute → status. The same order as on Kubernetes, with processes for pods and a file for
//! the API server.

use std::path::PathBuf;

use k8s_openapi::jiff::Timestamp;

use super::loopback::{CLIENT_PORT, PEER_PORT};
use super::member::State;
use super::observe;
use super::record::RecordError;
use super::runner::{Runner, chain};
use super::view::{MemberView, View};
use crate::admin_client::AdminError;
use crate::cluster::facts::Facts;
use crate::cluster::founding::Founding;
use crate::cluster::ids::{ClusterId, Ordinal};
use crate::cluster::plan::{Decision, Step, plan};
use crate::cluster::status::{Context, status, text};
use crate::crd::RaftClusterStatus;
use crate::crd::conditions::{self, Verdict};
use crate::members::{self, Work};

/// Why a step was not carried out. The next pass looks again.
#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error("{0}")]
    Volume(String),
    #[error(transparent)]
    Port(#[from] super::errors::LocalError),
}

impl Runner {
    /// One pass. What goes wrong in it is shown and met again by the next one.
    pub(super) async fn pass(&mut self) -> Decision {
        let facts = match self.facts().await {
            Ok(facts) => facts,
            Err(error) => {
                let said = chain(&error);
                tracing::error!(error = said, "the record cannot be used");
                if let Some(view) = &mut self.view {
                    view.trouble = Some(said);
                }
                // Nothing is decided on a register that cannot be read.
                return Decision::Wait(crate::cluster::plan::Wait::Paused);
            }
        };
        let decision = plan(&facts);
        let status = self.status(&facts, &decision);
        // The intent is written before the act, so that a run that dies in between says what it was about.
        let mut trouble = self.record.set_status(status).err().map(|error| chain(&error));
        if let Err(error) = self.keep_certificates() {
            let said = chain(&error);
            tracing::error!(error = said, "the certificates stay as they are");
            trouble = Some(said);
        }
        self.mark_volumes(&facts);
        if let Decision::Act(step) = &decision {
            tracing::info!(step = text(&decision), "acting");
            if let Err(error) = self.act(step.clone()).await {
                let said = chain(&error);
                tracing::warn!(step = text(&decision), error = said, "not done");
                trouble = Some(said);
            }
        }
        self.view = Some(self.make_view(&facts, &decision, trouble));
        decision
    }

    async fn facts(&mut self) -> Result<Facts, RecordError> {
        let wanted = &self.manifest.wanted;
        let pods =
            observe::pods(&wanted.name, &self.members, self.ground.loopback, &self.clients, &mut self.unwell)
                .await;
        let mut facts = Facts {
            name: wanted.name.clone(),
            replicas: wanted.replicas,
            paused: wanted.paused,
            repair: wanted.repair,
            restart_outdated: wanted.restart_outdated,
            may_roll: true,
            founding: self.record.founding()?,
            pods_wanted: self.record.content().pods,
            pods,
            volume_clusters: self.marks.all().clone(),
            fresh_cluster: mint(),
        };
        self.stuck.note(&mut facts, crate::members::now());
        Ok(facts)
    }

    async fn act(&mut self, step: Step) -> Result<(), PassError> {
        let name = self.manifest.wanted.name.clone();
        let loopback = self.ground.loopback;
        let at = |pod: Ordinal| loopback.socket(pod, PEER_PORT).to_string();
        match members::call(step, &name, at, &self.clients).await? {
            Work::Called => Ok(()),
            Work::Ours(step) => self.act_here(step).await,
        }
    }

    async fn act_here(&mut self, step: Step) -> Result<(), PassError> {
        match step {
            Step::SetPods { from, to } => {
                for ordinal in (from..to).map(Ordinal) {
                    self.ground.check_ports(ordinal)?;
                }
                self.record.set_pods(to)?;
                // Before the process that needs one; one that is too early ends, and is started again.
                self.keep_certificates()?;
                self.follow_pods();
                self.stop_surplus().await;
                Ok(())
            }
            Step::WriteFounding { expected, next } => Ok(self.record.change_founding(&expected, &next)?),
            Step::ReplaceVolume { pod, lost_node: _ } => {
                self.replace_volume(pod).await.map(drop).map_err(PassError::Volume)
            }
            Step::RestartPod { pod } => {
                if let Some(member) = self.members.get(&pod) {
                    member.restart().await;
                }
                Ok(())
            }
            // Calls to members were made before.
            Step::Found { .. }
            | Step::Form { .. }
            | Step::Abandon { .. }
            | Step::Admit { .. }
            | Step::Transfer { .. } => Ok(()),
        }
    }

    /// Gives a member an empty volume; says where the old one went.
    pub(super) async fn replace_volume(&mut self, ordinal: Ordinal) -> Result<PathBuf, String> {
        let pod = self.manifest.wanted.name.pod(ordinal);
        let Some(member) = self.members.get(&ordinal) else {
            let last = self.members.keys().next_back().map_or(0, |last| last.0);
            return Err(format!("there is no {pod}: the members are 0 to {last}"));
        };
        let aside = self.ground.layout.removed(&pod, Timestamp::now().as_millisecond());
        member.wipe(aside.clone()).await.map_err(|error| format!("the volume of {pod} stays: {error}"))?;
        let name = &self.manifest.wanted.name;
        self.marks.clear(&self.ground.layout, name, ordinal).map_err(|error| {
            format!("{pod} starts on an empty volume, but its mark cannot be removed: {error}")
        })?;
        Ok(aside)
    }

    fn mark_volumes(&mut self, facts: &Facts) {
        let Founding::Latched(cluster) = facts.founding else { return };
        for (ordinal, report) in facts.reports() {
            if report.cluster == Some(cluster)
                && let Err(error) = self.marks.set(&self.ground.layout, &facts.name, ordinal, cluster)
            {
                tracing::warn!(pod = facts.name.pod(ordinal), %error, "its volume cannot be marked");
            }
        }
    }

    fn status(&self, facts: &Facts, decision: &Decision) -> RaftClusterStatus {
        let now = Self::now();
        let previous = &self.record.content().status;
        let generation = Some(self.generation);
        let mut made = status(facts, decision, Context { previous, generation, now: &now });
        made.provisioned_storage = Some(self.manifest.wanted.storage_size.clone());
        let fields = self.manifest.not_enforced();
        let message = format!("processes on this machine are not held to {}", fields.join(", "));
        let not_enforced = Verdict::yes("LocalRun", message);
        conditions::upsert(&mut made.conditions, conditions::NOT_ENFORCED, not_enforced, generation, &now);
        let invalid = self
            .manifest_error
            .as_ref()
            .map(|error| Verdict::yes("Refused", format!("the last good manifest is followed: {error}")));
        let gone = self.manifest_gone.then(|| {
            let path = self.options.manifest.display();
            Verdict::yes("Gone", format!("{path} is gone: the last one that was read is followed"))
        });
        for (kind, verdict) in [(conditions::MANIFEST_INVALID, invalid), (conditions::MANIFEST_GONE, gone)] {
            match verdict {
                Some(verdict) => {
                    conditions::upsert(&mut made.conditions, kind, verdict, generation, &now);
                }
                None => conditions::remove(&mut made.conditions, kind),
            }
        }
        made
    }

    fn make_view(&self, facts: &Facts, decision: &Decision, trouble: Option<String>) -> View {
        let content = self.record.content();
        let leader = facts.founding.cluster().and_then(|cluster| facts.leader_of(cluster));
        let layout = &self.ground.layout;
        let members = self.members.iter().map(|(ordinal, member)| {
            let name = facts.name.pod(*ordinal);
            let report = facts.report(*ordinal);
            let progress = leader.zip(report).and_then(|((_, leader), report)| {
                leader.peers.iter().find(|peer| peer.id == report.member)?.progress
            });
            let leads = leader.is_some_and(|(pod, _)| pod == *ordinal);
            MemberView {
                client: self.ground.loopback.socket(*ordinal, CLIENT_PORT).to_string(),
                process: match member.state() {
                    State::Running { process, .. } => Some(process),
                    State::BackOff { .. } | State::Stopped => None,
                },
                restarts: member.restarts(),
                lag_entries: if leads { Some(0) } else { progress.map(|progress| progress.lag) },
                last_contact_ms: progress
                    .filter(|_| !leads)
                    .and_then(|progress| progress.last_contact)
                    .and_then(|contact| u64::try_from(contact.as_millis()).ok()),
                applied_index: report.map(|report| report.applied.0),
                log: layout.log(&name).display().to_string(),
                volume: layout.volume(&name).display().to_string(),
                name,
            }
        });
        View {
            name: facts.name.0.clone(),
            namespace: self.manifest.wanted.namespace.clone(),
            age_seconds: Timestamp::now().as_second().saturating_sub(content.created_unix_seconds),
            replicas: facts.replicas,
            scaled_from: content.scaled.and(content.followed.as_ref()).map(|followed| followed.replicas),
            status: content.status.clone(),
            members: members.collect(),
            doing: text(decision),
            trouble,
            dns: if self.options.dns { self.ground.dns_server.to_string() } else { "off".to_owned() },
            service: self.ground.service.clone(),
            data_dir: layout.root().display().to_string(),
        }
    }
}

/// A fresh cluster id.
fn mint() -> ClusterId {
    loop {
        if let Some(cluster) = ClusterId::from_wire(rand::random()) {
            return cluster;
        }
    }
}
