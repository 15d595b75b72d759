//! Who belongs: roster, address map, tombstones, cluster metadata. Applied by the node alone, in log order.
//!
//! May import: `types`, `log`, `wire`, `error`. Deliberately absent: who decides (`decide`: requests against what stands;
//! `reconcile`: the leader's next step towards the roster), and anything that differs between members.

pub(crate) mod decide;
pub(crate) mod reconcile;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message as _;

use crate::error::MembershipRefusal;
use crate::log::ConfState;
use crate::types::{ClusterId, Index, MemberId};
use crate::wire::{AdmitWire, MembershipOp, MetadataWire, RosterWire, RouteWire};

/// A metadata key's length at the most, in bytes.
const MAX_METADATA_KEY_BYTES: usize = 256;
/// A metadata value's length at the most.
const MAX_METADATA_VALUE_BYTES: usize = 64 << 10;
/// Metadata keys at the most.
const MAX_METADATA_KEYS: usize = 256;
/// All keys and values together: they are in memory on every member, and in the header of every snapshot, which is one
/// message.
const MAX_METADATA_BYTES: usize = 1 << 20;

/// How a member is known and reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The member's id.
    pub id: MemberId,
    /// The pod's name.
    pub name: String,
    /// `host:port` of the peer port; the host is a DNS name.
    pub address: String,
    /// Counted durably by the member with each change of its address: newer wins.
    pub address_version: u64,
    /// The member's software version.
    pub version: String,
    /// Where clients reach it: a URL, for `etcdctl member list`; empty if it did not say.
    pub client_url: String,
}

/// An admitted name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RosterEntry {
    /// The pod's name.
    pub name: String,
    /// Admitted as a learner that is never promoted; else as a voter.
    pub learner: bool,
}

/// The replicated membership, as of an applied index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// The cluster.
    pub cluster: ClusterId,
    /// Admitted names; the value says whether as a learner.
    pub roster: BTreeMap<String, bool>,
    /// The address map.
    pub routes: BTreeMap<MemberId, Route>,
    /// Ids that never count again.
    pub tombstones: BTreeSet<MemberId>,
    /// The cluster's metadata keys.
    pub metadata: BTreeMap<String, Bytes>,
    /// Whether the `Formed` entry is applied.
    pub formed: bool,
    /// Index of the last applied entry that changed roster, configuration or `formed`.
    pub configuration_index: Index,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MembershipWire {
    #[prost(fixed64, tag = "1")]
    cluster: u64,
    #[prost(message, repeated, tag = "2")]
    roster: Vec<RosterWire>,
    #[prost(message, repeated, tag = "3")]
    routes: Vec<RouteWire>,
    #[prost(fixed64, repeated, tag = "4")]
    tombstones: Vec<u64>,
    #[prost(message, repeated, tag = "5")]
    metadata: Vec<MetadataWire>,
    #[prost(bool, tag = "6")]
    formed: bool,
    #[prost(uint64, tag = "7")]
    configuration_index: u64,
}

impl Membership {
    /// The roster as a list.
    #[must_use]
    pub fn roster_entries(&self) -> Vec<RosterEntry> {
        self.roster
            .iter()
            .map(|(name, learner)| RosterEntry { name: name.clone(), learner: *learner })
            .collect()
    }

    /// The name under which a member is known.
    #[must_use]
    pub fn name_of(&self, id: MemberId) -> Option<&str> {
        self.routes.get(&id).map(|route| route.name.as_str())
    }

    /// Members that go by the name; two while one replaces the other.
    pub fn holders<'a>(&'a self, name: &'a str) -> impl Iterator<Item = MemberId> + 'a {
        self.routes.values().filter(move |route| route.name == name).map(|route| route.id)
    }

    pub(crate) fn encode(&self) -> Bytes {
        let wire = MembershipWire {
            cluster: self.cluster.0,
            roster: self.roster_entries().iter().map(RosterWire::from).collect(),
            routes: self.routes.values().map(RouteWire::from).collect(),
            tombstones: self.tombstones.iter().map(|id| id.0).collect(),
            metadata: self
                .metadata
                .iter()
                .map(|(key, value)| MetadataWire { key: key.clone(), value: Some(value.clone()) })
                .collect(),
            formed: self.formed,
            configuration_index: self.configuration_index.0,
        };
        Bytes::from(wire.encode_to_vec())
    }

