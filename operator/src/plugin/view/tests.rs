use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::*;

/// A noon on which all of this happens.
pub(in crate::plugin) fn now() -> Time {
    Time("2026-03-01T12:00:00Z".parse::<Timestamp>().unwrap())
}

pub(in crate::plugin) fn member(name: &str, id: &str, role: &str, health: &str) -> Value {
    json!({"name": name, "id": id, "role": role, "health": health, "lag": "None", "version": "0.1.0"})
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-03-01T11:58:50Z",
    })
}

pub(in crate::plugin) fn healthy_status() -> Value {
    json!({
        "observedGeneration": 7, "clusterID": "8f3c0000000000aa", "phase": "Healthy",
        "replicas": 3, "readyReplicas": 3, "voters": 3, "quorum": 2, "faultTolerance": 1,
        "leader": {"name": "orders-1", "id": "b1", "term": 14, "since": "2026-03-01T11:00:00Z"},
        "members": [
            member("orders-0", "b0", "Follower", "Ready"),
            member("orders-1", "b1", "Leader", "Ready"),
            member("orders-2", "b2", "Follower", "Ready"),
        ],
        "conditions": [
            condition("Ready", "True", "Settled", "everything is as the spec says"),
            condition("Available", "True", "Settled", "3 of 3 voters are in step"),
            condition("Stalled", "False", "Settled", "everything is as the spec says"),
        ],
    })
}

fn pod(name: &str, node: &str, restarts: i32) -> Pod {
    let pod = json!({
        "metadata": {"name": name},
        "spec": {"nodeName": node, "containers": []},
        "status": {
            "phase": "Running",
            "initContainerStatuses": [
                {"name": SIDECAR, "restartCount": restarts, "ready": true, "image": "", "imageID": ""},
            ],
        },
    });
    serde_json::from_value(pod).unwrap()
}

pub(in crate::plugin) fn seen(status: &Value) -> Seen {
    let cluster = json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": "RaftCluster",
        "metadata": {"name": "orders", "namespace": "shop", "generation": 7},
        "spec": {"replicas": 3}, "status": status,
    });
    let said = json!({
        "name": "orders-1", "member_id": "b1", "role": "leader", "leader_id": "b1", "term": 14,
        "members": [
            {"id": "b0", "name": "orders-0", "match_index": 997, "lag": 3, "last_contact_ms": 40},
            {"id": "b1", "name": "orders-1", "match_index": 1000, "lag": 0, "last_contact_ms": 0},
            {"id": "b2", "name": "orders-2", "match_index": 1000, "lag": 0, "last_contact_ms": null},
        ],
    });
    Seen {
        cluster: serde_json::from_value(cluster).unwrap(),
        pods: vec![pod("orders-0", "node-1", 0), pod("orders-1", "node-2", 2), pod("orders-2", "node-3", 0)],
        live: Live::Leader(Box::new(serde_json::from_value(said).unwrap())),
    }
}

#[test]
fn a_member_has_its_status_its_pod_and_what_its_leader_knows() {
    let seen = view(&seen(&healthy_status()), &now());
    let rows: Vec<_> = seen
        .members
        .iter()
        .map(|row| {
            (
                row.role,
                row.match_index,
                row.lag_entries,
                row.last_contact_ms,
                row.node.as_deref(),
                row.restarts,
            )
        })
        .collect();
    assert_eq!(rows[0], (MemberRole::Follower, Some(997), Some(3), Some(40), Some("node-1"), 0));
    assert_eq!(rows[1], (MemberRole::Leader, Some(1000), Some(0), None, Some("node-2"), 2));
    assert_eq!(rows[2], (MemberRole::Follower, Some(1000), Some(0), None, Some("node-3"), 0));
    assert_eq!(seen.leader.unwrap().for_seconds, Some(3600));
    assert_eq!((seen.trouble, seen.available, seen.can_lose), (Vec::new(), true, 1));
}

#[test]
fn only_what_is_not_as_wished_is_trouble() {
    let holds = |kind: &str, status: &str| condition(kind, status, "Because", "…");
    let fine = [holds("Ready", "True"), holds("Available", "True")];
    let rows: [(Vec<Value>, &[&str]); 7] = [
        (vec![], &["Ready", "Available"]),
        (fine.to_vec(), &[]),
        (vec![holds("Ready", "False"), fine[1].clone()], &["Ready"]),
        (vec![holds("Ready", "Unknown"), fine[1].clone()], &["Ready"]),
        ([fine.to_vec(), vec![holds("Stalled", "False")]].concat(), &[]),
        (
            [fine.to_vec(), vec![holds("QuorumLost", "True"), holds("NameConflict", "True")]].concat(),
            &["QuorumLost", "NameConflict"],
        ),
        // The local runner's word on itself.
        ([fine.to_vec(), vec![holds("NotEnforced", "True")]].concat(), &[]),
    ];
    for (conditions, wanted) in rows {
        let mut status = healthy_status();
        status["conditions"] = json!(conditions);
        let seen = view(&seen(&status), &now());
        let found: Vec<&str> = seen.trouble.iter().map(|found| found.kind.as_str()).collect();
        assert_eq!(found, wanted, "{conditions:?}");
    }
}

