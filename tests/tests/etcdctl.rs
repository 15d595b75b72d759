//! The unmodified etcdctl 3.7.3 against the demo's cluster (`outrigger-operator local -f examples/orders.yaml`), by
//! scripts that the real etcd has to pass first: what is expected here is what etcd does, not what someone remembers of it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use outrigger_tests::binaries;
use outrigger_tests::etcd_cluster::EtcdCluster;
use outrigger_tests::local_runner::LocalRunner;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// etcdctl with all members as endpoints.
struct Etcdctl {
    endpoints: Vec<SocketAddr>,
}

impl Etcdctl {
    /// What it printed and whether it succeeded.
    async fn run(&self, arguments: &[&str], input: &str) -> Result<(String, bool)> {
        let endpoints: Vec<String> = self.endpoints.iter().map(ToString::to_string).collect();
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
        Ok((String::from_utf8(text)?.trim_end().to_owned(), output.status.success()))
    }

    /// What it printed; it must succeed.
    async fn said(&self, arguments: &[&str]) -> Result<String> {
        let (text, succeeded) = self.run(arguments, "").await?;
        assert!(succeeded, "etcdctl {arguments:?}: {text}");
        Ok(text)
    }

    /// The table that it printed.
    async fn table(&self, arguments: &[&str]) -> Result<Table> {
        let text = self.said(arguments).await?;
        let lines = text.lines().filter(|line| line.starts_with('│'));
        let cells =
            |line: &str| line.trim_matches('│').split('│').map(|cell| cell.trim().to_owned()).collect();
        let mut rows = lines.map(cells);
        let titles = rows.next().with_context(|| format!("no table in {text}"))?;
        Ok(Table { titles, rows: rows.collect() })
    }
}

/// A table as etcdctl prints it.
#[derive(Debug)]
struct Table {
    titles: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// The cells below a title, sorted: members are listed by id, which is random.
    fn sorted_column(&self, title: &str) -> Result<Vec<&str>> {
        let at = self.titles.iter().position(|found| found == title);
        let at = at.with_context(|| format!("{title} in {:?}", self.titles))?;
        let cells = self.rows.iter().map(|row| row.get(at).map(String::as_str));
        let mut cells: Vec<&str> =
            cells.collect::<Option<_>>().with_context(|| format!("a row without {title}: {self:?}"))?;
        cells.sort_unstable();
        Ok(cells)
    }
}

async fn everyday_commands(ctl: &Etcdctl) -> Result<()> {
    let steps: [(&[&str], &str); 8] = [
        (&["put", "greeting", "hello"], "OK"),
        (&["put", "greeting/2", "world"], "OK"),
        (&["get", "greeting"], "greeting\nhello"),
        (&["get", "--prefix", "greeting"], "greeting\nhello\ngreeting/2\nworld"),
        (&["get", "--consistency=s", "greeting/2"], "greeting/2\nworld"),
        (&["del", "greeting"], "1"),
        (&["del", "greeting"], "0"),
        (&["get", "greeting"], ""),
    ];
    for (arguments, expected) in steps {
        // A serializable read may lag on the member that answers it.
        if arguments.contains(&"--consistency=s") {
            settled(ctl).await?;
        }
        assert_eq!(ctl.said(arguments).await?, expected, "etcdctl {arguments:?}");
    }
    Ok(())
}

/// Waits until every member has applied what was acknowledged: a linearizable read of each says so.
async fn settled(ctl: &Etcdctl) -> Result<()> {
    for endpoint in &ctl.endpoints {
        Etcdctl { endpoints: vec![*endpoint] }.said(&["get", "settled?"]).await?;
    }
    Ok(())
}

async fn transactions(ctl: &Etcdctl) -> Result<()> {
    ctl.said(&["put", "k", "v"]).await?;
    let script = "value(\"k\") = \"v\"\n\nput k changed\n\nput k untouched\n\n";
    for (branch, after) in [("SUCCESS", "k\nchanged"), ("FAILURE", "k\nuntouched")] {
        let (text, succeeded) = ctl.run(&["txn"], script).await?;
        assert!(succeeded, "{text}");
        assert_eq!(text, format!("{branch}\n\nOK"));
        assert_eq!(ctl.said(&["get", "k"]).await?, after);
    }
    Ok(())
}

