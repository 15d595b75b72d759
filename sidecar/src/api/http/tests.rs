//! The HTTP handlers, called through the router, in front of a scripted node.

use axum::body::{Body, to_bytes};
use axum::http::Request as HttpRequest;
use bytes::Bytes;
use outrigger_core::error::MembershipRefusal;
use outrigger_core::event::{AdminReply, AdminRequest, MemberSelector};
use outrigger_core::membership::RosterEntry;
use outrigger_core::status::NodeStatus;
use outrigger_core::types::{Index, MemberId};
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::api::testing;
use crate::inbox::Input;
use crate::member::Standing;

fn shared(member: MemberHandle) -> Shared {
    let metrics = Arc::new(Metrics::new());
    Shared { door: HttpDoor { member, identity: testing::identity(), metrics }, readiness: Arc::default() }
}

fn app(member: MemberHandle) -> Router {
    router(shared(member))
}

/// An app whose readiness was looked at once, as the port's own task does.
async fn looked_at(member: MemberHandle) -> Router {
    let shared = shared(member);
    shared.readiness.look(&shared.door).await;
    router(shared)
}

/// A node that lets every read through and answers every admin request the same way.
fn answering(status: NodeStatus, answer: Result<AdminReply, Refusal>) -> MemberHandle {
    testing::scripted(status, move |input| match input {
        Input::Read { reply } => reply.send(Ok(Index(100))).unwrap(),
        Input::Admin { reply, .. } => reply.send(answer.clone()).unwrap(),
        Input::Propose { .. } | Input::Event(_) => panic!("not asked for"),
    })
}

async fn call_from(app: &Router, peer: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut request =
        HttpRequest::builder().method(method).uri(path).body(Body::from(body.to_owned())).unwrap();
    let peer: SocketAddr = peer.parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = app.clone().oneshot(request).await.unwrap();
    let code = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (code, String::from_utf8(bytes.to_vec()).unwrap())
}

async fn call(app: &Router, method: &str, path: &str, body: &str) -> (u16, String) {
    call_from(app, "127.0.0.1:5000", method, path, body).await
}

#[tokio::test]
async fn an_empty_disk_is_alive_and_not_ready_and_says_why() {
    let standing = Standing { waiting_for: "waiting to be founded".into(), ..Standing::default() };
    let app = app(testing::nodeless(standing));
    assert_eq!(call(&app, "GET", "/livez", "").await.0, 200);
    let (code, text) = call(&app, "GET", "/readyz", "").await;
    assert_eq!((code, text.as_str()), (503, "not ready: waiting to be founded\n"));
}

#[tokio::test]
async fn a_formed_member_is_ready_once_a_read_has_gone_through() {
    let refused = testing::scripted(testing::leader_status(), |input| match input {
        Input::Read { reply } => reply.send(Err(Refusal::NoLeader)).unwrap(),
        Input::Propose { .. } | Input::Admin { .. } | Input::Event(_) => panic!("not asked for"),
    });
    let (code, text) = call(&looked_at(refused).await, "GET", "/readyz", "").await;
    assert_eq!(code, 503);
    assert!(text.contains("no linearizable read has gone through"), "{text}");

    let app = looked_at(answering(testing::leader_status(), Ok(AdminReply::Done))).await;
    assert_eq!(call(&app, "GET", "/readyz", "").await, (200, "ready\n".to_owned()));
    assert_eq!(call(&app, "GET", "/livez", "").await.0, 200);
}

#[tokio::test]
async fn a_lost_leader_counts_after_its_time_whoever_asked_before() {
    let with = |leaderless_ticks: u64, readiness: &Arc<Readiness>| {
        let leader = (leaderless_ticks == 0).then_some(MemberId(1));
        let status = NodeStatus { leader, leaderless_ticks, ..testing::leader_status() };
        Shared { readiness: Arc::clone(readiness), ..shared(answering(status, Ok(AdminReply::Done))) }
    };
    let asked = async |shared: Shared| call(&router(shared), "GET", "/readyz", "").await;
    let readiness = Arc::default();
    // Nobody asks while there is a leader; the port's own task has looked.
    let led = with(0, &readiness);
    readiness.look(&led.door).await;
    // Ticks of 100 ms.
    assert_eq!(asked(with(300, &readiness)).await.0, 200);
    let expected = (503, "not ready: no leader for 31 s\n".to_owned());
    assert_eq!(asked(with(310, &readiness)).await, expected);
    // Once it is not ready, a leader is not enough: it must prove that it has caught up.
    readiness.look(&with(310, &readiness).door).await;
    let (code, text) = asked(with(0, &readiness)).await;
    assert!(code == 503 && text.contains("no linearizable read has gone through"), "{code} {text}");
    readiness.look(&led.door).await;
    assert_eq!(asked(with(0, &readiness)).await.0, 200);
}