#[test]
fn who_leads_by_its_own_word_counts_more_than_an_old_status() {
    let mut status = healthy_status();
    status["leader"] = json!({"name": "orders-0", "id": "b0", "term": 13, "since": "2026-03-01T11:00:00Z"});
    status["members"][0]["role"] = json!("Leader");
    status["members"][1]["role"] = json!("Follower");
    let mut seen = seen(&status);
    let told = view(&seen, &now());
    let leader = told.leader.unwrap();
    assert_eq!((leader.name.as_str(), leader.term, leader.for_seconds), ("orders-1", 14, None));
    assert_eq!(leader.status_says.as_deref(), Some("orders-0"));
    assert_eq!([told.members[0].role, told.members[1].role], [MemberRole::Follower, MemberRole::Leader]);

    seen.live = Live::Unknown("nobody answers".to_owned());
    let untold = view(&seen, &now());
    assert_eq!(untold.leader.unwrap().name, "orders-0");
    assert_eq!(untold.members[0].role, MemberRole::Leader);
    assert_eq!(untold.members[0].match_index, None);
    assert_eq!(untold.leader_unheard.as_deref(), Some("nobody answers"));
}

#[test]
fn a_pod_without_a_member_and_a_member_without_a_pod_have_rows_and_a_stranger_has_none() {
    let mut status = healthy_status();
    status["members"].as_array_mut().unwrap().pop();
    let mut seen = seen(&status);
    seen.pods.remove(0);
    seen.pods.push(pod("orders-10", "node-1", 0));
    seen.pods.push(pod("stranger", "node-1", 0));
    let rows = view(&seen, &now()).members;
    let names: Vec<(&str, Option<&str>, Health)> =
        rows.iter().map(|row| (row.name.as_str(), row.pod.as_deref(), row.health)).collect();
    let wanted = [
        ("orders-0", None, Health::Ready),
        ("orders-1", Some("Running"), Health::Ready),
        ("orders-2", Some("Running"), Health::Silent),
        ("orders-10", Some("Running"), Health::Silent),
    ];
    assert_eq!(names, wanted);
}

#[test]
fn a_pod_says_what_it_waits_for() {
    let waiting = |reason: &str| json!({"state": {"waiting": {"reason": reason}}, "name": "x", "restartCount": 0, "ready": false, "image": "", "imageID": ""});
    let rows = [
        (json!({"phase": "Pending"}), "Pending"),
        (json!({"phase": "Pending", "containerStatuses": [waiting("PodInitializing")]}), "Pending"),
        (
            json!({"phase": "Pending", "initContainerStatuses": [waiting("ImagePullBackOff")], "containerStatuses": [waiting("PodInitializing")]}),
            "ImagePullBackOff",
        ),
        (json!({"phase": "Running", "containerStatuses": [waiting("CrashLoopBackOff")]}), "CrashLoopBackOff"),
        (json!({}), "Unknown"),
    ];
    for (status, wanted) in rows {
        let mut pod: Pod = serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap();
        assert_eq!(pod_state(&pod), wanted, "{status}");
        pod.metadata.deletion_timestamp = Some(now());
        assert_eq!(pod_state(&pod), "Terminating", "{status}");
    }
}

#[test]
fn a_cluster_that_no_operator_has_seen_is_shown_as_such() {
    let mut seen = seen(&Value::Null);
    seen.pods.clear();
    seen.live = Live::Unknown("no pod runs".to_owned());
    let view = view(&seen, &now());
    assert_eq!((view.phase, view.observed_generation, view.members.len()), (None, None, 0));
    assert_eq!(
        view.trouble.iter().map(|found| found.reason.as_str()).collect::<Vec<_>>(),
        ["NotWritten", "NotWritten"]
    );
}

#[test]
fn times_in_the_future_are_no_negative_ages() {
    let later = Time("2026-03-01T12:00:05Z".parse::<Timestamp>().unwrap());
    assert_eq!(since(Some(&later), &now()), Some(0));
    assert_eq!(since(None, &now()), None);
}

#[test]
fn json_is_for_programs_camel_case_with_null_for_what_nobody_knows() {
    let json = serde_json::to_value(view(&seen(&healthy_status()), &now())).unwrap();
    assert_eq!(json["clusterID"], "8f3c0000000000aa");
    assert_eq!(json["canLose"], 1);
    assert_eq!(json["members"][0]["matchIndex"], 997);
    assert_eq!(json["members"][1]["lastContactMs"], Value::Null);
    assert_eq!(json["leaderUnheard"], Value::Null);
}

#[test]
fn only_what_lasts_makes_two_looks_differ() {
    let first = view(&seen(&healthy_status()), &now());
    let later = Time("2026-03-01T12:00:09Z".parse::<Timestamp>().unwrap());
    let mut after_some_puts = seen(&healthy_status());
    if let Live::Leader(said) = &mut after_some_puts.live {
        for member in &mut said.members {
            member.match_index = member.match_index.map(|index| index + 50);
            member.last_contact_ms = Some(90);
        }
    }
    let second = view(&after_some_puts, &later);
    assert_ne!(first, second);
    assert_eq!(first.lasting(), second.lasting());
    let mut status = healthy_status();
    status["members"][2]["health"] = json!("Silent");
    assert_ne!(view(&seen(&status), &now()).lasting(), first.lasting());
}
