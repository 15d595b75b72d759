//! From a setting's text to its value, one kind at a time.
//!
//! May import: std. Deliberately absent: which setting it is; errors here say only what is wrong and what to write.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What is wrong with a text, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) problem: String,
    pub(crate) fix: String,
}

pub(super) fn problem(problem: impl Into<String>, fix: impl Into<String>) -> Problem {
    Problem { problem: problem.into(), fix: fix.into() }
}

/// How lines are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, Problem> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(problem("it is no log format", "write text or json")),
    }
}

pub(super) fn log_level(text: &str) -> Result<String, Problem> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(problem(error.to_string(), "write error, warn, info, debug, trace or directives")),
    }
}

/// A number with `ms`, `s`, `m` or `h`.
pub(crate) fn duration(text: &str) -> Result<Duration, Problem> {
    const FIX: &str = "write a number with its unit, as 100ms, 1.5s or 2m";
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit_seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "" => return Err(problem("it has no unit", FIX)),
        _ => return Err(problem(format!("its unit {unit:?} is not known"), FIX)),
    };
    let number: f64 = number.parse().map_err(|_| problem("it is no duration", FIX))?;
    Duration::try_from_secs_f64(number * unit_seconds).map_err(|_| problem("it is no duration", FIX))
}

/// A number of bytes, plain or with `KiB`, `MiB`, `GiB` (or `K`, `M`, `G`: the same).
pub(super) fn bytes(text: &str) -> Result<u64, Problem> {
    const FIX: &str = "write bytes, plain or with KiB, MiB or GiB, as 64MiB";
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let shift = match unit.trim_start() {
        "" | "B" => 0,
        "KiB" | "Ki" | "K" => 10,
        "MiB" | "Mi" | "M" => 20,
        "GiB" | "Gi" | "G" => 30,
        unit => return Err(problem(format!("its unit {unit:?} is not known"), FIX)),
    };
    let number: u64 = number.parse().map_err(|_| problem("it is no number of bytes", FIX))?;
    number.checked_mul(1_u64 << shift).ok_or_else(|| problem("it is beyond 64 bits", FIX))
}

pub(super) fn number(text: &str) -> Result<u32, Problem> {
    text.parse().map_err(|_| problem("it is no whole number", "write digits alone, as 3"))
}

pub(super) fn switch(text: &str) -> Result<bool, Problem> {
    match text {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(problem("it is neither true nor false", "write true or false")),
    }
}

/// An IP and a port, the port not 0: peers and probes must know it.
pub(super) fn listen(text: &str) -> Result<SocketAddr, Problem> {
    const FIX: &str = "write IP:PORT, as 0.0.0.0:2379 or [::]:2379";
    let address: SocketAddr = text
        .parse()
        .map_err(|_| problem("it is no IP address with a port (names are not resolved here)", FIX))?;
    if address.port() == 0 {
        return Err(problem("port 0 would be another one at each start", FIX));
    }
    Ok(address)
}

/// An IP, with or without a port.
pub(super) fn server(text: &str, default_port: u16) -> Result<SocketAddr, Problem> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, default_port));
    }
    listen(text).map_err(|_| problem("it is no IP address", "write IP or IP:PORT, as 10.96.0.10:53"))
}

/// A name of DNS: labels of letters, digits, dashes (and underscores, which services use), at most 253 bytes.
pub(super) fn dns_name(text: &str) -> Result<String, Problem> {
    const FIX: &str = "write a DNS name, as orders-0.orders-peers.shop.svc";
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.is_empty() || name.len() > 253 {
        return Err(problem(format!("it has {} bytes where 1 to 253 are allowed", name.len()), FIX));
    }
    for label in name.split('.') {
        let fits = (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-');
        if !fits {
            return Err(problem(format!("its label {label:?} is not one of DNS"), FIX));
        }
    }
    Ok(text.to_owned())
}

/// A host (a DNS name or an IP, IPv6 in brackets) and its port, if it has one.
pub(crate) fn host_port(text: &str, fix: &str) -> Result<(String, Option<u16>), Problem> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        check_reachable(address.ip(), fix)?;
        let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
        return Ok((host.to_owned(), Some(nonzero(address.port(), fix)?)));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => {
            let port = port.parse().map_err(|_| problem(format!("its port {port:?} is no port"), fix))?;
            (host, Some(nonzero(port, fix)?))
        }
        None => (text, None),
    };
    if let Ok(ip) = host.parse::<IpAddr>() {
        check_reachable(ip, fix)?;
        return Ok((host.to_owned(), port));
    }
    let host = dns_name(host).map_err(|found| problem(found.problem, fix))?;
    Ok((host, port))
}

fn nonzero(port: u16, fix: &str) -> Result<u16, Problem> {
    if port == 0 { Err(problem("port 0 cannot be reached", fix)) } else { Ok(port) }
}

fn check_reachable(ip: IpAddr, fix: &str) -> Result<(), Problem> {
    if ip.is_unspecified() { Err(problem(format!("nobody can reach {ip}"), fix)) } else { Ok(()) }
}
