//! One pass over one cluster: observe → validate → plan → apply → execute → status.
//!
//! May import: every room of the controller. Deliberately absent: when passes happen (`run`).

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client, Resource as _};

use super::apply::{self, Applied, Obstacle, Reach, Written};
use super::certificates::{Held, Kept, Whose};
use super::errors::{Doing as _, PassError};
use super::events::{self, Teller};
use super::execute::Hands;
use super::observe::{self, Observed};
use super::rolls::Rolls;
use super::volumes::Tended;
use super::{fail_point, hints, status};
use crate::admin_client::AdminClients;
use crate::certificates::Lifetimes;
use crate::cluster::budget;
use crate::cluster::build::{self, Blueprint, Settings};
use crate::cluster::facts::Facts;
use crate::cluster::founding::Founding;
use crate::cluster::ids::{ClusterId, Ordinal};
use crate::cluster::plan::{Decision, Step, Wait, plan};
use crate::cluster::register::{self, RegisterError};
use crate::cluster::status::{Context, status as make_status, text};
use crate::cluster::validate::{self, Wanted};
use crate::cluster::volumes::{provisioned, template_size};
use crate::crd::conditions::{self, Verdict};
use crate::crd::{Phase, RaftCluster, RaftClusterStatus};
use crate::members::{self, LostNodes, Stuck, Unwell, Work};

/// After a step: what it did is soon to be seen.
pub(super) const AFTER_A_STEP: Duration = Duration::from_millis(250);
/// While something is waited for.
const WAITING: Duration = Duration::from_secs(1);
/// While nothing is to be done.
pub(super) const AT_REST: Duration = Duration::from_secs(5);
/// While only a person, or an edit, can change anything.
const FOR_A_PERSON: Duration = Duration::from_secs(15);

/// What is remembered of one cluster between passes: nothing that a restart of the operator may not forget.
#[derive(Debug, Default)]
pub(super) struct Memory {
    unwell: Unwell,
    lost_nodes: LostNodes,
    stuck: Stuck,
    written: Written,
    certificates: Held,
    /// What stood in the way of the last step: the step comes again, and meanwhile the status says so.
    in_the_way: Vec<Obstacle>,
    /// Where it stood when it was last looked at.
    pub(super) phase: Option<Phase>,
    /// As they were written last.
    pub(super) conditions: Vec<Condition>,
}

/// What every pass uses.
pub(super) struct Tools {
    pub(super) client: Client,
    pub(super) settings: Settings,
    pub(super) lifetimes: Lifetimes,
    pub(super) teller: Teller,
    pub(super) rolls: Rolls,
}

/// Does one pass; says when the next one is due. `None`: the cluster is gone.
pub(super) async fn pass(
    tools: &Tools,
    (namespace, name): (&str, &str),
    memory: &mut Memory,
) -> Result<Option<Duration>, PassError> {
    let api: Api<RaftCluster> = Api::namespaced(tools.client.clone(), namespace);
    let live = match api.get_opt(name).await {
        Err(kube::Error::SerdeError(error)) => return Err(PassError::Unreadable(error)),
        read => read.doing(|| format!("reading RaftCluster {namespace}/{name}"))?,
    };
    // One that is being deleted takes its children with it, by their owner references.
    let Some(live) = live.filter(|live| live.metadata.deletion_timestamp.is_none()) else {
        tools.rolls.leave((namespace, name));
        return Ok(None);
    };
    let now = Time(Timestamp::now());
    if let Err(wrong) = founding(&live) {
        refuse(tools, live, Verdict::yes("RegisterInvalid", wrong.to_string()), &now).await?;
        return Ok(Some(FOR_A_PERSON));
    }
    let (wanted, wrong) = validate::read(&live);
    let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    let invalid = (!wrong.is_empty()).then(|| wrong.join("; "));
    Turn { tools, memory, now: &now, wanted: &wanted, invalid: invalid.as_deref() }.turn(live).await.map(Some)
}

/// What the register in the status says.
fn founding(live: &RaftCluster) -> Result<Founding, RegisterError> {
    live.status.as_ref().map_or(Ok(Founding::None), |status| register::from_status(&status.founding))
}

