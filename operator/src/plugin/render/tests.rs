use serde_json::json;

use super::super::seen::Live;
use super::super::view::tests::{healthy_status, now, seen};
use super::super::view::{OperationView, view};
use super::*;
use crate::crd::OperationType;

fn healthy() -> View {
    view(&seen(&healthy_status()), &now())
}

#[test]
fn a_healthy_cluster_fits_on_one_screen() {
    let wanted = "\
RaftCluster shop/orders: Healthy
Cluster:   8f3c0000000000aa
Voters:    3, 3 in step, quorum 2
Leader:    orders-1 (b1) in term 14, for 60m
Can lose:  1 more voter
Operation: none

MEMBER     ROLE       HEALTH   MATCH   LAG   CONTACT   NODE     POD       RESTARTS   MESSAGE
orders-0   Follower   Ready    997     3     40ms      node-1   Running   0
orders-1   Leader     Ready    1000    0     -         node-2   Running   2
orders-2   Follower   Ready    1000    0     never     node-3   Running   0

Conditions: all as wished
";
    assert_eq!(render(&healthy()), wanted);
}

#[test]
fn a_cluster_in_trouble_says_what_and_since_when() {
    let mut status = healthy_status();
    status["phase"] = json!("Degraded");
    status["readyReplicas"] = json!(2);
    status["faultTolerance"] = json!(0);
    status["observedGeneration"] = json!(6);
    status["operation"] = json!({"type": "Repair", "member": "orders-2", "step": "orders-2 is\njoining", "startedAt": "2026-03-01T11:59:48Z"});
    status["members"][2] = json!({"name": "orders-2", "role": "Unknown", "health": "Silent", "lag": "Unknown", "message": "the pod has no address yet"});
    status["conditions"][0] = json!({
        "type": "Ready", "status": "False", "reason": "MembersUnwell", "message": "orders-2 is not in step",
        "lastTransitionTime": "2026-03-01T11:58:50Z",
    });
    let mut seen = seen(&status);
    seen.pods.pop();
    seen.live = Live::Unknown("pods is forbidden (…)".to_owned());
    let wanted = "\
RaftCluster shop/orders: Degraded
Cluster:   8f3c0000000000aa
Voters:    3, 2 in step, quorum 2
Leader:    orders-1 (b1) in term 14, for 60m
Can lose:  no more: the next loss stops writes
Operation: Repair orders-2: orders-2 is joining (for 12s)
Stale:     the spec is of generation 7, the status speaks of 6: is the operator running?
Unheard:   no MATCH, LAG in entries and CONTACT: pods is forbidden (…)

MEMBER     ROLE       HEALTH   MATCH   LAG       CONTACT   NODE     POD       RESTARTS   MESSAGE
orders-0   Follower   Ready    -       None      -         node-1   Running   0
orders-1   Leader     Ready    -       None      -         node-2   Running   2
orders-2   -          Silent   -       Unknown   -         -        none      0          the pod has no address yet

CONDITION   STATUS   FOR   REASON          MESSAGE
Ready       False    70s   MembersUnwell   orders-2 is not in step
";
    assert_eq!(render(&view(&seen, &now())), wanted);
}

#[test]
fn how_many_more_may_be_lost() {
    let rows = [
        (0, false, 0, "nothing yet: there is no cluster to lose"),
        (3, false, 0, "no more: writes wait already"),
        // A status that contradicts itself is read the careful way.
        (3, false, 1, "no more: writes wait already"),
        (1, true, 0, "no more: the next loss stops writes"),
        (3, true, 1, "1 more voter"),
        (5, true, 2, "2 more voters"),
    ];
    for (voters, available, lose, wanted) in rows {
        let view = View { voters, available, can_lose: lose, ..healthy() };
        assert_eq!(can_lose(&view), wanted, "{voters} {available} {lose}");
    }
}

#[test]
fn what_the_lines_say() {
    let scaling = OperationView {
        kind: OperationType::ScaleUp,
        member: None,
        step: "pods: 3 → 5".to_owned(),
        for_seconds: None,
    };
    let rows: [(View, &str); 6] = [
        (View { replicas: 5, ..healthy() }, "Voters:    3 (5 wanted), 3 in step, quorum 2\n"),
        (View { leader: None, ..healthy() }, "Leader:    none\n"),
        (View { cluster_id: None, ..healthy() }, "Cluster:   not founded yet\n"),
        (View { operation: Some(scaling), ..healthy() }, "Operation: ScaleUp: pods: 3 → 5\n"),
        (
            View { observed_generation: None, ..healthy() },
            "Stale:     no operator has written a status: is it running, and does it watch this namespace?\n",
        ),
        (
            View { phase: Some(Phase::Paused), ..healthy() },
            "Conditions: all as wished, but spec.paused is true: nothing is changed\n",
        ),
    ];
    for (view, wanted) in rows {
        let text = render(&view);
        assert!(text.contains(wanted), "{wanted} is not in\n{text}");
    }
}

#[test]
fn a_leader_that_the_status_does_not_know_yet_is_told_of() {
    let mut status = healthy_status();
    status["leader"]["name"] = json!("orders-0");
    let text = render(&view(&seen(&status), &now()));
    assert!(
        text.contains(
            "Leader:    orders-1 (b1) in term 14, by its own word; the status still says orders-0\n"
        ),
        "{text}"
    );
}

#[test]
fn a_cluster_without_pods_is_no_empty_table() {
    let text = render(&View { members: Vec::new(), ..healthy() });
    assert!(text.contains("\nThere are no pods and no members yet.\n"), "{text}");
}
