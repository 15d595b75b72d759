//! What `kubectl describe` and `kubectl events` tell of a cluster: what turned between two statuses, and what was done.
//!
//! Each kind has a reason of its own, so that one can be looked for. What a note says is pure; sending it is not, and a note
//! that cannot be sent is only logged: it must not keep anybody from repairing a cluster.

use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client, Resource, ResourceExt as _};

use super::apply::MANAGER;
use crate::cluster::plan::{Decision, Step};
use crate::cluster::status::text;
use crate::crd::conditions;
use crate::crd::{FoundingState, OperationType, RaftClusterStatus};

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    is_warning: bool,
    reason: String,
    text: String,
}

impl Note {
    fn normal(reason: impl Into<String>, text: impl Into<String>) -> Self {
        Self { is_warning: false, reason: reason.into(), text: text.into() }
    }

    fn warning(reason: impl Into<String>, text: impl Into<String>) -> Self {
        Self { is_warning: true, reason: reason.into(), text: text.into() }
    }
}

/// What turned between two statuses.
pub(super) fn turned(before: &RaftClusterStatus, now: &RaftClusterStatus) -> Vec<Note> {
    let mut notes = Vec::new();
    if let (None, Some(cluster)) = (&before.cluster_id, &now.cluster_id) {
        // Only what was permitted here is new; what was found on volumes has its data.
        notes.push(if before.founding.state == FoundingState::None {
            Note::normal(
                "TakenUp",
                format!("cluster {cluster} is taken up again, with the data that its members have"),
            )
        } else {
            Note::normal("Founded", format!("cluster {cluster} is founded, and no other one ever will be"))
        });
    }
    if let Some(leader) = &now.leader
        && before.leader.as_ref().map(|before| &before.id) != Some(&leader.id)
    {
        notes.push(Note::normal("LeaderElected", format!("{} leads in term {}", leader.name, leader.term)));
    }
    notes.extend(operation(before, now));
    for (kind, when_true, when_false) in [
        (conditions::QUORUM_LOST, Some("QuorumLost"), Some("QuorumRestored")),
        // While it is founded nobody is in step yet, and nothing is wrong.
        (conditions::DEGRADED, Some("Degraded").filter(|_| holds(before, conditions::READY)), None),
        (conditions::READY, None, None),
    ] {
        notes.extend(turn(before, now, kind, when_true, when_false));
    }
    notes.extend(stalled(before, now));
    notes
}

/// What a step that was taken is called.
pub(super) fn taken(step: &Step) -> Note {
    let said = text(&Decision::Act(step.clone()));
    match step {
        Step::SetPods { .. } => Note::normal("PodsScaled", said),
        Step::WriteFounding { .. } => Note::normal("RegisterWritten", said),
        Step::Found { .. } => Note::normal("FounderTold", said),
        Step::Abandon { .. } => Note::warning("FoundingAbandoned", said),
        Step::Form { .. } => Note::normal("Formed", said),
        Step::Admit { .. } => Note::normal("RosterWritten", said),
        Step::Transfer { .. } => Note::normal("LeadershipTransferred", said),
        Step::ReplaceVolume { .. } => Note::warning("VolumeReplaced", said),
        Step::RestartPod { .. } => Note::normal("PodRestarted", said),
    }
}

fn operation(before: &RaftClusterStatus, now: &RaftClusterStatus) -> Vec<Note> {
    let kind = |status: &RaftClusterStatus| status.operation.as_ref().map(|operation| operation.kind);
    let (was, is) = (kind(before), kind(now));
    if was == is {
        return Vec::new();
    }
    let ended =
        was.map(|was| Note::normal(format!("{}Ended", named(was)), format!("{} is over", named(was))));
    let begun = now
        .operation
        .as_ref()
        .map(|begun| Note::normal(format!("{}Begun", named(begun.kind)), begun.step.clone()));
    ended.into_iter().chain(begun).collect()
}

fn named(kind: OperationType) -> &'static str {
    match kind {
        OperationType::Found => "Founding",
        OperationType::Abandon => "Abandoning",
        OperationType::ScaleUp => "ScaleUp",
        OperationType::ScaleDown => "ScaleDown",
        OperationType::Repair => "Repair",
        OperationType::Update => "Update",
    }
}

fn found<'a>(
    status: &'a RaftClusterStatus,
    kind: &str,
) -> Option<&'a k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    status.conditions.iter().find(|condition| condition.type_ == kind)
}

fn holds(status: &RaftClusterStatus, kind: &str) -> bool {
    found(status, kind).is_some_and(|condition| condition.status == "True")
}

fn turn(
    before: &RaftClusterStatus,
    now: &RaftClusterStatus,
    kind: &str,
    when_true: Option<&str>,
    when_false: Option<&str>,
) -> Option<Note> {
    let message = found(now, kind).map(|condition| condition.message.clone()).unwrap_or_default();
    match (holds(before, kind), holds(now, kind)) {
        (false, true) if kind == conditions::READY => Some(Note::normal("Ready", message)),
        (false, true) => when_true.map(|reason| Note::warning(reason, message)),
        (true, false) => when_false.map(|reason| Note::normal(reason, message)),
        (true, true) | (false, false) => None,
    }
}