    /// Decodes; `None` for garbage.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let wire = MembershipWire::decode(bytes).ok()?;
        let metadata = wire.metadata.into_iter().map(|m| (m.key, m.value.unwrap_or_default()));
        Some(Self {
            cluster: ClusterId(wire.cluster),
            roster: wire.roster.into_iter().map(|entry| (entry.name, entry.learner)).collect(),
            routes: wire.routes.into_iter().map(|route| (MemberId(route.id), route.into())).collect(),
            tombstones: wire.tombstones.into_iter().map(MemberId).collect(),
            metadata: metadata.map(|(key, value)| (key, Bytes::copy_from_slice(&value))).collect(),
            formed: wire.formed,
            configuration_index: Index(wire.configuration_index),
        })
    }

    /// Applies a membership entry that is not a conf change. The verdict is the same on every member.
    ///
    /// # Errors
    /// The refusal that the caller gets; nothing changed then.
    pub(crate) fn apply(&mut self, index: Index, op: &MembershipOp) -> Result<(), MembershipRefusal> {
        match op {
            MembershipOp::Admit(AdmitWire { roster, expected }) => {
                if let Some(expected) = expected.map(Index)
                    && expected != self.configuration_index
                {
                    let actual = self.configuration_index;
                    return Err(MembershipRefusal::StaleConfiguration { expected, actual });
                }
                self.roster = roster.iter().map(|entry| (entry.name.clone(), entry.learner)).collect();
                self.configuration_index = index;
            }
            MembershipOp::Form(_) => {
                if !self.formed {
                    self.formed = true;
                    self.configuration_index = index;
                }
            }
            MembershipOp::Announce(route) => self.announce(route.clone().into()),
            MembershipOp::Metadata(MetadataWire { key, value }) => {
                // Again: others may have been applied since the leader took it in.
                self.check_metadata(key, value.as_deref())?;
                match value {
                    // Copied: the entry's buffer must not be pinned by one small value.
                    Some(value) => self.metadata.insert(key.clone(), Bytes::copy_from_slice(value)),
                    None => self.metadata.remove(key),
                };
            }
            // Only ever the context of a conf change; as an entry of its own it means nothing.
            MembershipOp::Learner(_) => {}
        }
        Ok(())
    }

    /// Whether this key may have this value, or be deleted; the same on every member.
    ///
    /// # Errors
    /// The refusal that the caller gets.
    pub(crate) fn check_metadata(&self, key: &str, value: Option<&[u8]>) -> Result<(), MembershipRefusal> {
        let invalid =
            |reason: &'static str| Err(MembershipRefusal::InvalidMetadata { reason: reason.into() });
        if key.is_empty() || key.len() > MAX_METADATA_KEY_BYTES {
            return invalid("a key has 1 to 256 bytes");
        }
        let Some(value) = value else { return Ok(()) };
        if value.len() > MAX_METADATA_VALUE_BYTES {
            return invalid("a value has at most 64 KiB");
        }
        let mut others = self.metadata.iter().filter(|(other, _)| *other != key);
        if others.clone().count() >= MAX_METADATA_KEYS {
            return invalid("there are 256 keys already: delete one first");
        }
        let size_bytes: usize = others.by_ref().map(|(key, value)| key.len() + value.len()).sum();
        if size_bytes + key.len() + value.len() > MAX_METADATA_BYTES {
            return invalid(
                "all keys and values together have at most 1 MiB: delete one first, or put large values into the store",
            );
        }
        Ok(())
    }

    fn announce(&mut self, route: Route) {
        if let Some(known) = self.routes.get_mut(&route.id)
            && known.name == route.name
            && (route.address_version > known.address_version
                || (route.address_version == known.address_version && route != *known))
        {
            *known = route;
        }
    }

    /// Whether the committed conf change that lets this learner in may be applied; the same on every member.
    ///
    /// # Errors
    /// The refusal that the joiner gets; the change must not be applied then.
    pub(crate) fn check_learner(&self, route: &Route) -> Result<(), MembershipRefusal> {
        if self.tombstones.contains(&route.id) {
            return Err(MembershipRefusal::Tombstoned(route.id));
        }
        if !self.roster.contains_key(&route.name) {
            return Err(MembershipRefusal::NotAdmitted { name: route.name.clone() });
        }
        Ok(())
    }

    /// Takes over what a conf change made of the configuration. `learner` came as its context.
    pub(crate) fn reconfigured(
        &mut self,
        index: Index,
        before: &ConfState,
        after: &ConfState,
        learner: Option<Route>,
    ) {
        if let Some(route) = learner
            && after.contains(route.id)
        {
            self.routes.insert(route.id, route);
        }
        // Tombstones come at leave: until then the leave still needs the leaving members' acknowledgement.
        let gone: Vec<MemberId> =
            [&before.voters, &before.learners, &before.voters_outgoing, &before.learners_next]
                .into_iter()
                .flatten()
                .copied()
                .filter(|id| !after.contains(*id))
                .collect();
        #[cfg(feature = "mutants")]
        let gone = {
            let mut gone = gone;
            if outrigger_mutants::is_alive(outrigger_mutants::Mutant::TombstoneAtEnterJoint) {
                let leaves = |id: &&MemberId| !after.voters.contains(id) && !after.learners.contains(id);
                gone.extend(after.voters_outgoing.iter().filter(leaves));
            }
            gone
        };
        for id in gone {
            self.tombstones.insert(id);
            self.routes.remove(&id);
        }
        self.configuration_index = index;
    }
}
