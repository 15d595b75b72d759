//! Members as real processes on loopback, with a DNS server of the test's own. Everything ends with the value.
#![allow(dead_code, reason = "each test program uses its part")]

pub mod pki;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record};
use hickory_server::Server;
use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use outrigger_proto::etcdserverpb as pb;
use outrigger_proto::etcdserverpb::kv_client::KvClient;
use outrigger_proto::v1;
use outrigger_proto::v1::admin_client::AdminClient;
use tokio::net::UdpSocket;
use tonic::transport::Channel;

use self::pki::{OPERATOR, Pki};

/// Far beyond what any step takes on a busy machine; only a hang reaches it.
pub const PATIENCE: Duration = Duration::from_secs(30);
const PEER_PORT: u16 = 2380;
const CLIENT_PORT: u16 = 2379;

/// A cluster's processes, names and data.
pub struct Cluster {
    /// The third byte of every member's loopback address: one a test, so that they run side by side.
    net: u8,
    data: tempfile::TempDir,
    dns: SocketAddr,
    /// The certificates of the peer port; `None`: it is plain.
    pub pki: Option<Pki>,
    _server: Server<Catalog>,
    members: Vec<Option<Child>>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for index in 0..self.members.len() {
            self.kill(index);
        }
    }
}

impl Cluster {
    /// Names for `size` members at 127.0.`net`.1 and on; none runs yet.
    pub async fn new(net: u8, size: u8) -> Self {
        let records = (1..=size).flat_map(|last| {
            let ip = Ipv4Addr::new(127, 0, net, last);
            [format!("orders-{}.peers.test.", last - 1), "peers.test.".to_string()]
                .map(|name| Record::from_rdata(name_of(&name), 0, RData::A(A(ip))))
        });
        let (server, dns) = serve(records.collect()).await;
        let members = (0..size).map(|_| None).collect();
        Self { net, data: tempfile::tempdir().unwrap(), dns, pki: None, _server: server, members }
    }

    /// The same, with certificates for everybody.
    pub async fn with_certificates(net: u8, size: u8) -> Self {
        let mut cluster = Self::new(net, size).await;
        let pki = Pki::new(cluster.data.path().join("tls"), (0..size).map(|index| format!("orders-{index}")));
        cluster.pki = Some(pki);
        cluster
    }

    /// Starts a member's process.
    pub fn start(&mut self, index: usize) {
        let ip = self.ip(index);
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.data.path().join(format!("{index}.log")))
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        command.arg("run");
        if let Some(pki) = &self.pki {
            command.arg("--peer-tls-dir").arg(pki.directory());
            command.args(["--peer-tls-name", &format!("orders-{index}")]);
        }
        let child = command
            .args(["--name", &format!("orders-{index}")])
            .args(["--data-dir", self.dir(index).to_str().unwrap()])
            .args(["--listen-client", &format!("{ip}:{CLIENT_PORT}")])
            .args(["--listen-peer", &format!("{ip}:{PEER_PORT}")])
            .args(["--listen-http", &format!("{ip}:2381")])
            .args(["--advertise-peer", &format!("orders-{index}.peers.test:{PEER_PORT}")])
            .args(["--peers-dns", &format!("peers.test:{PEER_PORT}")])
            .args(["--dns-server", &self.dns.to_string()])
            .args(["--wal-segment-bytes", "8MiB", "--cluster-size", "3", "--exit-with-stdin"])
            .stdin(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        self.members[index] = Some(child);
    }

