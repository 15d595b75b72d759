//! A cluster of real `outrigger` processes: its DNS zone, its founding by hand through the Admin service, its faults.
//!
//! May import: `binaries`, `dns`, `addresses`, `process`, `etcd_wire`, `wait`, the generated `outrigger.v1`.
//! Deliberately absent: the operator. Here a test is the operator, so that each step can be left out or done wrong.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use outrigger_proto::v1::admin_client::AdminClient;
use outrigger_proto::v1::{StatusRequest, StatusResponse};
use tonic::transport::Channel;

use crate::addresses::AddressRange;
use crate::dns::DnsServer;
use crate::etcd_wire::{Client, lazy_channel};
use crate::process::{Process, Spec};
use crate::wait;

mod founding;
mod probes;

/// Clients' port.
pub const CLIENT_PORT: u16 = 2379;
/// Peers' and the admin's port.
pub const PEER_PORT: u16 = 2380;
/// Probes' and metrics' port.
pub const HTTP_PORT: u16 = 2381;

/// Time for any one step of a founding, and for a cluster to have a leader again. Far above what either takes, so
/// that a loaded machine does not fail a test.
pub const STEP: Duration = Duration::from_secs(60);

/// One member: where it is, and its process while it runs.
#[derive(Debug)]
pub struct ClusterMember {
    /// `<cluster>-<ordinal>`.
    pub name: String,
    /// The address that its ports are on.
    pub address: Ipv4Addr,
    /// Its data directory.
    pub data: PathBuf,
    /// `None` before the first start and while it is down.
    pub process: Option<Process>,
}

impl ClusterMember {
    /// Where clients reach it.
    #[must_use]
    pub const fn client(&self) -> SocketAddr {
        SocketAddr::V4(std::net::SocketAddrV4::new(self.address, CLIENT_PORT))
    }

    /// Where peers and the admin reach it.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        SocketAddr::V4(std::net::SocketAddrV4::new(self.address, PEER_PORT))
    }

    /// Where probes reach it.
    #[must_use]
    pub const fn http(&self) -> SocketAddr {
        SocketAddr::V4(std::net::SocketAddrV4::new(self.address, HTTP_PORT))
    }

    /// Its running process.
    ///
    /// # Errors
    /// When it is down.
    pub fn process(&mut self) -> Result<&mut Process> {
        let name = &self.name;
        self.process.as_mut().with_context(|| format!("{name} is down"))
    }

    /// A client of its admin service.
    ///
    /// # Errors
    /// Never for an address of this form.
    pub fn admin(&self) -> Result<AdminClient<Channel>> {
        let channel = lazy_channel(self.peer()).context("making an admin channel")?;
        Ok(AdminClient::new(channel).max_decoding_message_size(256 << 20))
    }

    /// A client of its etcd API.
    ///
    /// # Errors
    /// Never for an address of this form.
    pub fn etcd(&self) -> Result<Client> {
        Client::lazy(self.client()).context("making a client")
    }

    /// Its own account of itself.
    ///
    /// # Errors
    /// When it does not answer within a second.
    pub async fn status(&self) -> Result<StatusResponse> {
        let mut request = tonic::Request::new(StatusRequest {});
        request.set_timeout(Duration::from_secs(1));
        let mut admin = self.admin()?;
        let answer = tokio::time::timeout(Duration::from_secs(1), admin.status(request)).await;
        let answer = answer.with_context(|| format!("{} does not answer", self.name))?;
        Ok(answer.with_context(|| format!("the status of {}", self.name))?.into_inner())
    }
}

/// A cluster by hand; everything of it ends when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    /// Its loopback range.
    pub range: AddressRange,
    /// The DNS server of its zone.
    pub dns: DnsServer,
    /// Its members by ordinal, also those that are down.
    pub members: Vec<ClusterMember>,
    /// Flags that every later start adds.
    pub extra_flags: Vec<String>,
    /// The zone of the headless service; a test that renames the members' hosts changes it and publishes again.
    pub zone: String,
    name: String,
    program: PathBuf,
    folder: PathBuf,
}

impl Cluster {
    /// Lays out `size` members of `program` with data below `folder`, and their DNS zone; starts no member yet.
    ///
    /// # Errors
    /// When the loopback range or the DNS port cannot be had.
    pub async fn prepare(program: &Path, folder: &Path, size: u8) -> Result<Self> {
        Self::prepare_on(AddressRange::claim()?, program, folder, size).await
    }

