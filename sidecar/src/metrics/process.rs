//! The process's own memory, descriptors and CPU time, read from `/proc` at a scrape.
//!
//! May import: std. Deliberately absent: anything but Linux; elsewhere the values stay at zero.

use std::fs;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::gauge::Gauge;

/// Clock ticks a second in `/proc/self/stat`: Linux's USER_HZ is 100 on every architecture that we build for.
const CLOCK_TICKS_PER_SECOND: f64 = 100.0;

/// Named as Prometheus's own client libraries name them, so that the usual dashboards work.
#[derive(Debug, Default)]
pub(super) struct ProcessMetrics {
    pub(super) resident_bytes: Gauge,
    pub(super) open_fds: Gauge,
    pub(super) cpu_seconds: Gauge<f64, AtomicU64>,
    pub(super) uptime_seconds: Gauge<f64, AtomicU64>,
}

impl ProcessMetrics {
    pub(super) fn refresh(&self, uptime: std::time::Duration) {
        self.uptime_seconds.set(uptime.as_secs_f64());
        if let Some(kib) = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_kib) {
            self.resident_bytes.set(kib.saturating_mul(1024));
        }
        if let Some(ticks) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_ticks) {
            self.cpu_seconds.set(ticks / CLOCK_TICKS_PER_SECOND);
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            // The listing itself holds one descriptor open.
            let open = entries.count().saturating_sub(1);
            self.open_fds.set(i64::try_from(open).unwrap_or(i64::MAX));
        }
    }
}

fn resident_kib(status: &str) -> Option<i64> {
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// User and system time; the command's name may hold spaces, so that fields are counted behind its last parenthesis.
fn cpu_ticks(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_a_command_name_with_spaces_and_parentheses() {
        let stat = "42 (a b) c) S 1 1 1 0 -1 4194560 10 0 0 0 700 300 0 0 20 0 1 0 1 1 1";
        assert_eq!(cpu_ticks(stat), Some(1000.0));
    }

    #[test]
    fn resident_memory_is_read_in_kib() {
        assert_eq!(resident_kib("Name:\tx\nVmRSS:\t   1234 kB\n"), Some(1234));
        assert_eq!(resident_kib("Name:\tx\n"), None);
    }
}