/// Whenever what is in the way is another thing than before.
fn stalled(before: &RaftClusterStatus, now: &RaftClusterStatus) -> Option<Note> {
    let is = found(now, conditions::STALLED).filter(|condition| condition.status == "True")?;
    let was = found(before, conditions::STALLED).filter(|condition| condition.status == "True");
    let same = was.is_some_and(|was| was.reason == is.reason && was.message == is.message);
    (!same).then(|| Note::warning(is.reason.clone(), is.message.clone()))
}

/// What is told of a resource that cannot be read: its status cannot be written either.
pub(super) fn unreadable(why: &str) -> Note {
    Note::warning(
        "Unreadable",
        format!("this resource is left alone until it is mended, and its members go on as they are: {why}"),
    )
}

/// Sends notes to the API server, each as an Event of its own: a recorder that counts alike ones keeps the first one's text,
/// and "orders-0 leads" is no news when orders-1 does.
#[derive(Clone)]
pub(super) struct Teller {
    client: Client,
    instance: String,
}

impl Teller {
    pub(super) fn new(client: Client, instance: &str) -> Self {
        Self { client, instance: instance.to_owned() }
    }

    /// Tells them of one cluster.
    pub(super) async fn tell<K>(&self, of: &K, notes: Vec<Note>)
    where
        K: Resource<DynamicType = ()>,
    {
        let namespace = of.namespace().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        for note in notes {
            let reason = note.reason.clone();
            if let Err(error) = api.create(&PostParams::default(), &self.event(of, &namespace, note)).await {
                tracing::warn!(reason, %error, "an Event was not taken");
            }
        }
    }

    fn event<K>(&self, of: &K, namespace: &str, note: Note) -> Event
    where
        K: Resource<DynamicType = ()>,
    {
        Event {
            metadata: ObjectMeta {
                generate_name: Some(format!("{}-", of.name_any())),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            type_: Some(if note.is_warning { "Warning" } else { "Normal" }.to_owned()),
            action: Some("Reconcile".to_owned()),
            reason: Some(note.reason),
            note: Some(cut(note.text)),
            event_time: Some(MicroTime(Timestamp::now())),
            regarding: Some(of.object_ref(&())),
            reporting_controller: Some(MANAGER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        }
    }
}

/// An API server takes notes of up to 1024 bytes.
fn cut(mut text: String) -> String {
    const MOST: usize = 1_000;
    if text.len() > MOST {
        let end = (0..=MOST).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::cluster::facts::Facts;
    use crate::cluster::plan::fixture::*;
    use crate::cluster::plan::plan;
    use crate::cluster::status::{Context, status};

    fn of(facts: &Facts, previous: &RaftClusterStatus) -> RaftClusterStatus {
        let now = Time(Timestamp::from_second(9).unwrap());
        status(facts, &plan(facts), Context { previous, generation: Some(1), now: &now })
    }

    fn reasons(notes: &[Note]) -> Vec<&str> {
        notes.iter().map(|note| note.reason.as_str()).collect()
    }

    #[test]
    fn each_turn_is_told_once() {
        let healthy_status = of(&healthy(3), &RaftClusterStatus::default());
        let found = turned(&RaftClusterStatus::default(), &healthy_status);
        assert_eq!(reasons(&found), ["TakenUp", "LeaderElected", "Ready"], "nothing was permitted here");
        let mut permitted = RaftClusterStatus::default();
        permitted.founding.state = FoundingState::Permitted;
        assert_eq!(reasons(&turned(&permitted, &healthy_status)), ["Founded", "LeaderElected", "Ready"]);
        assert_eq!(turned(&healthy_status, &healthy_status), []);

        let mut facts = healthy(3);
        silence(&mut facts, 0);
        let degraded = of(&facts, &healthy_status);
        assert_eq!(reasons(&turned(&healthy_status, &degraded)), ["Degraded"]);
        silence(&mut facts, 1);
        let lost = of(&facts, &degraded);
        let notes = turned(&degraded, &lost);
        assert!(reasons(&notes).contains(&"QuorumLost"), "{notes:?}");
        assert!(reasons(&turned(&lost, &healthy_status)).contains(&"QuorumRestored"));
    }

    #[test]
    fn an_operation_is_told_when_it_begins_and_when_it_ends() {
        let before = of(&healthy(3), &RaftClusterStatus::default());
        let mut facts = healthy(3);
        facts.replicas = 5;
        let scaling = of(&facts, &before);
        assert_eq!(reasons(&turned(&before, &scaling)), ["ScaleUpBegun"]);
        assert_eq!(reasons(&turned(&scaling, &before)), ["ScaleUpEnded", "Ready"]);
    }

    #[test]
    fn what_is_in_the_way_is_told_again_only_when_it_is_another_thing() {
        let before = RaftClusterStatus::default();
        let stalled = |message: &str| {
            let mut status = before.clone();
            let verdict = conditions::Verdict::yes("Refused", message);
            let now = Time(Timestamp::from_second(9).unwrap());
            conditions::upsert(&mut status.conditions, conditions::STALLED, verdict, None, &now);
            status
        };
        assert_eq!(reasons(&turned(&before, &stalled("a"))), ["Refused"]);
        assert_eq!(turned(&stalled("a"), &stalled("a")), []);
        assert_eq!(reasons(&turned(&stalled("a"), &stalled("b"))), ["Refused"]);
    }

    #[test]
    fn a_long_note_is_cut_between_two_characters() {
        let short = cut("é".repeat(600));
        assert!(short.len() <= 1_003 && short.ends_with("é…"), "{}", short.len());
        assert_eq!(cut("short".to_owned()), "short");
    }
}
