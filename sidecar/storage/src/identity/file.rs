//! The small files beside the log: `identity`, and `resolved` with the last addresses that names resolved to.
//!
//! Both: magic (8 bytes), CRC-32C of all behind it (`u32`), format version (`u32`), then the fields, little-endian, texts
//! as length (`u32`) and UTF-8.
//!
//! | file | fields |
//! | --- | --- |
//! | `identity` (`ORIDENT1`) | member id `u64`, cluster id `u64` (0: none), boot `u64`, moving aside `u8`, address version `u64`, name, address, count `u32` of abandoned cluster ids and each `u64` |
//! | `resolved` (`ORRESLV1`) | count `u32`, then each: name, count `u32` of addresses and each as text |
//!
//! May import: core's `types`, `codec`. Deliberately absent: the file system, and what any of it is for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bytes::BufMut;
use outrigger_core::types::{ClusterId, MemberId};

use crate::codec::{Fields, len32, put_text};

const VERSION: u32 = 1;
const IDENTITY_MAGIC: &[u8; 8] = b"ORIDENT1";
const RESOLVED_MAGIC: &[u8; 8] = b"ORRESLV1";

/// Larger than any file of ours; bounds what reading a wrong one takes.
pub(super) const MAX_FILE_BYTES: u64 = 1 << 20;

/// Who a data directory belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The member: never 0, and never reused.
    pub member: MemberId,
    /// Its cluster, written last at founding or joining; `None` on what counts as an empty disk.
    pub cluster: Option<ClusterId>,
    /// How often the directory was opened, this time included.
    pub boot: u64,
    /// Whether the old state is being moved aside; finished at the next opening.
    pub(super) is_moving: bool,
    /// Grows by one whenever the own address changes.
    pub address_version: u64,
    /// The own name, empty before it was ever set.
    pub name: String,
    /// The own address, `host:port`, empty before it was ever set.
    pub address: String,
    /// Clusters whose founding was abandoned: refused for ever. In the order in which they were.
    pub abandoned: Vec<ClusterId>,
}

/// The last addresses that names resolved to.
pub type Resolved = BTreeMap<String, Vec<IpAddr>>;

pub(super) fn encode_identity(identity: &Identity) -> Vec<u8> {
    let Identity { member, cluster, boot, is_moving, address_version, name, address, abandoned } = identity;
    let mut body = Vec::new();
    body.put_u64_le(member.0);
    body.put_u64_le(cluster.map_or(0, |cluster| cluster.0));
    body.put_u64_le(*boot);
    body.put_u8(u8::from(*is_moving));
    body.put_u64_le(*address_version);
    put_text(&mut body, name);
    put_text(&mut body, address);
    body.put_u32_le(len32(abandoned.len()));
    for cluster in abandoned {
        body.put_u64_le(cluster.0);
    }
    wrap(IDENTITY_MAGIC, &body)
}

pub(super) fn decode_identity(bytes: &[u8]) -> Option<Identity> {
    let mut fields = unwrap(IDENTITY_MAGIC, bytes)?;
    let member = MemberId(fields.u64()?);
    let cluster = Some(ClusterId(fields.u64()?)).filter(|cluster| cluster.0 != 0);
    let boot = fields.u64()?;
    let is_moving = fields.u8()? != 0;
    let address_version = fields.u64()?;
    let (name, address) = (fields.text()?, fields.text()?);
    let count = fields.count(8)?;
    let abandoned = (0..count).map(|_| fields.u64().map(ClusterId)).collect::<Option<_>>()?;
    Some(Identity { member, cluster, boot, is_moving, address_version, name, address, abandoned })
}

pub(super) fn encode_resolved(resolved: &Resolved) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_u32_le(len32(resolved.len()));
    for (name, addresses) in resolved {
        put_text(&mut body, name);
        body.put_u32_le(len32(addresses.len()));
        for address in addresses {
            put_text(&mut body, &address.to_string());
        }
    }
    wrap(RESOLVED_MAGIC, &body)
}

pub(super) fn decode_resolved(bytes: &[u8]) -> Option<Resolved> {
    let mut fields = unwrap(RESOLVED_MAGIC, bytes)?;
    let names = fields.count(8)?;
    let mut resolved = Resolved::new();
    for _ in 0..names {
        let name = fields.text()?;
        let count = fields.count(4)?;
        let addresses = (0..count).map(|_| fields.text()?.parse().ok()).collect::<Option<_>>()?;
        resolved.insert(name, addresses);
    }
    Some(resolved)
}

fn wrap(magic: &[u8; 8], body: &[u8]) -> Vec<u8> {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&VERSION.to_le_bytes()), body);
    let mut bytes = magic.to_vec();
    bytes.put_u32_le(crc);
    bytes.put_u32_le(VERSION);
    bytes.put_slice(body);
    bytes
}

fn unwrap<'a>(magic: &[u8; 8], bytes: &'a [u8]) -> Option<Fields<'a>> {
    let mut fields = Fields::new(bytes);
    if fields.bytes(8)? != magic || fields.u32()? != crc32c::crc32c(bytes.get(12..)?) {
        return None;
    }
    (fields.u32()? == VERSION).then_some(fields)
}
