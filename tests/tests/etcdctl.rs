//! The unmodified etcdctl 3.7.3 against a cluster of ours.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use outrigger_tests::binaries;
use outrigger_tests::cluster::Cluster;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Runs etcdctl against all members; gives what it printed and whether it succeeded.
async fn etcdctl(cluster: &Cluster, arguments: &[&str], input: &str) -> Result<(String, bool)> {
    let endpoints: Vec<String> = cluster.endpoints().iter().map(ToString::to_string).collect();
    let mut child = Command::new(binaries::etcdctl()?)
        .arg(format!("--endpoints={}", endpoints.join(",")))
        .arg("--command-timeout=20s")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().context("etcdctl's stdin")?;
    // A command that reads nothing may have ended already.
    drop(stdin.write_all(input.as_bytes()).await);
    drop(stdin);
    let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await??;
    let text = [output.stdout, output.stderr].concat();
    Ok((String::from_utf8(text)?, output.status.success()))
}

async fn said(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let (text, succeeded) = etcdctl(cluster, arguments, "").await?;
    assert!(succeeded, "etcdctl {arguments:?}: {text}");
    Ok(text)
}

/// The cells of a table that etcdctl printed, without its header.
fn rows(table: &str) -> Vec<Vec<String>> {
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(1);
    lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_does_its_everyday_commands() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 3).await?;

    assert_eq!(said(&cluster, &["put", "greeting", "hello"]).await?, "OK\n");
    assert_eq!(said(&cluster, &["put", "greeting/2", "world"]).await?, "OK\n");
    assert_eq!(said(&cluster, &["get", "greeting"]).await?, "greeting\nhello\n");
    let all = "greeting\nhello\ngreeting/2\nworld\n";
    assert_eq!(said(&cluster, &["get", "--prefix", "greeting"]).await?, all);
    assert_eq!(said(&cluster, &["get", "--consistency=s", "greeting"]).await?, "greeting\nhello\n");
    assert_eq!(said(&cluster, &["del", "greeting"]).await?, "1\n");
    assert_eq!(said(&cluster, &["del", "greeting"]).await?, "0\n");
    assert_eq!(said(&cluster, &["get", "greeting"]).await?, "");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_txn_takes_the_branch_that_the_comparison_chooses() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 3).await?;
    said(&cluster, &["put", "k", "v"]).await?;

    let script = "value(\"k\") = \"v\"\n\nput k changed\n\nput k untouched\n\n";
    let (text, succeeded) = etcdctl(&cluster, &["txn"], script).await?;
    assert!(succeeded && text.starts_with("SUCCESS"), "{text}");
    assert_eq!(said(&cluster, &["get", "k"]).await?, "k\nchanged\n");

    let (text, succeeded) = etcdctl(&cluster, &["txn"], script).await?;
    assert!(succeeded && text.starts_with("FAILURE"), "{text}");
    assert_eq!(said(&cluster, &["get", "k"]).await?, "k\nuntouched\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_compaction_ends_the_history_below_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 3).await?;
    for value in ["one", "two", "three"] {
        said(&cluster, &["put", "k", value]).await?;
    }
    // An empty store is at revision 1, so the three puts are 2, 3 and 4.
    assert_eq!(said(&cluster, &["get", "--rev=3", "k"]).await?, "k\ntwo\n");
    assert_eq!(said(&cluster, &["compaction", "3"]).await?, "compacted revision 3\n");
    assert_eq!(said(&cluster, &["get", "--rev=3", "k"]).await?, "k\ntwo\n");
    let (text, succeeded) = etcdctl(&cluster, &["get", "--rev=2", "k"], "").await?;
    assert!(!succeeded && text.contains("mvcc: required revision has been compacted"), "{text}");
    let (text, succeeded) = etcdctl(&cluster, &["get", "--rev=99", "k"], "").await?;
    assert!(!succeeded && text.contains("mvcc: required revision is a future revision"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_tables_show_every_member_and_one_leader() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 3).await?;

    // ID, STATUS, NAME, PEER ADDRS, CLIENT ADDRS, IS LEARNER
    let members = rows(&said(&cluster, &["member", "list", "-w", "table"]).await?);
    assert_eq!(members.len(), 3, "{members:?}");
    for member in &cluster.members {
        let row = members.iter().find(|row| row[2] == member.name);
        let row = row.with_context(|| format!("{} in {members:?}", member.name))?;
        assert_eq!(row[1], "started", "{row:?}");
        assert!(row[3].contains(&cluster.host(member)), "{row:?}");
        assert_eq!(row[4], format!("http://{}", member.client()));
        assert_eq!(row[5], "false");
    }

    // The columns' names are etcdctl's; their order is read from its header.
    let table = said(&cluster, &["endpoint", "status", "-w", "table"]).await?;
    let header = table.lines().find(|line| line.starts_with('|')).context("a header")?;
    let titles: Vec<&str> = header.trim_matches('|').split('|').map(str::trim).collect();
    let column = |title: &str| {
        titles.iter().position(|found| *found == title).with_context(|| format!("{title} in {titles:?}"))
    };
    let (endpoint, leads, errors) = (column("ENDPOINT")?, column("IS LEADER")?, column("ERRORS")?);
    let status = rows(&table);
    let mut endpoints: Vec<String> = status.iter().map(|row| row[endpoint].clone()).collect();
    endpoints.sort();
    let mut expected: Vec<String> = cluster.endpoints().iter().map(ToString::to_string).collect();
    expected.sort();
    assert_eq!(endpoints, expected);
    assert_eq!(status.iter().filter(|row| row[leads] == "true").count(), 1, "{table}");
    assert!(status.iter().all(|row| row[errors].is_empty()), "{table}");
    Ok(())
}