    /// `kill -9`.
    pub fn kill(&mut self, index: usize) {
        if let Some(mut child) = self.members[index].take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM's stand-in, the end of standard input: gives the exit status.
    pub fn stop(&mut self, index: usize) -> std::process::ExitStatus {
        let mut child = self.members[index].take().unwrap();
        drop(child.stdin.take());
        child.wait().unwrap()
    }

    /// Waits for a process that ends by itself.
    pub fn wait(&mut self, index: usize) -> std::process::ExitStatus {
        self.members[index].take().unwrap().wait().unwrap()
    }

    /// Where the member's data lies.
    pub fn dir(&self, index: usize) -> PathBuf {
        self.data.path().join(format!("orders-{index}"))
    }

    /// Where the member's peer port is.
    pub fn peer(&self, index: usize) -> SocketAddr {
        (self.ip(index), PEER_PORT).into()
    }

    /// A running member's process.
    pub fn process(&self, index: usize) -> u32 {
        self.members[index].as_ref().unwrap().id()
    }

    pub fn ip(&self, index: usize) -> Ipv4Addr {
        Ipv4Addr::new(127, 0, self.net, u8::try_from(index).unwrap() + 1)
    }

    pub async fn admin(&self, index: usize) -> Option<AdminClient<Channel>> {
        let at = self.peer(index);
        let channel = match &self.pki {
            Some(pki) => pki.dial(at, &pki.ends(OPERATOR)).await.ok()?,
            None => Channel::from_shared(format!("http://{at}")).unwrap().connect().await.ok()?,
        };
        Some(AdminClient::new(channel))
    }

    pub async fn status(&self, index: usize) -> Option<v1::StatusResponse> {
        let mut admin = self.admin(index).await?;
        Some(admin.status(v1::StatusRequest {}).await.ok()?.into_inner())
    }

    /// Waits until the member's status is as wanted, and gives it.
    pub async fn until(
        &self,
        index: usize,
        what: &str,
        wanted: impl Fn(&v1::StatusResponse) -> bool,
    ) -> v1::StatusResponse {
        let started = Instant::now();
        let mut last = None;
        while started.elapsed() < PATIENCE {
            last = self.status(index).await;
            if let Some(status) = last.as_ref().filter(|status| wanted(status)) {
                return status.clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("orders-{index} is not {what}: {last:#?}\n{}", self.logs());
    }

    /// The end of every member's log.
    pub fn logs(&self) -> String {
        let log = |index: usize| {
            let text = std::fs::read_to_string(self.data.path().join(format!("{index}.log")));
            let lines: Vec<String> = text.unwrap_or_default().lines().map(str::to_string).collect();
            format!("--- orders-{index}\n{}\n", lines[lines.len().saturating_sub(15)..].join("\n"))
        };
        (0..self.members.len()).map(log).collect()
    }

    /// Founds on member 0 and forms, as the operator does.
    pub async fn found(&self, cluster_id: u64) {
        self.assemble(cluster_id).await;
        self.form(cluster_id).await;
    }

    /// Forms through member 0, and waits until everybody has applied it.
    pub async fn form(&self, cluster_id: u64) {
        let started = Instant::now();
        loop {
            let formed = self.admin(0).await.unwrap().form(v1::FormRequest { cluster_id }).await;
            match formed {
                Ok(_) => break,
                Err(error) if started.elapsed() > PATIENCE => panic!("{error:?}\n{}", self.logs()),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        for index in 0..self.members.len() {
            self.until(index, "formed", |status| status.formed).await;
        }
    }

    /// Founds on member 0 and waits until all are voters; no client is served yet.
    pub async fn assemble(&self, cluster_id: u64) {
        let mut seeds = Vec::new();
        for index in 0..self.members.len() {
            let status = self.until(index, "empty", |status| status.phase() == v1::Phase::Empty).await;
            seeds.push(v1::Member {
                id: status.member_id,
                name: status.name,
                address: status.address,
                ..v1::Member::default()
            });
        }
        let roster = seeds.iter().map(|seed| v1::RosterEntry { name: seed.name.clone(), learner: false });
        let request = v1::FoundRequest {
            cluster_id,
            member_id: seeds[0].id,
            roster: roster.collect(),
            seeds: seeds.clone(),
        };
        self.admin(0).await.unwrap().found(request).await.unwrap();
        let size = self.members.len();
        for index in 0..size {
            self.until(index, "in the final configuration", |status| {
                status.conf_state.as_ref().is_some_and(|conf| {
                    conf.voters.len() == size && conf.voters_outgoing.is_empty() && conf.learners.is_empty()
                })
            })
            .await;
        }
    }

    /// Writes the whole roster, again until nothing else is under way.
    pub async fn admit(&self, indexes: &[usize]) {
        let started = Instant::now();
        loop {
            let asked = indexes[0];
            let status = self.until(asked, "a member", |status| status.leader_id != 0).await;
            let names = indexes.iter().map(|index| format!("orders-{index}"));
            let request = v1::AdmitRequest {
                cluster_id: status.cluster_id,
                expected_configuration_index: status.configuration_index,
                roster: names.map(|name| v1::RosterEntry { name, learner: false }).collect(),
            };
            match self.admin(asked).await.unwrap().admit(request).await {
                Ok(_) => return,
                Err(error) if started.elapsed() > PATIENCE => panic!("{error:?}\n{}", self.logs()),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Puts through a member; retried until it is acknowledged.
    pub async fn put(&self, index: usize, key: &str, value: &str) {
        let request = pb::PutRequest {
            key: key.to_string().into(),
            value: value.to_string().into(),
            ..pb::PutRequest::default()
        };
        let started = Instant::now();
        loop {
            let error = match self.kv(index).await {
                Ok(mut kv) => match kv.put(request.clone()).await {
                    Ok(_) => return,
                    Err(status) => status.to_string(),
                },
                Err(error) => error.to_string(),
            };
            assert!(started.elapsed() < PATIENCE, "put through orders-{index}: {error}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Reads linearizably through a member; `None` if the key is not there.
    pub async fn get(&self, index: usize, key: &str) -> Option<String> {
        let request = pb::RangeRequest { key: key.to_string().into(), ..pb::RangeRequest::default() };
        let started = Instant::now();
        loop {
            let error = match self.kv(index).await {
                Ok(mut kv) => match kv.range(request.clone()).await {
                    Ok(answer) => {
                        let pair = answer.into_inner().kvs.into_iter().next();
                        return pair.map(|pair| String::from_utf8(pair.value.to_vec()).unwrap());
                    }
                    Err(status) => status.to_string(),
                },
                Err(error) => error.to_string(),
            };
            assert!(started.elapsed() < PATIENCE, "get through orders-{index}: {error}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn kv(&self, index: usize) -> Result<KvClient<Channel>, tonic::transport::Error> {
        KvClient::connect(format!("http://{}:{CLIENT_PORT}", self.ip(index))).await
    }

    /// The member that leads, as all that run agree.
    pub async fn leader(&self) -> usize {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            for index in 0..self.members.len() {
                if self.members[index].is_some()
                    && self.status(index).await.is_some_and(|status| status.role() == v1::Role::Leader)
                {
                    return index;
                }
            }
        }
        panic!("no leader\n{}", self.logs());
    }
}

fn name_of(text: &str) -> Name {
    Name::from_str(text).unwrap()
}

async fn serve(records: Vec<Record>) -> (Server<Catalog>, SocketAddr) {
    let origin = name_of("peers.test.");
    let mut zone = InMemoryZoneHandler::<TokioRuntimeProvider>::empty(
        origin.clone(),
        ZoneType::Primary,
        AxfrPolicy::Deny,
    );
    let soa = SOA::new(name_of("ns.peers.test."), name_of("admin.peers.test."), 1, 60, 60, 60, 0);
    assert!(zone.upsert_mut(Record::from_rdata(origin.clone(), 0, RData::SOA(soa)), 1));
    for record in records {
        assert!(zone.upsert_mut(record, 1));
    }
    let mut catalog = Catalog::new();
    catalog.upsert(origin.into(), vec![Arc::new(zone)]);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    let mut server = Server::new(catalog);
    server.register_socket(socket);
    (server, at)
}