async fn compaction(ctl: &Etcdctl) -> Result<()> {
    for value in ["one", "two", "three"] {
        ctl.said(&["put", "compacted", value]).await?;
    }
    // An empty store is at revision 1, so the three puts are 2, 3 and 4.
    assert_eq!(ctl.said(&["get", "--rev=3", "compacted"]).await?, "compacted\ntwo");
    assert_eq!(ctl.said(&["compaction", "3"]).await?, "compacted revision 3");
    assert_eq!(ctl.said(&["get", "--rev=3", "compacted"]).await?, "compacted\ntwo");
    for (revision, error) in [
        ("--rev=2", "etcdserver: mvcc: required revision has been compacted"),
        ("--rev=99", "etcdserver: mvcc: required revision is a future revision"),
    ] {
        let (text, succeeded) = ctl.run(&["get", revision, "compacted"], "").await?;
        assert!(!succeeded && text.contains(error), "{revision}: {text}");
    }
    Ok(())
}

/// What `member list` must show of a member; by ordinal, which sorts every column.
struct Shown {
    name: String,
    peer: String,
    client: String,
}

async fn tables(ctl: &Etcdctl, members: &[Shown]) -> Result<()> {
    let table = ctl.table(&["member", "list", "-w", "table"]).await?;
    assert_eq!(table.titles, ["ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"]);
    for (title, expected) in [
        ("STATUS", members.iter().map(|_| "started").collect()),
        ("NAME", members.iter().map(|member| member.name.as_str()).collect()),
        ("PEER ADDRS", members.iter().map(|member| member.peer.as_str()).collect()),
        ("CLIENT ADDRS", members.iter().map(|member| member.client.as_str()).collect()),
        ("IS LEARNER", members.iter().map(|_| "false").collect()),
    ] {
        let expected: Vec<&str> = expected;
        assert_eq!(table.sorted_column(title)?, expected, "{title}");
    }

    let table = ctl.table(&["endpoint", "status", "-w", "table"]).await?;
    let mut endpoints: Vec<String> = ctl.endpoints.iter().map(ToString::to_string).collect();
    endpoints.sort();
    assert_eq!(table.sorted_column("ENDPOINT")?, endpoints);
    assert_eq!(table.sorted_column("IS LEADER")?, ["false", "false", "true"]);
    assert_eq!(table.sorted_column("ERRORS")?, ["", "", ""]);
    Ok(())
}

/// What monitoring asks: `endpoint health` reads a key and then the alarms; `endpoint hashkv` compares members.
async fn health(ctl: &Etcdctl) -> Result<()> {
    settled(ctl).await?;
    let table = ctl.table(&["endpoint", "health", "-w", "table"]).await?;
    assert_eq!(table.sorted_column("HEALTH")?, ["true", "true", "true"]);
    assert_eq!(table.sorted_column("ERROR")?, ["", "", ""]);
    assert_eq!(ctl.said(&["alarm", "list"]).await?, "");
    assert_eq!(ctl.said(&["alarm", "disarm"]).await?, "");
    let table = ctl.table(&["endpoint", "hashkv", "-w", "table"]).await?;
    for column in ["HASH", "HASH REVISION"] {
        let mut cells = table.sorted_column(column)?;
        cells.dedup();
        assert_eq!(cells.len(), 1, "{column} is the same on every member: {table:?}");
    }
    Ok(())
}

/// Compaction first: it counts revisions from an empty store.
async fn script(ctl: &Etcdctl, members: &[Shown]) -> Result<()> {
    compaction(ctl).await?;
    everyday_commands(ctl).await?;
    transactions(ctl).await?;
    tables(ctl, members).await?;
    health(ctl).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_script_describes_the_real_etcd() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let etcd = EtcdCluster::start(&binaries::etcd()?, folder.path(), 3).await?;
    let endpoints = etcd.endpoints();
    let shown = |(ordinal, endpoint): (usize, &SocketAddr)| Shown {
        name: format!("etcd-{ordinal}"),
        peer: format!("http://{}:2380", endpoint.ip()),
        client: format!("http://{endpoint}"),
    };
    let members: Vec<Shown> = endpoints.iter().enumerate().map(shown).collect();
    script(&Etcdctl { endpoints }, &members).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unmodified_etcdctl_does_on_the_demos_cluster_what_it_does_on_etcd() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/orders.yaml");
    let runner = LocalRunner::start(&example, folder.path())?;
    runner.settled(3).await?;
    let endpoints = runner.endpoints(3);
    let shown = |(ordinal, endpoint): (usize, &SocketAddr)| Shown {
        name: format!("orders-{ordinal}"),
        peer: format!("https://orders-{ordinal}.orders-peers.default.svc.cluster.local:2380"),
        client: format!("http://{endpoint}"),
    };
    let members: Vec<Shown> = endpoints.iter().enumerate().map(shown).collect();
    script(&Etcdctl { endpoints }, &members).await?;
    runner.stop().await
}