    /// As [`Cluster::prepare`], on a range that the data below `folder` was made on.
    ///
    /// # Errors
    /// When the DNS port cannot be had.
    pub async fn prepare_on(range: AddressRange, program: &Path, folder: &Path, size: u8) -> Result<Self> {
        let dns = DnsServer::start(range.dns()).await?;
        let mut cluster = Self {
            range,
            dns,
            members: Vec::new(),
            extra_flags: Vec::new(),
            zone: "orders-peers.test".to_owned(),
            name: "orders".to_owned(),
            program: program.to_owned(),
            folder: folder.to_owned(),
        };
        for ordinal in 0..size {
            cluster.add_member(ordinal);
        }
        cluster.publish()?;
        Ok(cluster)
    }

    /// A founded and formed cluster of `size` members that serves clients on each.
    ///
    /// # Errors
    /// When a step is not seen in time; the text carries the logs' ends.
    pub async fn start(program: &Path, folder: &Path, size: u8) -> Result<Self> {
        let mut cluster = Self::prepare(program, folder, size).await?;
        cluster.spawn_all()?;
        cluster.found_and_form().await?;
        Ok(cluster)
    }

    /// The domain name of a member.
    #[must_use]
    pub fn host(&self, member: &ClusterMember) -> String {
        format!("{}.{}", member.name, self.zone)
    }

    /// Lays out one more member, without DNS records and without starting it; gives its place in `members`.
    pub fn add_member(&mut self, ordinal: u8) -> usize {
        let name = format!("{}-{ordinal}", self.name);
        self.members.push(ClusterMember {
            address: self.range.address(ordinal + 1),
            data: self.folder.join(&name),
            name,
            process: None,
        });
        self.members.len() - 1
    }

    /// Publishes what a headless service would: each member's address, the zone's addresses, and the SRV records.
    ///
    /// # Errors
    /// When a name is no domain name.
    pub fn publish(&self) -> Result<()> {
        let mut services = Vec::new();
        let mut addresses = Vec::new();
        for member in &self.members {
            let host = self.host(member);
            self.dns.set_addresses(&host, &[member.address])?;
            addresses.push(member.address);
            services.push((host, PEER_PORT));
        }
        self.dns.set_addresses(&self.zone, &addresses)?;
        self.dns.set_services(&format!("_peer._tcp.{}", self.zone), &services)
    }

    /// Starts the process of one member.
    ///
    /// # Errors
    /// When it is running already, or cannot be started.
    pub fn spawn(&mut self, place: usize) -> Result<()> {
        let size = self.members.len();
        let spec = self.spec(place, size)?;
        let member = self.member_mut(place)?;
        if member.process.as_mut().is_some_and(Process::is_running) {
            bail!("{} is running already", member.name);
        }
        member.process = Some(Process::spawn(spec)?);
        Ok(())
    }

    /// What [`Cluster::spawn`] starts; tests that want a wrong flag change it first.
    ///
    /// # Errors
    /// When there is no such member.
    pub fn spec(&self, place: usize, size: usize) -> Result<Spec> {
        let member = self.members.get(place).with_context(|| format!("no member {place}"))?;
        let log = self.folder.join(format!("{}.log", member.name));
        let spec = Spec::new(&member.name, &self.program, log)
            .argument("run")
            .flag("--name", member.name.as_str())
            .flag("--data-dir", member.data.as_os_str())
            .flag("--listen-client", member.client().to_string())
            .flag("--listen-peer", member.peer().to_string())
            .flag("--listen-http", member.http().to_string())
            .flag("--advertise-peer", format!("{}:{PEER_PORT}", self.host(member)))
            .flag("--advertise-client", format!("http://{}", member.client()))
            .flag("--peers-dns", self.zone.as_str())
            .flag("--dns-server", self.dns.address().to_string())
            .flag("--cluster-size", size.to_string())
            .flag("--heartbeat-interval", "100ms")
            .flag("--election-timeout", "1s")
            .argument("--exit-with-stdin");
        Ok(self.extra_flags.iter().fold(spec, |spec, flag| spec.argument(flag)))
    }

    /// Waits until every running member answers a linearizable read.
    ///
    /// # Errors
    /// When one does not in time.
    pub async fn serving(&self) -> Result<()> {
        for member in self.members.iter().filter(|member| member.process.is_some()) {
            let mut client = member.etcd()?;
            let probe = async || Ok(client.get(&"started?".into(), false, Duration::from_secs(1)).await?);
            self.seen(&format!("an answer of {}", member.name), probe).await?;
        }
        Ok(())
    }

