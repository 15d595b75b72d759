//! Address ranges: each cluster gets a /24 of its own, so that fixed ports never collide: 127.x.y.0/24, or one of a private
//! network.
//!
//! A range is claimed by holding a listening socket on its last address, so that the kernel gives it back however
//! the process ends. Deliberately absent: 127.0.*.* and 127.1.*.*, which belong to the demo and to people.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};

/// The port that is held on the range's last address while the range is claimed.
const CLAIM_PORT: u16 = 2369;

/// Ranges tried before giving up: far more than a machine runs clusters at once.
const ATTEMPTS: u32 = 4096;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A /24 that is the holder's alone; the claim ends when it is dropped.
#[derive(Debug)]
pub struct AddressRange {
    network: [u8; 3],
    /// None where the whole network is the holder's.
    _claim: Option<TcpListener>,
}

impl AddressRange {
    /// Claims a loopback range that no other process holds, starting from one that depends on the process id.
    ///
    /// # Errors
    /// When no range is free among the first few thousand.
    pub fn claim() -> Result<Self> {
        let start = std::process::id().wrapping_mul(31);
        for _ in 0..ATTEMPTS {
            let offset = NEXT.fetch_add(1, Ordering::Relaxed);
            let [_, _, second, third] = start.wrapping_add(offset).to_be_bytes();
            // 64..=254: away from 127.0 and 127.1, and from 127.255, whose end is a broadcast address.
            let second = 64 + second % 191;
            let address = SocketAddr::from((Ipv4Addr::new(127, second, third, 254), CLAIM_PORT));
            if let Ok(claim) = TcpListener::bind(address) {
                return Ok(Self { network: [127, second, third], _claim: Some(claim) });
            }
        }
        bail!("no free 127.x.y.0/24 range after {ATTEMPTS} attempts: end the tests that still run")
    }

    /// A range of a network that nobody else is in, by its first three bytes.
    #[must_use]
    pub const fn of_private(network: [u8; 3]) -> Self {
        Self { network, _claim: None }
    }

    /// The range's address with this last byte (1..=253; 254 holds the claim).
    #[must_use]
    pub const fn address(&self, last: u8) -> Ipv4Addr {
        let [first, second, third] = self.network;
        Ipv4Addr::new(first, second, third, last)
    }

    /// Where the range's DNS server listens.
    #[must_use]
    pub const fn dns(&self) -> SocketAddr {
        SocketAddr::V4(std::net::SocketAddrV4::new(self.address(253), 5300))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_claims_never_share_a_range() {
        let one = AddressRange::claim().unwrap();
        let two = AddressRange::claim().unwrap();
        assert_ne!(one.address(1), two.address(1));
    }

    #[test]
    fn a_dropped_claim_frees_the_address() {
        let range = AddressRange::claim().unwrap();
        let held = SocketAddr::from((range.address(254), CLAIM_PORT));
        assert!(TcpListener::bind(held).is_err(), "the claim holds {held}");
        drop(range);
        TcpListener::bind(held).unwrap();
    }
}
