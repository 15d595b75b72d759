//! What the kernel says of processes and of the machine: CPU time and resident memory out of `/proc`.
//!
//! May import: nothing of ours. Deliberately absent: sampling; callers take two readings and subtract.

use std::fs;
use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Context, Result};

/// One reading of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User plus system time of all its threads since it started; the kernel counts in ticks of 10 ms.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub rss_bytes: u64,
    /// The anonymous part of it, in bytes: what the process itself allocated.
    pub rss_anon_bytes: u64,
}

impl Usage {
    /// Reads process `pid`.
    ///
    /// # Errors
    /// When the process is gone, or the kernel's text has another shape than proc(5) says.
    pub fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
            .with_context(|| format!("process {pid} is gone"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))
            .with_context(|| format!("process {pid} is gone"))?;
        Ok(Self {
            cpu: cpu_of_stat(&stat).with_context(|| format!("reading /proc/{pid}/stat: {stat:?}"))?,
            rss_bytes: kib_of_status(&status, "VmRSS:").unwrap_or(0) * 1024,
            rss_anon_bytes: kib_of_status(&status, "RssAnon:").unwrap_or(0) * 1024,
        })
    }
}

/// CPU time that the whole machine spent busy since boot, all cores together.
///
/// # Errors
/// When `/proc/stat` cannot be read or has another shape.
pub fn machine_busy() -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    let fields: Vec<u64> = line.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    // proc(5): user nice system idle iowait irq softirq steal …; steal is others' time, it counts as busy here.
    let busy = fields.iter().take(8).enumerate().filter(|(column, _)| !matches!(column, 3 | 4));
    Ok(ticks(busy.map(|(_, value)| value).sum()))
}

/// CPU time of this process, all threads.
///
/// # Errors
/// When `/proc/self` cannot be read.
pub fn own_cpu() -> Result<Duration> {
    Ok(Usage::of(std::process::id())?.cpu)
}

fn ticks(count: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_micros(count.saturating_mul(1_000_000) / per_second)
}

/// Fields 14 and 15 of proc(5)'s `stat`, counted behind the command's closing parenthesis, for a command may hold
/// spaces.
fn cpu_of_stat(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(ticks(user + system))
}

fn kib_of_status(status: &str, label: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(label))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// How many connections to a listening address hold bytes that its process has not read: the calls that a paused process
/// has been sent.
///
/// # Errors
/// When the kernel's table cannot be read.
pub fn unread_connections(to: SocketAddrV4) -> Result<usize> {
    let table = fs::read_to_string("/proc/net/tcp").context("reading /proc/net/tcp")?;
    Ok(count_unread(&table, to))
}

fn count_unread(table: &str, to: SocketAddrV4) -> usize {
    // The address stands there as the number that its bytes in network order are to this machine.
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(to.ip().octets()), to.port());
    let unread = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (address, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        let (_sending, received) = fields.next()?.split_once(':')?;
        // 01 is an established connection; a listening socket's queue counts connections, not bytes.
        Some(address == local && state == "01" && received.bytes().any(|digit| digit != b'0'))
    };
    table.lines().filter(|line| unread(line) == Some(true)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "12 (a) (b c) S 1 2 3 4 5 6 7 8 9 10 300 200 0 0";
        let per_second = rustix::param::clock_ticks_per_second();
        assert_eq!(cpu_of_stat(stat), Some(Duration::from_micros(500 * 1_000_000 / per_second)));
    }

    #[test]
    fn this_process_has_memory_and_the_machine_has_been_busy() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.rss_bytes > 0 && usage.rss_anon_bytes > 0);
        assert!(machine_busy().unwrap() >= usage.cpu);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        // Above the largest pid that Linux gives (2^22).
        assert!(Usage::of(u32::MAX).is_err());
    }

    #[test]
    fn only_established_connections_with_unread_bytes_are_counted() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n\
            0: 0105407F:094B 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0\n\
            1: 0105407F:094B 0100007F:C001 01 00000000:0000004A 00:00000000 00000000     0\n\
            2: 0105407F:094B 0100007F:C002 01 00000000:00000000 00:00000000 00000000     0\n\
            3: 0205407F:094B 0100007F:C003 01 00000000:0000004A 00:00000000 00000000     0\n\
            4: 0105407F:094C 0100007F:C004 01 00000000:0000004A 00:00000000 00000000     0\n";
        assert_eq!(count_unread(table, SocketAddrV4::new([127, 64, 5, 1].into(), 2379)), 1);
    }
}
