//! Bad input: each gets an error that names the thing, the value and the fix; nothing acknowledged is lost by it.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use outrigger_proto::v1::{AdmitRequest, FormRequest, FoundRequest, JoinRequest, Phase, RosterEntry};
use outrigger_tests::cluster::{Cluster, STEP};
use outrigger_tests::etcd_wire::{PutRequest, TxnRequest};
use outrigger_tests::process::{Process, Spec};
use outrigger_tests::{binaries, wait};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tonic::Code;

const WITHIN: Duration = Duration::from_secs(20);

/// Runs it to its end, which must be a failure, and gives what it said.
async fn refused(spec: Spec) -> Result<String> {
    // The log is appended to: what an earlier process said in it must not count.
    let said_before = std::fs::metadata(&spec.log).map_or(0, |log| log.len());
    let mut process = Process::spawn(spec)?;
    let status = process.ended(STEP).await?;
    let said = process.log().split_off(usize::try_from(said_before)?);
    assert!(!status.success(), "it ended as if all were well: {said}");
    Ok(said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_flag_out_of_range_is_named_with_its_value() -> Result<()> {
    let table = [
        ("--cluster-size", "0"),
        ("--cluster-size", "100"),
        ("--cluster-size", "three"),
        ("--heartbeat-interval", "0ms"),
        ("--heartbeat-interval", "soon"),
        ("--election-timeout", "0s"),
        // Below the heartbeat interval of 100 ms nobody would ever lead for long.
        ("--election-timeout", "50ms"),
        ("--listen-client", "not-an-address"),
        ("--listen-peer", "127.0.0.1"),
        ("--listen-http", "127.0.0.1:99999"),
        ("--dns-server", "nameserver"),
        ("--advertise-peer", "no-port"),
        ("--advertise-peer", "bad name:2380"),
        ("--name", ""),
        ("--name", "Not_A_Name!"),
        ("--peers-dns", "two words"),
    ];
    let program = binaries::outrigger()?;
    for (number, (flag, value)) in table.into_iter().enumerate() {
        let folder = tempfile::tempdir()?;
        let cluster = Cluster::prepare(&program, folder.path(), 1).await?;
        let spec = cluster.spec(0, 1)?.replaced(flag, value)?;
        let said = refused(spec).await.with_context(|| format!("row {number}: {flag} {value:?}"))?;
        assert!(said.contains(flag.trim_start_matches('-')), "{flag} {value:?} is not named in: {said}");
        assert!(said.contains(value), "{value:?} is not named in: {said}");
        assert!(!said.contains("panicked"), "{flag} {value:?}: {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_flag_and_a_data_directory_that_is_a_file_are_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::prepare(&binaries::outrigger()?, folder.path(), 1).await?;
    let said = refused(cluster.spec(0, 1)?.argument("--no-such-flag")).await?;
    assert!(said.contains("--no-such-flag"), "{said}");

    let file = folder.path().join("a-file");
    std::fs::write(&file, "not a directory")?;
    let said = refused(cluster.spec(0, 1)?.replaced("--data-dir", file.as_os_str())?).await?;
    assert!(said.contains(&file.display().to_string()), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_in_use_or_of_another_member_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 3).await?;
    let data = cluster.member(0)?.data.clone();

    // In use: another process, other ports, the same directory.
    let spare = cluster.add_member(9);
    let spec = cluster.spec(spare, 3)?.replaced("--data-dir", data.as_os_str())?;
    let spec = spec.replaced("--name", cluster.member(0)?.name.clone())?;
    let said = refused(spec).await?;
    assert!(said.contains(&data.display().to_string()), "{said}");
    assert!(said.contains("in use") || said.contains("locked"), "{said}");
    cluster.serving().await?;

    // Of another member: free, but it is orders-0's.
    cluster.kill(0)?;
    cluster.kill(1)?;
    let said = refused(cluster.spec(1, 3)?.replaced("--data-dir", data.as_os_str())?).await?;
    let (own, other) = (&cluster.member(1)?.name, &cluster.member(0)?.name);
    assert!(said.contains(own.as_str()) && said.contains(other.as_str()), "{said}");
    cluster.spawn(0)?;
    cluster.spawn(1)?;
    cluster.serving().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_cluster_id_is_refused_and_changes_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 3).await?;
    let leader = cluster.member(cluster.leader().await?)?;
    let before = leader.status().await?;
    let wrong = before.cluster_id ^ 1;
    let mut admin = leader.admin()?;
    let roster = vec![RosterEntry { name: leader.name.clone(), learner: false }];

    let form = admin.form(FormRequest { cluster_id: wrong }).await.map(drop);
    let expected_configuration_index = before.configuration_index;
    let admit = AdmitRequest { cluster_id: wrong, expected_configuration_index, roster: roster.clone() };
    let admit = admin.admit(admit).await.map(drop);
    let join = JoinRequest {
        cluster_id: wrong,
        member_id: 77,
        name: "orders-1".to_owned(),
        address: "stranger.test:2380".to_owned(),
        ..JoinRequest::default()
    };
    let join = admin.join(join).await.map(drop);
    let member_id = before.member_id;
    let found = FoundRequest { cluster_id: wrong, member_id, roster, seeds: Vec::new() };
    let found = admin.found(found).await.map(drop);
    for (verb, answer) in [("form", form), ("admit", admit), ("join", join), ("found", found)] {
        let status = answer.err().with_context(|| format!("{verb} took a wrong cluster id"))?;
        assert_eq!(status.code(), Code::FailedPrecondition, "{verb}: {status}");
        assert!(!status.message().is_empty(), "{verb} says why");
    }
    let after = leader.status().await?;
    assert_eq!(after.configuration_index, before.configuration_index);
    assert_eq!(after.conf_state, before.conf_state);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversize_requests_are_refused_and_the_cluster_serves_on() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 3).await?;
    let mut client = cluster.member(0)?.etcd()?;
    let put = |bytes: usize| PutRequest {
        key: "big".into(),
        value: Bytes::from(vec![7; bytes]),
        ..PutRequest::default()
    };
    client.put(put(1 << 20), WITHIN).await.context("1 MiB is below the limit of 1.5 MiB")?;

    let status = client.put(put(1_700_000), WITHIN).await.err().context("above 1.5 MiB")?;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "etcdserver: request is too large");

    // Too large even to be read: whatever the transport says, it is an error, and nobody falls over.
    let status = client.put(put(64 << 20), WITHIN).await.err().context("64 MiB")?;
    assert_ne!(status.code(), Code::Ok);
    let many = TxnRequest { success: vec![Default::default(); 129], ..TxnRequest::default() };
    let status = client.txn(many, WITHIN).await.err().context("129 operations")?;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "etcdserver: too many operations in txn request");
    for place in 0..3 {
        assert!(cluster.member_mut(place)?.process()?.is_running());
    }
    let (pair, _) = cluster.member(1)?.etcd()?.get(&"big".into(), false, WITHIN).await?;
    assert_eq!(pair.map(|pair| pair.value.len()), Some(1 << 20));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_any_port_disturbs_nobody() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 3).await?;
    let before = cluster.leader_status().await?;
    let noise: Vec<u8> =
        (0..100_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let member = cluster.member(0)?;
    for address in [member.client(), member.peer(), member.http()] {
        for garbage in [noise.clone(), [&preface[..], &noise].concat(), b"GET / HTTP/1.0\r\n\r\n".to_vec()] {
            let mut stream = TcpStream::connect(address).await?;
            // The server may hang up in the middle, which is its right.
            drop(stream.write_all(&garbage).await);
            drop(stream.shutdown().await);
        }
    }
    // A connection that opens and says nothing holds up nobody either.
    let _mute = TcpStream::connect(member.peer()).await?;
    cluster.serving().await?;
    for place in 0..3 {
        assert!(cluster.member_mut(place)?.process()?.is_running());
    }
    let after = cluster.leader_status().await?;
    assert_eq!((after.term, after.leader_id), (before.term, before.leader_id), "no election came of it");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::prepare(&binaries::outrigger()?, folder.path(), 1).await?;
    let address = cluster.member(0)?.client();
    let _taken = std::net::TcpListener::bind(address)?;
    let said = refused(cluster.spec(0, 1)?).await?;
    assert!(said.contains(&address.to_string()), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_on_an_empty_member_says_what_it_waits_for() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::prepare(&binaries::outrigger()?, folder.path(), 3).await?;
    cluster.spawn(0)?;
    let member = cluster.member(0)?;
    let status = wait::until_ok("a status", STEP, async || member.status().await).await?;
    assert_eq!(status.phase(), Phase::Empty);
    let answer = member.etcd()?.get(&"k".into(), false, WITHIN).await;
    let status = answer.err().context("an empty member served a client")?;
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_of_settings_is_named_with_its_key() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::prepare(&binaries::outrigger()?, folder.path(), 1).await?;
    let file = folder.path().join("settings.yaml");
    for (text, named) in [
        ("no-such-setting: 3\n", "no-such-setting"),
        ("max-request-bytes: 64GiB\n", "max-request-bytes"),
        ("snapshot-every-bytes: [1, 2]\n", "snapshot-every-bytes"),
        ("- a list\n", "settings.yaml"),
        ("\tnot yaml", "settings.yaml"),
    ] {
        std::fs::write(&file, text)?;
        let said = refused(cluster.spec(0, 1)?.flag("--config", file.as_os_str())).await?;
        assert!(said.contains(named), "{text:?}: {named} is not named in: {said}");
        assert!(said.contains("settings.yaml"), "{text:?}: the file is not named in: {said}");
    }
    let missing = folder.path().join("missing.yaml");
    let said = refused(cluster.spec(0, 1)?.flag("--config", missing.as_os_str())).await?;
    assert!(said.contains("missing.yaml"), "{said}");
    Ok(())
}
