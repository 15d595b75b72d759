//! A private network: a bridge, and a network namespace for each member, in which packets of others can be dropped.
//!
//! Everything is made inside the network namespace that this process was started in and is in no other, so that all of it
//! is gone when the last process in it is. Drops are made where packets arrive, so that their sender notices nothing.
//!
//! May import: `process`, `wait`. Deliberately absent: who is cut off from whom, and when.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::addresses::AddressRange;
use crate::cluster::STEP;
use crate::process::{Process, Spec};
use crate::wait;

/// The first three bytes of all addresses.
const NETWORK: [u8; 3] = [10, 77, 0];
/// The bridge's own: clients and the DNS server are there.
const OWN: u8 = 253;

/// What each member's namespace filters. `deaf`: senders whose packets are dropped. `other` is everybody but the bridge.
const RULES: &str = "add table inet chaos
add counter inet chaos dropped
add set inet chaos deaf { type ipv4_addr; }
add chain inet chaos arriving { type filter hook input priority 0; }
add rule inet chaos arriving ip saddr @deaf counter name dropped drop
add chain inet chaos lossy
add rule inet chaos arriving ip saddr != 10.77.0.253 jump lossy
";

/// The network, as long as it is held.
#[derive(Debug)]
pub(super) struct Network {
    /// One that does nothing in each member's namespace, and so keeps it.
    keepers: Vec<Process>,
}

/// The addresses in it.
pub(super) fn range() -> AddressRange {
    AddressRange::of_private(NETWORK)
}

impl Network {
    /// Makes the bridge and a namespace for each of so many members.
    ///
    /// # Errors
    /// When this process shares its network with others, is not root, or a tool is missing.
    pub(super) async fn build(members: usize, folder: &Path) -> Result<Self> {
        ensure_unused()?;
        ip("link set lo up")?;
        ip("link add br0 type bridge")?;
        ip(&format!("addr add {}/24 dev br0", range().address(OWN)))?;
        ip("link set br0 up")?;
        let mut network = Self { keepers: Vec::new() };
        for place in 0..members {
            let spec = Spec::new("keeper", Path::new("unshare"), folder.join("keepers.log"))
                .argument("--net")
                .argument("sleep")
                .argument("infinity");
            let keeper = Process::spawn(spec).context("making a network namespace (as root)")?;
            let own = fs::read_link("/proc/self/ns/net").context("this process's network namespace")?;
            let of_keeper = format!("/proc/{}/ns/net", keeper.pid());
            let is_apart = async || fs::read_link(&of_keeper).ok().filter(|namespace| *namespace != own);
            wait::until("a namespace of its own", STEP, is_apart).await?;
            let (pid, address) = (keeper.pid(), address(place)?);
            network.keepers.push(keeper);
            ip(&format!("link add v{place} type veth peer name eth0 netns {pid}"))?;
            ip(&format!("link set v{place} master br0 up"))?;
            network.run_inside(place, "ip", &["link", "set", "lo", "up"])?;
            network.run_inside(place, "ip", &["addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
            network.run_inside(place, "ip", &["link", "set", "eth0", "up"])?;
            network.filter(place, RULES)?;
        }
        Ok(network)
    }

    /// The same program in a member's namespace.
    ///
    /// # Errors
    /// When there is no such member.
    pub(super) fn inside(&self, place: usize, spec: Spec) -> Result<Spec> {
        let keeper = self.keepers.get(place).with_context(|| format!("no member {place}"))?;
        let mut arguments = vec!["-t".into(), keeper.pid().to_string().into(), "-n".into()];
        arguments.push(spec.program.clone().into_os_string());
        arguments.extend(spec.arguments);
        Ok(Spec { program: "nsenter".into(), arguments, ..spec })
    }

    /// From now on nothing of `from` reaches `to`.
    ///
    /// # Errors
    /// When the filter refuses.
    pub(super) fn cut(&self, from: usize, to: usize) -> Result<()> {
        self.filter(to, &format!("add element inet chaos deaf {{ {} }}", address(from)?))
    }

    /// From now on so many of 100 packets from other members are lost on their way to this one.
    ///
    /// # Errors
    /// When the filter refuses.
    pub(super) fn lose(&self, to: usize, percent: u8) -> Result<()> {
        let rule = format!("numgen random mod 100 < {percent} counter name dropped drop");
        self.filter(to, &format!("add rule inet chaos lossy {rule}"))
    }

    /// Everything reaches everybody again.
    ///
    /// # Errors
    /// When a filter refuses.
    pub(super) fn heal(&self) -> Result<()> {
        (0..self.keepers.len()).try_for_each(|place| {
            self.filter(place, "flush set inet chaos deaf\nflush chain inet chaos lossy")
        })
    }

    /// Packets that were dropped so far, everywhere.
    ///
    /// # Errors
    /// When a filter does not tell.
    pub(super) fn dropped(&self) -> Result<u64> {
        let mut all = 0;
        for place in 0..self.keepers.len() {
            let text = self.run_inside(place, "nft", &["list", "counter", "inet", "chaos", "dropped"])?;
            let mut words = text.split_whitespace().skip_while(|word| *word != "packets").skip(1);
            let count = words.next().and_then(|word| word.parse::<u64>().ok());
            all += count.with_context(|| format!("a counter without packets: {text}"))?;
        }
        Ok(all)
    }

    fn filter(&self, place: usize, script: &str) -> Result<()> {
        script.lines().try_for_each(|line| self.run_inside(place, "nft", &[line]).map(drop))
    }

    fn run_inside(&self, place: usize, program: &str, arguments: &[&str]) -> Result<String> {
        let keeper = self.keepers.get(place).with_context(|| format!("no member {place}"))?;
        let pid = keeper.pid().to_string();
        let mut all = vec!["-t", &pid, "-n", program];
        all.extend(arguments);
        run("nsenter", &all)
    }
}

fn address(place: usize) -> Result<Ipv4Addr> {
    Ok(range().address(u8::try_from(place + 1).context("too many members")?))
}

/// Whatever is done here must not touch the network of anybody else. In a new namespace even `lo` is down.
fn ensure_unused() -> Result<()> {
    let up = run("ip", &["-oneline", "link", "show", "up"])?;
    ensure!(
        up.is_empty(),
        "this network is in use: start this in one of its own, as `make chaos` does (unshare --net):\n{up}"
    );
    Ok(())
}

fn ip(arguments: &str) -> Result<()> {
    run("ip", &arguments.split_whitespace().collect::<Vec<_>>()).map(drop)
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let said = Command::new(program).args(arguments).output();
    let said = said.with_context(|| format!("starting {program}: `make chaos` installs it"))?;
    if !said.status.success() {
        let why = String::from_utf8_lossy(&said.stderr);
        bail!("{program} {} ended with {}: {why}", arguments.join(" "), said.status);
    }
    Ok(String::from_utf8_lossy(&said.stdout).into_owned())
}
