//! Which loopback address belongs to whom: member N of a run has `<base>.(N+1)`, the DNS server `<base>.254`.
//!
//! One address a member instead of one port a member, so that the ports are those of a pod. Pure; imports `std::net`
//! only. Whether the range is free is `range_lock`'s business.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// The port that clients speak to.
pub const CLIENT_PORT: u16 = 2379;
/// The port that peers and the operator speak to.
pub const PEER_PORT: u16 = 2380;
/// The port of probes, metrics and status.
pub const HTTP_PORT: u16 = 2381;

/// The last byte of the DNS server's address. Members stay far below: a cluster has at most nine voters.
const DNS_HOST: u8 = 254;

/// A /24 inside 127.0.0.0/8 that one run has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopbackRange {
    base: [u8; 3],
}

/// Why a text is no loopback range.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RangeError {
    /// Not `A.B.C.0/24`.
    #[error("\"{0}\" is no range of 256 addresses; write it like 127.0.2.0/24")]
    Malformed(String),
    /// A real network's range: members would not be reachable, or would be by strangers.
    #[error("\"{0}\" is not a loopback range; use one inside 127.0.0.0/8, for example 127.0.2.0/24")]
    NotLoopback(String),
}

impl LoopbackRange {
    /// The address of the member with this ordinal; `None` where the range has no room for it (ordinals ≥ 253).
    #[must_use]
    pub fn member(&self, ordinal: u32) -> Option<Ipv4Addr> {
        let host = u8::try_from(ordinal).ok()?.checked_add(1)?;
        (host < DNS_HOST).then(|| self.host(host))
    }

    /// Where the member's peer and admin port listens.
    #[must_use]
    pub fn peer(&self, ordinal: u32) -> Option<SocketAddr> {
        self.member(ordinal).map(|ip| SocketAddr::new(IpAddr::V4(ip), PEER_PORT))
    }

    /// The address of the run's DNS server.
    #[must_use]
    pub fn dns(&self) -> Ipv4Addr {
        self.host(DNS_HOST)
    }

    fn host(&self, host: u8) -> Ipv4Addr {
        let [a, b, c] = self.base;
        Ipv4Addr::new(a, b, c, host)
    }
}

impl FromStr for LoopbackRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let malformed = || RangeError::Malformed(text.to_owned());
        let (network, prefix) = text.split_once('/').ok_or_else(malformed)?;
        let [a, b, c, d] = network.parse::<Ipv4Addr>().map_err(|_| malformed())?.octets();
        if prefix != "24" || d != 0 {
            return Err(malformed());
        }
        if a != 127 {
            return Err(RangeError::NotLoopback(text.to_owned()));
        }
        Ok(Self { base: [a, b, c] })
    }
}

impl fmt::Display for LoopbackRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/24", self.host(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_dns_have_distinct_addresses_of_the_range() {
        let range: LoopbackRange = "127.0.2.0/24".parse().unwrap();
        assert_eq!(range.member(0), Some(Ipv4Addr::new(127, 0, 2, 1)));
        assert_eq!(range.member(252), Some(Ipv4Addr::new(127, 0, 2, 253)));
        assert_eq!(range.member(253), None);
        assert_eq!(range.member(u32::MAX), None);
        assert_eq!(range.dns(), Ipv4Addr::new(127, 0, 2, 254));
        assert_eq!(range.to_string(), "127.0.2.0/24");
    }

    #[test]
    fn what_is_no_loopback_range_is_refused_with_the_value_and_an_example() {
        for text in ["", "127.0.1.0", "127.0.1.0/16", "127.0.1.4/24", "x/24", "127.0.1/24"] {
            let error = text.parse::<LoopbackRange>().unwrap_err();
            assert_eq!(error, RangeError::Malformed(text.to_owned()));
            assert!(error.to_string().contains("127.0.2.0/24"));
        }
        assert_eq!(
            "10.0.0.0/24".parse::<LoopbackRange>(),
            Err(RangeError::NotLoopback("10.0.0.0/24".to_owned()))
        );
    }
}