#[tokio::test]
async fn a_learner_is_ready_only_where_the_roster_wants_a_learner() {
    let mut status = testing::leader_status();
    status.conf_state.voters = vec![MemberId(2), MemberId(3)];
    let (code, text) =
        call(&looked_at(answering(status.clone(), Ok(AdminReply::Done))).await, "GET", "/readyz", "").await;
    assert_eq!(code, 503);
    assert!(text.contains("still a learner"), "{text}");
    status.roster = vec![RosterEntry { name: "orders-0".into(), learner: true }];
    let (code, _) =
        call(&looked_at(answering(status, Ok(AdminReply::Done))).await, "GET", "/readyz", "").await;
    assert_eq!(code, 200);
}

#[tokio::test]
async fn metrics_are_served_in_every_phase() {
    let (code, text) = call(&app(testing::nodeless(Standing::default())), "GET", "/metrics", "").await;
    assert_eq!(code, 200);
    assert!(text.ends_with("# EOF\n"), "{text}");
    let app = app(answering(testing::leader_status(), Ok(AdminReply::Done)));
    let (_, text) = call(&app, "GET", "/metrics", "").await;
    assert!(text.contains("outrigger_raft_term 7\n"), "{text}");
    assert!(text.contains("outrigger_kv_revision 1\n"), "{text}");
}

#[tokio::test]
async fn the_cluster_shows_what_there_is_no_space_in_and_the_quota() {
    let shown = async |status| {
        let app = app(answering(status, Ok(AdminReply::Done)));
        let (_, text) = call(&app, "GET", "/cluster", "").await;
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let calm = shown(testing::leader_status()).await;
    assert_eq!((&calm["alarms"], &calm["db_quota_bytes"]), (&json!([]), &json!(2_u64 << 30)));
    let mut status = testing::leader_status();
    status.shortage.quota = true;
    status.members[1].progress.as_mut().unwrap().disk_full = true;
    let alarmed = shown(status).await;
    let alarms = alarmed["alarms"].as_array().unwrap();
    let told: Vec<_> = alarms.iter().map(|it| (&it["alarm"], &it["member_id"], &it["cause"])).collect();
    let (own, peer) = (json!("0000000000000001"), json!("0000000000000002"));
    assert_eq!(
        told,
        [(&json!("NOSPACE"), &own, &json!("quota")), (&json!("NOSPACE"), &peer, &json!("disk"))]
    );
}

#[tokio::test]
async fn the_cluster_is_shown_with_every_members_lag_and_failures() {
    let member = answering(testing::leader_status(), Ok(AdminReply::Done));
    let metrics = Arc::new(Metrics::new());
    metrics.send_failed(MemberId(3), &"connection refused");
    let app = router(Shared {
        door: HttpDoor { member, identity: testing::identity(), metrics },
        readiness: Arc::default(),
    });
    let (code, text) = call(&app, "GET", "/cluster", "").await;
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 200);
    assert_eq!(shown["cluster_id"], "00000000000000c1");
    assert_eq!(shown["leader"], json!({ "id": "0000000000000001", "name": "orders-0" }));
    assert_eq!((&shown["term"], &shown["role"]), (&json!(7), &json!("leader")));
    assert_eq!(shown["quorum"], 2);
    assert_eq!(shown["members"][1]["lag"], 10);
    assert_eq!(shown["members"][1]["last_contact_ms"], 200);
    assert_eq!(shown["members"][2]["send_failures"], 1);
    assert_eq!(shown["members"][2]["last_send_error"]["text"], "connection refused");
    assert_eq!(shown["members"][0]["lag"], Value::Null);
}

