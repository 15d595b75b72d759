//! The peer and admin port under mutual TLS: real processes, real sockets, and whoever should not come in.
#![allow(missing_docs, unreachable_pub, missing_debug_implementations, reason = "nobody links a test")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and indexes what it made"
)]

mod cluster;

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use cluster::pki::{OPERATOR, Pki, orders};
use cluster::{Cluster, PATIENCE};
use outrigger_proto::v1;
use outrigger_proto::v1::admin_client::AdminClient;
use outrigger_proto::v1::peer_client::PeerClient;
use outrigger_tls::{Ends, Identity};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tonic::{Code, Status};

async fn founded(net: u8) -> Cluster {
    let mut cluster = Cluster::with_certificates(net, 3).await;
    (0..3).for_each(|index| cluster.start(index));
    cluster.found(0xC0FFEE + u64::from(net)).await;
    cluster
}

/// What the member's admin service answers to whoever shows this.
async fn status(cluster: &Cluster, index: usize, ends: &Ends) -> Result<v1::StatusResponse, String> {
    let pki = cluster.pki.as_ref().unwrap();
    let channel = pki.dial(cluster.peer(index), ends).await.map_err(|error| error.to_string())?;
    let answer = AdminClient::new(channel).status(v1::StatusRequest {}).await;
    Ok(answer.map_err(|status| status.to_string())?.into_inner())
}

/// A metric's value, by the whole name with its labels.
async fn metric(cluster: &Cluster, index: usize, name: &str) -> i64 {
    use tokio::io::AsyncWriteExt as _;
    let mut socket = TcpStream::connect((cluster.ip(index), 2381)).await.unwrap();
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut page = String::new();
    socket.read_to_string(&mut page).await.unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().unwrap())
}