/// A register that nothing can be decided on: everything stays as it is.
async fn refuse(tools: &Tools, live: RaftCluster, wrong: Verdict, now: &Time) -> Result<(), PassError> {
    let previous = live.status.clone().unwrap_or_default();
    let context = Context { previous: &previous, generation: live.metadata.generation, now };
    let mut refused = previous.clone();
    status::note_wrong(&mut refused, wrong, context);
    conditions::keep_times(&mut refused.conditions, &previous.conditions);
    write_and_tell(tools, live, refused).await.map(drop)
}

/// Writes the status, and tells what turned with it.
async fn write_and_tell(
    tools: &Tools,
    live: RaftCluster,
    status: RaftClusterStatus,
) -> Result<RaftCluster, PassError> {
    let notes = events::turned(live.status.as_ref().unwrap_or(&RaftClusterStatus::default()), &status);
    let live = status::write(&tools.client, live, status).await?;
    tools.teller.tell(&live, notes).await;
    Ok(live)
}

struct Turn<'a> {
    tools: &'a Tools,
    memory: &'a mut Memory,
    now: &'a Time,
    wanted: &'a Wanted,
    /// What is wrong with the spec: the cluster is looked at as ever, and nothing is changed.
    invalid: Option<&'a str>,
}

impl Turn<'_> {
    /// Whether anything may be changed.
    fn acts(&self) -> bool {
        self.invalid.is_none() && !self.wanted.paused
    }

    async fn turn(mut self, live: RaftCluster) -> Result<Duration, PassError> {
        let wanted = self.wanted;
        let observed = observe::observe(&self.tools.client, &wanted.namespace, &wanted.name).await?;
        let kept = self.certificates(&live, &observed).await?;
        let facts = self.facts(&live, &observed, kept.clients.as_deref()).await?;
        let decision = plan(&facts);
        if !self.acts() || decision == Decision::Settled {
            self.tools.rolls.leave((&wanted.namespace, &wanted.name.0));
        }
        let hands = Hands { client: &self.tools.client, namespace: &wanted.namespace, observed: &observed };
        let tended = self.tend(&live, (&facts, &kept), &hands, matches!(decision, Decision::Settled)).await;
        // What fails here must not keep the status from saying what stands.
        let (tended, failed) = match tended {
            Ok(tended) => (tended, None),
            Err(error) if error.is_conflict() => return Err(error),
            Err(error) => (Tended::default(), Some(error)),
        };
        let stuck = std::mem::take(&mut self.memory.in_the_way);
        let mut obstacles = tended.obstacles.clone();
        let more = stuck.iter().filter(|obstacle| !tended.obstacles.contains(obstacle));
        obstacles.extend(more.cloned());
        let status = self.status(&live, &observed, (&facts, &decision), (&tended, &obstacles));
        // The intent is written before the act, so that an operator that dies in between says what it was about.
        self.memory.phase = status.phase;
        self.memory.conditions.clone_from(&status.conditions);
        let live = write_and_tell(self.tools, live, status).await?;
        if let Some(error) = failed {
            return Err(error);
        }
        if !self.acts() {
            return Ok(if self.invalid.is_some() { FOR_A_PERSON } else { AT_REST });
        }
        hands.mark_claims(&facts).await?;
        match decision {
            Decision::Settled if !obstacles.is_empty() => Ok(FOR_A_PERSON),
            Decision::Settled if tended.differed => Ok(AFTER_A_STEP),
            Decision::Settled if !observed.is_set_taken_up() => Ok(WAITING),
            Decision::Settled => Ok(AT_REST),
            Decision::Wait(wait) => Ok(if wait.needs_a_person() { FOR_A_PERSON } else { pause(&wait) }),
            Decision::Act(step) => {
                tracing::info!(namespace = wanted.namespace, name = %wanted.name, step = text(&Decision::Act(step.clone())), "acting");
                let note = events::taken(&step);
                fail_point::reached("status-written");
                let in_the_way = self.act(step, live.clone(), (&facts, &kept), &hands).await?;
                fail_point::reached("step-taken");
                if in_the_way.is_empty() {
                    self.tools.teller.tell(&live, vec![note]).await;
                    return Ok(AFTER_A_STEP);
                }
                let again = if in_the_way == stuck { FOR_A_PERSON } else { AFTER_A_STEP };
                self.memory.in_the_way = in_the_way;
                Ok(again)
            }
        }
    }

    /// Everything that is kept as it should be beside the plan's one step: the objects, the claims.
    async fn tend(
        &mut self,
        live: &RaftCluster,
        (facts, kept): (&Facts, &Kept),
        hands: &Hands<'_>,
        settled: bool,
    ) -> Result<Tended, PassError> {
        let applied = self.apply(live, (facts, kept), hands.observed, facts.pods_wanted).await?;
        let mut tended = Tended::default();
        if self.acts() {
            let owner = live.controller_owner_ref(&()).unwrap_or_default();
            tended = hands.tend_claims(self.wanted, &owner, settled).await?;
        }
        let refused =
            hints::refused_pods(&self.tools.client, &self.wanted.namespace, hands.observed, self.now.0)
                .await?;
        tended.obstacles.splice(0..0, applied.obstacles.into_iter().chain(refused));
        tended.differed = applied.differed;
        Ok(tended)
    }

    /// Keeps the certificates, before anything that needs them.
    async fn certificates(&mut self, live: &RaftCluster, observed: &Observed) -> Result<Kept, PassError> {
        let (tools, wanted) = (self.tools, self.wanted);
        let owner = live.controller_owner_ref(&()).unwrap_or_default();
        let whose = Whose {
            wanted,
            owner: &owner,
            settings: &tools.settings,
            lifetimes: tools.lifetimes,
            // A pod that is to come has its certificate before it comes.
            pods: observed.pods_wanted().max(wanted.replicas),
        };
        self.memory.certificates.keep(&tools.client, whose).await
    }

    async fn facts(
        &mut self,
        live: &RaftCluster,
        observed: &Observed,
        clients: Option<&AdminClients>,
    ) -> Result<Facts, PassError> {
        let wanted = self.wanted;
        let founding = founding(live)?;
        let mut pods = observed.ask(&wanted.name, clients, &mut self.memory.unwell).await;
        hints::note_lost_nodes(&self.tools.client, observed, &mut pods).await?;
        self.memory.lost_nodes.note(&mut pods, members::now());
        let outdated = pods.values().filter(|pod| pod.outdated).count();
        let rolls = wanted.restart_outdated && self.acts();
        let turn = (wanted.namespace.as_str(), wanted.name.0.as_str());
        let mut facts = Facts {
            may_roll: rolls && self.tools.rolls.may_roll(turn, outdated, members::now()),
            name: wanted.name.clone(),
            replicas: wanted.replicas,
            paused: wanted.paused,
            repair: wanted.repair,
            restart_outdated: wanted.restart_outdated,
            founding,
            pods_wanted: observed.pods_wanted(),
            pods,
            volume_clusters: observed.volume_clusters(),
            fresh_cluster: mint(),
        };
        self.memory.stuck.note(&mut facts, members::now());
        Ok(facts)
    }

    /// Writes the children that differ, or says that some do where nothing may be changed. The set is made with the first step that asks for pods, never before.
    async fn apply(
        &mut self,
        live: &RaftCluster,
        (facts, kept): (&Facts, &Kept),
        observed: &Observed,
        pods: u8,
    ) -> Result<Applied, PassError> {
        // What is wrong with a spec may be in any object.
        if self.invalid.is_some() {
            return Ok(Applied::default());
        }
        let wanted = self.wanted;
        let owner = live.controller_owner_ref(&()).unwrap_or_default();
        let blueprint = Blueprint {
            wanted,
            spec: &live.spec,
            owner: &owner,
            pods,
            // A template never changes: a larger one takes another set.
            claim_size: observed.set.as_ref().and_then(template_size).unwrap_or(&wanted.storage_size),
            needed: budget::needed(facts),
            settings: &self.tools.settings,
        };
        let children = build::children(blueprint);
        let place = (wanted.namespace.as_str(), &wanted.name);
        // Pods that are there keep what they have mounted; none is made that would mount a stranger's Secret.
        let with_set = pods > 0 && !observed.is_set_going() && kept.obstacles.is_empty();
        let reach = Reach { writes: self.acts(), with_set };
        let client = &self.tools.client;
        let mut applied =
            apply::apply(client, place, &owner.uid, &children, (reach, &mut self.memory.written)).await?;
        applied.obstacles.splice(0..0, kept.obstacles.iter().cloned());
        Ok(applied)
    }

    fn status(
        &self,
        live: &RaftCluster,
        observed: &Observed,
        (facts, decision): (&Facts, &Decision),
        (tended, obstacles): (&Tended, &[Obstacle]),
    ) -> RaftClusterStatus {
        let previous = live.status.clone().unwrap_or_default();
        let context = Context { previous: &previous, generation: live.metadata.generation, now: self.now };
        let mut made = make_status(facts, decision, context);
        made.selector = Some(build::selector(&facts.name));
        let claims: Vec<_> = observed.claims.values().collect();
        if let Some(size) = provisioned(observed.set.as_ref(), &claims, &self.wanted.storage_size) {
            made.provisioned_storage = Some(size.to_owned());
        }
        if tended.differed && !self.acts() {
            status::note_differs(&mut made, context);
        } else if tended.differed || !observed.is_set_taken_up() {
            let said = "objects were written, and whoever acts on them has yet to see it";
            status::note_under_way(&mut made, Verdict::yes("Changing", said), context);
        }
        status::note_growth(&mut made, tended.growing.as_deref(), context);
        status::note_obstacles(&mut made, obstacles, context);
        status::note_apps(&mut made, &hints::unready_apps(observed), context);
        if let Some(wrong) = self.invalid {
            status::note_wrong(&mut made, Verdict::yes("SpecInvalid", wrong), context);
        }
        conditions::keep_times(&mut made.conditions, &previous.conditions);
        made
    }

    async fn act(
        &mut self,
        step: Step,
        live: RaftCluster,
        (facts, kept): (&Facts, &Kept),
        hands: &Hands<'_>,
    ) -> Result<Vec<Obstacle>, PassError> {
        // A member without an address is not called: nobody listens at this one.
        let at = |pod: Ordinal| hands.observed.address(pod).unwrap_or_else(|| "0.0.0.0:0".to_owned());
        let work = match &kept.clients {
            Some(clients) => members::call(step, &facts.name, at, clients).await?,
            // Nobody was asked, so that no step is a call.
            None => Work::Ours(step),
        };
        match work {
            Work::Called => {}
            Work::Ours(Step::SetPods { to, .. }) => {
                return Ok(self.apply(&live, (facts, kept), hands.observed, to).await?.obstacles);
            }
            Work::Ours(Step::WriteFounding { next, .. }) => {
                let before = live.status.clone().unwrap_or_default();
                let live = status::write_founding(&self.tools.client, live, &next).await?;
                let after = live.status.clone().unwrap_or_default();
                self.tools.teller.tell(&live, events::turned(&before, &after)).await;
            }
            Work::Ours(Step::ReplaceVolume { pod, lost_node }) => {
                hands.replace_volume(pod, lost_node).await?
            }
            Work::Ours(Step::RestartPod { pod }) => hands.restart(pod).await?,
            // Calls to members were made before.
            Work::Ours(
                Step::Found { .. }
                | Step::Form { .. }
                | Step::Abandon { .. }
                | Step::Admit { .. }
                | Step::Transfer { .. },
            ) => {}
        }
        Ok(Vec::new())
    }
}

fn pause(wait: &Wait) -> Duration {
    let is_slow = matches!(wait, Wait::MembersUnwell { .. } | Wait::RepairLater { .. });
    if is_slow { AT_REST } else { WAITING }
}

/// A fresh cluster id.
fn mint() -> ClusterId {
    loop {
        if let Some(cluster) = ClusterId::from_wire(rand::random()) {
            return cluster;
        }
    }
}