#[tokio::test]
async fn a_peer_is_removed_by_id_or_name_and_refusals_keep_their_reason() {
    let removed = |input| match input {
        Input::Admin { request, reply } => {
            let AdminRequest::Remove { target, expected: None, .. } = request else { panic!("{request:?}") };
            let answer = match target {
                MemberSelector::Id(MemberId(0x2a)) | MemberSelector::Name(_) => {
                    Ok(AdminReply::Configuration { index: Index(9) })
                }
                MemberSelector::Id(_) => Err(MembershipRefusal::MemberNotFound.into()),
            };
            reply.send(answer).unwrap();
        }
        Input::Propose { .. } | Input::Read { .. } | Input::Event(_) => panic!("not asked for"),
    };
    let app = app(testing::scripted(testing::leader_status(), removed));
    for given in ["2a", "0x2a", "orders-1"] {
        let (code, text) = call(&app, "DELETE", &format!("/cluster/peer/{given}"), "").await;
        assert_eq!(code, 200, "{given}: {text}");
        assert!(text.contains("\"configuration_index\":9"), "{text}");
    }
    assert_eq!(call(&app, "DELETE", "/cluster/peer/ff", "").await.0, 404);
    let (code, text) = call(&app, "DELETE", "/cluster/peer/nobody", "").await;
    assert_eq!(code, 400);
    assert!(text.contains("nobody"), "{text}");
}

#[tokio::test]
async fn changes_from_another_host_are_forbidden_and_looking_is_not() {
    let app = app(answering(testing::leader_status(), Ok(AdminReply::Done)));
    for (method, path, body) in [
        ("DELETE", "/cluster/peer/2a", ""),
        ("PUT", "/cluster/metadata/keys/color", "\"blue\""),
        ("DELETE", "/cluster/metadata/keys/color", ""),
    ] {
        let (code, text) = call_from(&app, "10.0.0.7:5000", method, path, body).await;
        assert_eq!(code, 403, "{method} {path}");
        assert!(text.contains("10.0.0.7") && text.contains("kubectl exec"), "{text}");
    }
    assert_eq!(call_from(&app, "10.0.0.7:5000", "GET", "/cluster", "").await.0, 200);
    for local in ["127.0.1.3:5000", "[::1]:5000", "[::ffff:127.0.0.1]:5000"] {
        let (code, _) = call_from(&app, local, "PUT", "/cluster/metadata/keys/color", "1").await;
        assert_eq!(code, 200, "{local}");
    }
}

#[tokio::test]
async fn metadata_is_listed_read_written_and_deleted_as_json() {
    let mut status = testing::leader_status();
    status.metadata.insert("color".into(), Bytes::from_static(b"{\"name\":\"blue\"}"));
    let (told, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let app = app(testing::scripted(status, move |input| match input {
        Input::Admin { request, reply } => {
            told.send(request).unwrap();
            // A caller that does not wait may be gone.
            drop(reply.send(Ok(AdminReply::Done)));
        }
        Input::Propose { .. } | Input::Read { .. } | Input::Event(_) => panic!("not asked for"),
    }));
    let keys = "/cluster/metadata/keys";
    assert_eq!(call(&app, "GET", keys, "").await, (200, "{\"keys\":[\"color\"]}".to_owned()));
    let color = format!("{keys}/color");
    assert_eq!(call(&app, "GET", &color, "").await, (200, "{\"name\":\"blue\"}".to_owned()));
    assert_eq!(call(&app, "GET", &format!("{keys}/size"), "").await.0, 404);

    assert_eq!(call(&app, "PUT", &color, "[1, 2]").await.0, 200);
    let written =
        AdminRequest::SetMetadata { key: "color".into(), value: Some(Bytes::from_static(b"[1, 2]")) };
    assert_eq!(asked.recv().await, Some(written));

    assert_eq!(call(&app, "DELETE", &format!("{color}?wait=false"), "").await.0, 202);
    let deleted = AdminRequest::SetMetadata { key: "color".into(), value: None };
    assert_eq!(asked.recv().await, Some(deleted));
}

#[tokio::test]
async fn metadata_that_is_not_json_or_too_large_never_reaches_the_node() {
    let member = testing::scripted(testing::leader_status(), |input| panic!("not asked for: {input:?}"));
    let app = app(member);
    let keys = "/cluster/metadata/keys";
    let (code, text) = call(&app, "PUT", &format!("{keys}/color"), "blue").await;
    assert_eq!(code, 400);
    assert!(text.contains("is not JSON"), "{text}");
    let large = format!("\"{}\"", "x".repeat(64 * 1024));
    assert_eq!(call(&app, "PUT", &format!("{keys}/color"), &large).await.0, 413);
    let long = "k".repeat(257);
    assert_eq!(call(&app, "PUT", &format!("{keys}/{long}"), "1").await.0, 400);
    assert_eq!(call(&app, "PUT", &format!("{keys}/color?wait=maybe"), "1").await.0, 400);
}