async fn until_metric(cluster: &Cluster, index: usize, name: &str, at_least: i64) {
    let started = Instant::now();
    while metric(cluster, index, name).await < at_least {
        assert!(started.elapsed() < PATIENCE, "{name} stays below {at_least}\n{}", cluster.logs());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_plain_text_and_nobody_are_refused_and_counted() {
    let cluster = founded(91).await;
    let pki = cluster.pki.as_ref().unwrap();
    for index in 0..3 {
        cluster.put(index, &format!("k{index}"), "v").await;
        assert!(status(&cluster, index, &pki.ends(OPERATOR)).await.is_ok());
    }
    let failures = "outrigger_peer_tls_handshake_failures_total";
    let before = metric(&cluster, 0, failures).await;
    // Plain text.
    let plain = tonic::transport::Channel::from_shared(format!("http://{}", cluster.peer(0))).unwrap();
    let answer = match plain.connect().await {
        Ok(channel) => AdminClient::new(channel).status(v1::StatusRequest {}).await.map(drop),
        Err(error) => Err(Status::unavailable(error.to_string())),
    };
    assert!(answer.is_err(), "plain text is answered");
    // A stranger's certificate, which says the right name.
    let stranger = Pki::mint();
    pki.issue(&stranger, Identity::operator(orders()), "stranger");
    assert!(status(&cluster, 0, &pki.ends("stranger")).await.is_err());
    // No certificate at all: the server's is verified as any tool does, by its DNS name.
    let mut roots = rustls::RootCertStore::empty();
    let authority = pki.authority().issued().certificate.as_bytes();
    roots.add(CertificateDer::from_pem_slice(authority).unwrap()).unwrap();
    let nobody =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    let socket = TcpStream::connect(cluster.peer(0)).await.unwrap();
    let name = ServerName::try_from("orders-0.peers.test").unwrap();
    let shaken = tokio_rustls::TlsConnector::from(Arc::new(nobody)).connect(name, socket).await;
    // The refusal comes behind the client's own end of the handshake.
    let error = match shaken {
        Ok(mut stream) => stream.read_u8().await.unwrap_err(),
        Err(error) => error,
    };
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
    until_metric(&cluster, 0, failures, before + 3).await;
    assert!(metric(&cluster, 0, "outrigger_peer_tls_certificate_expiry_seconds").await > 1_700_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_speaks_under_its_own_name_alone_and_changes_nothing() {
    let cluster = founded(92).await;
    let pki = cluster.pki.as_ref().unwrap();
    let one = pki.ends("orders-1");
    let zero = status(&cluster, 0, &one).await.unwrap();
    let id = |name: &str| zero.members.iter().find(|member| member.name == name).unwrap().id;
    let hello = |name: &str, from: u64| v1::Hello {
        cluster_id: zero.cluster_id,
        from,
        to: zero.member_id,
        name: name.into(),
        ..v1::Hello::default()
    };
    let exchange = async |hello: v1::Hello, ends: &Ends| -> Result<(), Status> {
        let channel = pki.dial(cluster.peer(0), ends).await.unwrap();
        let kind = Some(v1::exchange_request::Kind::Hello(hello));
        // Kept open: the peer's own stream would end with ours.
        let requests = futures::StreamExt::chain(
            futures::stream::iter([v1::ExchangeRequest { kind }]),
            futures::stream::pending(),
        );
        let mut answers = PeerClient::new(channel).exchange(requests).await?.into_inner();
        answers.message().await.map(drop)
    };
    // Another member's name, another member's id under one's own name, the operator as a member.
    for (hello, ends) in [
        (hello("orders-2", id("orders-2")), &one),
        (hello("orders-1", id("orders-2")), &one),
        (hello("orders-2", 77), &one),
        (hello("orders-1", id("orders-1")), &pki.ends(OPERATOR)),
    ] {
        let refused = exchange(hello.clone(), ends).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{hello:?}: {refused}");
    }
    exchange(hello("orders-1", id("orders-1")), &one).await.unwrap();
    exchange(hello("orders-1", 77), &one).await.expect("an id that nobody here knows yet");
    let channel = pki.dial(cluster.peer(0), &one).await.unwrap();
    let mut admin = AdminClient::new(channel);
    let join = |name: &str| v1::JoinRequest {
        cluster_id: zero.cluster_id,
        member_id: 77,
        name: name.into(),
        address: "orders-9.peers.test:2380".into(),
        ..v1::JoinRequest::default()
    };
    let refused = [
        admin.join(join("orders-2")).await.map(drop),
        admin.form(v1::FormRequest { cluster_id: zero.cluster_id }).await.map(drop),
        admin.admit(v1::AdmitRequest::default()).await.map(drop),
        admin.remove(v1::RemoveRequest::default()).await.map(drop),
        admin.drain(v1::DrainRequest {}).await.map(drop),
    ];
    for answer in refused {
        assert_eq!(answer.unwrap_err().code(), Code::PermissionDenied);
    }
    let joined = admin.join(join("orders-1")).await.unwrap_err();
    assert_ne!(joined.code(), Code::PermissionDenied, "its own name is a question for the roster: {joined}");
    let counted = "outrigger_peer_calls_refused_total{reason=\"wrong_certificate\"}";
    assert_eq!(metric(&cluster, 0, counted).await, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_shows_the_members_own_certificate() {
    let mut cluster = Cluster::with_certificates(93, 1).await;
    cluster.start(0);
    cluster.until(0, "up", |_| true).await;
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_outrigger"))
            .args(["--endpoint", &format!("{}:2379", cluster.ip(0)), "--timeout", "5s"])
            .args(arguments)
            .output()
            .unwrap()
    };
    let directory = cluster.pki.as_ref().unwrap().directory().to_str().unwrap();
    let shown = run(&["--tls-dir", directory, "--tls-name", "orders-0", "status"]);
    assert!(shown.status.success(), "{shown:?}");
    assert!(String::from_utf8_lossy(&shown.stdout).contains("orders-0"), "{shown:?}");
    let drained = run(&["--tls-dir", directory, "--tls-name", "orders-0", "drain"]);
    assert!(drained.status.success(), "{drained:?}");
    let plain = run(&["status"]);
    assert_eq!(plain.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&plain.stderr).contains("--tls-dir"), "{plain:?}");
    let missing = run(&["--tls-dir", directory, "status"]);
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(said.contains("tls.crt") && said.contains("--tls-name"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_members_certificate_is_not_started_with() {
    let mut cluster = Cluster::with_certificates(94, 2).await;
    let pki = cluster.pki.as_ref().unwrap();
    pki.issue(pki.authority(), Identity::member(orders(), "orders-1"), "orders-0");
    cluster.start(0);
    let ended = cluster.wait(0);
    assert!(!ended.success());
    let logs = cluster.logs();
    assert!(
        logs.contains("outrigger://shop/orders/member/orders-1") && logs.contains("--peer-tls-name"),
        "{logs}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_is_replaced_and_a_broken_set_kept_out_without_a_restart() {
    let cluster = founded(95).await;
    let pki = cluster.pki.as_ref().unwrap();
    let processes: Vec<u32> = (0..3).map(|index| cluster.process(index)).collect();
    let (old, new) = (pki.authority(), Pki::mint());
    let old_operator = pki.ends(OPERATOR);
    let reloads = "outrigger_peer_tls_reloads_total";
    let mut seen = [0; 3];
    let taken = async |seen: &mut [i64; 3]| {
        for (index, seen) in seen.iter_mut().enumerate() {
            until_metric(&cluster, index, reloads, *seen + 1).await;
            *seen = metric(&cluster, index, reloads).await;
        }
    };
    // The new one is believed beside the old one, then it signs, then the old one is dropped.
    pki.believe(&[old, &new]);
    taken(&mut seen).await;
    cluster.put(1, "believed", "1").await;
    pki.sign(&new);
    taken(&mut seen).await;
    cluster.put(2, "signed", "2").await;
    assert!(status(&cluster, 0, &old_operator).await.is_err(), "it does not believe the new one");
    // Another file's change is another set: wait until each has the last one.
    let believes_old = async |index: usize| {
        pki.issue(old, Identity::operator(orders()), "former");
        status(&cluster, index, &pki.ends("former")).await.is_ok()
    };
    assert!(believes_old(0).await, "the overlap");
    pki.believe(&[&new]);
    for index in 0..3 {
        let started = Instant::now();
        while believes_old(index).await {
            assert!(started.elapsed() < PATIENCE, "{}", cluster.logs());
        }
    }
    cluster.put(0, "dropped", "3").await;
    // A broken set: the present one goes on.
    let failures = "outrigger_peer_tls_reload_failures_total";
    let before = metric(&cluster, 0, failures).await;
    pki.write("orders-0.crt", "garbage");
    until_metric(&cluster, 0, failures, before + 1).await;
    assert!(status(&cluster, 0, &pki.ends(OPERATOR)).await.is_ok());
    for key in ["believed", "signed", "dropped"] {
        assert!(cluster.get(0, key).await.is_some(), "{key}");
    }
    let now: Vec<u32> = (0..3).map(|index| cluster.process(index)).collect();
    assert_eq!(processes, now);
    assert!((0..3).all(|index| std::path::Path::new(&format!("/proc/{}", cluster.process(index))).exists()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_member_comes_back_under_certificates_and_a_killed_leader_is_followed() {
    let mut cluster = founded(96).await;
    cluster.put(0, "before", "1").await;
    let leader = cluster.leader().await;
    cluster.kill(leader);
    let other = (leader + 1) % 3;
    cluster.put(other, "during", "2").await;
    cluster.start(leader);
    cluster.put(leader, "after", "3").await;
    for key in ["before", "during", "after"] {
        assert!(cluster.get(leader, key).await.is_some(), "{key}");
    }
}