    /// The place of the member that says it leads, once one does.
    ///
    /// # Errors
    /// When none does in time.
    pub async fn leader(&self) -> Result<usize> {
        let probe = async || {
            let status = self.leader_status().await?;
            let place = self.members.iter().position(|member| member.name == status.name);
            place.with_context(|| format!("the leader {} is none of ours", status.name))
        };
        self.seen("a leader", probe).await
    }

    /// The status of the member that says it leads in the highest term.
    ///
    /// # Errors
    /// When none says so now.
    pub async fn leader_status(&self) -> Result<StatusResponse> {
        let mut found: Option<StatusResponse> = None;
        for member in self.members.iter().filter(|member| member.process.is_some()) {
            let Ok(status) = member.status().await else { continue };
            let leads = status.member_id != 0 && status.leader_id == status.member_id;
            if leads && found.as_ref().is_none_or(|best| best.term < status.term) {
                found = Some(status);
            }
        }
        found.context("no member says that it leads")
    }

    /// Gives every member the address with its own last byte in another range; all must be down. Publishes nothing.
    /// The range that they leave is returned: it holds the DNS server.
    ///
    /// # Errors
    /// When a member is running.
    pub fn move_to(&mut self, range: AddressRange) -> Result<AddressRange> {
        for member in &mut self.members {
            ensure!(member.process.is_none(), "{} is running: kill it first", member.name);
            let [_, _, _, last] = member.address.octets();
            member.address = range.address(last);
        }
        Ok(std::mem::replace(&mut self.range, range))
    }

    /// `kill -9` of every member.
    ///
    /// # Errors
    /// When one is down already.
    pub fn kill_all(&mut self) -> Result<()> {
        (0..self.members.len()).try_for_each(|place| self.kill(place))
    }

    /// Starts every member.
    ///
    /// # Errors
    /// When one is running already, or cannot be started.
    pub fn spawn_all(&mut self) -> Result<()> {
        (0..self.members.len()).try_for_each(|place| self.spawn(place))
    }

    /// `kill -9` of one member.
    ///
    /// # Errors
    /// When it is down already.
    pub fn kill(&mut self, place: usize) -> Result<()> {
        let member = self.member_mut(place)?;
        member.process()?.kill()?;
        member.process = None;
        Ok(())
    }

    /// Removes the data directory of a member that is down, as a lost volume does.
    ///
    /// # Errors
    /// When it is running, or the directory cannot be removed.
    pub fn wipe(&mut self, place: usize) -> Result<()> {
        let member = self.member_mut(place)?;
        ensure!(member.process.is_none(), "{} is running: kill it first", member.name);
        fs::remove_dir_all(&member.data).with_context(|| format!("wiping {}", member.data.display()))
    }

    /// Where clients reach the members, by ordinal.
    #[must_use]
    pub fn endpoints(&self) -> Vec<SocketAddr> {
        self.members.iter().map(ClusterMember::client).collect()
    }

    /// One member.
    ///
    /// # Errors
    /// When there is no such member.
    pub fn member(&self, place: usize) -> Result<&ClusterMember> {
        self.members.get(place).with_context(|| format!("no member {place}"))
    }

    /// One member, to act on.
    ///
    /// # Errors
    /// When there is no such member.
    pub fn member_mut(&mut self, place: usize) -> Result<&mut ClusterMember> {
        self.members.get_mut(place).with_context(|| format!("no member {place}"))
    }

    /// Ends all members and gives the range back, for a later start on the same addresses.
    ///
    /// # Errors
    /// When the DNS server cannot be stopped.
    pub async fn into_range(mut self) -> Result<AddressRange> {
        self.members.clear();
        self.dns.stop().await?;
        Ok(self.range)
    }

    /// Waits for `probe` as one step, and gives up at once when a member has ended by itself.
    ///
    /// # Errors
    /// When it does not come true in time; the text carries the logs' ends.
    pub async fn seen<T, F>(&self, what: &str, mut probe: F) -> Result<T>
    where
        F: AsyncFnMut() -> Result<T>,
    {
        let running = || self.members.iter().filter_map(|member| member.process.as_ref());
        let seen = wait::until_ok(what, STEP, async || {
            match (probe().await, running().find(|one| one.has_ended())) {
                (Ok(value), _) => Ok(Ok(value)),
                (Err(reason), None) => Err(reason),
                (Err(reason), Some(ended)) => Ok(Err(
                    reason.context(format!("waiting for {what}, but {} has ended", ended.spec().name))
                )),
            }
        });
        seen.await
            .flatten()
            .with_context(|| running().map(|process| process.log_tail(15)).collect::<Vec<_>>().join("\n"))
    }
}
